//! Tables that somebody else has altered, or built on: a load works as before, or is refused before a row
//! is read, with the name of what is in its way and the hint.

use claims_etl::commands::check::Finding;
use claims_etl::commands::risk::rescore;
use claims_etl::commands::{check, rotate};
use claims_etl::config::Mode;
use claims_etl::event::{Cancellation, NullObserver};
use claims_etl::pipeline::{RunOptions, RunReport, Status};
use claims_etl::privacy::settings::Action;

use crate::privacy::rotation::env_with_keys;
use crate::support::test_env::{TestEnv, succeeded};

const CLAIMS: [&str; 2] = ["C1,P1,V1,99213,10.00,2024-01-01", "C2,P2,V2,99214,20.00,2024-01-02"];
const TOTALS: &str = "SELECT count(*) || ' ' || sum(amount) FROM healthcare_analytics.claims_fact";

fn filled() -> TestEnv {
    let env = env_with_keys().claims(&CLAIMS);
    succeeded(&env.run());
    env
}

fn sql(env: &TestEnv, script: &str) {
    env.database
        .connect()
        .batch_execute(script)
        .unwrap_or_else(|error| panic!("{script}: {error}"));
}

fn run(env: &mut TestEnv, mode: Mode) -> RunReport {
    env.settings.warehouse.mode = mode;
    env.run_with(&RunOptions { force: true, dry_run: false })
}

/// What `check` says of the warehouse.
fn checked(env: &TestEnv) -> Finding {
    let report = check::check(&env.settings, &NullObserver, &Cancellation::default());
    report.findings.into_iter().find(|finding| finding.what == "warehouse").expect("a finding")
}

/// Refused in a mode, by a run and by `check`, with a name; and nothing has changed.
fn is_refused(env: &mut TestEnv, mode: Mode, named: &str, way_out: &str) {
    let before = env.rows(TOTALS);
    let report = run(env, mode);
    assert_eq!((report.status, report.exit_code), (Status::Failed, 5), "{named}: {report:?}");
    let error = report.error.expect("an error");
    assert!(error.message.contains(named), "{named}: {}", error.message);
    assert!(!error.message.contains("SQLSTATE"), "{}", error.message);
    assert!(error.hint.as_ref().is_some_and(|hint| hint.contains(way_out)), "{error:?}");
    let finding = checked(env);
    assert!(!finding.ok && finding.detail.contains(named), "{finding:?}");
    assert!(finding.hint.is_some_and(|hint| hint.contains(way_out)), "{named}");
    assert_eq!(env.rows(TOTALS), before, "{named}");
}

