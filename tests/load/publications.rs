//! What was published last counts, not what was begun last: two runs that overlap, a directory that goes
//! back and forth, a setting that changes what is read.

use claims_etl::commands::risk::rescore;
use claims_etl::commands::verify::recompute;
use claims_etl::commands::verify::report::Verification;
use claims_etl::config::Mode;
use claims_etl::event::{Cancellation, NullObserver};
use claims_etl::pipeline;
use claims_etl::pipeline::{
    RunName, RunOptions, RunReport, RunSelector, Status, Task, VerifyOptions,
};

use crate::support::test_env::{TestEnv, succeeded};

const NAME: &str = "etl/slow";
const FIRST: [&str; 2] = ["X,P,V1,99213,1.00,2024-01-01", "Y,P,V1,99213,5.00,2024-01-01"];
const SECOND: [&str; 1] = ["X,P,V1,99213,2.00,2024-01-01"];
const DIRECTORY: [&str; 1] = ["V1,Ada,Cardiology,Here"];

/// An environment with other claims.
fn with(env: TestEnv, claims: &[&str]) -> TestEnv {
    env.claims(claims)
}

fn task(env: &TestEnv, task: Task) {
    let name = RunName::parse(NAME).expect("a name");
    let (options, cancel) = (RunOptions::default(), Cancellation::default());
    let end = pipeline::run_task(&env.settings, &options, task, &name, &NullObserver, &cancel);
    assert_eq!(end.exit_code, 0, "{:?}", end.error);
}

/// A run whose tasks are called one by one: begun first, published last. `meanwhile` lies between.
fn overlapping(env: TestEnv, meanwhile: impl FnOnce(TestEnv) -> TestEnv) -> TestEnv {
    for which in [Task::ExtractClaims, Task::ExtractProviders, Task::TransformJoin] {
        task(&env, which);
    }
    let env = with(meanwhile(env), &FIRST);
    task(&env, Task::LoadWarehouse);
    env
}

fn nothing_to_do(report: &RunReport) {
    assert_eq!(report.status, Status::AlreadyLoaded, "{:?}", report.error);
}

const AMOUNTS: &str = "SELECT string_agg(amount::text, ' ' ORDER BY amount)
    FROM healthcare_analytics.claims_fact";
/// The runs in the order of their publications, numbered as they began.
const ORDER: &str = "SELECT string_agg(begun::text, ' ' ORDER BY publish_no)
    FROM (SELECT publish_no, rank() OVER (ORDER BY run_no) AS begun FROM claims_etl.runs) r";

#[test]
fn what_a_run_that_began_earlier_has_overwritten_is_loaded_again() {
    for (mode, slow, amounts) in [
        (Mode::Merge, Mode::Merge, ["1.00 5.00", "2.00 5.00"]),
        (Mode::Merge, Mode::Replace, ["1.00 5.00", "2.00 5.00"]),
        (Mode::Replace, Mode::Merge, ["1.00 5.00", "2.00"]),
    ] {
        let mut env = TestEnv::new().claims(&FIRST).providers(&DIRECTORY);
        env.settings.warehouse.mode = slow;
        let env = overlapping(env, |env| {
            let mut env = with(env, &SECOND);
            env.settings.warehouse.mode = mode;
            succeeded(&env.run());
            env.settings.warehouse.mode = slow;
            env
        });
        assert_eq!(env.rows(ORDER), ["2 1"], "{mode:?} {slow:?}");
        assert_eq!(env.rows(AMOUNTS), [amounts[0]], "the run that published last wins");
        // The input of the other one is not what is published any more.
        let mut env = with(env, &SECOND);
        env.settings.warehouse.mode = mode;
        let again = env.run();
        succeeded(&again);
        assert_eq!(env.rows(AMOUNTS), [amounts[1]], "{mode:?} {slow:?}");
        nothing_to_do(&env.run());
        // And so it is with the first one.
        let mut env = with(env, &FIRST);
        env.settings.warehouse.mode = slow;
        succeeded(&env.run());
        assert_eq!(env.rows(AMOUNTS), [amounts[0]], "{mode:?} {slow:?}");
        nothing_to_do(&env.run());
    }
}

fn verify(env: &TestEnv, run: &str) -> Verification {
    let which = RunSelector::parse(run).expect("a run");
    let (options, cancel) = (VerifyOptions::default(), Cancellation::default());
    recompute::verify(&env.settings, options, which, &NullObserver, &cancel).expect("verified")
}

