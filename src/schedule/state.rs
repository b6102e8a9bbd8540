//! The intervals of a schedule in the ledger.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::timetable::DataInterval;
use crate::adbc_postgres::PostgresConnection;
use crate::config::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::event::RunId;
use crate::warehouse::{location, sql};

const CONTEXT: &str = "schedule";

/// The state of an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Queued,
    Running,
    /// Its data is published.
    Success,
    /// Failed permanently; run again only on request.
    Failed,
    /// Cancelled or failed with a transient error; due again.
    UpForRetry,
    /// Set by an operator: need not be run.
    Skipped,
}

impl State {
    pub const ALL: [Self; 6] =
        [Self::Queued, Self::Running, Self::Success, Self::Failed, Self::UpForRetry, Self::Skipped];

    /// The state's name in the ledger.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Success => "success",
            Self::Failed => "failed",
            Self::UpForRetry => "up_for_retry",
            Self::Skipped => "skipped",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether it is due again.
    #[must_use]
    pub(crate) fn is_open(self) -> bool {
        matches!(self, Self::Queued | Self::UpForRetry)
    }

    /// Whether dependent intervals may run.
    #[must_use]
    pub(crate) fn is_done(self) -> bool {
        matches!(self, Self::Success | Self::Skipped)
    }
}

/// An interval in the ledger.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) interval: DataInterval,
    pub(crate) state: State,
    /// Its last run.
    pub(crate) run_id: Option<String>,
    pub(crate) tries: i64,
    /// Kind and message of its last run's error.
    pub(crate) error: Option<(String, String)>,
    /// Claims loaded by its last run, if published.
    pub(crate) claims_loaded: Option<i64>,
    /// Their exact amount.
    pub(crate) amount_loaded: Option<String>,
    /// Duration of the last run.
    pub(crate) seconds: Option<f64>,
}

/// The outcome of an interval whose process died before recording it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    pub(crate) start: DateTime<Utc>,
    pub(crate) state: State,
    pub(crate) run: RunId,
}

/// Proof that a process holds the lease of a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseToken {
    /// The schedule's name.
    pub schedule: String,
    /// The holder's id, a UUID.
    pub holder: String,
    /// The fencing token: grows with every new lease of the schedule.
    pub fencing_token: i64,
}

impl LeaseToken {
    /// Checks that the lease is valid, and locks it until the end of the transaction.
    fn check(&self, connection: &mut PostgresConnection) -> Result<()> {
        let rows = sql::query_with(
            connection,
            CONTEXT,
            "SELECT fencing_token FROM claims_etl.schedule_lease
             WHERE schedule = $1 AND holder = $2::text::uuid AND fencing_token = $3::text::bigint
               AND expires_at > clock_timestamp() FOR UPDATE",
            sql::texts(&[
                Some(&self.schedule),
                Some(&self.holder),
                Some(&self.fencing_token.to_string()),
            ]),
        )?;
        if rows.num_rows() == 1 { Ok(()) } else { Err(lost(&self.schedule)) }
    }
}

/// The lease expired or was taken by another process.
#[must_use]
pub(crate) fn lost(schedule: &str) -> Error {
    Error::new(ErrorKind::Locked, format!("the lease of the schedule {schedule} was lost"))
        .hint("another process runs it now; no interval is run twice")
}

/// The time of the warehouse server, the same for all machines.
///
/// # Errors
/// `Warehouse` when the query fails.
pub(crate) fn server_time(connection: &mut PostgresConnection) -> Result<DateTime<Utc>> {
    let rows = sql::query(
        connection,
        CONTEXT,
        "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS micros",
    )?;
    sql::int(&rows, "micros", 0)
        .and_then(DateTime::from_timestamp_micros)
        .ok_or_else(|| Error::internal("the time of the server cannot be read"))
}

/// A connection to the ledger; `None` if it has no schedule tables, or the private server is not
/// running.
///
/// # Errors
/// `Warehouse` when the ledger cannot be reached.
pub(super) fn connect(settings: &Settings) -> Result<Option<PostgresConnection>> {
    let Some(warehouse) = location::running(settings)? else { return Ok(None) };
    let mut connection = warehouse.connect()?;
    Ok(if has_tables(&mut connection)? { Some(connection) } else { None })
}

fn has_tables(connection: &mut PostgresConnection) -> Result<bool> {
    let table = "SELECT to_regclass('claims_etl.schedule_intervals') IS NOT NULL AS there";
    Ok(sql::boolean(&sql::query(connection, CONTEXT, table)?, "there", 0) == Some(true))
}

