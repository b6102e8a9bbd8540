//! The ledger: what was run, with which input, key and settings, and how it added up.

use std::time::{Duration, SystemTime};

use adbc_core::sync::Connection;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::{Value, json};

pub(crate) use super::identity::Identity;
use crate::config::Mode;
use crate::error::{Error, Result};
use crate::event::RunId;
use crate::failpoint;
use crate::totals::ControlTotals;
use crate::warehouse::sql;

const CONTEXT: &str = "run ledger";

/// The mode's name in the ledger.
#[must_use]
pub(crate) fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Merge => "merge",
        Mode::Append => "append",
        Mode::Replace => "replace",
    }
}

/// Enters a run as `running`, or `open` where a task is called alone; a later try finds its row
/// again. Returns its number and whether it has published already.
///
/// # Errors
/// `Warehouse` when the statement fails.
pub(crate) fn begin(connection: &mut impl Connection, identity: &Identity) -> Result<(i64, bool)> {
    let rows = sql::query_with(
        connection,
        CONTEXT,
        "INSERT INTO claims_etl.runs AS runs (run_id, status, tool_version, mode, key_id, config_digest,
             risk_model, orchestrator_run_id, run_date, last_task, last_task_at, privacy_profile, privacy_actions,
             flags_stored)
         VALUES ($1::text::uuid, CASE WHEN $9::text IS NULL THEN 'running' ELSE 'open' END,
                 $2, $3, $4, $5, $6, $7, DATE '1970-01-01' + $8::text::integer, $9,
                 CASE WHEN $9::text IS NOT NULL THEN clock_timestamp() END, $10, $11::text::jsonb,
                 $12::text::integer)
         ON CONFLICT (run_id) DO UPDATE
         SET status = CASE WHEN runs.published_at IS NOT NULL THEN runs.status
                 -- An extract holds no lock, so the whole run may be at work.
                 WHEN runs.status = 'running' AND excluded.last_task LIKE 'extract.%' THEN 'running'
                 ELSE excluded.status END,
             finished_at = CASE WHEN runs.published_at IS NULL THEN NULL ELSE runs.finished_at END,
             error_kind = NULL, error = NULL, error_is_transient = false,
             mode = CASE WHEN runs.published_at IS NULL THEN excluded.mode ELSE runs.mode END,
             key_id = CASE WHEN runs.published_at IS NULL THEN excluded.key_id ELSE runs.key_id END,
             config_digest = CASE WHEN runs.published_at IS NULL THEN excluded.config_digest
                 ELSE runs.config_digest END,
             privacy_profile = CASE WHEN runs.published_at IS NULL THEN excluded.privacy_profile
                 ELSE runs.privacy_profile END,
             privacy_actions = CASE WHEN runs.published_at IS NULL THEN excluded.privacy_actions
                 ELSE runs.privacy_actions END,
             flags_stored = CASE WHEN runs.published_at IS NULL THEN excluded.flags_stored
                 ELSE runs.flags_stored END,
             orchestrator_run_id = coalesce(runs.orchestrator_run_id, excluded.orchestrator_run_id),
             run_date = coalesce(runs.run_date, excluded.run_date),
             last_task = coalesce(excluded.last_task, runs.last_task),
             last_task_at = coalesce(excluded.last_task_at, runs.last_task_at)
         RETURNING run_no, published_at IS NOT NULL AS published",
        sql::texts(&[
            Some(&identity.run.to_string()),
            Some(env!("CARGO_PKG_VERSION")),
            Some(mode_name(identity.mode)),
            Some(&identity.key_id),
            Some(&identity.config_digest),
            Some(identity.risk_model),
            identity.named.as_deref(),
            identity.run_date.map(|day| day.to_string()).as_deref(),
            identity.only,
            Some(&identity.layout.profile),
            Some(&json!(identity.layout.actions).to_string()),
            Some(&identity.flags_stored.to_string()),
        ]),
    )?;
    sql::int(&rows, "run_no", 0)
        .zip(sql::boolean(&rows, "published", 0))
        .ok_or_else(|| Error::internal("the ledger gave no run number"))
}

