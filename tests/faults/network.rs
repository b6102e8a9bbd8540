//! The network between the program and the server breaks or stands still.

use std::time::{Duration, Instant};

use claims_etl::config::Mode;
use claims_etl::pipeline::{RunReport, Status};
use claims_etl::secret::value::Secret;
use nix::sys::signal::Signal;

use crate::support::correction::{Correction, run};
use crate::support::failpoints::Failpoints as _;
use crate::support::process::{Running, gone, until};
use crate::support::proxy::{Fault, Proxy};
use crate::support::test_env::{TestEnv, succeeded};

/// Claims enough for each of two connections to send some 400 kB.
const CLAIMS: u32 = 6_000;

/// Somewhere in the rows; no other connection sends so much.
const IN_THE_ROWS: u64 = 200_000;

const MODES: [(&str, Mode); 2] = [("replace", Mode::Replace), ("merge", Mode::Merge)];

/// An environment that reaches its warehouse through a proxy.
fn behind(scene: &Correction, mode: Mode, fault: Fault) -> (TestEnv, Proxy) {
    let mut env = scene.env();
    env.settings.warehouse.mode = mode;
    let proxy = Proxy::new(env.database.url(), fault);
    env.settings.warehouse.url = Some(Secret::new(proxy.url(env.database.url())));
    (env, proxy)
}

fn tries(report: &RunReport) -> u32 {
    report.tasks.iter().map(|task| task.tries).max().unwrap_or(0)
}

#[test]
fn a_connection_cut_among_the_rows_is_tried_again() {
    let scene = Correction::of(CLAIMS);
    for (name, mode) in MODES {
        let (env, proxy) = behind(&scene, mode, Fault::Cut(IN_THE_ROWS));
        let report = env.run();
        succeeded(&report);
        assert_eq!((proxy.faults(), tries(&report)), (1, 2));
        scene.is_whole(&env, name, name);
    }
}

#[test]
fn without_tries_a_cut_connection_publishes_nothing() {
    let scene = Correction::of(CLAIMS);
    for (name, mode) in MODES {
        let (mut env, proxy) = behind(&scene, mode, Fault::Cut(IN_THE_ROWS));
        env.settings.run.retries = 0;
        let report = env.run();
        assert_eq!((report.status, report.exit_code), (Status::Failed, 5), "{:?}", report.error);
        assert_eq!(proxy.faults(), 1);
        scene.is_unchanged(&env, name);
        // The fault has passed.
        succeeded(&env.run());
        scene.is_whole(&env, name, name);
    }
}

#[test]
fn a_lost_answer_to_the_commit_is_no_second_load() {
    let scene = Correction::of(CLAIMS);
    for (name, mode) in MODES {
        let (env, proxy) = behind(&scene, mode, Fault::LoseTheCommit);
        let report = env.run();
        succeeded(&report);
        assert_eq!((proxy.faults(), tries(&report)), (1, 2), "{:?}", report.tasks);
        scene.is_whole(&env, name, name);
        let runs = "SELECT count(*) FROM claims_etl.runs WHERE published_at IS NOT NULL";
        assert_eq!(env.rows(runs), ["2"]);
    }
}

#[test]
fn a_stalled_connection_recovers() {
    let scene = Correction::of(CLAIMS);
    for (name, mode) in MODES {
        let stall = Duration::from_secs(2);
        let (env, proxy) = behind(&scene, mode, Fault::Stall(IN_THE_ROWS, stall));
        let begin = Instant::now();
        let report = env.run();
        succeeded(&report);
        assert!(begin.elapsed() >= stall);
        assert_eq!((proxy.faults(), tries(&report)), (1, 1));
        scene.is_whole(&env, name, name);
    }
}

#[test]
fn a_slow_connection_goes_on() {
    let scene = Correction::of(CLAIMS);
    for (name, mode) in MODES {
        let (env, proxy) = behind(&scene, mode, Fault::Delay(Duration::from_millis(5)));
        let report = env.run();
        succeeded(&report);
        assert!(proxy.faults() > 20);
        assert_eq!(tries(&report), 1);
        scene.is_whole(&env, name, name);
    }
}

#[test]
fn a_signal_ends_a_run_that_nobody_answers() {
    let scene = Correction::of(CLAIMS);
    let env = scene.env();
    let proxy = Proxy::new(env.database.url(), Fault::Silence(IN_THE_ROWS));
    let mut run = run(&env, "replace", 0);
    run.env("CLAIMS_ETL_WAREHOUSE", proxy.url(env.database.url()));
    let running = Running::start(run.with_value("stop.patience", "2"));
    until("the silence", || proxy.faults() == 1);
    let begin = Instant::now();
    running.signal(Signal::SIGTERM);
    let (status, printed) = running.end();
    assert_eq!(status.code(), Some(143), "{printed}");
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    assert!(printed.contains("still waiting for an answer"), "{printed}");
    drop(proxy);
    // The server ends the sessions, whose other side is gone with this test at the latest.
    let sessions = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    env.database.connect().batch_execute(sessions).expect("ended");
    gone(&env.database);
    scene.is_finished_by_the_next_run(&env, "replace", "after the silence");
}
