//! A server whose warehouse holds the first version of an input, and is about to get the second.

use std::process::Command;

use claims_etl::secret::value::Secret;

use crate::support::input_versions::{Published, Version, broken_promises, tables};
use crate::support::own_server::{OwnServer, patient_client};
use crate::support::process::{self, KEY, gone, until};
use crate::support::server;
use crate::support::test_env::TestEnv;

/// The server with its first version.
pub(crate) struct Correction {
    // Dropped in this order: the database before its server.
    original: TestEnv,
    claims: u32,
    pub(crate) before: Published,
    replaced: Published,
    merged: Published,
    pub(crate) server: OwnServer,
}

impl Correction {
    /// Publishes the first version of so many claims.
    pub(crate) fn of(claims: u32) -> Self {
        let server = OwnServer::start();
        let mut original = server.env();
        Version::First.lay_many(&mut original, claims);
        ends_with(&original, "merge", 0);
        let before = published(&original);
        let undisturbed = |mode: &str| {
            let env = copy(&original, claims);
            ends_with(&env, mode, 0);
            published(&env)
        };
        let (replaced, merged) = (undisturbed("replace"), undisturbed("merge"));
        assert_ne!(before, replaced);
        assert_ne!(before, merged);
        Self { original, claims, before, replaced, merged, server }
    }

    /// An environment at a copy of the first version, with the second one to be loaded.
    pub(crate) fn env(&self) -> TestEnv {
        patient_client(&self.original);
        let env = copy(&self.original, self.claims);
        // What CREATE DATABASE copies of a sequence does not survive a crash until a checkpoint.
        patient_client(&env).batch_execute("CHECKPOINT").expect("a checkpoint");
        env
    }

    /// What the second version looks like when nobody disturbs its load.
    pub(crate) fn after(&self, mode: &str) -> &Published {
        if mode == "replace" { &self.replaced } else { &self.merged }
    }

    /// Nothing but the first version is published.
    pub(crate) fn is_unchanged(&self, env: &TestEnv, what: &str) {
        assert_eq!(published(env), self.before, "{what}");
        assert_eq!(broken_promises(&mut patient_client(env)), [] as [&str; 0], "{what}");
    }

    /// The second version is published, and nothing else is there.
    pub(crate) fn is_whole(&self, env: &TestEnv, mode: &str, what: &str) {
        let mut client = patient_client(env);
        assert_eq!(Published::read(&mut client), *self.after(mode), "{what}");
        assert_eq!(broken_promises(&mut client), [] as [&str; 0], "{what}");
        let staged: Vec<_> =
            tables(&mut client).into_iter().filter(|name| name.contains("_stage_")).collect();
        assert_eq!(staged, [] as [&str; 0], "{what}");
    }

    /// A run that is not disturbed finishes the work.
    pub(crate) fn is_finished_by_the_next_run(&self, env: &TestEnv, mode: &str, what: &str) {
        ends_with(env, mode, 0);
        self.is_whole(env, mode, what);
    }
}

fn copy(original: &TestEnv, claims: u32) -> TestEnv {
    gone(&original.database);
    let mut env = TestEnv::at(server::copy_of(&original.database));
    env.settings.privacy.key = Some(Secret::new(KEY));
    env.settings.warehouse.connections = Some(2);
    Version::Second.lay_many(&mut env, claims);
    env
}

/// A run over two connections; failures that pass are tried again after a second.
pub(crate) fn run(env: &TestEnv, mode: &str, retries: u32) -> Command {
    let mut run = process::reading(env, &["run", "--mode", mode, "--connections", "2"]);
    run.env("CLAIMS_ETL_RETRY_DELAY_SECS", "1").args(["--retries", &retries.to_string()]);
    run
}

/// A run to its end.
pub(crate) fn ends_with(env: &TestEnv, mode: &str, code: i32) {
    let output = process::output(&mut run(env, mode, 0));
    assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What is published, as soon as the server lets anybody in and answers.
pub(crate) fn published(env: &TestEnv) -> Published {
    let mut found = None;
    until("the server to answer", || {
        found = Published::try_read(&mut patient_client(env)).ok();
        found.is_some()
    });
    found.expect("an answer")
}

/// How often a task of the environment's warehouse was tried again.
pub(crate) fn retries(env: &TestEnv) -> i64 {
    let query = "SELECT count(*) FROM claims_etl.task_runs WHERE state = 'up_for_retry'";
    patient_client(env).query_one(query, &[]).expect("an answer").get(0)
}

/// How the last run ended: status and kind of error.
pub(crate) fn last_run(env: &TestEnv) -> String {
    let query = "SELECT concat_ws(' ', status, error_kind) FROM claims_etl.runs
        ORDER BY run_no DESC LIMIT 1";
    patient_client(env).query_one(query, &[]).expect("a run").get(0)
}
