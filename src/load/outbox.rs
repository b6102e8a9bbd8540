//! The outbox of refreshes: what each target is to show, and what it shows.

use adbc_core::sync::Connection;
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::event::RunId;
use crate::load::ledger_read;
use crate::load::ledger_read::Record;
use crate::warehouse::{comments, migrations, sql};

const CONTEXT: &str = "refresh outbox";

/// The first half of the advisory locks' key ("cref"); the second one is the target's.
const LOCKS: i32 = 0x6372_6566;

/// The run that changed last what is published, in the order of the publications: a run whose tasks are
/// called one by one may publish after one that was begun later.
const LAST_CHANGE: &str = "(SELECT run_no FROM claims_etl.runs
     WHERE changed AND published_at IS NOT NULL ORDER BY publish_no DESC LIMIT 1)";

/// What the outbox holds of a target.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub(crate) struct Entry {
    /// The target's name.
    pub(crate) target: String,
    /// The number of the run that it shows.
    pub(crate) refreshed_run_no: Option<i64>,
    /// Its id.
    pub(crate) refreshed_run_id: Option<String>,
    /// Whether it shows another one than it is to.
    pub(crate) is_due: bool,
    /// When the last refresh began, RFC 3339 in UTC.
    pub(crate) started_at: Option<String>,
    /// When it ended; none where it is at work, or was killed.
    pub(crate) finished_at: Option<String>,
    /// Refreshes begun since one has succeeded, that one included.
    pub(crate) attempts: u32,
    /// How the last one ended.
    pub(crate) outcome: Option<String>,
    /// Where its result is, or why there is none.
    pub(crate) detail: Option<String>,
    /// What the provider calls it.
    pub(crate) remote_id: Option<String>,
}

/// What a target is to show.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Wanted {
    /// Whether it shows something else.
    pub(crate) is_due: bool,
    /// The run's number.
    pub(crate) run_no: i64,
    /// What the ledger holds about the run.
    pub(crate) run: Record,
    /// Whether the published schema has changed since the target was shown last.
    pub(crate) schema_changed: bool,
    /// Which schema that is.
    pub(crate) schema_version: i64,
}

/// How a refresh ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct End<'a> {
    /// The outcome's name.
    pub(crate) outcome: &'a str,
    /// Where the result is, or why there is none; free of cell values.
    pub(crate) detail: &'a str,
    /// What the provider calls it.
    pub(crate) remote_id: Option<&'a str>,
    /// The run that the target shows now, and the schema that it was read from.
    pub(crate) shown: Option<(i64, i64)>,
}

/// Notes, within the publishing transaction, that the run has changed what is published, and what
/// is due for it.
///
/// # Errors
/// `Warehouse` when a statement fails.
pub(crate) fn note_change(
    connection: &mut impl Connection,
    run: RunId,
    targets: &[String],
) -> Result<()> {
    sql::execute_with(
        connection,
        CONTEXT,
        "UPDATE claims_etl.runs SET changed = true WHERE run_id = $1::text::uuid",
        sql::texts(&[Some(&run.to_string())]),
    )?;
    want(connection, targets)
}

/// Notes, within its transaction, that what is published has changed without a run: the scores, the
/// tokens, a view. Whatever a target shows is of before, whoever has configured it, and a refresh that
/// is at work has read some of that, so its end will not count.
///
/// # Errors
/// `Warehouse` when the statement fails.
pub(crate) fn outdate(connection: &mut impl Connection) -> Result<()> {
    sql::execute(
        connection,
        CONTEXT,
        "UPDATE claims_etl.refresh_outbox
         SET refreshed_run_no = NULL, started_run_no = NULL, desired_at = clock_timestamp()",
    )
    .map(drop)
}

/// Lets these targets want what is published. The publishing transaction does it for those that it
/// knows; whoever looks does it for those that were configured since.
///
/// # Errors
/// `Warehouse` when the statement fails.
pub(crate) fn want(connection: &mut impl Connection, targets: &[String]) -> Result<()> {
    sql::execute_with(
        connection,
        CONTEXT,
        // In one order, so that two who do it never wait for each other.
        &format!(
            "INSERT INTO claims_etl.refresh_outbox AS o (target, desired_run_no)
             SELECT name, {LAST_CHANGE} FROM jsonb_array_elements_text($1::text::jsonb) AS names(name)
             WHERE {LAST_CHANGE} IS NOT NULL ORDER BY name
             ON CONFLICT (target) DO UPDATE
             SET desired_run_no = excluded.desired_run_no, desired_at = excluded.desired_at
             WHERE o.desired_run_no <> excluded.desired_run_no"
        ),
        sql::texts(&[Some(&names(targets))]),
    )
    .map(drop)
}

