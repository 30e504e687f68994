-- The database's two roles. The superuser runs this once, at the first start, and then 2-rights.sql.
-- docs/service.md has the same for a database of your own.

-- An error's statement would be logged, and with it a password.
SET log_min_error_statement = panic;
\set owner_password `cat /run/secrets/db_owner_password`
\set password `cat /run/secrets/db_password`

-- For migrations, backup and restore: it owns all that they make.
CREATE ROLE app_owner LOGIN PASSWORD :'owner_password';
-- For the service: it owns nothing.
CREATE ROLE app LOGIN PASSWORD :'password';

ALTER DATABASE app OWNER TO app_owner;
-- Anyone might connect, and make temporary tables.
REVOKE ALL ON DATABASE app, postgres, template1 FROM PUBLIC;
GRANT CONNECT ON DATABASE app TO app;

-- The image insists on a password for the superuser (compose.yaml), which has no use for one.
ALTER ROLE postgres PASSWORD NULL;
