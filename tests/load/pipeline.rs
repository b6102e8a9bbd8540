//! The run as a whole, against a real Postgres: accounting, modes, no-op, duplicates, refusals.

use std::path::Path;

use claims_etl::commands::quarantine::reasons;
use claims_etl::config::Mode;
use claims_etl::pipeline::{RunOptions, Status};
use claims_etl::rule::OnDuplicate;
use claims_etl::secret::value::Secret;
use claims_etl::totals::Cents;

use crate::support::process::OTHER_KEY;
use crate::support::test_env::{TestEnv, succeeded};

const FACT: &str =
    "SELECT concat_ws('|', provider_id, procedure_code, amount, date_of_service, specialty,
    location, dq_flags) FROM healthcare_analytics.claims_fact
    JOIN healthcare_analytics.providers_dim USING (provider_key) ORDER BY amount, 1";

#[test]
fn every_row_and_cent_is_accounted_for() {
    let env = TestEnv::new()
        .claims(&[
            "C1,P1,V1,0010,26000.00,20090412",
            " C2 ,P2,V1,99213,\"$1,234.56\",2024-10-16",
            "C3,P3,V9,99213,(300.00),10/16/2024",
            "C4,P4,,,0,2023-01-27T16:17:47Z",
            ",P5,V1,99213,5.00,2024-10-16",
            "C6,,V1,99213,6.00,2024-10-16",
            "C7,P7,V1,99213,abc,2024-10-16",
            "C8,P8,V1,99213,,2024-10-16",
            "C9,P9,V1,99213,99999999999.00,2024-10-16",
            "C10,P10,V1,99213,10.00,",
            "C11,P11,V1,99213,11.00,2024-13-45",
            "C1,P1,V1,0010,26000.00,20090412",
            "C2,P2,V1,99213,1234.57,2024-10-16",
        ])
        .providers(&[
            "V1,\"Ann, MD\",Cardiology,\"Boston, MA 02115\"",
            "V1,\"Ann, MD\",Cardiology,\"Boston, MA 02115\"",
        ]);
    let report = env.run();
    succeeded(&report);
    assert_eq!((report.claims.read, report.claims.loaded), (13, 4));
    assert_eq!(
        (report.claims.rejected, report.claims.duplicates, report.claims.conflicts),
        (7, 1, 1)
    );
    assert_eq!(report.amount.loaded, Cents(2_600_000 + 123_457 - 30_000));
    assert_eq!(report.amount.duplicates, Cents(2_600_000));
    assert_eq!(report.amount.conflicts, Cents(123_456));
    assert_eq!(report.amount.rejected, Cents(500 + 600 + 1000 + 1100));
    assert_eq!(report.amount.unparsed_rows, 3);
    assert_eq!(
        (report.providers.read, report.providers.duplicates, report.providers.inferred),
        (2, 1, 1)
    );
    let reasons: Vec<_> = report.reject_reasons.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(
        reasons,
        [
            "amount_missing=1",
            "amount_out_of_range=1",
            "amount_unparseable=1",
            "claim_id_missing=1",
            "date_missing=1",
            "date_unparseable=1",
            "patient_id_missing=1"
        ]
    );
    assert_eq!(
        env.rows(FACT),
        [
            "V9|99213|-300.00|2024-10-16|10",
            "(unknown)|0.00|2023-01-27|5",
            "V1|99213|1234.57|2024-10-16|Cardiology|Boston, MA 02115|0",
            "V1|0010|26000.00|2009-04-12|Cardiology|Boston, MA 02115|32768",
        ]
    );
    let members = "SELECT concat_ws('|', provider_id, provider_name, is_placeholder)
        FROM healthcare_analytics.providers_dim ORDER BY 1";
    assert_eq!(env.rows(members), ["(unknown)|Unknown provider|f", "V1|Ann, MD|f", "V9|t"]);
    let ledger =
        "SELECT concat_ws('|', status, claims_read, claims_loaded, amount_read, amount_loaded)
        FROM claims_etl.runs";
    assert_eq!(env.rows(ledger), ["success|13|4|54201.13|26934.57"]);
    let leftovers = "SELECT relname FROM pg_class WHERE relname LIKE '%stage%'";
    assert_eq!(env.rows(leftovers), [] as [&str; 0]);
    let tasks = "SELECT task_id || ' ' || state FROM claims_etl.task_runs ORDER BY started_at, 1";
    assert_eq!(env.rows(tasks).len(), 5);
    assert_eq!(env.rows(tasks).last().map(String::as_str), Some("load.refresh_bi success"));
}

