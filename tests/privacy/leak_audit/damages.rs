//! What makes the server refuse rows and statements.

/// SQL that is done when a run makes its first staging table: what is found before is refused at once.
macro_rules! at_staging {
    ($sql:literal) => {
        concat!(
            "CREATE OR REPLACE FUNCTION public.plant() RETURNS event_trigger LANGUAGE plpgsql AS $plant$ BEGIN
                 IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands()
                            WHERE object_identity LIKE 'claims_etl.providers_stage%') THEN ",
            $sql,
            "; END IF; END $plant$;
             CREATE EVENT TRIGGER plant ON ddl_command_end WHEN TAG IN ('CREATE TABLE')
                 EXECUTE FUNCTION public.plant()"
        )
    };
}

/// What makes the server refuse a row or a statement, and what takes it away again.
pub(super) const DAMAGES: [(&str, &str, &str); 7] = [
    (
        "a constraint of the table",
        at_staging!(
            "ALTER TABLE healthcare_analytics.claims_fact ADD CONSTRAINT small CHECK (amount < 0) NOT VALID"
        ),
        "DROP EVENT TRIGGER plant; ALTER TABLE healthcare_analytics.claims_fact DROP CONSTRAINT small",
    ),
    (
        "a trigger that quotes the row",
        at_staging!(
            "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN RAISE EXCEPTION 'no: %', NEW USING DETAIL = NEW::text, HINT = NEW::text; END $$;
             CREATE TRIGGER refuse BEFORE INSERT ON healthcare_analytics.claims_fact
                 FOR EACH ROW EXECUTE FUNCTION public.refuse()"
        ),
        "DROP EVENT TRIGGER plant; DROP TRIGGER refuse ON healthcare_analytics.claims_fact",
    ),
    (
        "a constraint of the stage",
        "CREATE FUNCTION public.trap() RETURNS event_trigger LANGUAGE plpgsql AS $$
             DECLARE made record; BEGIN
             FOR made IN SELECT objid::regclass AS name FROM pg_event_trigger_ddl_commands() d
                 JOIN pg_attribute a ON a.attrelid = d.objid AND attname = 'patient_token'
                 WHERE d.object_type = 'table' LOOP
                 EXECUTE format('ALTER TABLE %s ADD CONSTRAINT trap CHECK (patient_token IS NULL)',
                     made.name);
             END LOOP; END $$;
         CREATE EVENT TRIGGER trap ON ddl_command_end WHEN TAG IN ('CREATE TABLE')
             EXECUTE FUNCTION public.trap()",
        "DROP EVENT TRIGGER trap",
    ),
    (
        "rows that disappear",
        "CREATE FUNCTION public.swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             RAISE WARNING 'gone: %', NEW; RETURN NULL; END $$;
         CREATE OR REPLACE FUNCTION public.trap() RETURNS event_trigger LANGUAGE plpgsql AS $$
             DECLARE made record; BEGIN
             FOR made IN SELECT objid::regclass AS name FROM pg_event_trigger_ddl_commands() d
                 JOIN pg_attribute a ON a.attrelid = d.objid AND attname = 'patient_token'
                 WHERE d.object_type = 'table' LOOP
                 EXECUTE format('CREATE TRIGGER swallow BEFORE INSERT ON %s FOR EACH ROW
                     EXECUTE FUNCTION public.swallow()', made.name);
             END LOOP; END $$;
         CREATE EVENT TRIGGER trap ON ddl_command_end WHEN TAG IN ('CREATE TABLE')
             EXECUTE FUNCTION public.trap()",
        "DROP EVENT TRIGGER trap",
    ),
    (
        "a unique index",
        at_staging!("CREATE UNIQUE INDEX once ON healthcare_analytics.providers_dim (location)"),
        "DROP EVENT TRIGGER plant; DROP INDEX healthcare_analytics.once",
    ),
    (
        "a server that only reads",
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on',
             current_database()); END $$",
        "SET default_transaction_read_only = off;
         DO $$ BEGIN EXECUTE format('ALTER DATABASE %I RESET default_transaction_read_only',
             current_database()); END $$",
    ),
    (
        "a column that was dropped",
        at_staging!("ALTER TABLE healthcare_analytics.claims_fact DROP COLUMN amount CASCADE"),
        "",
    ),
];