/// Notes what was read, before anything is loaded.
///
/// # Errors
/// `Warehouse` when the statement fails.
pub(crate) fn note_sources(
    connection: &mut impl Connection,
    run: RunId,
    fingerprint: &str,
    sources: &Value,
) -> Result<()> {
    sql::execute_with(
        connection,
        CONTEXT,
        "UPDATE claims_etl.runs SET fingerprint = $2, sources = $3::text::jsonb
         WHERE run_id = $1::text::uuid",
        sql::texts(&[Some(&run.to_string()), Some(fingerprint), Some(&sources.to_string())]),
    )
    .map(drop)
}

/// The published run that makes this one needless: the same input, settings and key, and nothing
/// published since that could have changed its rows or what its directory has.
///
/// # Errors
/// `Warehouse` when the query fails.
pub(crate) fn already_loaded(
    connection: &mut impl Connection,
    fingerprint: &str,
    config_digest: &str,
    key_id: &str,
) -> Result<Option<String>> {
    // A later replace took the rows away, a later merge that updated rows or providers may have updated
    // these; for a replace any later run changed the whole.
    let rows = sql::query_with(
        connection,
        CONTEXT,
        "SELECT r.run_id::text AS run_id FROM claims_etl.runs r
         WHERE r.published_at IS NOT NULL AND r.fingerprint = $1 AND r.config_digest = $2
           AND r.key_id = $3
           AND NOT EXISTS (
               SELECT FROM claims_etl.runs later
               WHERE later.publish_no > r.publish_no
                 AND (later.mode = 'replace' OR r.mode = 'replace' OR later.claims_updated > 0
                      OR (r.providers_loaded > 0 AND later.providers_updated IS DISTINCT FROM 0)))
         ORDER BY r.publish_no DESC LIMIT 1",
        sql::texts(&[Some(fingerprint), Some(config_digest), Some(key_id)]),
    )?;
    Ok(if rows.num_rows() == 0 { None } else { sql::text(&rows, "run_id", 0) })
}

/// Completes the row of a run; within the publish transaction when it published, whose lock makes the
/// number of the publication the next one.
///
/// # Errors
/// `Warehouse` when the statement fails, also when the account does not balance.
pub(crate) fn complete(
    connection: &mut impl Connection,
    run: RunId,
    status: &str,
    published: bool,
    account: &ControlTotals,
) -> Result<()> {
    let row = json!({
        "claims_read": account.claims.read,
        "claims_loaded": account.claims.loaded,
        "claims_inserted": account.claims.inserted,
        "claims_updated": account.claims.updated,
        "claims_unchanged": account.claims.unchanged,
        "claims_rejected": account.claims.rejected,
        "claims_duplicates": account.claims.duplicates,
        "claims_conflicts": account.claims.conflicts,
        "claims_filtered": account.claims.filtered,
        "amount_read": account.amount.read,
        "amount_loaded": account.amount.loaded,
        "amount_rejected": account.amount.rejected,
        "amount_duplicates": account.amount.duplicates,
        "amount_conflicts": account.amount.conflicts,
        "reversals": account.reversals,
        "amount_generalized": account.amount.generalized,
        "amount_unparsed_rows": account.amount.unparsed_rows,
        "providers_read": account.providers.read,
        "providers_loaded": account.providers.loaded,
        "providers_rejected": account.providers.rejected,
        "providers_duplicates": account.providers.duplicates,
        "providers_conflicts": account.providers.conflicts,
        "providers_inferred": account.providers.inferred,
        "provider_reject_reasons": account.providers.reject_reasons,
        "reject_reasons": account.reject_reasons,
        "reject_examples": account.reject_examples,
        "flags": account.flags,
    });
    let Value::Object(fields) = &row else {
        return Err(Error::internal("the ledger's row is no object"));
    };
    let names: Vec<&str> = fields.keys().map(String::as_str).collect();
    let names = names.join(", ");
    sql::execute_with(
        connection,
        CONTEXT,
        &format!(
            "UPDATE claims_etl.runs SET status = $2, finished_at = clock_timestamp(),
                 published_at = CASE WHEN $3 = 'yes' THEN clock_timestamp() END,
                 publish_no = CASE WHEN $3 = 'yes' THEN
                     (SELECT coalesce(max(publish_no), 0) + 1 FROM claims_etl.runs) END,
                 ({names}) = (SELECT {names} FROM jsonb_populate_record(NULL::claims_etl.runs, $4::text::jsonb))
             WHERE run_id = $1::text::uuid"
        ),
        sql::texts(&[
            Some(&run.to_string()),
            Some(status),
            Some(if published { "yes" } else { "no" }),
            Some(&row.to_string()),
        ]),
    )
    .map(drop)
}

