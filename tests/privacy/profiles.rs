//! The warehouse follows the privacy profile: columns, types, comments, views, grants and ledger; and
//! rows to which different things were done never stand side by side.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{fs, thread};

use claims_etl::config::Mode;
use claims_etl::privacy::settings::{Privacy, Profile};
use claims_etl::schema::{Shape, fact_columns, provider_columns};

#[cfg(feature = "failpoints")]
use crate::support::failpoints::Failpoints as _;
use crate::support::test_env::{TestEnv, succeeded};

const CLAIMS: [&str; 4] = [
    "C1,P1,V1,99213,120.00,2023-05-17",
    "C2,P2,V1,99214,80.50,2023-11-02",
    "C3,P3,V2,99213,-20.00,2024-02-29",
    "C4,P4,V9,,10.00,2024-03-01",
];
const PROVIDERS: [&str; 2] =
    ["V1,Anna CANARY-name,Cardiology,\"Boston, MA 02115\"", "V2,Ben,Oncology,\"Austin, TX 78701\""];

fn env(privacy: &str) -> TestEnv {
    let mut env = TestEnv::new().claims(&CLAIMS).providers(&PROVIDERS);
    set(&mut env, privacy);
    env
}

fn set(env: &mut TestEnv, privacy: &str) {
    env.settings.privacy = toml::from_str(privacy).expect("settings");
}

/// Loads all files in place of what is there.
fn replace(env: &mut TestEnv, privacy: &str) {
    set(env, privacy);
    env.settings.warehouse.mode = Mode::Replace;
    succeeded(&env.run());
}

/// Name and type of each column of a table.
fn columns(env: &TestEnv, table: &str) -> Vec<String> {
    let mut columns = env.rows(&format!(
        "SELECT attname || ' ' || format_type(atttypid, atttypmod) || ' ' || attnotnull
         FROM pg_attribute WHERE attrelid = 'healthcare_analytics.{table}'::regclass
             AND attnum > 0 AND NOT attisdropped"
    ));
    columns.sort();
    columns
}

fn comment(env: &TestEnv, table: &str, column: Option<&str>) -> String {
    let place = format!("'healthcare_analytics.{table}'::regclass");
    env.rows(&match column {
        None => format!("SELECT obj_description({place}, 'pg_class')"),
        Some(column) => format!(
            "SELECT col_description({place}, attnum) FROM pg_attribute
             WHERE attrelid = {place} AND attname = '{column}'"
        ),
    })
    .concat()
}

/// Tables, ledger and views are those of the settings.
fn is_as_configured(env: &TestEnv) {
    let privacy = &env.settings.privacy;
    let shape = privacy.shape();
    let contract = |columns: Vec<claims_etl::schema::Column>, more: &[&str]| {
        let mut all: Vec<String> = columns
            .iter()
            .map(|column| format!("{} {} {}", column.name, column.postgres, !column.nullable))
            .chain(more.iter().map(|column| (*column).to_owned()))
            .collect();
        all.sort();
        all
    };
    assert_eq!(
        columns(env, "claims_fact"),
        contract(fact_columns(shape), &["run_no integer true"])
    );
    let more = [
        "provider_key integer true",
        "is_placeholder boolean true",
        "is_current boolean true",
        "row_hash uuid false",
        "valid_from timestamp with time zone true",
        "valid_to timestamp with time zone false",
        "run_no integer true",
    ];
    assert_eq!(columns(env, "providers_dim"), contract(provider_columns(shape), &more));
    let partition = env.rows("SELECT inhrelid::regclass::text FROM pg_inherits LIMIT 1").concat();
    let partition = partition.trim_start_matches("healthcare_analytics.");
    assert_eq!(columns(env, partition), columns(env, "claims_fact"));

    let seen = columns(env, "v_claims");
    for column in ["provider_name", "specialty", "location", "procedure_code"] {
        let there = seen.iter().any(|seen| seen.starts_with(&format!("{column} ")));
        assert_eq!(there, shape.has(column), "{column} in v_claims");
    }
    let profile = privacy.profile.name();
    for table in ["claims_fact", "providers_dim"] {
        let printed = comment(env, table, None);
        assert!(printed.contains(&format!("Privacy profile: {profile} (")), "{printed}");
        for column in shape.dropped() {
            assert!(printed.contains(column), "{printed}");
        }
    }
    let ledger =
        "SELECT privacy_profile || ' ' || (privacy_actions ->> 'claim_id') FROM claims_etl.runs
        ORDER BY run_no DESC LIMIT 1";
    assert_eq!(env.rows(ledger), [format!("{profile} token")]);
    for view in ["v_claims", "v_claim_flags", "v_provider_month"] {
        let counted = env.rows(&format!("SELECT count(*) FROM healthcare_analytics.{view}"));
        assert_ne!(counted, ["0"], "{view}");
    }
    let unlike = "SELECT count(*) FROM healthcare_analytics.claims_fact f
        WHERE NOT EXISTS (SELECT FROM healthcare_analytics.providers_dim d
                          WHERE d.provider_key = f.provider_key)";
    assert_eq!(env.rows(unlike), ["0"]);
    let page = fs::read_to_string(env.settings.dashboard_path()).expect("a page");
    assert!(page.contains(profile), "the page names the profile");
}

