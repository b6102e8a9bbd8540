//! Stopped and killed: SIGINT, SIGTERM and SIGKILL at every stage of a run leave the published
//! tables as they were, no staging table and no lock, and the next run finishes the work.
//!
//! A moment is never a guess: the tests look into the warehouse until the run is where they want
//! it, and a lock on the fact table keeps it from getting any further.

use std::fs;
use std::process::Command;

use claims_etl::event::{Cancellation, NullObserver};
use claims_etl::synth::{self, Spec};
use nix::sys::signal::Signal;
use postgres::Client;

use crate::support::process::{self, Running, until};
use crate::support::test_env::TestEnv;

/// Where a run is, as a condition on the warehouse.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Moment {
    /// In the ledger: reading, hashing or counting.
    Begun,
    /// Rows are on their way into the staging table.
    Staging,
    /// The publish waits for the lock on the fact table.
    Publishing,
}

impl Moment {
    fn condition(self) -> &'static str {
        match self {
            Self::Begun => "EXISTS (SELECT FROM claims_etl.runs WHERE status = 'running')",
            // Pages are written before COPY has committed.
            Self::Staging => {
                "EXISTS (SELECT FROM pg_class WHERE relname ~ '^claims_stage_' AND relkind = 'r'
                         AND pg_relation_size(oid) > 0)"
            }
            Self::Publishing => {
                "EXISTS (SELECT FROM pg_locks WHERE NOT granted AND database = (
                     SELECT oid FROM pg_database WHERE datname = current_database()))"
            }
        }
    }
}

/// An environment with one published claim and a larger input that is still to be loaded.
struct Scene {
    env: TestEnv,
    client: Client,
    before: Vec<String>,
}

const FACT: &str = "SELECT to_jsonb(f) - 'run_no' FROM healthcare_analytics.claims_fact f
    ORDER BY claim_token, line_number";

impl Scene {
    fn new(claims: u64) -> Self {
        let mut env = TestEnv::new().claims(&["A,P,V1,1,1.00,2024-01-01"]);
        assert!(process::output(&mut run(&env, "merge")).status.success());
        let before = env.rows(FACT);
        assert_eq!(before.len(), 1);
        let spec = Spec { claims, providers: 200, seed: 3, dirty: 0.02 };
        let made = synth::generate(&spec, &env.path("in"), &NullObserver, &Cancellation::default());
        let made = made.expect("generated");
        env.settings.claims.sources = vec![made.claims_path.display().to_string()];
        env.settings.providers.sources = vec![made.providers_path.display().to_string()];
        let client = env.database.connect();
        Self { env, client, before }
    }

    /// Keeps every publish waiting: readers pass, writers and whoever changes the table do not.
    fn bar(&mut self) {
        let lock = "BEGIN; LOCK TABLE healthcare_analytics.claims_fact IN SHARE MODE";
        self.client.batch_execute(lock).expect("locked");
    }

    fn lift(&mut self) {
        self.client.batch_execute("ROLLBACK").expect("unlocked");
    }

    /// Starts a run and waits for a moment of it.
    fn start_until(&self, mode: &str, moment: Moment) -> Running {
        let mut running = Running::start(&mut run(&self.env, mode));
        let mut client = self.env.database.connect();
        let question = format!("SELECT {}", moment.condition());
        until(&format!("{moment:?}"), || {
            assert!(running.goes_on(), "ended before {moment:?}");
            client.query_one(&question, &[]).expect("an answer").get(0)
        });
        running
    }