fn begin_rotation(env: &TestEnv) -> Result<(), String> {
    let begun = rotate::begin(&env.settings, false, &NullObserver, &Cancellation::default());
    begun.map(drop).map_err(|error| error.to_string())
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of alterations")]
fn what_would_break_a_load_is_refused_with_its_name_and_the_way_out() {
    let mut env = filled();
    for (alteration, named, way_out, undo) in [
        (
            "ALTER TABLE healthcare_analytics.claims_fact ADD COLUMN region text",
            "column region",
            "DROP COLUMN region",
            "ALTER TABLE healthcare_analytics.claims_fact DROP COLUMN region",
        ),
        (
            "ALTER TABLE healthcare_analytics.claims_fact ADD COLUMN half numeric
                 GENERATED ALWAYS AS (amount / 2) STORED",
            "column half",
            "DROP COLUMN half",
            "ALTER TABLE healthcare_analytics.claims_fact DROP COLUMN half",
        ),
        (
            "ALTER TABLE healthcare_analytics.providers_dim ADD COLUMN region text;
             UPDATE healthcare_analytics.providers_dim SET region = 'x';
             ALTER TABLE healthcare_analytics.providers_dim ALTER region SET NOT NULL",
            "column region",
            "DROP COLUMN region",
            "ALTER TABLE healthcare_analytics.providers_dim DROP COLUMN region",
        ),
        (
            "ALTER TABLE healthcare_analytics.claims_fact ALTER procedure_code SET NOT NULL",
            "procedure_code",
            "DROP NOT NULL",
            "ALTER TABLE healthcare_analytics.claims_fact ALTER procedure_code DROP NOT NULL",
        ),
        (
            "ALTER TABLE healthcare_analytics.claims_fact ADD CONSTRAINT small CHECK (amount < 1000)",
            "constraint small",
            "DROP CONSTRAINT small",
            "ALTER TABLE healthcare_analytics.claims_fact DROP CONSTRAINT small",
        ),
        (
            "ALTER TABLE healthcare_analytics.claims_fact ADD CONSTRAINT known
                 FOREIGN KEY (provider_key) REFERENCES healthcare_analytics.providers_dim",
            "constraint known",
            "DROP CONSTRAINT known",
            "ALTER TABLE healthcare_analytics.claims_fact DROP CONSTRAINT known",
        ),
        (
            "CREATE UNIQUE INDEX once ON healthcare_analytics.providers_dim (location)",
            "unique index once",
            "DROP INDEX",
            "DROP INDEX healthcare_analytics.once",
        ),
        (
            "CREATE FUNCTION public.audit() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
             CREATE TRIGGER audit BEFORE INSERT ON healthcare_analytics.claims_fact
                 FOR EACH ROW EXECUTE FUNCTION public.audit()",
            "trigger audit",
            "DISABLE TRIGGER audit",
            "DROP FUNCTION public.audit CASCADE",
        ),
        (
            "CREATE RULE keep AS ON DELETE TO healthcare_analytics.providers_dim DO INSTEAD NOTHING",
            "rule keep",
            "DROP RULE keep",
            "DROP RULE keep ON healthcare_analytics.providers_dim",
        ),
        (
            "CREATE TABLE public.rest PARTITION OF healthcare_analytics.claims_fact DEFAULT",
            "public.rest",
            "DETACH PARTITION public.rest",
            "DROP TABLE public.rest",
        ),
        (
            "CREATE TABLE public.more () INHERITS (healthcare_analytics.providers_dim)",
            "public.more",
            "NO INHERIT",
            "DROP TABLE public.more",
        ),
        (
            "ALTER TABLE claims_etl.risk_weekends SET UNLOGGED",
            "claims_etl.risk_weekends",
            "SET LOGGED",
            "ALTER TABLE claims_etl.risk_weekends SET LOGGED",
        ),
        (
            "ALTER TABLE claims_etl.risk_weekends RENAME TO risk_weekends_old",
            "claims_etl.risk_weekends",
            "give it its name back",
            "ALTER TABLE claims_etl.risk_weekends_old RENAME TO risk_weekends",
        ),
        (
            "CREATE PUBLICATION everything FOR ALL TABLES;
             ALTER TABLE claims_etl.runs REPLICA IDENTITY NOTHING",
            "claims_etl.runs",
            "REPLICA IDENTITY DEFAULT",
            "DROP PUBLICATION everything; ALTER TABLE claims_etl.runs REPLICA IDENTITY DEFAULT",
        ),
        (
            "DO $$ BEGIN EXECUTE (SELECT format('ALTER TABLE %s REPLICA IDENTITY NOTHING', inhrelid::regclass)
                 FROM pg_inherits WHERE inhparent = 'healthcare_analytics.claims_fact'::regclass LIMIT 1);
             END $$; CREATE PUBLICATION everything FOR ALL TABLES",
            "healthcare_analytics.claims_fact_",
            "REPLICA IDENTITY DEFAULT",
            "DROP PUBLICATION everything",
        ),
    ] {
        sql(&env, alteration);
        for mode in [Mode::Merge, Mode::Append, Mode::Replace] {
            is_refused(&mut env, mode, named, way_out);
        }
        let refused = begin_rotation(&env).expect_err(named);
        assert!(refused.contains(named), "{refused}");
        sql(&env, undo);
    }
    succeeded(&run(&mut env, Mode::Replace));
    assert!(checked(&env).ok);
}