#[test]
fn rejects_lead_back_to_the_source() {
    let env = TestEnv::new().claims(&["C1,P1,V1,1,1.00,2024-01-01", "C2,P2,V1,1,x,2024-01-01"]);
    let report = env.run();
    succeeded(&report);
    let run =
        report.run_id.parse().ok().and_then(|id: String| claims_etl::event::RunId::parse(&id).ok());
    let rejects = reasons::quarantine(&env.settings, run.expect("an id")).expect("readable");
    assert_eq!(rejects.len(), 1);
    let reject = rejects.iter().next().expect("one");
    assert_eq!(
        (reject.record, reject.why.column.as_str(), reject.why.reason.as_str()),
        (2, "amount", "amount_unparseable")
    );
    assert!(reject.source.ends_with("claims.csv"));
    assert!(reject.fingerprint.is_some());
    assert_eq!(reject.source_fingerprint.len(), 64);
}

#[test]
fn the_same_input_again_is_a_no_op_that_says_so() {
    let env = TestEnv::new().claims(&["C1,P1,V1,1,1.00,2024-01-01"]);
    let first = env.run();
    succeeded(&first);
    let second = env.run();
    assert_eq!((second.status, second.exit_code), (Status::AlreadyLoaded, 0));
    assert_eq!(second.loaded_by.as_ref(), Some(&first.run_id));
    let states: Vec<_> = second.tasks.iter().map(|task| task.state).collect();
    assert_eq!(states, ["success", "success", "success", "skipped", "skipped"]);
    let forced = env.run_with(&RunOptions { force: true, dry_run: false });
    succeeded(&forced);
    assert_eq!((forced.claims.unchanged, forced.claims.inserted), (1, 0));
}

#[test]
fn merge_inserts_updates_and_leaves_equal_rows_alone() {
    let env = TestEnv::new().claims(&["A,P,V1,1,1.00,2024-01-01", "B,P,V1,1,2.00,2024-01-01"]);
    succeeded(&env.run());
    let identity = "SELECT 'healthcare_analytics.claims_fact'::regclass::oid";
    let before = env.rows(identity);
    let env = env.claims(&[
        "A,P,V1,1,1.0,01/01/2024",
        "B,P,V1,1,2.50,2024-01-01",
        "C,P,V1,1,3.00,2024-01-01",
    ]);
    let report = env.run();
    succeeded(&report);
    let counts = (report.claims.inserted, report.claims.updated, report.claims.unchanged);
    assert_eq!(counts, (1, 1, 1));
    let fact =
        "SELECT amount || ' ' || run_no FROM healthcare_analytics.claims_fact ORDER BY amount";
    assert_eq!(env.rows(fact), ["1.00 1", "2.50 2", "3.00 2"]);
    assert_eq!(env.rows(identity), before);
}

#[test]
fn replace_keeps_the_identity_of_the_table_and_its_views() {
    let mut env = TestEnv::new().claims(&["A,P,V1,1,1.00,2024-01-01", "B,P,V1,1,2.00,2024-01-01"]);
    succeeded(&env.run());
    env.database
        .connect()
        .batch_execute(
            "CREATE VIEW mine AS SELECT sum(amount) AS total FROM healthcare_analytics.claims_fact",
        )
        .expect("a view");
    env.settings.warehouse.mode = Mode::Replace;
    let env = env.claims(&["C,P,V1,1,7.00,2024-01-01"]);
    let report = env.run();
    succeeded(&report);
    assert_eq!(report.claims.inserted, 1);
    assert_eq!(env.rows("SELECT total FROM mine"), ["7.00"]);
    let back = env.claims(&["A,P,V1,1,1.00,2024-01-01", "B,P,V1,1,2.00,2024-01-01"]);
    let again = back.run();
    succeeded(&again);
    assert_eq!(back.rows("SELECT total FROM mine"), ["3.00"], "replaced content is loaded again");
}

#[test]
fn append_refuses_claims_that_are_there() {
    let mut env = TestEnv::new().claims(&["A,P,V1,1,1.00,2024-01-01"]);
    succeeded(&env.run());
    env.settings.warehouse.mode = Mode::Append;
    let env = env.claims(&["B,P,V1,1,2.00,2024-01-01"]);
    succeeded(&env.run());
    let env = env.claims(&["B,P,V1,1,9.00,2024-01-01", "C,P,V1,1,3.00,2024-01-01"]);
    let report = env.run();
    assert_eq!((report.status, report.exit_code), (Status::Failed, 4));
    let fact = "SELECT amount FROM healthcare_analytics.claims_fact ORDER BY amount";
    assert_eq!(env.rows(fact), ["1.00", "2.00"]);
}