const PROFILES: [&str; 3] =
    ["profile = 'pseudonymized'", "profile = 'limited_data_set'", "profile = 'safe_harbor_assist'"];

#[test]
fn each_profile_is_what_the_tables_are_and_say() {
    for profile in PROFILES {
        let env = env(profile);
        succeeded(&env.run());
        is_as_configured(&env);
    }
}

#[test]
fn a_generalized_date_is_a_date_and_is_documented_as_coarse() {
    let env = env("profile = 'safe_harbor_assist'");
    succeeded(&env.run());
    let dates = "SELECT DISTINCT date_of_service FROM healthcare_analytics.claims_fact ORDER BY 1";
    assert_eq!(env.rows(dates), ["2023-01-01", "2024-01-01"]);
    let typed = "SELECT pg_typeof(date_of_service) FROM healthcare_analytics.claims_fact LIMIT 1";
    assert_eq!(env.rows(typed), ["date"]);
    let printed = comment(&env, "claims_fact", Some("date_of_service"));
    assert_eq!(printed, "First day of the year of service (generalized).");
    let printed = comment(&env, "providers_dim", Some("provider_id"));
    assert!(printed.starts_with("Keyed BLAKE3 token"), "{printed}");
    let names = "SELECT count(*) FROM healthcare_analytics.providers_dim d
        WHERE to_jsonb(d)::text ~ 'CANARY|V1|V9'";
    assert_eq!(env.rows(names), ["0"]);
}

#[test]
fn all_that_can_be_dropped_can_be_dropped_at_once() {
    let env = env(
        "[columns]\nprovider_name = 'drop'\nspecialty = 'drop'\nlocation = 'drop'\nprocedure_code = 'drop'",
    );
    succeeded(&env.run());
    is_as_configured(&env);
    // And merged into.
    let env = env.claims(&["C1,P1,V1,99213,121.00,2023-05-17", "C5,P5,V1,99213,1.00,2023-05-17"]);
    let report = env.run();
    succeeded(&report);
    assert_eq!((report.claims.inserted, report.claims.updated), (1, 1));
    is_as_configured(&env);
}