#[test]
fn a_column_that_is_gone_or_of_another_type_is_named() {
    for (alteration, named) in [
        (
            "ALTER TABLE healthcare_analytics.claims_fact DROP COLUMN procedure_code CASCADE",
            "column procedure_code",
        ),
        (
            "DROP VIEW healthcare_analytics.v_claims;
             ALTER TABLE healthcare_analytics.claims_fact ALTER dq_flags TYPE bigint",
            "column dq_flags of healthcare_analytics.claims_fact is bigint, not integer",
        ),
    ] {
        let mut env = filled();
        let views = "DROP VIEW IF EXISTS healthcare_analytics.v_claim_flags";
        sql(&env, &format!("{views}; {alteration}"));
        for mode in [Mode::Merge, Mode::Append, Mode::Replace] {
            is_refused(&mut env, mode, named, "ALTER TABLE");
        }
    }
}

#[test]
fn what_is_tied_to_partitions_keeps_them_from_being_replaced_and_a_merge_goes_on() {
    let mut env = filled();
    for (tie, named, way_out, undo) in [
        (
            "DO $$ BEGIN EXECUTE (SELECT format('CREATE VIEW public.january AS SELECT * FROM %s',
                 inhrelid::regclass) FROM pg_inherits
                 WHERE inhparent = 'healthcare_analytics.claims_fact'::regclass LIMIT 1); END $$",
            "public.january",
            "create it on healthcare_analytics.claims_fact",
            "DROP VIEW public.january",
        ),
        (
            "CREATE TABLE public.notes (claim_token uuid, line_number smallint, note text,
                 CONSTRAINT noted FOREIGN KEY (claim_token, line_number)
                     REFERENCES healthcare_analytics.claims_fact);
             INSERT INTO public.notes SELECT claim_token, line_number FROM healthcare_analytics.claims_fact",
            "notes (foreign key noted)",
            "drop the foreign key",
            "DROP TABLE public.notes",
        ),
    ] {
        sql(&env, tie);
        env = env.claims(&CLAIMS);
        succeeded(&run(&mut env, Mode::Merge));
        assert!(checked(&env).ok, "a merge could go on");
        is_refused(&mut env, Mode::Replace, named, way_out);
        let refused = begin_rotation(&env).expect_err(named);
        assert!(refused.contains(named), "{refused}");
        sql(&env, undo);
    }
    succeeded(&run(&mut env, Mode::Replace));
}

#[test]
fn what_does_no_harm_is_left_alone_in_every_mode_and_in_a_rotation() {
    let mut env = filled();
    let database = env.rows("SELECT current_database()").concat();
    sql(
        &env,
        &format!(
            "ALTER DATABASE {database} SET quote_all_identifiers = on;
             CREATE INDEX by_day ON healthcare_analytics.claims_fact (date_of_service);
             CREATE STATISTICS public.pairs ON procedure_code, amount FROM healthcare_analytics.claims_fact;
             ALTER TABLE healthcare_analytics.claims_fact ALTER procedure_code SET DEFAULT 'none',
                 ALTER risk_score SET DEFAULT 1;
             ALTER TABLE healthcare_analytics.providers_dim ALTER is_placeholder SET DEFAULT true,
                 ADD COLUMN region text DEFAULT 'North';
             ALTER TABLE healthcare_analytics.providers_dim REPLICA IDENTITY FULL;
             CREATE TABLE healthcare_analytics.mine (n integer);
             CREATE TABLE claims_etl.mine (n integer);
             CREATE TABLE public.contracts (provider_key integer REFERENCES healthcare_analytics.providers_dim);
             INSERT INTO public.contracts VALUES (1);
             CREATE PUBLICATION everything FOR ALL TABLES"
        ),
    );
    assert!(checked(&env).ok);
    for (mode, claims, totals) in [
        (
            Mode::Merge,
            ["C2,P2,V2,99214,25.00,2024-01-02", "C3,P3,V9,99213,30.00,2024-01-03"],
            "3 65.00",
        ),
        (
            Mode::Append,
            ["C4,P2,,99214,1.00,2024-01-02", "C5,P3,V9,99213,2.00,2024-01-03"],
            "5 68.00",
        ),
        (Mode::Replace, ["C1,P1,V1,99213,7.00,2024-01-01", "C2,P2,V2,,8.00,2024-01-02"], "2 15.00"),
    ] {
        env = env.claims(&claims);
        succeeded(&run(&mut env, mode));
        assert_eq!(env.rows(TOTALS), [totals], "{mode:?}");
    }
    let inferred = "SELECT provider_id || ' ' || is_placeholder FROM healthcare_analytics.providers_dim ORDER BY 1";
    assert_eq!(env.rows(inferred), ["(unknown) false", "V1 false", "V2 false"]);
    let rescored = rescore::rescore(&env.settings, false, &NullObserver, &Cancellation::default());
    rescored.expect("rescores");
    begin_rotation(&env).expect("begins");
    let cancel = Cancellation::default();
    rotate::map(&env.settings, &NullObserver, &cancel).expect("maps");
    rotate::finish(&env.settings, false, &NullObserver, &cancel).expect("finishes");
    assert_eq!(env.rows(TOTALS), ["2 15.00"]);
    assert_eq!(env.rows("SELECT count(*) FROM claims_etl.mine"), ["0"]);
}

