//! A task's vocabulary: its states, what it may hand on, what is written down about it.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::error::{Error, Result};
use crate::event::{Cancellation, Observer};

/// Where a task stands, as Airflow names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// A try has begun.
    Running,
    /// Done.
    Success,
    /// Ended by an error, or never begun because the run was stopped.
    Failed,
    /// A try ended by an error that can pass; another one follows.
    UpForRetry,
    /// Not begun because a task before it failed.
    UpstreamFailed,
    /// Not begun because a task before it said that there is nothing to do.
    Skipped,
}

impl State {
    /// The name in the ledger and in JSON results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Success => "success",
            Self::Failed => "failed",
            Self::UpForRetry => "up_for_retry",
            Self::UpstreamFailed => "upstream_failed",
            Self::Skipped => "skipped",
        }
    }
}

/// How a task ended well, with the small result that it hands on.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Done(Value),
    /// Done, and there is nothing to do for all that comes after it: it is skipped.
    ShortCircuit(Value),
}

/// How often a task is tried again after an error that can pass by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Tries after the first.
    pub retries: u32,
    /// The wait before each of them.
    pub delay: Duration,
}

/// How one task ended.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskRun {
    /// The task's id, its group before the dot.
    pub id: String,
    /// `extract` of `extract.extract_claims`.
    pub group: Option<String>,
    /// A final state.
    pub state: State,
    /// Tries begun; 0 for a task that never ran.
    pub tries: u32,
    /// Time over all tries, without the waits between them.
    pub elapsed: Duration,
    /// What it handed on.
    pub result: Option<Value>,
    /// What ended it.
    pub error: Option<Error>,
}

/// One state change of one try.
#[derive(Debug, Clone, PartialEq)]
pub struct LogEntry<'a> {
    /// The task's id.
    pub task: &'a str,
    /// 1 for the first try; 0 for a task that never ran.
    pub try_number: u32,
    /// The state it is in from now on.
    pub state: State,
    /// When this try began, or when it was decided that there will be none.
    pub started_at: SystemTime,
    /// Time in this try.
    pub elapsed: Duration,
    /// What it handed on.
    pub result: Option<&'a Value>,
    /// The error's message, free of cell values.
    pub error: Option<&'a str>,
}

/// Someone who writes down every state change.
pub trait TaskLog: Send + Sync {
    /// Writes an entry down; a later one for the same try replaces it. Must not fail.
    fn record(&self, entry: &LogEntry<'_>);
}

/// What a task sees of its surroundings.
pub struct TaskContext<'a> {
    /// Its own id.
    pub task: &'a str,
    /// 1 for the first try.
    pub attempt: u32,
    /// Who listens.
    pub observer: &'a dyn Observer,
    /// The request to stop, to be looked at now and then.
    pub cancel: &'a Cancellation,
    pub(super) results: &'a BTreeMap<String, Value>,
}

impl TaskContext<'_> {
    /// What a task before this one handed on; none for a task that does not come before it.
    #[must_use]
    pub fn result(&self, task: &str) -> Option<&Value> {
        self.results.get(task)
    }

    /// Fails when somebody asked to stop.
    ///
    /// # Errors
    /// `Interrupted` with the signal's number.
    pub fn check(&self) -> Result<()> {
        self.cancel.check()
    }
}