#[test]
fn a_replace_takes_another_profile_and_back_and_grants_stay() {
    let mut env = env(PROFILES[0]);
    succeeded(&env.run());
    let mut client = env.database.connect();
    let role = format!("reader_{}", std::process::id());
    let other = format!("other_{}", std::process::id());
    client
        .batch_execute(&format!(
            "CREATE ROLE {role}; CREATE ROLE {other};
             ALTER DEFAULT PRIVILEGES IN SCHEMA healthcare_analytics GRANT SELECT ON TABLES TO {other};
             GRANT USAGE ON SCHEMA healthcare_analytics TO {role};
             GRANT SELECT ON healthcare_analytics.claims_fact, healthcare_analytics.v_claims TO {role};
             GRANT SELECT (flag) ON healthcare_analytics.v_claim_flags TO {role};
             GRANT SELECT ON healthcare_analytics.v_provider_month TO {role} WITH GRANT OPTION"
        ))
        .expect("grants");
    let rights = "SELECT string_agg(concat_ws(' ', relname, attname, grantee::regrole,
            privilege_type, is_grantable), '; ' ORDER BY relname, attname, grantee)
        FROM (SELECT relname, NULL AS attname, relowner, relacl FROM pg_class
              WHERE relnamespace = 'healthcare_analytics'::regnamespace AND NOT relispartition
              UNION ALL SELECT relname, attname, relowner, attacl
              FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
              WHERE relnamespace = 'healthcare_analytics'::regnamespace) AS rights(
                  relname, attname, relowner, acl)
        CROSS JOIN LATERAL aclexplode(acl) WHERE grantee <> relowner AND grantee <> 0";
    let before = env.rows(rights);
    assert!(!before.concat().contains(&other) && before.concat().contains(&role), "{before:?}");
    for profile in [PROFILES[2], PROFILES[1], PROFILES[0]] {
        replace(&mut env, profile);
        is_as_configured(&env);
        assert_eq!(env.rows(rights), before, "{profile}");
    }
    client
        .batch_execute(&format!(
            "DROP OWNED BY {role}; DROP ROLE {role}; DROP OWNED BY {other}; DROP ROLE {other}"
        ))
        .expect("dropped");
}

/// Whoever reads sees the old shape or the new one, whole, and waits for neither.
#[test]
fn readers_at_work_see_one_shape_or_the_other() {
    let mut env = env(PROFILES[0]);
    succeeded(&env.run());
    let done = Arc::new(AtomicBool::new(false));
    let readers = ["v_claims", "claims_fact", "v_provider_month"].map(|table| {
        let (mut client, done) = (env.database.connect(), Arc::clone(&done));
        thread::spawn(move || {
            let mut seen = 0_u32;
            while !done.load(Ordering::Relaxed) {
                let query = format!("SELECT * FROM healthcare_analytics.{table}");
                let rows = client.simple_query(&query).expect(table);
                assert!(rows.len() >= 4, "{table}");
                seen += 1;
            }
            seen
        })
    });
    for profile in [PROFILES[2], PROFILES[0], PROFILES[1]] {
        replace(&mut env, profile);
    }
    done.store(true, Ordering::Relaxed);
    let seen = readers.into_iter().map(|reader| reader.join().expect("a reader")).min();
    assert!(seen > Some(3), "{seen:?}");
    is_as_configured(&env);
}

#[test]
fn rows_under_another_profile_are_refused_before_any_is_read() {
    for (mode, privacy, column) in [
        (Mode::Merge, PROFILES[1], "provider_name"),
        (Mode::Append, PROFILES[2], "date_of_service"),
        (Mode::Merge, "[columns]\namount = { round = '5.00' }", "amount"),
    ] {
        let mut env = env(PROFILES[0]);
        succeeded(&env.run());
        set(&mut env, privacy);
        env.settings.warehouse.mode = mode;
        // Were it read, its absence would be the failure.
        fs::remove_file(env.path("claims.csv")).expect("removed");
        let error = env.run().error.expect("refused");
        assert_eq!(error.kind, "config", "{error:?}");
        for part in ["pseudonymized", column, env.settings.privacy.profile.name()] {
            assert!(error.message.contains(part), "{error:?}");
        }
        assert!(
            error.hint.as_ref().is_some_and(|hint| hint.contains("--mode replace")),
            "{error:?}"
        );
        assert_eq!(env.rows("SELECT count(*) FROM claims_etl.runs"), ["1"]);
    }
}

