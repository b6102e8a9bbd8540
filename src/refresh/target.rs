//! A target: an external system that shows the warehouse's data or is notified of a run.

use super::job::Job;
use super::outcome::{Done, Failure};
use super::target_info::TargetInfo;

/// Order of targets: a wave starts when all targets of the previous wave have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wave {
    /// Targets that others read.
    First,
    Middle,
    /// Targets that report the results of all others.
    Last,
}

pub trait Target: Send + Sync {
    fn info(&self) -> &TargetInfo;

    /// Name in the report.
    fn name(&self) -> &str {
        &self.info().name
    }

    fn wave(&self) -> Wave {
        Wave::Middle
    }

    /// Checks that the credentials are valid and the target exists; starts nothing.
    ///
    /// # Errors
    /// Anything that would make a refresh fail.
    fn check(&self, job: &mut Job<'_>) -> Result<String, Failure>;

    /// Refreshes the target.
    ///
    /// # Errors
    /// Anything that prevents the target from showing the new data; the message contains no cell
    /// values.
    fn refresh(&self, job: &mut Job<'_>) -> Result<Done, Failure>;

    /// Closes state shared by this provider's targets, such as a session; called when all have
    /// ended, even after failures. Must not fail.
    fn finish(&self, _job: &mut Job<'_>) {}
}
