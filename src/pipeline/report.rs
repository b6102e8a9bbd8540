//! The report of a run.

use std::collections::BTreeMap;

use chrono::SecondsFormat;
use serde::Serialize;

use super::task_runner::TaskRun;
use crate::error::Error;
use crate::event::RunId;
use crate::refresh::TargetResult;
use crate::totals::{Amounts, ClaimCounts, ControlTotals, Example, ProviderCounts, Reversals};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Loaded and published.
    Success,
    /// The same input with the same settings is already published; nothing was done.
    AlreadyLoaded,
    Failed,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TaskReport {
    /// The task's id.
    pub id: String,
    /// Final state, with Airflow's name.
    pub state: &'static str,
    /// Number of tries.
    pub tries: u32,
    /// Seconds over all tries.
    pub seconds: f64,
    /// Small result stored in the ledger (Airflow's XCom).
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

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RefreshReport {
    pub target: String,
    /// `succeeded`, `skipped`, `already_running`, or a failure: `failed`, `cancelled`, `timed_out`,
    /// `rate_limited`, `disabled`.
    pub outcome: &'static str,
    /// Location of the result, or the reason for the failure; contains no cell values.
    pub detail: String,
    /// Whether a failure ends the run with exit code 6.
    pub(crate) required: bool,
    /// Start time, RFC 3339 in UTC.
    pub(crate) started_at: String,
    /// Duration in seconds.
    pub(crate) seconds: f64,
    /// Number of requests that start a refresh.
    pub attempts: u32,
    /// The provider's id of the refresh.
    pub(crate) remote_id: Option<String>,
}

impl RefreshReport {
    /// Whether the target may be out of date.
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
    /// Suggested next step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Whether a retry may succeed.
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

/// Result of a run, as one JSON object.
#[derive(Debug, Clone, Serialize)]
pub struct RunReport {
    pub run_id: String,
    pub status: Status,
    /// The resumed run: this one, unless it had to start over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumed: Option<String>,
    /// The run that loaded this input, if it is already loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loaded_by: Option<String>,
    /// Digest of all inputs; null if they could not be read.
    pub fingerprint: Option<String>,
    /// Key id; null without a key.
    pub key_id: Option<String>,
    /// Privacy profile; null if the run failed earlier.
    pub(crate) privacy_profile: Option<String>,
    /// Claim row counts.
    pub claims: ClaimCounts,
    /// Claim amounts.
    pub amount: Amounts,
    /// Amounts that cancel out within one claim id and line number.
    pub reversals: Reversals,
    /// The unmapped header name recognised as the line number by its name and content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line_column: Option<String>,
    /// Provider row counts.
    pub providers: ProviderCounts,
    /// Rejected claims by reason code.
    pub reject_reasons: BTreeMap<String, u64>,
    /// First rejected records of each reason code.
    pub reject_examples: BTreeMap<String, Vec<Example>>,
    /// Loaded claims by rule, for flagging and counting rules.
    pub flags: BTreeMap<String, u64>,
    /// Tasks in execution order.
    pub tasks: Vec<TaskReport>,
    /// Seconds per load step: `staging` (the COPY), `key` (primary key, totals and, for a merge,
    /// the comparison), `publish`, `analyze`; null when nothing was loaded.
    pub(crate) phases: Option<serde_json::Value>,
    pub refresh: Vec<RefreshReport>,
    /// Wall time.
    pub(crate) seconds: f64,
    /// The error that ended the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorReport>,
    /// Size of each input in bytes.
    #[serde(skip)]
    pub(crate) bytes: BTreeMap<&'static str, u64>,
    /// Output locations for display.
    #[serde(skip)]
    pub places: Places,
    /// Process exit code.
    #[serde(skip)]
    pub exit_code: u8,
}

/// Output locations of a run.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// Warehouse without secrets, for example `private server in data/warehouse`.
    pub(crate) warehouse: String,
    /// Command that opens psql on the warehouse; empty if there is none.
    pub(crate) psql: String,
    /// Quarantine file, if rows were rejected.
    pub quarantine: Option<std::path::PathBuf>,
    /// Dashboard page, if written.
    pub(crate) dashboard: Option<std::path::PathBuf>,
}

impl RunReport {
    /// Report of a run that has not started.
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
