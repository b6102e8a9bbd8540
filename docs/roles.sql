-- Two roles for a warehouse: one loads, one reads. Neither is a superuser.
--
--   psql -v ON_ERROR_STOP=1 -f docs/roles.sql claims        (as the owner of the database)
--
-- Names are variables; the defaults are below. Passwords are not set here: \password claims_loader
-- sends only their hash. The script can be run again.

\if :{?loader}
\else
    \set loader claims_loader
\endif
\if :{?reader}
\else
    \set reader claims_reader
\endif

BEGIN;

SELECT format('CREATE ROLE %I LOGIN', name)
FROM unnest(ARRAY[:'loader', :'reader']) AS name
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec

-- The loader owns two schemas and nothing else. With the right CREATE on the database it could make
-- them itself, and any other schema too.
SELECT current_database() AS database \gset
GRANT CONNECT, TEMPORARY ON DATABASE :"database" TO :"loader";
GRANT CONNECT ON DATABASE :"database" TO :"reader";
-- Whoever is not a superuser has to be a member of a role to give it something to own.
SELECT format('GRANT %I TO CURRENT_USER', :'loader')
WHERE NOT pg_has_role(current_user, :'loader', 'USAGE') \gexec
CREATE SCHEMA IF NOT EXISTS healthcare_analytics AUTHORIZATION :"loader";
CREATE SCHEMA IF NOT EXISTS claims_etl AUTHORIZATION :"loader";

-- The reader sees what is published, also what will be: dashboards, analysts. Partitions come and go;
-- they are read through claims_fact, whose grants stay. Nothing lets the reader into claims_etl, so it
-- sees neither staged rows nor the ledger, only, in v_claims, the id and time of a row's run.
GRANT USAGE ON SCHEMA healthcare_analytics TO :"reader";
GRANT SELECT ON ALL TABLES IN SCHEMA healthcare_analytics TO :"reader";
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA healthcare_analytics TO :"reader";
ALTER DEFAULT PRIVILEGES FOR ROLE :"loader" IN SCHEMA healthcare_analytics
    GRANT SELECT ON TABLES TO :"reader";
ALTER DEFAULT PRIVILEGES FOR ROLE :"loader" IN SCHEMA healthcare_analytics
    GRANT EXECUTE ON FUNCTIONS TO :"reader";

-- Nobody else gets in by default.
REVOKE ALL ON SCHEMA healthcare_analytics, claims_etl FROM PUBLIC;

COMMIT;

-- In pg_hba.conf, let both sign in over TLS and with SCRAM only:
--   hostssl  claims  claims_loader,claims_reader  10.0.0.0/8  scram-sha-256
