//! What dates are compared with: the day of the run, also when the run is verified on another day.

use claims_etl::commands::verify::recompute;
use claims_etl::commands::verify::report::Verification;
use claims_etl::event::{Cancellation, NullObserver};
use claims_etl::pipeline::{RunSelector, VerifyOptions};

use crate::support::test_env::{TestEnv, succeeded};

/// An id of the first moment of 2020.
const RUN_OF_2020: &str = "016f5e66-e800-7000-8000-000000000000";

fn verified(env: &TestEnv) -> Verification {
    let options = VerifyOptions::default();
    let never = Cancellation::default();
    recompute::verify(&env.settings, options, RunSelector::Last, &NullObserver, &never)
        .expect("verified")
}

#[test]
fn a_verification_has_the_day_of_the_run() {
    let mut env = TestEnv::new().claims(&["A,P1,V1,99213,10.00,2024-06-01"]);
    env.settings.rules.run_date = None;
    // Today decides about this one too.
    env.settings.rules.severity.insert("date_outside_filing_window".into(), "off".into());
    succeeded(&env.run());
    assert!(verified(&env).equal);
    // To a run of 2020 the claim would have been one of the future.
    let older = format!(
        "DELETE FROM claims_etl.task_runs; UPDATE claims_etl.runs SET run_id = '{RUN_OF_2020}'"
    );
    env.database.connect().batch_execute(&older).expect("another id");
    let report = verified(&env);
    assert!(!report.equal);
    let differences: Vec<&String> =
        report.compared.iter().flat_map(|compared| &compared.differences).collect();
    let expected = "reject_reasons.date_in_future: 0 then, 1 now";
    assert!(differences.iter().any(|found| *found == expected), "{differences:?}");
    // A configured day counts for both.
    env.settings.rules.run_date = Some("2024-12-31".into());
    assert!(verified(&env).equal);
}

#[test]
fn the_same_input_on_another_day_is_loaded_already() {
    let mut env = TestEnv::new().claims(&["A,P1,V1,99213,10.00,2024-06-01"]);
    env.settings.rules.run_date = None;
    succeeded(&env.run());
    let older = format!(
        "DELETE FROM claims_etl.task_runs; UPDATE claims_etl.runs SET run_id = '{RUN_OF_2020}'"
    );
    env.database.connect().batch_execute(&older).expect("another id");
    let again = env.run();
    assert_eq!(again.loaded_by.as_deref(), Some(RUN_OF_2020));
    env.settings.rules.run_date = Some("2024-06-30".into());
    succeeded(&env.run());
}
