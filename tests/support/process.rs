//! The program as a process of its own, for tests of what only a process has: signals, threads,
//! standard output and standard error.

use std::io::Read;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::test_env::{RUN_DATE, TestEnv};

/// The key of every process that the tests start.
pub(crate) const KEY: &str = "5ca1ab1e0ddba11c0ffee5ca1ab1e0ddba11c0ffee5ca1ab1e0ddba11c0ffee5";

/// Another key.
pub(crate) const OTHER_KEY: &str =
    "c0ffee5ca1ab1e0ddba11c0ffee5ca1ab1e0ddba11c0ffee5ca1ab1e0ddba11c";

/// How long anything may take before a test gives up; only a broken program needs it.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// `claims-etl` in an environment: its database, its data directory, its limits.
pub(crate) fn command(env: &TestEnv) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_claims-etl"));
    let ratio = env.settings.quality.max_reject_ratio.to_string();
    let conflicts = env.settings.quality.max_conflict_ratio.to_string();
    command
        .env_clear()
        .current_dir(env.folder.path())
        .env("CLAIMS_ETL_KEY", KEY)
        .env("CLAIMS_ETL_WAREHOUSE", env.database.url())
        .env("CLAIMS_ETL_DATA_DIR", &env.settings.run.data_dir)
        .env("CLAIMS_ETL_MAX_REJECT_RATIO", ratio)
        .env("CLAIMS_ETL_MAX_CONFLICT_RATIO", conflicts)
        .env("CLAIMS_ETL_RUN_DATE", RUN_DATE)
        .env("CLAIMS_ETL_RETRY_DELAY_SECS", "0");
    command
}

/// `claims-etl` with a subcommand that reads the environment's input; more options can be added.
pub(crate) fn reading(env: &TestEnv, subcommand: &[&str]) -> Command {
    let mut command = command(env);
    command.args(subcommand).arg("--claims").args(&env.settings.claims.sources);
    command.arg("--providers").args(&env.settings.providers.sources);
    command
}

/// Runs a command to its end.
pub(crate) fn output(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().expect("the program starts")
}

/// A started program; killed when the test fails before its end.
pub(crate) struct Running(Child);

impl Running {
    /// Starts it; what it says is kept for [`Running::end`].
    pub(crate) fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        Self(command.spawn().expect("the program starts"))
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.0.id()).expect("a process id"));
        kill(pid, signal).expect("the process is there until it is waited for");
    }

    /// Whether it has not ended yet.
    pub(crate) fn goes_on(&mut self) -> bool {
        self.0.try_wait().expect("a child").is_none()
    }

    /// Waits for its end; its status and its standard error.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        until("the end of the program", || !self.goes_on());
        let mut printed = String::new();
        let mut stderr = self.0.stderr.take().expect("piped");
        stderr.read_to_string(&mut printed).expect("text");
        (self.0.wait().expect("a child"), printed)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already unless the test failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until something is so.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until the server has ended the sessions of a process that is gone.
#[cfg(feature = "failpoints")]
pub(crate) fn gone(database: &crate::support::server::Database) {
    let mut client = database.connect();
    let others = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()
            AND backend_type = 'client backend'";
    until("the sessions to end", || {
        client.query_one(others, &[]).expect("an answer").get::<_, i64>(0) == 0
    });
}
