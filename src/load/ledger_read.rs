//! One run as the ledger remembers it: how far it came and how it added up.

use std::path::PathBuf;

use adbc_core::sync::Connection;
use serde::Deserialize;
use serde_json::Value;

use crate::config::Mode;
use crate::error::{Error, Result};
use crate::event::RunId;
use crate::totals::ControlTotals;
use crate::warehouse::sql;

const CONTEXT: &str = "run ledger";

/// What the ledger holds about one run.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Record {
    /// The run's id.
    pub(crate) run_id: String,
    /// The number that its rows carry.
    pub(crate) run_no: i64,
    /// What it did to published rows: `merge`, `append` or `replace`.
    pub(crate) mode: Mode,
    /// `running`, `success`, `already_loaded` or `failed`.
    pub(crate) status: String,
    /// The key's id.
    pub(crate) key_id: String,
    /// The privacy profile.
    pub(crate) privacy_profile: String,
    /// Digest of the settings that change the result.
    pub(crate) config_digest: String,
    /// Digest of all inputs; none where they were not read to the end.
    pub(crate) fingerprint: Option<String>,
    /// The files of both inputs, as far as they were found.
    pub(crate) sources: Option<Sources>,
    /// Rows and money of a run that has published.
    pub(crate) account: Option<ControlTotals>,
    /// The run that had loaded the input already.
    pub(crate) loaded_by: Option<String>,
    /// The last run that has published since.
    pub(crate) published_since: Option<String>,
    /// The first run since whose input became the whole content.
    pub(crate) replaced_by: Option<String>,
    /// The tries of the task that was requested, in their order.
    pub(crate) tries: Vec<Try>,
}

/// What a run has read.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Sources {
    /// The claims.
    pub(crate) claims: Input,
    /// The providers.
    pub(crate) providers: Input,
}

/// The files of one input.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Input {
    /// In the order in which their rows count.
    pub(crate) files: Vec<InputFile>,
}

/// One file (or database) of an input.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct InputFile {
    /// Where it was; for a database its address without credentials.
    pub(crate) path: PathBuf,
    /// BLAKE3 of its bytes.
    pub(crate) fingerprint: String,
    /// How its rows are written: `database` where it is none of the file formats.
    pub(crate) format: String,
}

/// One try of a task.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Try {
    /// 1 for the first; 0 where the task never began.
    pub(crate) try_number: u32,
    /// The state, as Airflow names it.
    pub(crate) state: String,
    /// How long it took; none where it never ended.
    pub(crate) seconds: Option<f64>,
    /// What it handed on.
    pub(crate) result: Option<Value>,
}

/// The record of a run, with the tries of `task`; none where the ledger does not know the run.
///
/// # Errors
/// `Warehouse` when the query fails.
pub(crate) fn record(
    connection: &mut impl Connection,
    run: RunId,
    task: &str,
) -> Result<Option<Record>> {
    if !is_there(connection)? {
        return Ok(None);
    }
    let rows = sql::query_with(
        connection,
        CONTEXT,
        "SELECT jsonb_build_object(
             'run_id', r.run_id, 'run_no', r.run_no, 'mode', r.mode, 'sources', r.sources, 'status', r.status, 'key_id', r.key_id,
             'privacy_profile', r.privacy_profile, 'config_digest', r.config_digest, 'fingerprint', r.fingerprint,
             'loaded_by', (
                 SELECT t.result ->> 'already_loaded_by' FROM claims_etl.task_runs t
                 WHERE t.run_id = r.run_id AND t.result ->> 'already_loaded_by' IS NOT NULL LIMIT 1),
             'published_since', (
                 SELECT later.run_id FROM claims_etl.runs later
                 WHERE later.publish_no > r.publish_no
                 ORDER BY later.publish_no DESC LIMIT 1),
             'replaced_by', (
                 SELECT later.run_id FROM claims_etl.runs later
                 WHERE later.publish_no > r.publish_no AND later.mode = 'replace'
                 ORDER BY later.publish_no LIMIT 1),
             'tries', coalesce((
                 SELECT jsonb_agg(jsonb_build_object('try_number', t.try_number, 'state', t.state,
                                                     'seconds', t.seconds, 'result', t.result)
                                  ORDER BY t.try_number)
                 FROM claims_etl.task_runs t WHERE t.run_id = r.run_id AND t.task_id = $2), '[]'),
             'account', CASE WHEN r.published_at IS NOT NULL THEN jsonb_build_object(
                 'claims', jsonb_build_object(
                     'read', r.claims_read, 'loaded', r.claims_loaded,
                     'inserted', r.claims_inserted, 'updated', r.claims_updated,
                     'unchanged', r.claims_unchanged, 'rejected', r.claims_rejected,
                     'duplicates', r.claims_duplicates, 'conflicts', r.claims_conflicts,
                     'filtered', coalesce(r.claims_filtered, 0)),
                 'amount', jsonb_build_object(
                     'read', r.amount_read::text, 'loaded', r.amount_loaded::text,
                     'rejected', r.amount_rejected::text, 'duplicates', r.amount_duplicates::text,
                     'conflicts', coalesce(r.amount_conflicts, 0)::numeric(20, 2)::text,
                     'generalized', coalesce(r.amount_generalized, 0)::numeric(20, 2)::text,
                     'unparsed_rows', r.amount_unparsed_rows),
                 'reversals', r.reversals,
                 'providers', jsonb_build_object(
                     'read', r.providers_read, 'loaded', r.providers_loaded,
                     'rejected', r.providers_rejected, 'duplicates', r.providers_duplicates,
                     'conflicts', r.providers_conflicts, 'inferred', r.providers_inferred,
                     'reject_reasons', r.provider_reject_reasons),
                 'reject_reasons', r.reject_reasons, 'reject_examples', r.reject_examples,
                 'flags', r.flags) END)::text AS record
         FROM claims_etl.runs r WHERE r.run_id = $1::text::uuid",
        sql::texts(&[Some(&run.to_string()), Some(task)]),
    )?;
    if rows.num_rows() == 0 {
        return Ok(None);
    }
    let text = sql::text(&rows, "record", 0).unwrap_or_default();
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|_| Error::internal(format!("the ledger's row of run {run} cannot be read")))
}