#[test]
fn tables_of_like_names_that_no_run_has_made_stay() {
    let mut env = filled();
    sql(
        &env,
        "CREATE TABLE claims_etl.claims_stage_1_copy (n integer);
         CREATE TABLE claims_etl.claims_stage_1_0_old (n integer);
         CREATE TABLE claims_etl.claims_stage_77_0 (n integer);
         CREATE TABLE claims_etl.providers_stage_77 (n integer);
         CREATE TABLE claims_etl.rotation_part_7 (n integer);
         CREATE TABLE claims_etl.claims_stage_1_0 (n integer);
         CREATE TABLE claims_etl.claims_stage_0_days (n integer);
         CREATE TABLE claims_etl.claims_stage_1_3_scores (n integer);
         CREATE TABLE claims_etl.providers_stage_1 (n integer)",
    );
    succeeded(&run(&mut env, Mode::Merge));
    begin_rotation(&env).expect("begins");
    rotate::abort(&env.settings, &NullObserver, &Cancellation::default()).expect("aborts");
    let left = "SELECT relname FROM pg_class WHERE relnamespace = 'claims_etl'::regnamespace
        AND relkind = 'r' AND relname ~ 'stage|part_' ORDER BY 1";
    assert_eq!(
        env.rows(left),
        [
            "claims_stage_1_0_old",
            "claims_stage_1_copy",
            "claims_stage_77_0",
            "providers_stage_77",
            "rotation_part_7"
        ]
    );
}

/// Everything in the warehouse that mentions a text: tables, views and the planner's statistics.
fn mentions(env: &TestEnv, text: &str) -> Vec<String> {
    let relations = env.rows(
        "SELECT oid::regclass FROM pg_class WHERE relkind IN ('r', 'v', 'm') AND relnamespace IN
             ('healthcare_analytics'::regnamespace, 'claims_etl'::regnamespace)",
    );
    let mut found: Vec<String> = relations
        .into_iter()
        .filter(|name| {
            let rows = format!("SELECT count(*) FROM {name} t WHERE t::text LIKE '%{text}%'");
            env.rows(&rows) != ["0"]
        })
        .collect();
    found.extend(env.rows(&format!(
        "SELECT 'statistics of ' || tablename || '.' || attname FROM pg_stats
         WHERE schemaname IN ('healthcare_analytics', 'claims_etl')
           AND concat(most_common_vals::text, histogram_bounds::text) LIKE '%{text}%'"
    )));
    found
}

const DIRECTORY: &str =
    "SELECT concat_ws('|', provider_id, coalesce(provider_name, '-'), is_placeholder)
    FROM healthcare_analytics.providers_dim WHERE provider_id <> '(unknown)' ORDER BY 1";