/// All intervals of a schedule in the ledger, by start.
///
/// # Errors
/// `Warehouse` when the query fails.
pub(crate) fn entries(connection: &mut PostgresConnection, schedule: &str) -> Result<Vec<Entry>> {
    let rows = sql::query_with(
        connection,
        CONTEXT,
        "SELECT extract(epoch FROM i.interval_start)::bigint AS starts,
                extract(epoch FROM i.interval_end)::bigint AS ends,
                i.state, i.run_id::text AS run_id, i.tries::bigint AS tries, i.error_kind, i.error,
                CASE WHEN r.published_at IS NOT NULL THEN r.claims_loaded END AS claims_loaded,
                CASE WHEN r.published_at IS NOT NULL THEN r.amount_loaded::text END AS amount_loaded,
                extract(epoch FROM i.finished_at - i.started_at)::double precision AS seconds
         FROM claims_etl.schedule_intervals i LEFT JOIN claims_etl.runs r USING (run_id)
         WHERE i.schedule = $1 ORDER BY i.interval_start",
        sql::texts(&[Some(schedule)]),
    )?;
    let moment = |name: &str, row| DateTime::from_timestamp(sql::int(&rows, name, row)?, 0);
    let entry = |row| -> Option<Entry> {
        let text = |name: &str| sql::text(&rows, name, row);
        Some(Entry {
            interval: DataInterval { start: moment("starts", row)?, end: moment("ends", row)? },
            state: State::named(&text("state")?)?,
            run_id: text("run_id"),
            tries: sql::int(&rows, "tries", row)?,
            error: text("error_kind").zip(text("error")),
            claims_loaded: sql::int(&rows, "claims_loaded", row),
            amount_loaded: text("amount_loaded"),
            seconds: sql::float(&rows, "seconds", row),
        })
    };
    (0..rows.num_rows())
        .map(|row| {
            entry(row).ok_or_else(|| {
                Error::internal("claims_etl.schedule_intervals has a row in an unexpected format")
            })
        })
        .collect()
}

/// Claims an interval for a run: `false` if it is no longer in a state of `from`. A new interval
/// can always be claimed.
///
/// # Errors
/// `Locked` when the lease is not valid, `Warehouse` when a statement fails.
pub fn claim(
    connection: &mut PostgresConnection,
    token: &LeaseToken,
    interval: DataInterval,
    run: RunId,
    from: &[State],
) -> Result<bool> {
    let from: Vec<&str> = from.iter().map(|state| state.name()).collect();
    sql::in_transaction(connection, CONTEXT, |connection| {
        token.check(connection)?;
        let rows = sql::query_with(
            connection,
            CONTEXT,
            "INSERT INTO claims_etl.schedule_intervals AS i
                 (schedule, interval_start, interval_end, state, run_id, tries, fencing_token, started_at)
             VALUES ($1, to_timestamp($2::text::bigint), to_timestamp($3::text::bigint), 'running',
                     $4::text::uuid, 1, $5::text::bigint, clock_timestamp())
             ON CONFLICT (schedule, interval_start) DO UPDATE
             SET state = 'running', run_id = excluded.run_id, tries = i.tries + 1,
                 fencing_token = excluded.fencing_token, started_at = excluded.started_at,
                 finished_at = NULL, error_kind = NULL, error = NULL
             WHERE i.interval_end = excluded.interval_end
               -- It may already be claimed by this run: only the reply was lost.
               AND (i.state = ANY (string_to_array($6, ' ')) OR i.run_id = excluded.run_id)
             RETURNING i.tries",
            sql::texts(&[
                Some(&token.schedule),
                Some(&seconds(interval.start)),
                Some(&seconds(interval.end)),
                Some(&run.to_string()),
                Some(&token.fencing_token.to_string()),
                Some(&from.join(" ")),
            ]),
        )?;
        Ok(rows.num_rows() == 1)
    })
}

/// Records how the run of an interval ended, unless another run has claimed it. A published run is
/// a success whatever followed. Returns the state and the number of later intervals queued again,
/// see [`requeue_later`].
///
/// # Errors
/// `Warehouse` when the statement fails.
pub(crate) fn record(
    connection: &mut PostgresConnection,
    schedule: &str,
    run: RunId,
    state: State,
    error: Option<(&str, &str)>,
) -> Result<(State, u64)> {
    sql::in_transaction(connection, CONTEXT, |connection| {
        let rows = sql::query_with(
            connection,
            CONTEXT,
            "UPDATE claims_etl.schedule_intervals AS i
             SET state = CASE WHEN EXISTS (SELECT FROM claims_etl.runs r
                         WHERE r.run_id = i.run_id AND r.published_at IS NOT NULL)
                     THEN 'success' ELSE $3 END,
                 finished_at = clock_timestamp(), error_kind = $4, error = $5
             WHERE schedule = $1 AND run_id = $2::text::uuid AND state = 'running' RETURNING state",
            sql::texts(&[
                Some(schedule),
                Some(&run.to_string()),
                Some(state.name()),
                error.map(|(kind, _)| kind),
                error.map(|(_, message)| message),
            ]),
        )?;
        let named = sql::text(&rows, "state", 0).and_then(|name| State::named(&name));
        Ok((named.unwrap_or(state), requeue_later(connection, schedule, run)?))
    })
}

