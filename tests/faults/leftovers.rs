//! What dead runs leave behind: the next run that succeeds clears it away, also where it finds nothing to do.

use std::fs;

use claims_etl::event::RunId;
use claims_etl::pipeline::Status;
use claims_etl::quarantine;

use crate::support::failpoints::Failpoints as _;
use crate::support::paused_run::Paused;
use crate::support::process::{self, gone};
use crate::support::test_env::{TestEnv, succeeded};

const CLAIMS: [&str; 2] = ["A,P,V1,99213,1.25,2024-01-01", "B,P,V1,99213,much,2024-01-02"];

fn env() -> TestEnv {
    let mut env = TestEnv::new().claims(&CLAIMS).providers(&["V1,Ada,Cardiology,Here"]);
    env.settings.privacy.key = Some(claims_etl::secret::value::Secret::new(process::KEY));
    env
}

/// The unfinished file of a run.
fn partial(env: &TestEnv, run: RunId) -> std::path::PathBuf {
    quarantine::path(&env.settings.quarantine_dir(), run).with_extension("parquet.partial")
}

#[test]
fn a_success_without_work_clears_away_what_dead_runs_left() {
    let env = env();
    succeeded(&env.run());
    // A run that is killed among its rejects, and one of another warehouse with the same folder.
    let mut killed = process::reading(&env, &["run", "--force"]);
    let output = process::output(killed.kill_at("first_pass.done"));
    assert_eq!(output.status.code(), None);
    gone(&env.database);
    let dead = env.rows("SELECT run_id FROM claims_etl.runs WHERE status = 'running'");
    let dead = RunId::parse(&dead.concat()).expect("a run");
    assert!(partial(&env, dead).exists());
    let foreign = RunId::now();
    fs::write(partial(&env, foreign), "x").expect("written");
    // It was waiting for another try of its first task, and at its second.
    let waiting = format!(
        "UPDATE claims_etl.task_runs SET state = 'up_for_retry' WHERE run_id = '{dead}'
             AND task_id = 'extract.extract_claims'"
    );
    env.database.connect().batch_execute(&waiting).expect("an update");

    let report = env.run();
    assert_eq!(report.status, Status::AlreadyLoaded, "{:?}", report.error);
    let open =
        "SELECT count(*) FROM claims_etl.task_runs WHERE state IN ('running', 'up_for_retry')";
    assert_eq!(env.rows(open), ["0"]);
    assert!(!partial(&env, dead).exists());
    assert!(partial(&env, foreign).exists(), "its run may be at work");
}

const STAGED: &str = "SELECT relname FROM pg_class WHERE relname ~ '_stage_' AND relkind = 'r'";

#[test]
fn what_the_server_finishes_for_a_killed_rescore_is_cleared_away_too() {
    let env = env();
    succeeded(&env.run());
    let mut rescore = process::command(&env);
    rescore.args(["risk", "rescore"]).kill_at("rescore.scored");
    assert_eq!(process::output(&mut rescore).status.code(), None);
    gone(&env.database);
    let left = env.rows(STAGED);
    assert!(!left.is_empty());
    // A statement of the dead process ends when the next run is under way already.
    let late = format!("CREATE TABLE claims_etl.{} ()", left[0]);
    let mut run = process::reading(&env, &["run", "--force"]);
    let paused = Paused::at(&env, &mut run, "transform.done");
    env.database.connect().batch_execute(&late).expect("a table");
    let (status, printed) = paused.go_on().end();
    assert_eq!(status.code(), Some(0), "{printed}");
    assert_eq!(env.rows(STAGED), [] as [&str; 0]);
}

#[test]
fn a_try_that_was_followed_by_another_stays_what_it_was() {
    let env = env();
    let mut run = process::reading(&env, &["run"]);
    let output = process::output(run.once_at("publish.before", "error"));
    assert_eq!(output.status.code(), Some(0));
    let tries = "SELECT try_number || ' ' || state FROM claims_etl.task_runs
        WHERE task_id = 'load.load_warehouse' AND try_number > 0 ORDER BY try_number";
    assert_eq!(env.rows(tries), ["1 up_for_retry", "2 success"]);
    assert_eq!(env.run().status, Status::AlreadyLoaded);
    assert_eq!(env.rows(tries), ["1 up_for_retry", "2 success"]);
}
