//! How a target's refresh ends.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::error::{Error, ErrorKind};
use crate::http::SendError;

/// How a target's refresh ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The target shows the published data.
    Succeeded,
    /// The target may show older data.
    Failed,
    /// Somebody cancelled it, or a signal asked to stop.
    Cancelled,
    /// The deadline came first; what had been started was cancelled, where that is possible.
    TimedOut,
    /// Somebody else's refresh was at work and was left alone; the target stays due.
    AlreadyRunning,
    /// The provider takes no more requests for longer than the deadline.
    RateLimited,
    /// The provider has switched the target off.
    Disabled,
    /// The target is switched off in the settings, or there was nothing to show.
    Skipped,
}

impl Outcome {
    /// The name in reports and in the ledger.
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
    pub fn is_failure(self) -> bool {
        !matches!(self, Self::Succeeded | Self::AlreadyRunning | Self::Skipped)
    }
}

/// What a refresh that did not fail tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// `Succeeded`, `AlreadyRunning` or `Skipped`.
    pub outcome: Outcome,
    /// Where the result is, or what was done; free of cell values and secrets.
    pub detail: String,
}

impl Done {
    /// The target shows the published data.
    pub fn succeeded(detail: impl Into<String>) -> Self {
        Self { outcome: Outcome::Succeeded, detail: detail.into() }
    }
}

/// Why a refresh failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// One of those that are failures.
    pub outcome: Outcome,
    /// What happened and what to do next; free of cell values and secrets. What a provider says is
    /// in it only as codes: its messages can quote rows.
    pub message: String,
    /// When the provider takes requests again, where it says so.
    pub until: Option<DateTime<Utc>>,
}

impl Failure {
    /// A failure of this kind.
    pub fn new(outcome: Outcome, message: impl Into<String>) -> Self {
        Self { outcome, message: message.into(), until: None }
    }

    /// The target may show older data.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Outcome::Failed, message)
    }

    /// The provider takes no more requests for `wait`.
    #[must_use]
    pub fn rate_limited(message: impl Into<String>, wait: Duration) -> Self {
        let until = chrono::Duration::from_std(wait).ok().map(|wait| Utc::now() + wait);
        Self { until, ..Self::new(Outcome::RateLimited, message) }
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
        // One line: it stands in a table, and in a log.
        Self::failed(error.to_string().replace("\n  hint: ", "; "))
    }
}

impl From<SendError> for Failure {
    fn from(lost: SendError) -> Self {
        let outcome = match lost {
            SendError::NotSent | SendError::NoAnswer => Outcome::Failed,
            SendError::TimedOut => Outcome::TimedOut,
            SendError::Cancelled(_) => Outcome::Cancelled,
        };
        Self::new(outcome, lost.to_string())
    }
}

/// One target's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetResult {
    /// The target's name.
    pub target: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Where the result is, or why there is none; free of cell values and secrets.
    pub detail: String,
    /// The time it took, waits for its turn not counted.
    pub elapsed: Duration,
    /// Whether a failure ends the run with exit code 6.
    pub required: bool,
    /// What the provider calls this refresh, where it gave it a name.
    pub remote_id: Option<String>,
    /// Refreshes that were started: requests that start something, whether or not an answer came.
    pub attempts: u32,
    /// When it began, its turn having come.
    pub started: DateTime<Utc>,
}
