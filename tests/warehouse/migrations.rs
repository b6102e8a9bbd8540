//! Migrations: all or nothing, under the run lock, in short attempts that hold up no reader.

use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use postgres::Client;

use crate::support::failpoints::Failpoints as _;
use crate::support::process::{self, Running, until};
use crate::support::test_env::{TestEnv, succeeded};

const VERSION: &str = "SELECT max(version) FROM claims_etl.migrations";
const CLAIMS: [&str; 1] = ["C1,P1,V1,99213,120.00,2023-05-17"];

fn migrating(env: &TestEnv, patience: u32) -> Running {
    let mut command = process::command(env);
    command.args(["warehouse", "migrate"]);
    Running::start(command.with_value("lock.patience", &patience.to_string()))
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

#[test]
fn views_are_rebuilt_in_attempts_that_hold_up_no_reader() {
    let env = TestEnv::new().claims(&CLAIMS);
    succeeded(&env.run());
    let views = "SELECT views::text FROM claims_etl.table_layout";
    let outdated = "UPDATE claims_etl.table_layout SET views = '{}'";
    env.database.connect().batch_execute(outdated).expect("as of another version");
    let report = long_report(&env);
    let mut running = migrating(&env, 60);
    let slowest = slowest_look(&env, Duration::from_secs(2));
    assert!(slowest < Duration::from_millis(500), "readers waited {slowest:?}");
    assert!(running.goes_on());
    // A stop is heard at once.
    let stopped = Instant::now();
    running.signal(Signal::SIGTERM);
    let (status, printed) = running.end();
    assert_eq!(status.code(), Some(143), "{printed}");
    assert!(stopped.elapsed() < Duration::from_secs(5), "{:?}", stopped.elapsed());
    // And it does not wait forever.
    let began = Instant::now();
    let (status, printed) = migrating(&env, 1).end();
    assert_eq!(status.code(), Some(5), "{printed}");
    assert!(
        printed.contains("in use for 1 s") && printed.contains("pg_stat_activity"),
        "{printed}"
    );
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(env.rows(views), ["{}"], "all or nothing");
    // A short report only delays it.
    let mut running = migrating(&env, 60);
    thread::sleep(Duration::from_millis(500));
    assert!(running.goes_on());
    drop(report);
    let (status, printed) = running.end();
    assert_eq!(status.code(), Some(0), "{printed}");
    assert_ne!(env.rows(views), ["{}"]);
}

#[test]
fn nothing_is_migrated_during_a_run() {
    let env = TestEnv::new();
    let mut holder = env.database.connect();
    let lock = "SELECT pg_advisory_lock(7164208212674442348)";
    holder.batch_execute(lock).expect("the run lock");
    let (status, output) = migrating(&env, 60).end();
    assert_eq!(status.code(), Some(75), "{output}");
    assert_eq!(env.rows("SELECT to_regnamespace('claims_etl') IS NULL"), ["true"]);
    drop(holder);
    until("the lock to be free", || {
        env.rows("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == ["0"]
    });
    assert_eq!(migrating(&env, 60).end().0.code(), Some(0));
}

#[test]
fn a_failed_migration_leaves_nothing() {
    let env = TestEnv::new();
    let mut client = env.database.connect();
    let obstacle = "CREATE SCHEMA claims_etl; CREATE TABLE claims_etl.token_map (domain text)";
    client.batch_execute(obstacle).expect("a table in the way");
    let (status, output) = migrating(&env, 60).end();
    assert_eq!(status.code(), Some(5), "{output}");
    assert!(output.contains("migration 1"), "{output}");
    let tables = "SELECT string_agg(relname::text, ' ') FROM pg_class
        WHERE relkind IN ('r', 'p', 'v', 'm')
          AND relnamespace::regnamespace::text IN ('claims_etl', 'healthcare_analytics')";
    assert_eq!(env.rows(tables), ["token_map"]);
    client.batch_execute("DROP TABLE claims_etl.token_map").expect("dropped");
    assert_eq!(migrating(&env, 60).end().0.code(), Some(0));
}

#[test]
fn a_schema_of_another_version_is_refused() {
    for (change, message) in [
        (
            "INSERT INTO claims_etl.migrations (version, name, checksum) VALUES (99, 'later', 'x')",
            "schema version 99, which this program does not know",
        ),
        (
            "UPDATE claims_etl.migrations SET checksum = 'x'",
            "schema version 1 (warehouse) of the warehouse is not the one of this program",
        ),
    ] {
        let env = TestEnv::new().claims(&CLAIMS);
        succeeded(&env.run());
        env.database.connect().batch_execute(change).expect("changed");
        let error = env.run().error.expect("refused");
        assert_eq!(error.kind, "config", "{error:?}");
        assert!(error.message.contains(message), "{error:?}");
        assert_eq!(env.rows("SELECT count(*) FROM claims_etl.runs"), ["1"]);
    }
}

#[test]
fn of_concurrent_migrations_one_is_made() {
    let env = TestEnv::new();
    let running: Vec<Running> = (0..4).map(|_| migrating(&env, 60)).collect();
    let codes: Vec<Option<i32>> = running.into_iter().map(|it| it.end().0.code()).collect();
    assert!(codes.contains(&Some(0)), "{codes:?}");
    assert!(codes.iter().all(|code| matches!(code, Some(0 | 75))), "{codes:?}");
    assert_eq!(env.rows(VERSION), ["1"]);
}
