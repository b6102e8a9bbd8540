//! How far a run has come whose tasks are called one by one.

use std::collections::BTreeMap;

use adbc_core::sync::Connection;
use serde::Deserialize;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::event::RunId;
use crate::warehouse::sql;

const CONTEXT: &str = "run ledger";

/// What the ledger holds about a run and its tasks.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Progress {
    /// `running`, `open`, `success`, `already_loaded` or `failed`.
    pub(crate) status: String,
    /// Whether its rows are published.
    pub(crate) published: bool,
    /// The key's id.
    pub(crate) key_id: String,
    /// Digest of the settings that change the result.
    pub(crate) config_digest: String,
    /// Digest of all inputs, once the transform has read them.
    pub(crate) fingerprint: Option<String>,
    /// The day with which dates are compared, in days since 1970-01-01; none where the run's id
    /// tells it.
    pub(crate) run_date: Option<i32>,
    /// The task that was called last; none where the run was never one of single tasks.
    pub(crate) last_task: Option<String>,
    /// The last try of each task.
    pub(crate) tasks: BTreeMap<String, Tried>,
}

/// The last try of a task.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Tried {
    /// 1 for the first; 0 where the task never began.
    pub(crate) try_number: u32,
    /// The state, as Airflow names it.
    pub(crate) state: String,
    /// What it handed on.
    pub(crate) result: Option<Value>,
}

impl Progress {
    /// What a task handed on, if it has succeeded.
    #[must_use]
    pub(crate) fn result(&self, task: &str) -> Option<&Value> {
        self.tasks.get(task).filter(|last| last.state == "success")?.result.as_ref()
    }

    /// How often each task was tried.
    #[must_use]
    pub(crate) fn tries(&self) -> BTreeMap<String, u32> {
        self.tasks.iter().map(|(task, last)| (task.clone(), last.try_number)).collect()
    }
}

/// How far a run has come; none where the ledger does not know it.
///
/// # Errors
/// `Warehouse` when the query fails, also where there is no ledger.
pub(crate) fn progress(connection: &mut impl Connection, run: RunId) -> Result<Option<Progress>> {
    // A warehouse that was not migrated yet has not all of these columns.
    let rows = sql::query_with(
        connection,
        CONTEXT,
        "SELECT jsonb_build_object(
             'status', r.status, 'published', r.published_at IS NOT NULL, 'key_id', r.key_id,
             'config_digest', r.config_digest, 'fingerprint', r.fingerprint,
             'run_date', (to_jsonb(r) ->> 'run_date')::date - DATE '1970-01-01',
             'last_task', to_jsonb(r) ->> 'last_task',
             'tasks', coalesce((
                 SELECT jsonb_object_agg(last.task_id, last.try)
                 FROM (SELECT DISTINCT ON (t.task_id) t.task_id, jsonb_build_object(
                           'try_number', t.try_number, 'state', t.state, 'result', t.result) AS try
                       FROM claims_etl.task_runs t WHERE t.run_id = r.run_id
                       ORDER BY t.task_id, t.try_number DESC) AS last), '{}'))::text AS progress
         FROM claims_etl.runs r WHERE r.run_id = $1::text::uuid",
        sql::texts(&[Some(&run.to_string())]),
    )?;
    if rows.num_rows() == 0 {
        return Ok(None);
    }
    let text = sql::text(&rows, "progress", 0).unwrap_or_default();
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|_| Error::internal(format!("the ledger's row of run {run} cannot be read")))
}

/// Closes earlier tries of a task that never recorded their end. Whoever calls a task again knows
/// that the last try is over.
///
/// # Errors
/// `Warehouse` when the statement fails.
pub(crate) fn close_tries(connection: &mut impl Connection, run: RunId, task: &str) -> Result<()> {
    sql::execute_with(
        connection,
        CONTEXT,
        "UPDATE claims_etl.task_runs SET state = 'failed', error = 'the try ended without saying so'
         WHERE run_id = $1::text::uuid AND task_id = $2 AND state IN ('running', 'up_for_retry')",
        sql::texts(&[Some(&run.to_string()), Some(task)]),
    )
    .map(drop)
}

/// Enters that tasks will not be done, because one before them had nothing to do.
///
/// # Errors
/// `Warehouse` when the statement fails.
pub(crate) fn skip(connection: &mut impl Connection, run: RunId, tasks: &[&str]) -> Result<()> {
    for task in tasks {
        sql::execute_with(
            connection,
            CONTEXT,
            "INSERT INTO claims_etl.task_runs (run_id, task_id, try_number, state, started_at, seconds)
             SELECT $1::text::uuid, $2, coalesce(max(try_number), 0), 'skipped', clock_timestamp(), 0
             FROM claims_etl.task_runs WHERE run_id = $1::text::uuid AND task_id = $2
             ON CONFLICT (run_id, task_id, try_number) DO UPDATE
             SET state = excluded.state, result = NULL, error = NULL",
            sql::texts(&[Some(&run.to_string()), Some(task)]),
        )?;
    }
    Ok(())
}

/// Completes the row of a run one of whose tasks has failed without holding the warehouse.
///
/// # Errors
/// `Warehouse` when the statement fails.
pub(crate) fn fail(
    connection: &mut impl Connection,
    run: RunId,
    kind: &str,
    message: &str,
    is_transient: bool,
) -> Result<()> {
    sql::execute_with(
        connection,
        CONTEXT,
        "UPDATE claims_etl.runs SET status = 'failed', finished_at = clock_timestamp(),
             error_kind = $2, error = $3, error_is_transient = $4 = 'yes'
         WHERE run_id = $1::text::uuid AND published_at IS NULL AND status = 'open'",
        sql::texts(&[
            Some(&run.to_string()),
            Some(kind),
            Some(message),
            Some(if is_transient { "yes" } else { "no" }),
        ]),
    )
    .map(drop)
}
