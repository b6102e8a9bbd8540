//! How a target's refresh ends.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::target_info::TargetInfo;
use crate::error::{Error, ErrorKind};
use crate::http::SendError;

/// How a target's refresh ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The target shows the published data.
    Succeeded,
    /// The target may show older data.
    Failed,
    /// It was cancelled at the provider, or by a signal.
    Cancelled,
    /// The deadline came first; what was started was cancelled, where that is possible.
    TimedOut,
    /// Another refresh was running and was left alone; the target stays due.
    AlreadyRunning,
    /// The provider takes no more requests before the deadline.
    RateLimited,
    /// The provider has switched the target off.
    Disabled,
    /// The target is switched off in the settings, or there was nothing to show.
    Skipped,
}

impl Outcome {
    /// The name in reports and in the run log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed_out",
            Self::AlreadyRunning => "already_running",
            Self::RateLimited => "rate_limited",
            Self::Disabled => "disabled",
            Self::Skipped => "skipped",
        }
    }

    /// Whether a required target with this outcome fails the run.
    #[must_use]
    pub(crate) fn is_failure(self) -> bool {
        !matches!(self, Self::Succeeded | Self::AlreadyRunning | Self::Skipped)
    }
}

/// The result of a refresh that did not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// `Succeeded`, `AlreadyRunning` or `Skipped`.
    pub(crate) outcome: Outcome,
    /// Where the result is, or what was done; free of cell values and secrets.
    pub detail: String,
}

impl Done {
    pub(crate) fn succeeded(detail: impl Into<String>) -> Self {
        Self { outcome: Outcome::Succeeded, detail: detail.into() }
    }
}

/// Why a refresh failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// One of those that are failures.
    pub outcome: Outcome,
    /// What happened and what to do next; free of cell values and secrets. A provider's answer is
    /// in it only as codes: its texts can quote rows.
    pub message: String,
    /// When the provider takes requests again, where that is known.
    pub(crate) until: Option<DateTime<Utc>>,
}

impl Failure {
    pub(crate) fn new(outcome: Outcome, message: impl Into<String>) -> Self {
        Self { outcome, message: message.into(), until: None }
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Outcome::Failed, message)
    }

    /// The provider takes no more requests for `wait`.
    pub(super) fn rate_limited(message: impl Into<String>, wait: Duration) -> Self {
        let until = chrono::Duration::from_std(wait).ok().map(|wait| Utc::now() + wait);
        Self { until, ..Self::new(Outcome::RateLimited, message) }
    }
}

impl Failure {
    /// With the name of what failed before the message.
    pub(super) fn about(self, subject: &str) -> Self {
        Self { message: format!("{subject}: {}", self.message), ..self }
    }

    /// With `more` behind the message.
    pub(super) fn and(self, more: &str) -> Self {
        Self { message: format!("{}; {more}", self.message), ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match self.until {
            Some(until) => write!(f, "; again from {}", until.format("%Y-%m-%dT%H:%M:%SZ")),
            None => Ok(()),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        if matches!(error.kind(), ErrorKind::Interrupted(_)) {
            return Self::new(Outcome::Cancelled, "stopped by a signal");
        }
        // One line: it is shown in a table and in a log.
        Self::failed(error.to_string().replace("\n  hint: ", "; "))
    }
}

impl From<SendError> for Failure {
    fn from(lost: SendError) -> Self {
        let outcome = match lost {
            SendError::NotSent | SendError::NoAnswer => Outcome::Failed,
            SendError::TimedOut => Outcome::TimedOut,
            SendError::Cancelled => Outcome::Cancelled,
        };
        Self::new(outcome, lost.to_string())
    }
}

/// How one target's refresh ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetResult {
    /// The target's name.
    pub target: String,
    pub outcome: Outcome,
    /// Where the result is, or why there is none; free of cell values and secrets.
    pub detail: String,
    /// The time it took, waits for its turn not counted.
    pub elapsed: Duration,
    /// Whether a failure ends the run with exit code 6.
    pub required: bool,
    /// The provider's id of this refresh, where it has one.
    pub remote_id: Option<String>,
    /// Requests that start a refresh, whether or not an answer came.
    pub attempts: u32,
    /// When it began, after the wait for its turn.
    pub(crate) started: DateTime<Utc>,
}

impl TargetResult {
    /// The result of a target that was not refreshed, or whose refresh took no time.
    pub(crate) fn without_refresh(info: &TargetInfo, end: Result<Done, Failure>) -> Self {
        let (outcome, detail) = match end {
            Ok(done) => (done.outcome, done.detail),
            Err(failure) => (failure.outcome, failure.to_string()),
        };
        Self {
            target: info.name.clone(),
            outcome,
            detail,
            elapsed: Duration::ZERO,
            required: info.required,
            remote_id: None,
            attempts: 0,
            started: Utc::now(),
        }
    }
}
