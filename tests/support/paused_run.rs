//! A run that waits at a failpoint, so that a test can do something at exactly that moment.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::support::failpoints::Failpoints as _;
use crate::support::process::{Running, until};
use crate::support::test_env::TestEnv;

/// A run that waits.
pub(crate) struct Paused {
    running: Running,
    file: PathBuf,
}

impl Paused {
    /// Starts a run and waits until it has come to `point`.
    pub(crate) fn at(env: &TestEnv, run: &mut Command, point: &str) -> Self {
        let file = env.path("paused");
        run.once_at(point, &format!("pause={}", file.display()));
        let mut running = Running::start(run);
        until(point, || {
            assert!(running.goes_on(), "ended before {point}");
            file.exists()
        });
        Self { running, file }
    }

    /// Does something to the process while it waits, then lets it go on.
    pub(crate) fn go_on_after(self, work: impl FnOnce(&Running)) -> Running {
        work(&self.running);
        // A signal is delivered before the process looks for the file again, or soon after.
        std::thread::sleep(std::time::Duration::from_millis(300));
        self.go_on()
    }

    /// Lets it go on.
    pub(crate) fn go_on(self) -> Running {
        fs::remove_file(&self.file).expect("the run waits");
        self.running
    }
}
