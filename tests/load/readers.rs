//! Readers at work while runs publish: every answer is one whole version.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use claims_etl::config::Mode;
use claims_etl::pipeline::RunOptions;
use claims_etl::secret::value::Secret;
use postgres::Client;

use crate::support::input_versions::Version;
use crate::support::own_server::OwnServer;
use crate::support::process::KEY;
use crate::support::test_env::{TestEnv, succeeded};

/// The server takes 50 connections, and a run needs some.
const READERS: usize = 40;

/// Publishes of each test while the readers read.
const PUBLISHES: usize = 4;

/// How long a reader rests: the runs need the processor as well.
const REST: Duration = Duration::from_millis(20);

const QUESTION: &str =
    "SELECT concat_ws(' ', count(*), sum(amount)) FROM healthcare_analytics.claims_fact";

/// An environment where both versions were published, so that from now on each of them turns the tables
/// from one of two states into the other.
fn scene(server: &OwnServer, mode: Mode) -> (TestEnv, [String; 2]) {
    let mut env = server.env();
    env.settings.privacy.key = Some(Secret::new(KEY));
    env.settings.warehouse.connections = Some(2);
    env.settings.warehouse.mode = mode;
    let mut states = Vec::new();
    for version in [Version::First, Version::Second, Version::First] {
        publish(&mut env, version);
        states.push(env.rows(QUESTION).concat());
    }
    // A merge takes nothing away: after the second version its new claims stay.
    let states = [states[1].clone(), states[2].clone()];
    assert_ne!(states[0], states[1]);
    (env, states)
}

fn publish(env: &mut TestEnv, version: Version) {
    version.lay_on(env);
    succeeded(&env.run_with(&RunOptions { force: true, dry_run: false }));
}

/// Reads until it is stopped; half of the readers by a prepared statement.
fn read(client: &mut Client, prepared: bool, ended: &AtomicBool) -> Vec<String> {
    let statement = client.prepare(QUESTION).expect("a statement");
    let mut answers = Vec::new();
    while !ended.load(Ordering::SeqCst) {
        let answer = if prepared {
            client.query_one(&statement, &[])
        } else {
            client.query_one(QUESTION, &[])
        };
        answers.push(answer.map_or_else(|error| format!("{error:?}"), |row| row.get(0)));
        thread::sleep(REST);
    }
    answers
}

/// Lets the readers end, also when a publish fails.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn every_answer_is_one_version(mode: Mode) {
    let server = OwnServer::start();
    let (mut env, states) = scene(&server, mode);
    let ended = AtomicBool::new(false);
    let seen: Mutex<BTreeMap<String, u64>> = Mutex::default();
    let url = env.database.url().to_owned();
    thread::scope(|scope| {
        let ending = Ending(&ended);
        for reader in 0..READERS {
            let mut client =
                Client::connect(&url, postgres::NoTls).expect("a connection for a reader");
            let (ended, seen) = (&ended, &seen);
            scope.spawn(move || {
                let answers = read(&mut client, reader % 2 == 0, ended);
                let mut seen = seen.lock().expect("the answers");
                for answer in answers {
                    *seen.entry(answer).or_default() += 1;
                }
            });
        }
        for round in 0..PUBLISHES {
            let next = if round % 2 == 0 { Version::Second } else { Version::First };
            publish(&mut env, next);
        }
        drop(ending);
    });
    let seen = seen.into_inner().expect("the answers");
    let strange: Vec<_> = seen.iter().filter(|(answer, _)| !states.contains(answer)).collect();
    assert!(strange.is_empty(), "{strange:?}, not one of {states:?}");
    assert_eq!(seen.len(), 2, "both states were seen: {seen:?}");
    assert!(seen.values().sum::<u64>() > 200, "too few answers to mean anything: {seen:?}");
}

#[test]
fn readers_see_one_whole_version_while_replaces_publish() {
    every_answer_is_one_version(Mode::Replace);
}

#[test]
fn readers_see_one_whole_version_while_merges_publish() {
    every_answer_is_one_version(Mode::Merge);
}

/// A report of several queries that began before a publish and reads the claims after it.
#[test]
fn a_snapshot_from_before_a_publish_sees_a_whole_version() {
    let server = OwnServer::start();
    for mode in [Mode::Replace, Mode::Merge] {
        let (mut env, states) = scene(&server, mode);
        let mut report = env.database.connect();
        report
            .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
            .expect("a snapshot");
        publish(&mut env, Version::Second);
        let answer: String = report.query_one(QUESTION, &[]).expect("an answer").get(0);
        assert!(states.contains(&answer), "{mode:?}: {answer}, not one of {states:?}");
    }
}
