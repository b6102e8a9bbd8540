//! A warehouse of an earlier version is brought up to date while people read it: in short attempts, under
//! the run lock, with an end.

use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use postgres::Client;

use crate::privacy::profiles::earlier_warehouse;
use crate::support::process::{self, Running, until};
use crate::support::test_env::TestEnv;

const VERSION: &str = "SELECT max(version) FROM claims_etl.migrations";

fn migrating(env: &TestEnv, patience: u32) -> Running {
    let mut command = process::command(env);
    command.args(["warehouse", "migrate"]);
    Running::start(command.env("CLAIMS_ETL_FAILPOINT", format!("lock.patience={patience}")))
}

/// A session whose transaction has read a view and does not end.
fn long_report(env: &TestEnv) -> Client {
    let mut report = env.database.connect();
    report
        .batch_execute("BEGIN; SELECT count(*) FROM healthcare_analytics.v_claims")
        .expect("read");
    report
}

/// The slowest of many short looks at the view, for some time.
fn slowest_look(env: &TestEnv, time: Duration) -> Duration {
    let mut reader = env.database.connect();
    reader.batch_execute("SET statement_timeout = '5s'").expect("a setting");
    let (begin, mut slowest) = (Instant::now(), Duration::ZERO);
    while begin.elapsed() < time {
        let look = Instant::now();
        reader.query_one("SELECT count(*) FROM healthcare_analytics.v_claims", &[]).expect("read");
        slowest = slowest.max(look.elapsed());
        thread::sleep(Duration::from_millis(1));
    }
    slowest
}

fn a_reader_holds_it_up(env: &TestEnv, before: &[String]) {
    let report = long_report(env);
    let mut running = migrating(env, 60);
    let slowest = slowest_look(env, Duration::from_secs(2));
    assert!(slowest < Duration::from_millis(500), "readers waited {slowest:?}");
    assert!(running.goes_on());
    // A stop is heard at once.
    let stopped = Instant::now();
    running.signal(Signal::SIGTERM);
    let (status, said) = running.end();
    assert_eq!(status.code(), Some(143), "{said}");
    assert!(stopped.elapsed() < Duration::from_secs(5), "{:?}", stopped.elapsed());
    // And it does not wait for ever.
    let began = Instant::now();
    let (status, said) = migrating(env, 1).end();
    assert_eq!(status.code(), Some(5), "{said}");
    assert!(said.contains("in use for 1 s") && said.contains("pg_stat_activity"), "{said}");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(env.rows(VERSION), before, "all or nothing");
    // A short report only delays it.
    let mut running = migrating(env, 60);
    thread::sleep(Duration::from_millis(500));
    assert!(running.goes_on());
    drop(report);
    let (status, said) = running.end();
    assert_eq!(status.code(), Some(0), "{said}");
}

#[test]
fn a_migration_waits_for_readers_in_attempts_and_hears_a_stop() {
    let env = earlier_warehouse();
    let before = env.rows(VERSION);
    a_reader_holds_it_up(&env, &before);
    assert_ne!(env.rows(VERSION), before);
    assert_eq!(env.rows("SELECT count(*) FROM claims_etl.shape"), ["1"], "the views too");
}

#[test]
fn views_are_made_again_in_attempts_too() {
    let env = earlier_warehouse();
    assert_eq!(migrating(&env, 60).end().0.code(), Some(0));
    let before = env.rows(VERSION);
    let other = "UPDATE claims_etl.shape SET views = '{}'";
    env.database.connect().batch_execute(other).expect("as of another version");
    a_reader_holds_it_up(&env, &before);
    assert_ne!(env.rows("SELECT views::text FROM claims_etl.shape"), ["{}"]);
}

#[test]
fn nothing_is_migrated_under_a_run_that_is_at_work() {
    let env = earlier_warehouse();
    let before = env.rows(VERSION);
    let mut holder = env.database.connect();
    let lock = "SELECT pg_advisory_lock(7164208212674442348)";
    holder.batch_execute(lock).expect("the run lock");
    let (status, said) = migrating(&env, 60).end();
    assert_eq!(status.code(), Some(75), "{said}");
    assert_eq!(env.rows(VERSION), before);
    drop(holder);
    until("the lock to be free", || {
        env.rows("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == ["0"]
    });
    assert_eq!(migrating(&env, 60).end().0.code(), Some(0));
}