#[test]
fn a_policy_decides_between_rows_of_one_key() {
    for (policy, amounts, rejected, conflicts) in [
        (OnDuplicate::Last, vec!["3.00", "9.00"], 0, 2),
        (OnDuplicate::First, vec!["1.00", "9.00"], 0, 2),
        (OnDuplicate::Reject, vec!["9.00"], 3, 0),
    ] {
        let mut env = TestEnv::new().claims(&[
            "A,P,V1,1,1.00,2024-01-01",
            "B,P,V1,1,9.00,2024-01-01",
            "A,P,V1,1,2.00,2024-01-01",
            "B,P,V1,1,9.00,2024-01-01",
            "A,P,V1,1,3.00,2024-01-01",
        ]);
        env.settings.warehouse.on_duplicate = Some(policy);
        let report = env.run();
        succeeded(&report);
        assert_eq!(
            env.rows("SELECT amount FROM healthcare_analytics.claims_fact ORDER BY 1"),
            amounts,
            "{policy:?}"
        );
        assert_eq!(
            (report.claims.rejected, report.claims.duplicates, report.claims.conflicts),
            (rejected, 1, conflicts),
            "{policy:?}"
        );
    }
}

#[test]
fn a_code_that_swallowed_a_record_is_rejected() {
    let overlong = format!("C3,P3,{},1,3.00,2024-01-01", "V".repeat(8_000));
    let env = TestEnv::new().claims(&[
        "C1,P1,\"V1,1,1.00,2024-01-01",
        "C2,SECRET-PATIENT,V2\",1,2.00,2024-01-01",
        &overlong,
        "C4,P4,V4,\"9\t9\",4.00,2024-01-01",
        "C5,P5,V5,99213,5.00,2024-01-01",
    ]);
    let report = env.run();
    succeeded(&report);
    let reasons: Vec<_> = report.reject_reasons.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(reasons, ["procedure_code_invalid=1", "provider_id_invalid=2"]);
    assert_eq!(report.claims.loaded, 1);
    let everywhere = "SELECT count(*) FROM healthcare_analytics.providers_dim d
        WHERE d::text LIKE '%SECRET%' OR length(d::text) > 1000";
    assert_eq!(env.rows(everywhere), ["0"]);
}

#[test]
fn line_numbers_are_part_of_the_key() {
    let env = TestEnv::new();
    let path = env.write(
        "lines.csv",
        "\u{feff}Claim_ID,line_number,patient_id,provider_id,procedure_code,amount,date_of_service,extra",
        &["A,1,P,V1,1,1.00,2024-01-01,x", "A,2,P,V1,1,2.00,2024-01-01,y", "A,-1,P,V1,1,3.00,2024-01-01,z"],
    );
    let mut env = env;
    env.settings.claims.sources = vec![path];
    let report = env.run();
    succeeded(&report);
    assert_eq!((report.claims.loaded, report.claims.rejected), (2, 1));
}

#[test]
fn a_late_directory_completes_inferred_members() {
    let env = TestEnv::new().claims(&["A,P,V7,1,1.00,2024-01-01"]);
    succeeded(&env.run());
    let member =
        "SELECT concat_ws('|', provider_name, is_placeholder) FROM healthcare_analytics.providers_dim
        WHERE provider_id = 'V7'";
    assert_eq!(env.rows(member), ["t"]);
    let env = env.providers(&["V7,Late,Radiology,X"]);
    succeeded(&env.run());
    assert_eq!(env.rows(member), ["Late|f"]);
}

#[test]
fn too_many_rejects_publish_nothing() {
    let mut env = TestEnv::new().claims(&["A,P,V1,1,1.00,2024-01-01", "B,P,V1,1,x,2024-01-01"]);
    env.settings.quality.max_reject_ratio = 0.4;
    let report = env.run();
    assert_eq!((report.status, report.exit_code), (Status::Failed, 4));
    assert!(report.places.quarantine.as_deref().is_some_and(Path::exists));
    assert_eq!(env.rows("SELECT count(*) FROM healthcare_analytics.claims_fact"), ["0"]);
    assert_eq!(env.rows("SELECT status FROM claims_etl.runs"), ["failed"]);
    assert_eq!(
        env.rows("SELECT relname FROM pg_class WHERE relname LIKE '%stage%'"),
        [] as [&str; 0]
    );
    env.settings.quality.max_reject_ratio = 0.5;
    env.settings.quality.max_reject_rows = Some(0);
    assert_eq!(env.run().exit_code, 4);
    env.settings.quality.max_reject_rows = Some(1);
    succeeded(&env.run());
}

