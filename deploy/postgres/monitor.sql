-- The role that the monitoring has, made by `make observe`, as the superuser: it reads the server's
-- statistics, and no table. Its password is set apart, so that it is in no file.
SELECT 'CREATE ROLE app_monitor LOGIN CONNECTION LIMIT 5' WHERE NOT EXISTS (
    SELECT FROM pg_roles WHERE rolname = 'app_monitor'
) \gexec
GRANT pg_monitor TO app_monitor;
GRANT CONNECT ON DATABASE app TO app_monitor;
-- A server that started with an older pg_hba.conf does not let the role in yet.
SELECT pg_reload_conf();
