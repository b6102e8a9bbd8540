//! What dead runs leave behind: the next run that succeeds clears it away, also where it finds nothing to do.

use std::fs;

use claims_etl::event::RunId;
use claims_etl::pipeline::Status;
use claims_etl::quarantine;

use crate::support::paused_run::Paused;
use crate::support::process::{self, gone};
use crate::support::test_env::{Desk, succeeded};

const CLAIMS: [&str; 2] = ["A,P,V1,99213,1.25,2024-01-01", "B,P,V1,99213,much,2024-01-02"];

fn desk() -> Desk {
    let mut desk = Desk::new().claims(&CLAIMS).providers(&["V1,Ada,Cardiology,Here"]);
    desk.settings.privacy.key = Some(claims_etl::secret::value::Secret::new(process::KEY));
    desk
}

/// The unfinished file of a run.
fn partial(desk: &Desk, run: RunId) -> std::path::PathBuf {
    quarantine::path(&desk.settings.quarantine_dir(), run).with_extension("parquet.partial")
}

#[test]
fn a_success_without_work_clears_away_what_dead_runs_left() {
    let desk = desk();
    succeeded(&desk.run());
    // A run that is killed among its rejects, and one of another warehouse with the same folder.
    let mut killed = process::reading(&desk, &["run", "--force"]);
    let output = process::output(killed.env("CLAIMS_ETL_FAILPOINT", "first_pass.done=kill"));
    assert_eq!(output.status.code(), None);
    gone(&desk.database);
    let dead = desk.rows("SELECT run_id FROM claims_etl.runs WHERE status = 'running'");
    let dead = RunId::parse(&dead.concat()).expect("a run");
    assert!(partial(&desk, dead).exists());
    let foreign = RunId::now();
    fs::write(partial(&desk, foreign), "x").expect("written");
    // It was waiting for another try of its first task, and at its second.
    let waiting = format!(
        "UPDATE claims_etl.task_runs SET state = 'up_for_retry' WHERE run_id = '{dead}'
             AND task_id = 'extract.extract_claims'"
    );
    desk.database.connect().batch_execute(&waiting).expect("an update");

    let report = desk.run();
    assert_eq!(report.status, Status::AlreadyLoaded, "{:?}", report.error);
    let open =
        "SELECT count(*) FROM claims_etl.task_runs WHERE state IN ('running', 'up_for_retry')";
    assert_eq!(desk.rows(open), ["0"]);
    assert!(!partial(&desk, dead).exists());
    assert!(partial(&desk, foreign).exists(), "its run may be at work");
}

const STAGED: &str = "SELECT relname FROM pg_class WHERE relname ~ '_stage_' AND relkind = 'r'";

#[test]
fn what_the_server_finishes_for_a_killed_rescore_is_cleared_away_too() {
    let desk = desk();
    succeeded(&desk.run());
    let mut rescore = process::command(&desk);
    rescore.args(["risk", "rescore"]).env("CLAIMS_ETL_FAILPOINT", "rescore.scored=kill");
    assert_eq!(process::output(&mut rescore).status.code(), None);
    gone(&desk.database);
    let left = desk.rows(STAGED);
    assert!(!left.is_empty());
    // A statement of the dead process ends when the next run is under way already.
    let late = format!("CREATE TABLE claims_etl.{} ()", left[0]);
    let mut run = process::reading(&desk, &["run", "--force"]);
    let paused = Paused::at(&desk, &mut run, "transform.done");
    desk.database.connect().batch_execute(&late).expect("a table");
    let (status, said) = paused.go_on().end();
    assert_eq!(status.code(), Some(0), "{said}");
    assert_eq!(desk.rows(STAGED), [] as [&str; 0]);
}

#[test]
fn a_try_that_was_followed_by_another_stays_what_it_was() {
    let desk = desk();
    let mut run = process::reading(&desk, &["run"]);
    let output = process::output(run.env("CLAIMS_ETL_FAILPOINT", "publish.before=error"));
    assert_eq!(output.status.code(), Some(0));
    let tries = "SELECT try_number || ' ' || state FROM claims_etl.task_runs
        WHERE task_id = 'load.load_warehouse' AND try_number > 0 ORDER BY try_number";
    assert_eq!(desk.rows(tries), ["1 up_for_retry", "2 success"]);
    assert_eq!(desk.run().status, Status::AlreadyLoaded);
    assert_eq!(desk.rows(tries), ["1 up_for_retry", "2 success"]);
}