fn names(targets: &[String]) -> String {
    serde_json::Value::from(targets).to_string()
}

/// Whether there is an outbox: an earlier version's warehouse, or an empty one, has none.
///
/// # Errors
/// `Warehouse` when the query fails.
pub(crate) fn is_there(connection: &mut impl Connection) -> Result<bool> {
    let table = "SELECT to_regclass('claims_etl.refresh_outbox') IS NOT NULL AS there";
    Ok(sql::boolean(&sql::query(connection, CONTEXT, table)?, "there", 0) == Some(true))
}

/// What the outbox holds, also of targets that are no longer configured.
///
/// # Errors
/// `Warehouse` when the query fails.
pub(crate) fn entries(connection: &mut impl Connection) -> Result<Vec<Entry>> {
    let rows = sql::query(
        connection,
        CONTEXT,
        "SELECT coalesce(jsonb_agg(jsonb_build_object(
             'target', target, 'refreshed_run_no', refreshed_run_no, 'refreshed_run_id', r.run_id,
             'is_due', desired_run_no IS DISTINCT FROM refreshed_run_no,
             'started_at', to_char(o.started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),
             'finished_at', to_char(o.finished_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),
             'attempts', attempts, 'outcome', outcome, 'detail', detail, 'remote_id', remote_id)
             ORDER BY target), '[]')::text AS entries
         FROM claims_etl.refresh_outbox o LEFT JOIN claims_etl.runs r ON r.run_no = o.refreshed_run_no",
    )?;
    let text = sql::text(&rows, "entries", 0).unwrap_or_default();
    serde_json::from_str(&text).map_err(|_| Error::internal("the refresh outbox cannot be read"))
}

/// Those of these targets that do not show what they are to.
///
/// # Errors
/// `Warehouse` when a statement fails.
pub(crate) fn due(connection: &mut impl Connection, targets: &[String]) -> Result<Vec<String>> {
    want(connection, targets)?;
    let entries = entries(connection)?.into_iter().filter(|entry| entry.is_due);
    Ok(entries.map(|entry| entry.target).filter(|name| targets.contains(name)).collect())
}

/// The number of the run that changed last what is published; none where nothing is.
///
/// # Errors
/// `Warehouse` when the query fails.
pub(crate) fn last_change(connection: &mut impl Connection) -> Result<Option<i64>> {
    let rows = sql::query(connection, CONTEXT, &format!("SELECT {LAST_CHANGE} AS run_no"))?;
    Ok(sql::int(&rows, "run_no", 0))
}

/// The id of that run.
///
/// # Errors
/// `Warehouse` when the query fails.
pub(crate) fn last_changing_run(connection: &mut impl Connection) -> Result<Option<RunId>> {
    let query =
        format!("SELECT run_id::text AS run_id FROM claims_etl.runs WHERE run_no = {LAST_CHANGE}");
    let rows = sql::query(connection, CONTEXT, &query)?;
    sql::text(&rows, "run_id", 0).map(|run| RunId::parse(&run)).transpose()
}

/// What a target is to show; none where nothing is published.
///
/// # Errors
/// `Warehouse` when a query fails.
pub(crate) fn wanted(connection: &mut impl Connection, target: &str) -> Result<Option<Wanted>> {
    let rows = sql::query_with(
        connection,
        CONTEXT,
        &format!(
            "SELECT r.run_id::text AS run_id, o.desired_run_no, schema_version,
                o.refreshed_schema_version IS DISTINCT FROM schema_version AS schema_changed,
                o.desired_run_no IS DISTINCT FROM o.refreshed_run_no AS is_due
         FROM claims_etl.refresh_outbox o JOIN claims_etl.runs r ON r.run_no = o.desired_run_no,
              (SELECT {} AS schema_version) AS schema
         WHERE o.target = $1",
            schema_version()
        ),
        sql::texts(&[Some(target)]),
    )?;
    let Some((run, run_no)) =
        sql::text(&rows, "run_id", 0).zip(sql::int(&rows, "desired_run_no", 0))
    else {
        return Ok(None);
    };
    let schema_changed = sql::boolean(&rows, "schema_changed", 0) == Some(true);
    let schema_version = sql::int(&rows, "schema_version", 0).unwrap_or(0);
    let run = ledger_read::record(connection, RunId::parse(&run)?, "")?
        .ok_or_else(|| Error::internal("the ledger has lost a run that is published"))?;
    Ok(Some(Wanted {
        is_due: sql::boolean(&rows, "is_due", 0) == Some(true),
        run_no,
        run,
        schema_changed,
        schema_version,
    }))
}