#[test]
fn another_key_is_refused() {
    let mut env = TestEnv::new().claims(&["A,P,V1,1,1.00,2024-01-01"]);
    succeeded(&env.run());
    env.settings.privacy.key = Some(Secret::new(OTHER_KEY));
    let report = env.run();
    assert_eq!(report.exit_code, 2);
    let message = report.error.expect("an error").message;
    assert!(message.contains("key"), "{message}");
}

#[test]
fn a_second_run_at_once_is_refused() {
    let env = TestEnv::new().claims(&["A,P,V1,1,1.00,2024-01-01"]);
    succeeded(&env.run());
    let mut holder = env.database.connect();
    // "claimetl", the run lock's number.
    holder.batch_execute("SELECT pg_advisory_lock(x'636c61696d65746c'::bigint)").expect("locked");
    let report = env.run();
    assert_eq!(report.exit_code, 75, "{:?}", report.error);
}

#[test]
fn an_input_whose_rows_were_changed_since_is_loaded_again() {
    let row = |cents: u32| format!("A,P,V1,1,1.{cents:02},2024-01-01");
    let mut env = TestEnv::new().claims(&[&row(10)]);
    succeeded(&env.run());
    env = env.claims(&[&row(20)]);
    succeeded(&env.run());
    env = env.claims(&[&row(10)]);
    let again = env.run();
    assert_eq!((again.status, again.claims.updated), (Status::Success, 1));
    assert_eq!(env.rows("SELECT amount FROM healthcare_analytics.claims_fact"), ["1.10"]);
    assert_eq!(env.run().status, Status::AlreadyLoaded);
}

#[test]
fn leftovers_of_a_dead_run_are_removed() {
    let env = TestEnv::new().claims(&["A,P,V1,1,1.00,2024-01-01"]);
    succeeded(&env.run());
    env.database
        .connect()
        .batch_execute(
            "CREATE TABLE claims_etl.claims_stage_1_0 (x int); CREATE TABLE claims_etl.providers_stage_1 (x int);
             INSERT INTO claims_etl.runs (run_id, status, tool_version, mode, key_id, config_digest)
             VALUES (gen_random_uuid(), 'running', '0', 'merge', 'k', 'd')",
        )
        .expect("leftovers");
    assert_eq!(env.run().status, Status::AlreadyLoaded);
    assert_eq!(
        env.rows("SELECT relname FROM pg_class WHERE relname LIKE '%stage%'"),
        [] as [&str; 0]
    );
    let statuses = "SELECT status FROM claims_etl.runs ORDER BY run_no";
    assert_eq!(env.rows(statuses), ["success", "failed", "already_loaded"]);
}

#[test]
fn a_dry_run_counts_and_touches_nothing() {
    let env = TestEnv::new().claims(&["A,P,V1,1,1.00,2024-01-01", "B,P,V1,1,x,2024-01-01"]);
    let report = env.run_with(&RunOptions { force: false, dry_run: true });
    assert_eq!(report.status, Status::Success, "{:?}", report.error);
    assert_eq!((report.claims.read, report.claims.rejected), (2, 1));
    assert_eq!(env.rows("SELECT count(*) FROM pg_namespace WHERE nspname = 'claims_etl'"), ["0"]);
    assert!(!env.settings.quarantine_dir().exists());
}

#[test]
fn the_tables_are_those_of_the_contract() {
    let env = TestEnv::new().claims(&["A,P,V1,1,1.00,2024-01-01"]);
    succeeded(&env.run());
    let mut expected: Vec<String> =
        claims_etl::schema::fact_columns(claims_etl::schema::Shape::WHOLE)
            .iter()
            .map(|c| format!("{} {} {}", c.name, c.postgres, !c.nullable))
            .collect();
    let after_flags = 1 + expected.iter().position(|c| c.starts_with("dq_flags")).expect("flags");
    expected.insert(after_flags, "run_no integer true".into());
    let actual = "SELECT attname || ' ' || format_type(atttypid, atttypmod) || ' ' || attnotnull
        FROM pg_attribute WHERE attrelid = 'healthcare_analytics.claims_fact'::regclass AND attnum > 0
        AND NOT attisdropped ORDER BY attnum";
    assert_eq!(env.rows(actual), expected);
}