/// Names make no difference where the same is done.
#[test]
fn a_profile_that_does_the_same_under_another_name_can_be_merged() {
    let mut env = env("profile = 'limited_data_set'");
    succeeded(&env.run());
    set(&mut env, "[columns]\nprovider_name = 'drop'");
    assert_eq!(env.settings.privacy.profile, Profile::Pseudonymized);
    env.settings.warehouse.mode = Mode::Merge;
    let report = env.run_with(&claims_etl::pipeline::RunOptions { force: true, dry_run: false });
    succeeded(&report);
}

#[test]
fn what_others_have_built_on_a_view_is_named_and_not_dropped() {
    let mut env = env(PROFILES[0]);
    succeeded(&env.run());
    let mut client = env.database.connect();
    client
        .batch_execute(
            "CREATE SCHEMA reports;
             CREATE VIEW reports.by_band AS
                 SELECT risk_band, count(*) AS claims FROM healthcare_analytics.v_claims GROUP BY 1",
        )
        .expect("a view");
    set(&mut env, PROFILES[1]);
    env.settings.warehouse.mode = Mode::Replace;
    fs::remove_file(env.path("claims.csv")).expect("removed");
    let error = env.run().error.expect("refused");
    assert_eq!(error.kind, "config", "{error:?}");
    assert!(error.message.contains("reports.by_band"), "{error:?}");
    assert!(error.hint.is_some_and(|hint| hint.contains("drop it")));
    // Other actions on the same columns leave the views as they are.
    let mut env = env.claims(&CLAIMS);
    replace(&mut env, "[columns]\namount = { round = '10.00' }");
    assert_eq!(env.rows("SELECT sum(claims)::bigint FROM reports.by_band"), ["4"]);
    assert!(comment(&env, "claims_fact", Some("amount")).contains("multiple of 10.00"));
}

/// Under other actions nothing of before stays in the dimension, not even as a dead row.
#[test]
fn the_dimension_holds_no_name_of_before() {
    let env = env(PROFILES[0]);
    succeeded(&env.run());
    let members = "SELECT count(*) FROM healthcare_analytics.providers_dim";
    assert_eq!(env.rows(members), ["4"]);
    let file = "SELECT pg_relation_filepath('healthcare_analytics.providers_dim')";
    let before = env.rows(file);
    let mut env = env.claims(&["C1,P1,V2,99213,120.00,2023-05-17"]).providers(&PROVIDERS[1..]);
    replace(&mut env, "[columns]\nprovider_id = 'token'");
    assert_eq!(env.rows(members), ["2"], "one, and the unknown member");
    let raw = "SELECT count(*) FROM healthcare_analytics.providers_dim
        WHERE provider_id ~ '^V[0-9]' OR provider_name ~ 'CANARY'";
    assert_eq!(env.rows(raw), ["0"]);
    assert_ne!(env.rows(file), before, "the old rows' file is gone");
}

#[test]
fn the_bands_follow_the_settings() {
    let mut env = env(PROFILES[0]);
    succeeded(&env.run());
    let band = "SELECT string_agg(healthcare_analytics.risk_band(score), ' ' ORDER BY score)
        FROM unnest(ARRAY[4.99, 5, 19.99, 20, 33.3, 50]) AS score";
    assert_eq!(env.rows(band), ["low low low medium medium high"]);
    env.settings.risk.medium_from = 5.0;
    env.settings.risk.high_from = 33.3;
    succeeded(&env.run());
    assert_eq!(env.rows(band), ["low medium medium medium high high"]);
}

