//! Outcome of a target's refresh.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::target_info::TargetInfo;
use crate::error::{Error, ErrorKind};
use crate::http::SendError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The target shows the published data.
    Succeeded,
    /// The target may be out of date.
    Failed,
    /// Cancelled at the provider or by a signal.
    Cancelled,
    /// Deadline exceeded; the refresh was cancelled if possible.
    TimedOut,
    /// Another refresh was running and was left alone; the target stays due.
    AlreadyRunning,
    /// The provider accepts no more requests before the deadline.
    RateLimited,
    /// The provider has disabled the target.
    Disabled,
    /// Disabled in the settings, or nothing to show.
    Skipped,
}

impl Outcome {
    /// Name in reports and the run log.
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

/// Result of a refresh that did not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// `Succeeded`, `AlreadyRunning` or `Skipped`.
    pub(crate) outcome: Outcome,
    /// Location of the result, or what was done; contains no cell values or secrets.
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
    /// A failure outcome.
    pub outcome: Outcome,
    /// What happened and what to do next; contains no cell values or secrets. Provider responses
    /// appear only as codes: their texts can quote rows.
    pub message: String,
    /// When the provider accepts requests again, if known.
    pub(crate) until: Option<DateTime<Utc>>,
}

impl Failure {
    pub(crate) fn new(outcome: Outcome, message: impl Into<String>) -> Self {
        Self { outcome, message: message.into(), until: None }
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Outcome::Failed, message)
    }

    /// The provider accepts no requests for `wait`.
    pub(super) fn rate_limited(message: impl Into<String>, wait: Duration) -> Self {
        let until = chrono::Duration::from_std(wait).ok().map(|wait| Utc::now() + wait);
        Self { until, ..Self::new(Outcome::RateLimited, message) }
    }
}

impl Failure {
    /// Prefixes the message with its subject.
    pub(super) fn about(self, subject: &str) -> Self {
        Self { message: format!("{subject}: {}", self.message), ..self }
    }

    /// Appends `more` to the message.
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
        // One line, for tables and logs.
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

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetResult {
    pub target: String,
    pub outcome: Outcome,
    /// Location of the result, or the reason for the failure; contains no cell values or secrets.
    pub detail: String,
    /// Duration, excluding the wait for a free slot.
    pub elapsed: Duration,
    /// Whether a failure ends the run with exit code 6.
    pub required: bool,
    /// The provider's id of this refresh, if any.
    pub remote_id: Option<String>,
    /// Number of requests that start a refresh, answered or not.
    pub attempts: u32,
    /// Start time, after the wait for a free slot.
    pub(crate) started: DateTime<Utc>,
}

impl TargetResult {
    /// Result of a target that was not refreshed.
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