/// A first load of three providers, of whom two are erased from the next directory, one of them with
/// claims still.
fn with_erased(enabled: bool) -> TestEnv {
    let mut env = TestEnv::new()
        .providers(&[
            "V1,Ann,Cardiology,Boston",
            "V2,Erased One,Oncology,Salem",
            "V3,Erased Two,Oncology,Salem",
        ])
        .claims(&[
            "C1,P1,V1,99213,10.00,2024-01-01",
            "C2,P2,V2,99214,20.00,2024-01-02",
            "C3,P3,V3,99214,30.00,2024-01-02",
        ]);
    env.settings.refresh.provider_month.enabled = true;
    succeeded(&env.run());
    env.settings.refresh.provider_month.enabled = enabled;
    assert!(mentions(&env, "Erased").len() >= 3, "{:?}", mentions(&env, "Erased"));
    env.providers(&["V1,Ann,Cardiology,Boston", "V4,New,Oncology,Salem"])
        .claims(&["C1,P1,V1,99213,10.00,2024-01-01", "C2,P2,V2,99214,20.00,2024-01-02"])
}

#[test]
fn after_a_replace_the_directory_is_what_the_input_names() {
    let mut env = with_erased(true);
    let since =
        "SELECT valid_from FROM healthcare_analytics.providers_dim WHERE provider_id = 'V1'";
    let before = env.rows(since);
    succeeded(&run(&mut env, Mode::Replace));
    assert_eq!(env.rows(DIRECTORY), ["V1|Ann|f", "V2|-|t", "V4|New|f"]);
    assert_eq!(env.rows(since), before, "who stays is left untouched");
    assert_eq!(mentions(&env, "Erased"), [] as [&str; 0]);
    assert_eq!(mentions(&env, "V3"), [] as [&str; 0]);
    // A merge adds to the directory, as before.
    env = env.providers(&["V5,Late,Oncology,Salem"]).claims(&["C9,P1,V1,99213,1.00,2024-01-05"]);
    succeeded(&run(&mut env, Mode::Merge));
    assert_eq!(env.rows(DIRECTORY), ["V1|Ann|f", "V2|-|t", "V4|New|f", "V5|Late|f"]);
}

#[test]
fn after_a_replace_months_that_nobody_refreshes_show_nobody() {
    let mut env = with_erased(false);
    succeeded(&run(&mut env, Mode::Replace));
    let filled = "SELECT relispopulated FROM pg_class WHERE relname = 'mv_provider_month'";
    assert_eq!(env.rows(filled), ["false"], "emptied");
    env.settings.refresh.provider_month.enabled = true;
    succeeded(&run(&mut env, Mode::Replace));
    assert_eq!(mentions(&env, "Erased"), [] as [&str; 0]);
    assert_eq!(env.rows("SELECT count(*) FROM healthcare_analytics.mv_provider_month"), ["2"]);
}

#[test]
fn a_provider_to_whom_others_refer_is_not_removed_and_they_are_named() {
    let mut env = with_erased(true);
    sql(
        &env,
        "CREATE TABLE public.contracts (provider_key integer,
             CONSTRAINT with_provider FOREIGN KEY (provider_key)
                 REFERENCES healthcare_analytics.providers_dim);
         INSERT INTO public.contracts
         SELECT provider_key FROM healthcare_analytics.providers_dim WHERE provider_id = 'V3'",
    );
    let before = env.rows(DIRECTORY);
    let report = run(&mut env, Mode::Replace);
    assert_eq!((report.status, report.exit_code), (Status::Failed, 5));
    let error = report.error.expect("an error");
    assert!(error.message.contains("contracts (foreign key with_provider)"), "{error:?}");
    assert!(!error.message.contains("SQLSTATE"), "{error:?}");
    assert_eq!(env.rows(DIRECTORY), before);
    // Other actions give all providers other rows: that is known before a row is read.
    env.settings.privacy.columns.insert("provider_name".into(), Action::Drop);
    is_refused(
        &mut env,
        Mode::Replace,
        "contracts (foreign key with_provider)",
        "drop the foreign key",
    );
    env.settings.privacy.columns.clear();
    sql(
        &env,
        "DELETE FROM public.contracts; INSERT INTO public.contracts
         SELECT provider_key FROM healthcare_analytics.providers_dim WHERE provider_id IN ('V1', 'V2')",
    );
    succeeded(&run(&mut env, Mode::Replace));
    assert_eq!(env.rows(DIRECTORY), ["V1|Ann|f", "V2|-|t", "V4|New|f"]);
}
