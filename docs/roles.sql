-- Three roles for a warehouse: one loads, one analyses, one shows. None is a superuser.
--
--   psql -v ON_ERROR_STOP=1 -f docs/roles.sql claims        (as the owner of the database)
--
-- Run it before the first load, and again when the views are there (`claims-etl warehouse migrate`
-- makes them): what the reader may see is granted view by view. It can be run as often as you like,
-- and takes from the reader what an earlier version gave. Names are variables; the defaults are
-- below. Passwords are not set here: \password claims_loader sends only their hash.

\if :{?loader}
\else
    \set loader claims_loader
\endif
\if :{?analyst}
\else
    \set analyst claims_analyst
\endif
\if :{?reader}
\else
    \set reader claims_reader
\endif

BEGIN;

SELECT format('CREATE ROLE %I LOGIN', name)
FROM unnest(ARRAY[:'loader', :'analyst', :'reader']) AS name
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec

-- The loader owns two schemas and nothing else. With the right CREATE on the database it could make
-- them itself, and any other schema too.
SELECT current_database() AS database \gset
GRANT CONNECT, TEMPORARY ON DATABASE :"database" TO :"loader";
GRANT CONNECT ON DATABASE :"database" TO :"analyst", :"reader";
-- Whoever is not a superuser has to be a member of a role to give it something to own.
SELECT format('GRANT %I TO CURRENT_USER', :'loader')
WHERE NOT pg_has_role(current_user, :'loader', 'USAGE') \gexec
CREATE SCHEMA IF NOT EXISTS healthcare_analytics AUTHORIZATION :"loader";
CREATE SCHEMA IF NOT EXISTS claims_etl AUTHORIZATION :"loader";

-- The analyst sees what is published, also what will be: rows of single claims, cells of few
-- patients. Such data are protected health information: give this role to people who may see it, never
-- to a dashboard that others look at. Partitions come and go; they are read through claims_fact, whose
-- grants stay. Nothing lets the analyst into claims_etl, so it sees neither staged rows nor the ledger,
-- only, in v_claims, the id and time of a row's run.
GRANT USAGE ON SCHEMA healthcare_analytics TO :"analyst";
GRANT SELECT ON ALL TABLES IN SCHEMA healthcare_analytics TO :"analyst";
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA healthcare_analytics TO :"analyst";
ALTER DEFAULT PRIVILEGES FOR ROLE :"loader" IN SCHEMA healthcare_analytics
    GRANT SELECT ON TABLES TO :"analyst";
ALTER DEFAULT PRIVILEGES FOR ROLE :"loader" IN SCHEMA healthcare_analytics
    GRANT EXECUTE ON FUNCTIONS TO :"analyst";

-- The reader is for dashboards with a wide audience. It sees sums only, and of these no cell of 1 to 10
-- patients. New tables and views are not granted by default:
-- each one that it may see is listed below.
ALTER DEFAULT PRIVILEGES FOR ROLE :"loader" IN SCHEMA healthcare_analytics
    REVOKE ALL ON TABLES FROM :"reader";
ALTER DEFAULT PRIVILEGES FOR ROLE :"loader" IN SCHEMA healthcare_analytics
    REVOKE ALL ON FUNCTIONS FROM :"reader";
REVOKE ALL ON ALL TABLES IN SCHEMA healthcare_analytics FROM :"reader";
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA healthcare_analytics FROM :"reader";
GRANT USAGE ON SCHEMA healthcare_analytics TO :"reader";
SELECT format('GRANT SELECT ON healthcare_analytics.%I TO %I', name, :'reader')
FROM unnest(ARRAY['v_provider_month_public']) AS name
WHERE to_regclass(format('healthcare_analytics.%I', name)) IS NOT NULL \gexec

-- No other role has access by default.
REVOKE ALL ON SCHEMA healthcare_analytics, claims_etl FROM PUBLIC;

COMMIT;

SELECT to_regclass('healthcare_analytics.v_provider_month_public') IS NULL AS unfinished \gset
\if :unfinished
    \echo The views are not there yet: run claims-etl warehouse migrate as the loader, then this script again.
\endif

-- In pg_hba.conf, let them sign in over TLS and with SCRAM only:
--   hostssl  claims  claims_loader,claims_analyst,claims_reader  10.0.0.0/8  scram-sha-256