/// The id and the account of the run that has published last; none where nothing is published.
///
/// # Errors
/// `Warehouse` when a query fails.
pub(crate) fn last_published(
    connection: &mut impl Connection,
) -> Result<Option<(RunId, ControlTotals)>> {
    let rows = sql::query(
        connection,
        CONTEXT,
        "SELECT run_id::text AS run_id FROM claims_etl.runs
         WHERE published_at IS NOT NULL ORDER BY publish_no DESC LIMIT 1",
    )?;
    let Some(run) = sql::text(&rows, "run_id", 0).filter(|_| rows.num_rows() > 0) else {
        return Ok(None);
    };
    let run = RunId::parse(&run)?;
    let account = record(connection, run, "")?.and_then(|record| record.account);
    Ok(account.map(|account| (run, account)))
}

/// The run that was begun last; none where the warehouse has never been loaded.
///
/// # Errors
/// `Warehouse` when the query fails.
pub(crate) fn latest(connection: &mut impl Connection) -> Result<Option<RunId>> {
    if !is_there(connection)? {
        return Ok(None);
    }
    let rows = sql::query(
        connection,
        CONTEXT,
        "SELECT run_id::text AS run_id FROM claims_etl.runs ORDER BY run_no DESC LIMIT 1",
    )?;
    match sql::text(&rows, "run_id", 0).filter(|_| rows.num_rows() > 0) {
        Some(run) => RunId::parse(&run).map(Some),
        None => Ok(None),
    }
}

/// The run that was begun last of those that have read this input under these settings; else the one that
/// was begun last of all, where that has published nothing and its tasks are not called one by one: its work
/// is done again, with the input that is given now. None where there is neither.
///
/// # Errors
/// `Warehouse` when the query fails.
pub(crate) fn latest_of(
    connection: &mut impl Connection,
    fingerprint: Option<&str>,
    config_digest: &str,
) -> Result<Option<RunId>> {
    if !is_there(connection)? {
        return Ok(None);
    }
    let rows = sql::query_with(
        connection,
        CONTEXT,
        "SELECT run_id::text AS run_id
         FROM (SELECT *, published_at IS NOT NULL OR status = 'already_loaded' AS is_done,
                   run_no = max(run_no) OVER () AS is_last
               FROM claims_etl.runs) r
         WHERE (fingerprint = $1 AND (config_digest = $2 OR NOT is_done))
            OR (is_last AND NOT is_done AND last_task IS NULL)
         ORDER BY run_no DESC LIMIT 1",
        sql::texts(&[fingerprint, Some(config_digest)]),
    )?;
    match sql::text(&rows, "run_id", 0).filter(|_| rows.num_rows() > 0) {
        Some(run) => RunId::parse(&run).map(Some),
        None => Ok(None),
    }
}

/// Whether there is a ledger at all.
fn is_there(connection: &mut impl Connection) -> Result<bool> {
    let table = "SELECT to_regclass('claims_etl.runs') IS NOT NULL AS there";
    Ok(sql::boolean(&sql::query(connection, CONTEXT, table)?, "there", 0) == Some(true))
}