/// Notes, within the publish transaction, how many providers of the directory have other content now.
///
/// # Errors
/// `Warehouse` when the statement fails.
pub(crate) fn note_providers(
    connection: &mut impl Connection,
    run: RunId,
    updated: u64,
) -> Result<()> {
    sql::execute_with(
        connection,
        CONTEXT,
        "UPDATE claims_etl.runs SET providers_updated = $2::text::bigint
         WHERE run_id = $1::text::uuid",
        sql::texts(&[Some(&run.to_string()), Some(&updated.to_string())]),
    )
    .map(drop)
}

/// Completes the row of a run that failed.
///
/// # Errors
/// `Warehouse` when the statement fails.
pub(crate) fn fail(connection: &mut impl Connection, run: RunId, error: &Error) -> Result<()> {
    sql::execute_with(
        connection,
        CONTEXT,
        "UPDATE claims_etl.runs SET status = 'failed', finished_at = clock_timestamp(),
             error_kind = $2, error = $3, error_is_transient = $4 = 'yes'
         WHERE run_id = $1::text::uuid AND published_at IS NULL",
        sql::texts(&[
            Some(&run.to_string()),
            Some(error.kind().name()),
            Some(error.message()),
            Some(if error.kind().is_transient() { "yes" } else { "no" }),
        ]),
    )
    .map(drop)
}

/// Those of these runs that have ended, by the ledger.
///
/// # Errors
/// `Warehouse` when the query fails.
pub(crate) fn ended(connection: &mut impl Connection, runs: &[RunId]) -> Result<Vec<RunId>> {
    let ids: Vec<String> = runs.iter().map(ToString::to_string).collect();
    let rows = sql::query_with(
        connection,
        CONTEXT,
        "SELECT run_id::text AS run_id FROM claims_etl.runs
         WHERE status NOT IN ('running', 'open')
           AND run_id IN (SELECT jsonb_array_elements_text($1::text::jsonb)::uuid)",
        sql::texts(&[Some(&json!(ids).to_string())]),
    )?;
    let ids = (0..rows.num_rows()).filter_map(|row| sql::text(&rows, "run_id", row));
    ids.map(|id| RunId::parse(&id)).collect()
}

/// One state change of a task's try.
#[derive(Debug, Clone)]
pub(crate) struct TaskEntry {
    /// The task's id.
    pub(crate) task: String,
    /// 1 for the first try, 0 for a task that never began.
    pub(crate) attempt: u32,
    /// The state, as Airflow names it.
    pub(crate) state: &'static str,
    /// When the try began.
    pub(crate) started: SystemTime,
    /// How long it has taken.
    pub(crate) elapsed: Duration,
    /// What it handed on.
    pub(crate) result: Option<Value>,
    /// Why it failed, free of cell values.
    pub(crate) error: Option<String>,
}

/// Enters a state change of a task.
///
/// # Errors
/// `Warehouse` when the statement fails.
pub(crate) fn record_task(
    connection: &mut impl Connection,
    run: RunId,
    entry: &TaskEntry,
) -> Result<()> {
    failpoint::hit("ledger.task")?;
    let started: DateTime<Utc> = entry.started.into();
    sql::execute_with(
        connection,
        CONTEXT,
        "INSERT INTO claims_etl.task_runs
             (run_id, task_id, try_number, state, started_at, seconds, result, error)
         VALUES ($1::text::uuid, $2, $3::text::integer, $4, $5::text::timestamptz,
                 $6::text::double precision, $7::text::jsonb, $8)
         ON CONFLICT (run_id, task_id, try_number) DO UPDATE
         SET state = excluded.state, seconds = excluded.seconds, result = excluded.result,
             error = excluded.error",
        sql::texts(&[
            Some(&run.to_string()),
            Some(&entry.task),
            Some(&entry.attempt.to_string()),
            Some(entry.state),
            Some(&started.to_rfc3339_opts(SecondsFormat::Micros, true)),
            Some(&entry.elapsed.as_secs_f64().to_string()),
            entry.result.as_ref().map(ToString::to_string).as_deref(),
            entry.error.as_deref(),
        ]),
    )
    .map(drop)
}

