//! Somebody holds the claims while a run wants to publish: it waits, not forever, and whoever
//! reads meanwhile does not wait with it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use postgres::Client;

use crate::support::correction::{Correction, last_run, run};
use crate::support::failpoints::Failpoints as _;
use crate::support::paused_run::Paused;
use crate::support::process::until;
use crate::support::test_env::TestEnv;

const CLAIMS: u32 = 3_000;

/// A reader that would wait longer than this because of a run is being kept from its work.
const SHORT: Duration = Duration::from_millis(100);

/// Reads a little from the claims again and again; how long each answer took.
fn latencies(env: &TestEnv, ended: &AtomicBool) -> Vec<Duration> {
    let mut client = env.database.connect();
    client.batch_execute("SET statement_timeout = '5s'").expect("a setting");
    let question = "SELECT count(*) FROM
        (SELECT FROM healthcare_analytics.claims_fact LIMIT 10) few";
    let mut latencies = Vec::new();
    while !ended.load(Ordering::SeqCst) {
        let begin = Instant::now();
        client.query_one(question, &[]).expect("an answer");
        latencies.push(begin.elapsed());
        thread::sleep(Duration::from_millis(1));
    }
    latencies
}

/// The slowest answer but the slowest thousandth, which a busy machine makes by itself.
fn nearly_the_slowest(mut latencies: Vec<Duration>) -> Duration {
    latencies.sort_unstable();
    let spared = latencies.len() / 1_000;
    latencies[latencies.len() - 1 - spared]
}

/// Lets the reader end, also when the test fails.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Measures the readers while `work` is done.
fn measured(env: &TestEnv, work: impl FnOnce()) -> Duration {
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let ending = Ending(&ended);
        let reader = scope.spawn(|| latencies(env, &ended));
        work();
        drop(ending);
        nearly_the_slowest(reader.join().expect("the reader"))
    })
}

/// A session with a report that reads the claims and does not end.
fn long_report(env: &TestEnv) -> Client {
    let mut report = env.database.connect();
    report
        .batch_execute("BEGIN; SELECT count(*) FROM healthcare_analytics.claims_fact")
        .expect("a report");
    report
}

fn not_blocked(slowest: Duration, usual: Duration, what: &str) {
    assert!(slowest < SHORT + usual, "{what}: readers waited {slowest:?}, usually {usual:?}");
}

#[test]
fn a_publish_waits_for_a_short_report_and_readers_do_not() {
    let scene = Correction::of(CLAIMS);
    for mode in ["replace", "merge"] {
        let env = scene.env();
        let report = long_report(&env);
        let paused = Paused::at(&env, &mut run(&env, mode, 0), "publish.ledger");
        let usual = measured(&env, || thread::sleep(Duration::from_millis(500)));
        let mut running = paused.go_on();
        let slowest = measured(&env, || thread::sleep(Duration::from_millis(1500)));
        if mode == "replace" {
            assert!(running.goes_on(), "it should have waited");
            scene.is_unchanged(&env, mode);
        }
        drop(report);
        let (status, printed) = running.end();
        assert_eq!(status.code(), Some(0), "{mode}: {printed}");
        scene.is_whole(&env, mode, mode);
        not_blocked(slowest, usual, mode);
    }
}

#[test]
fn a_publish_does_not_wait_for_ever() {
    let scene = Correction::of(CLAIMS);
    let env = scene.env();
    let report = long_report(&env);
    let mut run = run(&env, "replace", 0);
    let paused = Paused::at(&env, run.with_value("lock.patience", "3"), "publish.ledger");
    let usual = measured(&env, || thread::sleep(Duration::from_millis(500)));
    let running = paused.go_on();
    let mut end = None;
    let slowest = measured(&env, || end = Some(running.end()));
    let (status, printed) = end.expect("ended");
    assert_eq!(status.code(), Some(5), "{printed}");
    assert_eq!(last_run(&env), "failed warehouse");
    not_blocked(slowest, usual, "the whole wait");
    scene.is_unchanged(&env, "held");
    drop(report);
    scene.is_finished_by_the_next_run(&env, "replace", "released");
}

#[test]
fn a_writer_that_holds_the_providers_delays_a_publish_only() {
    let scene = Correction::of(CLAIMS);
    let env = scene.env();
    let mut writer = env.database.connect();
    writer
        .batch_execute("BEGIN; UPDATE healthcare_analytics.providers_dim SET location = location")
        .expect("a writer");
    let mut running = Paused::at(&env, &mut run(&env, "merge", 0), "publish.before").go_on();
    let usual = measured(&env, || thread::sleep(Duration::from_millis(500)));
    let slowest = measured(&env, || thread::sleep(Duration::from_secs(1)));
    assert!(running.goes_on(), "it waits for the writer");
    writer.batch_execute("ROLLBACK").expect("done");
    until("the run to end", || !running.goes_on());
    let (status, printed) = running.end();
    assert_eq!(status.code(), Some(0), "{printed}");
    not_blocked(slowest, usual, "providers");
    scene.is_whole(&env, "merge", "providers");
}
