//! Two runs at once: one loads, the other one ends or waits, and a waiting run takes over, gives
//! up in time or hears a signal.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use postgres::Client;

use crate::support::process::{self, Running, until};
use crate::support::test_env::TestEnv;

/// The advisory lock that a run holds.
const RUN_LOCK: i64 = 0x636c_6169_6d65_746c;

/// An environment with an input that is still to be loaded.
fn env() -> TestEnv {
    TestEnv::new()
        .claims(&["A,P,V1,1,1.00,2024-01-01", "B,P,V1,1,2.00,2024-01-02"])
        .providers(&["V1,Ada,Cardiology,Here"])
}

fn run(env: &TestEnv, wait: &[&str]) -> Command {
    let mut command = process::reading(env, &["run", "--format", "json"]);
    command.args(wait);
    command
}

/// Somebody who holds the lock and is no run.
fn holder(env: &TestEnv) -> Client {
    let mut client = env.database.connect();
    client.execute("SELECT pg_advisory_lock($1)", &[&RUN_LOCK]).expect("the lock");
    client
}

/// A run that is at work until the returned client lets go of the fact table.
fn at_work(env: &TestEnv) -> (Client, Running) {
    assert!(process::output(&mut run(env, &[])).status.success());
    let mut bar = env.database.connect();
    bar.batch_execute("BEGIN; LOCK TABLE healthcare_analytics.claims_fact IN SHARE MODE")
        .expect("locked");
    let mut more = fs::read_to_string(env.path("claims.csv")).expect("the claims");
    writeln!(more, "C,P,V1,1,3.00,2024-01-03").expect("written");
    fs::write(env.path("claims.csv"), more).expect("written");
    let mut running = Running::start(&mut run(env, &[]));
    until("the publish", || {
        assert!(running.goes_on(), "ended before it published");
        let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND database = (
            SELECT oid FROM pg_database WHERE datname = current_database())";
        env.rows(waiting) == ["1"]
    });
    (bar, running)
}

#[test]
fn a_second_run_ends_or_waits_for_the_first() {
    let env = env();
    let (mut bar, first) = at_work(&env);
    let holder = env.rows("SELECT run_id FROM claims_etl.runs WHERE status = 'running'");
    let named = format!("run {} (since ", holder[0]);

    let refused = process::output(&mut run(&env, &[]));
    let printed = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(75), "{printed}");
    assert!(printed.contains(&named) && printed.contains("--wait"), "{printed}");
    assert!(!printed.contains("waiting for"), "it was not configured to: {printed}");

    let mut patient = Running::start(&mut run(&env, &["--wait"]));
    let alone = env.rows("SELECT count(*) FROM claims_etl.runs");
    std::thread::sleep(Duration::from_secs(1));
    assert!(patient.goes_on());
    assert_eq!(env.rows("SELECT count(*) FROM claims_etl.runs"), alone, "it has not begun");
    bar.batch_execute("ROLLBACK").expect("unlocked");
    let (status, printed) = first.end();
    assert!(status.success(), "{printed}");
    let (status, printed) = patient.end();
    assert!(status.success(), "{printed}");
    assert_eq!(printed.matches(&format!("waiting for {named}")).count(), 1, "{printed}");
    let runs = "SELECT status FROM claims_etl.runs ORDER BY run_no";
    assert_eq!(env.rows(runs), ["success", "success", "already_loaded"]);
}

#[test]
fn a_waiting_run_takes_over_from_one_that_dies() {
    let env = env();
    let (mut bar, first) = at_work(&env);
    let patient = Running::start(&mut run(&env, &["--wait=60"]));
    first.signal(Signal::SIGKILL);
    assert_eq!(first.end().0.code(), None, "killed");
    let runs = "SELECT status FROM claims_etl.runs ORDER BY run_no";
    until("the next run", || env.rows(runs) == ["success", "failed", "running"]);
    bar.batch_execute("ROLLBACK").expect("unlocked");
    let (status, printed) = patient.end();
    assert!(status.success(), "{printed}");
    assert_eq!(env.rows("SELECT count(*) FROM healthcare_analytics.claims_fact"), ["3"]);
}

#[test]
fn a_wait_ends_in_time() {
    let env = env();
    assert!(process::output(&mut run(&env, &[])).status.success());
    let _holder = holder(&env);
    // Neither is the grace of five seconds.
    for (wait, least, most) in [("--wait=0", 0.0, 4.0), ("--wait=1", 1.0, 4.5)] {
        let began = Instant::now();
        let refused = process::output(&mut run(&env, &[wait]));
        let took = began.elapsed().as_secs_f64();
        let printed = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(75), "{wait}: {printed}");
        assert!((least..most).contains(&took), "{wait} took {took} s");
        assert!(printed.contains("another run is loading this warehouse"), "{wait}: {printed}");
    }
}

#[test]
fn a_waiting_run_hears_a_signal_at_once() {
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
        let env = env();
        let _holder = holder(&env);
        let mut command = run(&env, &[]);
        let waiting = Running::start(command.env("CLAIMS_ETL_WAIT", "true"));
        // It is in the middle of a pause, and the pauses have become long.
        let asked = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND query LIKE '%pg_try_advisory_lock%'
              AND pid <> pg_backend_pid()";
        until("the wait", || env.rows(asked) == ["1"]);
        std::thread::sleep(Duration::from_secs(2));
        let began = Instant::now();
        waiting.signal(signal);
        let (status, printed) = waiting.end();
        let took = began.elapsed();
        assert_eq!(status.code(), Some(code), "{printed}");
        assert!(took < Duration::from_millis(500), "{took:?}");
        assert!(printed.contains("nothing was published"), "{printed}");
        // The schemas are made under the lock.
        let made = "SELECT count(*) FROM pg_namespace WHERE nspname = 'claims_etl'";
        assert_eq!(env.rows(made), ["0"]);
    }
}

#[test]
fn a_wait_can_stand_in_the_file() {
    let env = env();
    fs::write(env.path("claims-etl.toml"), "[run]\nwait = 1\n").expect("written");
    let _holder = holder(&env);
    let began = Instant::now();
    let refused = process::output(&mut run(&env, &[]));
    assert_eq!(refused.status.code(), Some(75));
    assert!(began.elapsed() < Duration::from_secs(4), "not the grace of five seconds");
    for wait in ["--wait=soon", "--wait=-1"] {
        assert_eq!(process::output(&mut run(&env, &[wait])).status.code(), Some(2), "{wait}");
    }
}
