-- What the service may do with what the owner makes: read and write rows. A migration may give it
-- less: REVOKE UPDATE, DELETE ON audit FROM app.

-- With what there is ...
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO app;
GRANT SELECT, USAGE ON ALL SEQUENCES IN SCHEMA public TO app;
-- ... and what is to come. For all schemas: `make restore` drops `public`, and its defaults with it.
ALTER DEFAULT PRIVILEGES FOR ROLE app_owner GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO app;
ALTER DEFAULT PRIVILEGES FOR ROLE app_owner GRANT SELECT, USAGE ON SEQUENCES TO app;
