//! A target: something outside of the warehouse that shows its data or announces a run.

use super::job::Job;
use super::outcome::{Done, Failure};
use super::target_info::TargetInfo;

/// When a target is refreshed: a wave begins when all targets of the wave before have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wave {
    /// Targets that others read.
    First,
    Middle,
    /// Targets that report how all others ended.
    Last,
}

pub trait Target: Send + Sync {
    fn info(&self) -> &TargetInfo;

    /// The name in the report.
    fn name(&self) -> &str {
        &self.info().name
    }

    fn wave(&self) -> Wave {
        Wave::Middle
    }

    /// Proves that the credentials are valid and that the target exists; starts nothing.
    ///
    /// # Errors
    /// Whatever would keep a refresh from working.
    fn check(&self, job: &mut Job<'_>) -> Result<String, Failure>;

    /// Refreshes the target.
    ///
    /// # Errors
    /// Whatever keeps the target from showing the new data; the message holds no cell's value.
    fn refresh(&self, job: &mut Job<'_>) -> Result<Done, Failure>;

    /// Ends what the targets of this provider share, such as a session; called when all have ended,
    /// also after failures. Must not fail.
    fn finish(&self, _job: &mut Job<'_>) {}
}
