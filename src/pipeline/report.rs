//! The report of a run.

use std::collections::BTreeMap;

use chrono::SecondsFormat;
use serde::Serialize;

use super::task_runner::TaskRun;
use crate::error::Error;
use crate::event::RunId;
use crate::refresh::TargetResult;
use crate::totals::{Amounts, ClaimCounts, ControlTotals, Example, ProviderCounts, Reversals};

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Loaded and published.
    Success,
    /// The same input with the same settings is published already; nothing was done.
    AlreadyLoaded,
    /// Ended by an error.
    Failed,
}

/// One task of the run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TaskReport {
    /// The task's id.
    pub id: String,
    /// Its final state, as Airflow names it.
    pub state: &'static str,
    /// Tries begun.
    pub tries: u32,
    /// Seconds over all tries.
    pub seconds: f64,
    /// The small result that the ledger keeps (Airflow's XCom).
    #[serde(skip)]
    pub(crate) result: Option<serde_json::Value>,
}

impl From<&TaskRun> for TaskReport {
    fn from(task: &TaskRun) -> Self {
        Self {
            id: task.task.id().to_owned(),
            state: task.state.name(),
            tries: task.tries,
            seconds: task.elapsed.as_secs_f64(),
            result: task.result.clone(),
        }
    }
}

/// One refreshed target.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RefreshReport {
    /// The target's name.
    pub target: String,
    /// `succeeded`, `skipped`, `already_running`, or a failure: `failed`, `cancelled`, `timed_out`,
    /// `rate_limited`, `disabled`.
    pub outcome: &'static str,
    /// Where the result is, or why it failed; free of cell values.
    pub detail: String,
    /// Whether a failure ends the run with exit code 6.
    pub(crate) required: bool,
    /// When it began, RFC 3339 in UTC.
    pub(crate) started_at: String,
    /// Seconds it took.
    pub(crate) seconds: f64,
    /// Requests that start a refresh.
    pub attempts: u32,
    /// What the provider calls the refresh.
    pub(crate) remote_id: Option<String>,
}

impl RefreshReport {
    /// Whether the target may show older data.
    #[must_use]
    pub(crate) fn is_failure(&self) -> bool {
        !["succeeded", "skipped", "already_running"].contains(&self.outcome)
    }
}

impl From<TargetResult> for RefreshReport {
    fn from(result: TargetResult) -> Self {
        Self {
            target: result.target,
            outcome: result.outcome.as_str(),
            detail: result.detail,
            required: result.required,
            started_at: result.started.to_rfc3339_opts(SecondsFormat::Secs, true),
            seconds: result.elapsed.as_secs_f64(),
            attempts: result.attempts,
            remote_id: result.remote_id,
        }
    }
}

/// The error that ended a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ErrorReport {
    /// [`crate::error::ErrorKind::name`].
    pub kind: &'static str,
    pub message: String,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Whether it can pass by itself.
    #[serde(skip)]
    pub is_transient: bool,
}

impl From<&Error> for ErrorReport {
    fn from(error: &Error) -> Self {
        Self {
            kind: error.kind().name(),
            message: error.message().to_owned(),
            hint: error.way_out().map(ToOwned::to_owned),
            is_transient: error.kind().is_transient(),
        }
    }
}

/// The end of a run, as one JSON object.
#[derive(Debug, Clone, Serialize)]
pub struct RunReport {
    pub run_id: String,
    /// How it ended.
    pub status: Status,
    /// The run that was resumed: this very one, unless it had to start over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumed: Option<String>,
    /// The run that loaded this input, when it is loaded already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loaded_by: Option<String>,
    /// Digest of all inputs; null when they could not be read.
    pub fingerprint: Option<String>,
    /// Id of the key; null when there was none.
    pub key_id: Option<String>,
    /// The privacy profile; null when the run did not get so far.
    pub(crate) privacy_profile: Option<String>,
    /// Claim rows.
    pub claims: ClaimCounts,
    /// Claim money.
    pub amount: Amounts,
    /// Amounts that cancel one another under one claim id and line number.
    pub reversals: Reversals,
    /// The header name that line numbers were read from without being mapped: it was recognised by its
    /// name and its content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line_column: Option<String>,
    /// Provider rows.
    pub providers: ProviderCounts,
    /// Rejected claims by reason code.
    pub reject_reasons: BTreeMap<String, u64>,
    /// The first rejected records of each reason code.
    pub reject_examples: BTreeMap<String, Vec<Example>>,
    /// Loaded claims by rule: those that flag a row and those that only count it.
    pub flags: BTreeMap<String, u64>,
    /// The tasks, in the order of the data.
    pub tasks: Vec<TaskReport>,
    /// Seconds of the steps inside the load: `staging` (the COPY), `key` (primary key, totals, and
    /// for a merge the comparison), `publish`, `analyze`; null when nothing was loaded.
    pub(crate) phases: Option<serde_json::Value>,
    /// The refreshed targets.
    pub refresh: Vec<RefreshReport>,
    /// Wall time.
    pub(crate) seconds: f64,
    /// What ended the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorReport>,
    /// Bytes of each input that was read.
    #[serde(skip)]
    pub(crate) bytes: BTreeMap<&'static str, u64>,
    /// Where things are, for people.
    #[serde(skip)]
    pub places: Places,
    /// The process' exit code.
    #[serde(skip)]
    pub exit_code: u8,
}

/// Where a person finds what the run made.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// The warehouse without secrets, for example `private server in data/warehouse`.
    pub(crate) warehouse: String,
    /// A command that opens psql on the warehouse; empty when there is none to give.
    pub(crate) psql: String,
    /// The quarantine file, when something was rejected.
    pub quarantine: Option<std::path::PathBuf>,
    /// The dashboard page, when it was written.
    pub(crate) dashboard: Option<std::path::PathBuf>,
}

impl RunReport {
    /// The report of a run that has done nothing yet.
    #[must_use]
    pub(crate) fn new(run: RunId) -> Self {
        Self {
            run_id: run.to_string(),
            status: Status::Success,
            resumed: None,
            loaded_by: None,
            fingerprint: None,
            key_id: None,
            privacy_profile: None,
            claims: ClaimCounts::default(),
            amount: Amounts::default(),
            reversals: Reversals::default(),
            line_column: None,
            providers: ProviderCounts::default(),
            reject_reasons: BTreeMap::new(),
            reject_examples: BTreeMap::new(),
            flags: BTreeMap::new(),
            tasks: Vec::new(),
            phases: None,
            refresh: Vec::new(),
            seconds: 0.0,
            error: None,
            bytes: BTreeMap::new(),
            places: Places::default(),
            exit_code: 0,
        }
    }

    /// Marks the run as failed.
    pub(crate) fn fail(&mut self, error: &Error) {
        self.status = Status::Failed;
        self.exit_code = error.kind().exit_code();
        self.error = Some(ErrorReport::from(error));
    }

    #[must_use]
    pub(crate) fn account(&self) -> ControlTotals {
        ControlTotals {
            claims: self.claims,
            amount: self.amount,
            reversals: self.reversals,
            providers: self.providers.clone(),
            reject_reasons: self.reject_reasons.clone(),
            reject_examples: self.reject_examples.clone(),
            flags: self.flags.clone(),
        }
    }

    pub(crate) fn set_account(&mut self, account: ControlTotals) {
        self.claims = account.claims;
        self.amount = account.amount;
        self.reversals = account.reversals;
        self.providers = account.providers;
        self.reject_reasons = account.reject_reasons;
        self.reject_examples = account.reject_examples;
        self.flags = account.flags;
    }
}