    /// Nothing is published, and nothing is left but the run's line in the ledger.
    fn is_as_before(&self, what: &str) {
        assert_eq!(self.env.rows(FACT), self.before, "{what}");
        let staged = "SELECT relname FROM pg_class WHERE relname ~ '_stage_'";
        assert_eq!(self.env.rows(staged), [] as [&str; 0], "{what}");
        let runs = "SELECT status || ' ' || coalesce(error_kind, '') FROM claims_etl.runs
                    ORDER BY run_no DESC LIMIT 1";
        assert_eq!(self.env.rows(runs), ["failed interrupted"], "{what}");
        let dimension = "SELECT count(*) FROM healthcare_analytics.providers_dim";
        assert_eq!(self.env.rows(dimension), ["2"], "{what}");
        self.nobody_holds_the_lock();
        let partial = fs::read_dir(self.env.settings.quarantine_dir()).map_or(0, |files| {
            files
                .flatten()
                .filter(|file| file.path().extension().is_some_and(|e| e == "partial"))
                .count()
        });
        // What was not finished is removed by the next run at the latest.
        assert!(partial <= 1, "{what}");
    }

    /// The server takes a moment to end the sessions of a process that is gone.
    fn nobody_holds_the_lock(&self) {
        let held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        until("the run lock to be free", || self.env.rows(held) == ["0"]);
    }

    /// The next run finishes the work, as one that was never disturbed.
    fn the_next_run_finishes(&self, mode: &str, expected: &[String]) {
        let output = process::output(&mut run(&self.env, mode));
        let printed = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{printed}");
        let published = self.env.rows(FACT);
        assert!(published == expected, "{} rows, not {}", published.len(), expected.len());
        let staged = "SELECT relname FROM pg_class WHERE relname ~ '_stage_'";
        assert_eq!(self.env.rows(staged), [] as [&str; 0]);
    }
}

fn run(env: &TestEnv, mode: &str) -> Command {
    let mut command = process::reading(env, &["run"]);
    command.args(["--mode", mode, "--connections", "1"]);
    command
}

/// What a run that nobody disturbs publishes of the same input.
fn undisturbed(claims: u64, mode: &str) -> Vec<String> {
    let scene = Scene::new(claims);
    assert!(process::output(&mut run(&scene.env, mode)).status.success());
    scene.env.rows(FACT)
}

fn signalled(mode: &str, moments: &[(Moment, Signal)], claims: u64) {
    let mut scene = Scene::new(claims);
    scene.bar();
    for &(moment, signal) in moments {
        let what = format!("{signal} when {moment:?}, {mode}");
        let running = scene.start_until(mode, moment);
        running.signal(signal);
        let (status, printed) = running.end();
        assert_eq!(status.code(), Some(128 + signal as i32), "{what}: {printed}");
        assert!(printed.contains("nothing was published"), "{what}: {printed}");
        scene.is_as_before(&what);
    }
    scene.lift();
    scene.the_next_run_finishes(mode, &undisturbed(claims, mode));
}

#[test]
fn a_signal_stops_a_replace_and_nothing_is_left() {
    signalled(
        "replace",
        &[
            (Moment::Begun, Signal::SIGINT),
            (Moment::Staging, Signal::SIGTERM),
            (Moment::Publishing, Signal::SIGINT),
            (Moment::Publishing, Signal::SIGTERM),
        ],
        150_000,
    );
}

#[test]
fn a_signal_stops_a_merge_and_nothing_is_left() {
    signalled(
        "merge",
        &[
            (Moment::Begun, Signal::SIGTERM),
            (Moment::Staging, Signal::SIGINT),
            (Moment::Publishing, Signal::SIGTERM),
        ],
        50_000,
    );
}

#[test]
fn a_killed_run_is_cleaned_up_and_finished_by_the_next() {
    for (mode, moment) in [
        ("replace", Moment::Staging),
        ("replace", Moment::Publishing),
        ("merge", Moment::Staging),
        ("merge", Moment::Publishing),
    ] {
        let mut scene = Scene::new(60_000);
        scene.bar();
        let running = scene.start_until(mode, moment);
        running.signal(Signal::SIGKILL);
        let (status, _) = running.end();
        assert_eq!(status.code(), None, "killed");
        // The bar is still there: a session whose process is gone must not wait behind it, and
        // readers would wait behind the session.
        scene.nobody_holds_the_lock();
        assert_eq!(scene.env.rows(FACT), scene.before, "{mode} {moment:?}");
        scene.lift();
        scene.the_next_run_finishes(mode, &undisturbed(60_000, mode));
    }
}
