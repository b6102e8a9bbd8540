//! The server breaks down under a run: a backend is killed, which takes all others with it, or the
//! whole server is.

use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::correction::{Correction, retries, run};
use crate::support::own_server::{patient_client, signal};
use crate::support::paused_run::Paused;
use crate::support::process::gone;
use crate::support::test_env::TestEnv;

/// Claims enough for two batches on the way.
const CLAIMS: u32 = 3_000;

/// A session that copies rows; the one that publishes.
const LOADER: &str = "query LIKE 'COPY%claims_stage%'";
const CONTROL: &str = "pid = (SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))";

/// Kills the backend of the session that `which` selects.
fn kill_backend(env: &TestEnv, which: &str) {
    let query = format!(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database()
             AND pid <> pg_backend_pid() AND {which} LIMIT 1"
    );
    let row = patient_client(env).query_one(&query, &[]).expect("such a session");
    signal(row.get(0), Signal::SIGKILL);
}

#[test]
fn a_killed_backend_costs_a_try_and_nothing_else() {
    let scene = Correction::of(CLAIMS);
    for (mode, point, backend) in [
        ("replace", "copy.batch:2", LOADER),
        ("replace", "publish.commit", CONTROL),
        ("merge", "copy.batch:2", LOADER),
        ("merge", "publish.commit", CONTROL),
    ] {
        let what = format!("{mode} {point}");
        let env = scene.env();
        let paused = Paused::at(&env, &mut run(&env, mode, 10), point);
        kill_backend(&env, backend);
        scene.is_unchanged(&env, &what);
        let (status, printed) = paused.go_on().end();
        assert_eq!(status.code(), Some(0), "{what}: {printed}");
        assert!(retries(&env) > 0, "{what}: {printed}");
        scene.is_whole(&env, mode, &what);
    }
}

#[test]
fn a_crashed_server_costs_a_try_and_nothing_else() {
    let scene = Correction::of(CLAIMS);
    for (mode, point) in [
        ("replace", "copy.batch:2"),
        ("replace", "publish.ledger"),
        // The rows of the new tables are in no log.
        ("replace", "publish.committed"),
        ("merge", "copy.batch:2"),
        ("merge", "publish.commit"),
    ] {
        let what = format!("{mode} {point}");
        let env = scene.env();
        let paused = Paused::at(&env, &mut run(&env, mode, 10), point);
        scene.server.crash();
        let running = paused.go_on();
        // The first tries find no server at all.
        thread::sleep(Duration::from_millis(1200));
        scene.server.start_again();
        let (status, printed) = running.end();
        assert_eq!(status.code(), Some(0), "{what}: {printed}");
        scene.is_whole(&env, mode, &what);
    }
}

#[test]
fn a_server_that_stays_away_ends_the_run_and_the_next_one_finishes() {
    let scene = Correction::of(CLAIMS);
    for (mode, point) in [("replace", "publish.commit"), ("merge", "copy.batch:2")] {
        let what = format!("{mode} {point}");
        let env = scene.env();
        let paused = Paused::at(&env, &mut run(&env, mode, 1), point);
        scene.server.crash();
        let begin = Instant::now();
        let (status, printed) = paused.go_on().end();
        assert_eq!(status.code(), Some(5), "{what}: {printed}");
        assert!(begin.elapsed() < Duration::from_secs(20), "{what}: not for ever");
        scene.server.start_again();
        scene.is_unchanged(&env, &what);
        scene.is_finished_by_the_next_run(&env, mode, &what);
    }
}

#[test]
fn a_crash_behind_a_rollback_leaves_a_server_that_starts() {
    let scene = Correction::of(CLAIMS);
    for (mode, point) in [
        ("merge", "stage.commit"),
        ("merge", "risk.batch"),
        ("replace", "stage.commit"),
        ("replace", "publish.ledger"),
    ] {
        let what = format!("{mode} {point}");
        let env = scene.env();
        // Nothing but a commit writes the log.
        let mut other = patient_client(&env);
        other.batch_execute("ALTER SYSTEM SET wal_writer_delay = '10s'").expect("a setting");
        other
            .batch_execute("SELECT pg_reload_conf(); CREATE TABLE public.other (n integer)")
            .expect("other");
        let paused = Paused::at(&env, &mut run(&env, mode, 0), point);
        other
            .batch_execute("INSERT INTO public.other VALUES (1)")
            .expect("the log is written to here");
        let running = paused.go_on_after(|running| running.signal(Signal::SIGKILL));
        let (status, _) = running.end();
        assert_eq!(status.code(), None, "{what}");
        // The killed run's transactions are rolled back.
        drop(other);
        gone(&env.database);
        scene.server.crash();
        scene.server.start_again();
        scene.is_unchanged(&env, &what);
        scene.is_finished_by_the_next_run(&env, mode, &what);
    }
}