#[test]
fn whoever_looks_at_the_last_run_sees_the_one_that_published_last() {
    let mut env = TestEnv::new().claims(&FIRST).providers(&DIRECTORY);
    env.settings.quality.max_row_change = Some(0.0);
    let mut fast = None;
    let env = overlapping(env, |env| {
        let mut env = with(env, &SECOND);
        env.settings.risk.medium_from = 1.0;
        let report = env.run();
        succeeded(&report);
        fast = Some(report.run_id);
        let rescored =
            rescore::rescore(&env.settings, false, &NullObserver, &Cancellation::default());
        assert!(rescored.expect("rescored").stats_version > 1);
        env.settings.risk.medium_from = 20.0;
        // One claim was read then, two are now.
        env.settings.quality.max_row_change = None;
        env
    });
    let slow = RunName::parse(NAME).expect("a name").id().to_string();
    let fast = fast.expect("a run");
    // A row that a run has written which published later is that run's business.
    let env = with(env, &SECOND);
    let counts = verify(&env, &fast).claims.expect("compared");
    assert_eq!((counts.superseded, counts.differing, counts.missing), (1, 0, 0), "{counts:?}");
    let mut env = with(env, &FIRST);
    let report = verify(&env, &slow);
    assert!(report.equal, "{report:#?}");
    // Its rows are scored as the run says, not as the rescore before it.
    let versions = "SELECT DISTINCT risk_stats_version FROM healthcare_analytics.v_claims";
    assert_eq!(env.rows(versions), ["1"]);
    // The dashboards are to show it, and the limits compare with it: two claims, not one.
    let name = RunName::parse(NAME).expect("a name");
    task(&env, Task::RefreshBi);
    let page = std::fs::read_to_string(env.settings.dashboard_path()).expect("a page");
    assert!(page.contains(&name.id().to_string()) && !page.contains(&fast), "{fast}");
    let shown = "SELECT DISTINCT refreshed_run_no FROM claims_etl.refresh_outbox";
    assert_eq!(env.rows(shown), ["1"]);
    env.settings.quality.max_row_change = Some(0.0);
    let env = with(env, &["X,P,V1,99213,3.00,2024-01-01", "Z,P,V1,99213,4.00,2024-01-01"]);
    succeeded(&env.run());
    assert_eq!(env.rows(ORDER), ["2 1 3"]);
}

#[test]
fn a_directory_that_comes_back_is_loaded_again() {
    let name = "SELECT provider_name FROM healthcare_analytics.providers_dim
        WHERE provider_id = 'V1' AND is_current";
    let good = ["V1,Good,Cardiology,Here", "V2,Other,Cardiology,Here"];
    let bad = ["V1,Bad,Cardiology,Here", "V2,Other,Cardiology,Here"];
    let env = TestEnv::new().claims(&FIRST).providers(&good);
    succeeded(&env.run());
    let env = with(env, &["Z,P,V2,99213,4.00,2024-01-01"]).providers(&bad);
    succeeded(&env.run());
    assert_eq!(env.rows(name), ["Bad"]);
    let env = with(env, &FIRST).providers(&good);
    succeeded(&env.run());
    assert_eq!(env.rows(name), ["Good"]);
    nothing_to_do(&env.run());
    let updated = "SELECT string_agg(providers_updated::text, ' ' ORDER BY publish_no)
        FROM claims_etl.runs";
    assert_eq!(env.rows(updated), ["0 1 1"]);
}

#[test]
fn new_providers_and_completed_ones_leave_those_of_another_directory() {
    let env = TestEnv::new().claims(&FIRST).providers(&DIRECTORY);
    succeeded(&env.run());
    // A provider that only a claim names, and then a directory that completes it and adds one.
    let env = with(env, &["Z,P,V7,99213,4.00,2024-01-01"]);
    succeeded(&env.run());
    let env = with(env, &["W,P,V1,99213,4.00,2024-01-01"]).providers(&[
        "V1,Ada,Cardiology,Here",
        "V7,New,Surgery,There",
        "V8,More,Surgery,There",
    ]);
    succeeded(&env.run());
    let updated = "SELECT sum(providers_updated) FROM claims_etl.runs";
    assert_eq!(env.rows(updated), ["0"]);
    nothing_to_do(&with(env, &FIRST).providers(&DIRECTORY).run());
}

#[test]
fn a_setting_that_changes_what_is_read_is_no_nothing_to_do() {
    let mut env = TestEnv::new()
        .claims(&["#X,P,V1,99213,1.00,2024-01-01", "Y,P,V1,99213,5.00,2024-01-01"])
        .providers(&["V1,Andr\u{e9},Cardiology,Here"]);
    succeeded(&env.run());
    assert_eq!(env.rows(AMOUNTS), ["1.00 5.00"]);
    env.settings.warehouse.mode = Mode::Replace;
    env.settings.claims.comment = Some('#');
    succeeded(&env.run());
    assert_eq!(env.rows(AMOUNTS), ["5.00"]);
    env.settings.providers.encoding = "windows-1252".into();
    succeeded(&env.run());
    let name =
        "SELECT provider_name FROM healthcare_analytics.providers_dim WHERE provider_id = 'V1'";
    assert_eq!(env.rows(name), ["Andr\u{c3}\u{a9}"]);
    nothing_to_do(&env.run());
}