/// Whether dashboards find other columns than before, as SQL: the last script that has changed
/// what they read, and the views and columns that the privacy profile wants.
fn schema_version() -> String {
    format!(
        // Not md5(), which a server in FIPS mode does not have.
        "(SELECT ('x' || encode(substring(sha256(convert_to(concat_ws(' ', {}, dropped, views - '{}'), 'UTF8'))
              FROM 1 FOR 7), 'hex'))::bit(56)::bigint
          FROM claims_etl.table_layout)",
        migrations::published_version(),
        comments::NAME
    )
}

/// Takes the lock of a target, if nobody holds it; it is held as long as the connection lives, or
/// until [`unlock`].
///
/// # Errors
/// `Warehouse` when the query fails.
pub(crate) fn try_lock(connection: &mut impl Connection, target: &str) -> Result<bool> {
    Ok(call(connection, "pg_try_advisory_lock", target)? == Some(true))
}

/// Lets go of the lock of a target.
///
/// # Errors
/// `Warehouse` when the query fails.
pub(crate) fn unlock(connection: &mut impl Connection, target: &str) -> Result<()> {
    call(connection, "pg_advisory_unlock", target).map(drop)
}

fn call(connection: &mut impl Connection, function: &str, target: &str) -> Result<Option<bool>> {
    let rows = sql::query_with(
        connection,
        CONTEXT,
        &format!("SELECT {function}({LOCKS}, hashtext($1)) AS done"),
        sql::texts(&[Some(target)]),
    )?;
    Ok(sql::boolean(&rows, "done", 0))
}

/// Notes that a target's refresh begins; its lock is held.
///
/// # Errors
/// `Warehouse` when the statement fails.
pub(crate) fn note_start(connection: &mut impl Connection, target: &str) -> Result<()> {
    sql::execute_with(
        connection,
        CONTEXT,
        "UPDATE claims_etl.refresh_outbox
         SET started_run_no = desired_run_no, started_at = clock_timestamp(), finished_at = NULL,
             attempts = CASE WHEN outcome IN ('succeeded', 'skipped') THEN 1 ELSE attempts + 1 END,
             outcome = NULL, detail = NULL, remote_id = NULL
         WHERE target = $1",
        sql::texts(&[Some(target)]),
    )
    .map(drop)
}

/// Notes how it ended.
///
/// # Errors
/// `Warehouse` when the statement fails.
pub(crate) fn note_end(connection: &mut impl Connection, target: &str, end: End<'_>) -> Result<()> {
    sql::execute_with(
        connection,
        CONTEXT,
        "UPDATE claims_etl.refresh_outbox
         SET started_run_no = NULL, finished_at = clock_timestamp(), outcome = $2, detail = $3,
             -- What has outdated the published rows meanwhile has emptied started_run_no.
             remote_id = $4, refreshed_run_no = CASE WHEN started_run_no IS NULL THEN NULL
                                            ELSE coalesce($5::text::integer, refreshed_run_no) END,
             refreshed_at = CASE WHEN $5 IS NULL THEN refreshed_at ELSE clock_timestamp() END,
             refreshed_schema_version = coalesce($6::text::bigint, refreshed_schema_version)
         WHERE target = $1",
        sql::texts(&[
            Some(target),
            Some(end.outcome),
            Some(end.detail),
            end.remote_id,
            end.shown.map(|(run_no, _)| run_no.to_string()).as_deref(),
            end.shown.map(|(_, schema)| schema.to_string()).as_deref(),
        ]),
    )
    .map(drop)
}