#[test]
fn a_claim_says_how_much_of_its_score_could_be_computed() {
    let env = env(PROFILES[0]);
    succeeded(&env.run());
    let shown = "SELECT DISTINCT concat_ws(' ', risk_model_version, risk_stats_version)
        FROM healthcare_analytics.v_claims";
    assert_eq!(env.rows(shown), ["claim_anomaly_v1 1"]);
    let mut client = env.database.connect();
    // Amount and weekend there, all else not; the weights are the run's.
    let packed: i64 =
        (0..6).map(|place| if place % 5 == 0 { 0 } else { 1023 << (10 * place) }).sum();
    client
        .batch_execute(&format!(
            "UPDATE healthcare_analytics.claims_fact SET risk_components = {packed};
             UPDATE claims_etl.runs SET risk_parameters = '{{\"weight_amount\": 0.6, \"weight_duplicate\": 0.5,
                 \"weight_provider\": 0.3, \"weight_volume\": 0.3, \"weight_mismatch\": 0.25,
                 \"weight_weekend\": 0.05}}'"
        ))
        .expect("updated");
    let coverage = "SELECT DISTINCT risk_coverage FROM healthcare_analytics.v_claims";
    assert_eq!(env.rows(coverage), ["0.325"]);
    // A rescore after the run has weights of its own.
    client
        .batch_execute(
            "INSERT INTO claims_etl.risk_rescores (stats_version, model, parameters, rows_changed)
             VALUES ((SELECT max(run_no) FROM claims_etl.runs), 'claim_anomaly_v1', '{\"weight_amount\": 1, \"weight_duplicate\": 0,
                 \"weight_provider\": 0, \"weight_volume\": 0, \"weight_mismatch\": 0,
                 \"weight_weekend\": 0}', 4)",
        )
        .expect("a rescore");
    assert_eq!(env.rows(coverage), ["1.000"]);
    assert_eq!(env.rows(shown), ["claim_anomaly_v1 1"]);
    client
        .batch_execute(
            "UPDATE claims_etl.runs SET risk_parameters = NULL; TRUNCATE claims_etl.risk_rescores",
        )
        .expect("forgotten");
    assert_eq!(env.rows(coverage), ["null"]);
}

#[test]
fn the_default_profile_is_pseudonymized_and_drops_nothing() {
    let env = env("");
    assert_eq!(env.settings.privacy, Privacy::default());
    succeeded(&env.run());
    assert_eq!(env.settings.privacy.shape(), Shape::WHOLE);
    let noted = "SELECT profile || ' ' || (actions ->> 'date_of_service') || cardinality(dropped)
        FROM claims_etl.table_layout";
    assert_eq!(env.rows(noted), ["pseudonymized keep0"]);
}

#[cfg(feature = "failpoints")]
#[test]
fn a_run_that_is_killed_leaves_the_old_shape() {
    use std::os::unix::process::ExitStatusExt;

    use crate::support::process;

    let mut env = env(PROFILES[0]);
    let file = env.path("claims-etl.toml");
    let output = process::output(&mut process::reading(&env, &["run"]));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::write(&file, "[privacy]\nprofile = 'safe_harbor_assist'\n").expect("written");
    let run = |point: &str| {
        let mut run = process::reading(&env, &["run", "--mode", "replace"]);
        if !point.is_empty() {
            run.kill_at(point);
        }
        process::output(&mut run)
    };
    for point in ["publish.detached", "publish.reshaped", "publish.commit"] {
        let output = run(point);
        assert_eq!(output.status.signal(), Some(9), "{point}");
        process::gone(&env.database);
        assert_eq!(
            env.rows("SELECT provider_name FROM healthcare_analytics.v_claims WHERE amount = 120"),
            ["Anna CANARY-name"],
            "{point}"
        );
        let profile = env.rows("SELECT profile FROM claims_etl.table_layout");
        assert_eq!(profile, ["pseudonymized"], "{point}");
        assert!(comment(&env, "claims_fact", None).contains("pseudonymized ("), "{point}");
    }
    let output = run("");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    set(&mut env, PROFILES[2]);
    is_as_configured(&env);
}
