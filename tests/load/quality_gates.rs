//! The circuit breakers through real runs: what is out of line with the run before is not published,
//! unless somebody insists.

use claims_etl::config::{Mode, Settings};
use claims_etl::pipeline::{RunOptions, RunReport, Status};

use crate::support::test_env::{TestEnv, succeeded};

/// Four claims of 10.00, one of them of a provider that is not in the directory.
const BEFORE: [&str; 4] = [
    "A,P1,V1,99213,10.00,2024-06-01",
    "B,P2,V1,99213,10.00,2024-06-02",
    "C,P3,V1,99213,10.00,2024-06-03",
    "D,P4,V9,99213,10.00,2024-06-04",
];

fn env() -> TestEnv {
    let mut env = TestEnv::new().claims(&BEFORE).providers(&["V1,Ann,Cardiology,Boston"]);
    env.settings.refresh.dashboard.enabled = false;
    env.settings.refresh.provider_month.enabled = false;
    env
}

/// The message of a run that must have been refused and have left everything as it was.
fn refusal(env: &TestEnv, report: &RunReport) -> String {
    assert_eq!((report.status, report.exit_code), (Status::Failed, 4), "{:?}", report.error);
    let published = "SELECT count(*) || ' ' || sum(amount) FROM healthcare_analytics.claims_fact";
    assert_eq!(env.rows(published), ["4 40.00"]);
    let staged = "SELECT relname FROM pg_class WHERE relname LIKE '%stage%'";
    assert_eq!(env.rows(staged), [] as [&str; 0]);
    let error = report.error.as_ref().expect("an error");
    assert_eq!(error.kind, "quality");
    assert!(error.hint.as_ref().is_some_and(|hint| hint.contains("--force")), "{error:?}");
    error.message.clone()
}

#[test]
fn a_figure_out_of_line_stops_the_run_and_force_publishes_it() {
    type Limit = fn(&mut Settings);
    let cases: [(&str, Limit, &[&str]); 5] = [
        (
            "claims read 1 now, 4 then, a change of 75.0 %, but quality.max_row_change is 0.5",
            |settings| settings.quality.max_row_change = Some(0.5),
            &["E,P1,V1,99213,40.00,2024-06-01"],
        ),
        (
            "amount read 80.01 now, 40.00 then, a change of 100.0 %, but quality.max_amount_change is 1",
            |settings| settings.quality.max_amount_change = Some(1.0),
            &["E,P1,V1,99213,80.01,2024-06-01"],
        ),
        (
            "share of claims whose provider is not in the directory 50.0 % now, 25.0 % then, but \
             quality.max_orphan_change is 0.2",
            |settings| settings.quality.max_orphan_change = Some(0.2),
            &["E,P1,V1,99213,10.00,2024-06-01", "F,P2,V8,99213,10.00,2024-06-01"],
        ),
        (
            "share of claims without a provider 100.0 % now, 0.0 % then, but \
             quality.max_null_change is 0.1",
            |settings| settings.quality.max_null_change = Some(0.1),
            &["E,P1,,99213,10.00,2024-06-01"],
        ),
        (
            "share of claims without a procedure 100.0 % now, 0.0 % then, but \
             quality.max_null_change is 0.1",
            |settings| settings.quality.max_null_change = Some(0.1),
            &["E,P1,V1,,10.00,2024-06-01"],
        ),
    ];
    for (expected, limit, claims) in cases {
        let env = env();
        let first = env.run();
        succeeded(&first);
        let mut env = env.claims(claims);
        limit(&mut env.settings);
        let refused = refusal(&env, &env.run());
        let run = &first.run_id;
        let expected = format!(
            "load.load_warehouse: out of line with run {run}: {expected}; nothing was published"
        );
        assert_eq!(refused, expected);
        succeeded(&env.run_with(&RunOptions { force: true, dry_run: false }));
    }
}

#[test]
fn what_is_within_the_limits_is_published() {
    let mut env = env();
    let quality = &mut env.settings.quality;
    (quality.max_row_change, quality.max_amount_change) = (Some(0.5), Some(0.5));
    (quality.max_orphan_change, quality.max_null_change) = (Some(0.25), Some(0.0));
    succeeded(&env.run());
    let env = env.claims(&["E,P1,V1,99213,10.00,2024-06-01", "F,P2,V1,99213,10.00,2024-06-01"]);
    succeeded(&env.run());
}

#[test]
fn nothing_replaces_published_claims_by_nothing() {
    let env = env();
    succeeded(&env.run());
    let mut env = env;
    env.settings.warehouse.mode = Mode::Replace;
    for claims in [&[][..], &["E,P1,V1,99213,much,2024-06-01"]] {
        env = env.claims(claims);
        let message = refusal(&env, &env.run());
        assert!(message.contains("no claim of the input was accepted"), "{message}");
    }
    let env = env.claims(&[]);
    succeeded(&env.run_with(&RunOptions { force: true, dry_run: false }));
    assert_eq!(env.rows("SELECT count(*) FROM healthcare_analytics.claims_fact"), ["0"]);
    // Where nothing is published, nothing can be lost.
    let empty = env.run_with(&RunOptions { force: false, dry_run: false });
    assert!(matches!(empty.status, Status::Success | Status::AlreadyLoaded), "{:?}", empty.error);
}