/// One line of the ledger.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct RunRow {
    pub(crate) run_id: String,
    /// `running`, `open`, `success`, `already_loaded` or `failed`.
    pub(crate) status: String,
    /// What an orchestrator calls it, where its id was made from that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) orchestrator_run_id: Option<String>,
    /// The task that was called last, where tasks were called one by one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_task: Option<String>,
    /// When that was, RFC 3339 in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_task_at: Option<String>,
    /// The load mode.
    pub(crate) mode: String,
    /// When it began, RFC 3339 in UTC.
    pub(crate) started_at: String,
    /// Wall time in seconds, once it ended.
    pub(crate) seconds: Option<f64>,
    /// Claim rows; null for a run that did not get so far.
    pub(crate) claims_read: Option<i64>,
    /// Claim rows loaded.
    pub(crate) claims_loaded: Option<i64>,
    /// Claim rows rejected.
    pub(crate) claims_rejected: Option<i64>,
    /// Claim rows dropped as repeats with the same content.
    pub(crate) claims_duplicates: Option<i64>,
    /// Claim rows dropped as repeats with other content.
    pub(crate) claims_conflicts: Option<i64>,
    /// Money loaded, exact.
    pub(crate) amount_loaded: Option<String>,
}

/// All runs, latest first; none where the warehouse has never been loaded.
///
/// # Errors
/// `Warehouse` when the query fails.
pub(crate) fn runs(connection: &mut impl Connection) -> Result<Vec<RunRow>> {
    let table = "SELECT to_regclass('claims_etl.runs') IS NOT NULL AS there";
    if sql::boolean(&sql::query(connection, CONTEXT, table)?, "there", 0) != Some(true) {
        return Ok(Vec::new());
    }
    let rows = sql::query(
        connection,
        CONTEXT,
        "SELECT run_id::text AS run_id, status, mode,
                to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS started_at,
                extract(epoch FROM finished_at - started_at)::double precision AS seconds,
                claims_read, claims_loaded, claims_rejected, claims_duplicates, claims_conflicts,
                amount_loaded::text AS amount_loaded,
                to_jsonb(runs) ->> 'orchestrator_run_id' AS named,
                to_jsonb(runs) ->> 'last_task' AS last_task,
                to_char((to_jsonb(runs) ->> 'last_task_at')::timestamptz AT TIME ZONE 'UTC',
                        'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS last_task_at
         FROM claims_etl.runs ORDER BY run_no DESC",
    )?;
    let text = |name: &str, row| sql::text(&rows, name, row);
    Ok((0..rows.num_rows())
        .map(|row| RunRow {
            run_id: text("run_id", row).unwrap_or_default(),
            status: text("status", row).unwrap_or_default(),
            orchestrator_run_id: text("named", row),
            last_task: text("last_task", row),
            last_task_at: text("last_task_at", row),
            mode: text("mode", row).unwrap_or_default(),
            started_at: text("started_at", row).unwrap_or_default(),
            seconds: sql::float(&rows, "seconds", row),
            claims_read: sql::int(&rows, "claims_read", row),
            claims_loaded: sql::int(&rows, "claims_loaded", row),
            claims_rejected: sql::int(&rows, "claims_rejected", row),
            claims_duplicates: sql::int(&rows, "claims_duplicates", row),
            claims_conflicts: sql::int(&rows, "claims_conflicts", row),
            amount_loaded: text("amount_loaded", row),
        })
        .collect())
}

/// Everything the ledger knows of one run, its tasks included.
///
/// # Errors
/// `Config` when there is no such run, `Warehouse` when the query fails.
pub(crate) fn run_details(connection: &mut impl Connection, run: RunId) -> Result<Value> {
    let rows = sql::query_with(
        connection,
        CONTEXT,
        "SELECT (to_jsonb(r) || jsonb_build_object('tasks', coalesce((
                    SELECT jsonb_agg(to_jsonb(t) - 'run_id' ORDER BY t.started_at, t.task_id, t.try_number)
                    FROM claims_etl.task_runs t WHERE t.run_id = r.run_id), '[]')))::text AS run
         FROM claims_etl.runs r WHERE r.run_id = $1::text::uuid",
        sql::texts(&[Some(&run.to_string())]),
    )?;
    if rows.num_rows() == 0 {
        return Err(Error::config(format!("the ledger knows no run {run}"))
            .hint("`claims-etl runs` lists the ids of all runs"));
    }
    let text = sql::text(&rows, "run", 0).unwrap_or_default();
    serde_json::from_str(&text).map_err(|_| Error::internal("the ledger's row is no JSON"))
}