/// Queues later intervals again if they were loaded before this one: this run may have changed
/// their rows and providers, and the newer interval must win. Returns their number, which is 0 for
/// intervals loaded in order.
fn requeue_later(connection: &mut PostgresConnection, schedule: &str, run: RunId) -> Result<u64> {
    sql::execute_with(
        connection,
        CONTEXT,
        "UPDATE claims_etl.schedule_intervals AS later SET state = 'queued'
         FROM claims_etl.schedule_intervals AS i JOIN claims_etl.runs r USING (run_id)
         WHERE i.schedule = $1 AND i.run_id = $2::text::uuid AND i.state = 'success'
           AND r.published_at IS NOT NULL
           AND (r.mode = 'replace' OR r.claims_updated > 0 OR r.providers_updated > 0)
           AND later.schedule = i.schedule AND later.interval_start > i.interval_start
           AND later.state = 'success'",
        sql::texts(&[Some(schedule), Some(&run.to_string())]),
    )
}

/// Settles intervals whose process died before recording the outcome: published or already loaded
/// is a success, a permanent error is failed, anything else runs again. Must be called by the
/// holder of the lease while nothing is running.
///
/// # Errors
/// `Locked` when the lease is not valid, `Warehouse` when a statement fails.
pub fn settle(connection: &mut PostgresConnection, token: &LeaseToken) -> Result<Vec<Settled>> {
    sql::in_transaction(connection, CONTEXT, |connection| {
        token.check(connection)?;
        let rows = sql::query_with(
            connection,
            CONTEXT,
            "WITH left_over AS (
                 SELECT i.interval_start, r.error_kind, r.error, CASE
                     WHEN r.published_at IS NOT NULL OR r.status = 'already_loaded' THEN 'success'
                     WHEN r.status = 'failed' AND r.error_kind <> 'interrupted'
                         AND NOT r.error_is_transient THEN 'failed'
                     ELSE 'up_for_retry' END AS state
                 FROM claims_etl.schedule_intervals i LEFT JOIN claims_etl.runs r USING (run_id)
                 WHERE i.schedule = $1 AND i.state = 'running')
             UPDATE claims_etl.schedule_intervals AS i
             SET state = o.state, error_kind = o.error_kind, error = o.error,
                 finished_at = clock_timestamp()
             FROM left_over o WHERE i.schedule = $1 AND i.interval_start = o.interval_start
             RETURNING extract(epoch FROM i.interval_start)::bigint AS starts, i.state,
                 i.run_id::text AS run_id",
            sql::texts(&[Some(&token.schedule)]),
        )?;
        let settled = |row| {
            Some(Settled {
                start: DateTime::from_timestamp(sql::int(&rows, "starts", row)?, 0)?,
                state: State::named(&sql::text(&rows, "state", row)?)?,
                run: RunId::parse(&sql::text(&rows, "run_id", row)?).ok()?,
            })
        };
        let settled: Option<Vec<Settled>> = (0..rows.num_rows()).map(settled).collect();
        let settled = settled.ok_or_else(|| {
            Error::internal("claims_etl.schedule_intervals has a row in an unexpected format")
        })?;
        for one in settled.iter().filter(|one| one.state == State::Success) {
            requeue_later(connection, &token.schedule, one.run)?;
        }
        Ok(settled)
    })
}

/// Queues all failed intervals; returns their number.
///
/// # Errors
/// `Locked` when the lease is not valid, `Warehouse` when a statement fails.
pub fn retry_failed(connection: &mut PostgresConnection, token: &LeaseToken) -> Result<u64> {
    sql::in_transaction(connection, CONTEXT, |connection| {
        token.check(connection)?;
        sql::execute_with(
            connection,
            CONTEXT,
            "UPDATE claims_etl.schedule_intervals SET state = 'queued'
             WHERE schedule = $1 AND state = 'failed'",
            sql::texts(&[Some(&token.schedule)]),
        )
    })
}

fn seconds(moment: DateTime<Utc>) -> String {
    moment.timestamp().to_string()
}
