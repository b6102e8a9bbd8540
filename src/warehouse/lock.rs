//! The lock of the warehouse: one run at a time, and how the next one waits for it.
//!
//! That is why the lock is requested repeatedly: a statement that waits in the server would do
//! none of this.

use std::time::{Duration, Instant};

use adbc_core::sync::Connection;

use crate::config::Wait;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Cancellation, Observer, RunEvent, rest};
use crate::warehouse::sql;

/// The advisory lock of one database that a run holds ("claimetl").
const RUN_LOCK: i64 = 0x636c_6169_6d65_746c;

/// How long a run waits by default: a killed run's backend needs a moment to notice.
const GRACE: Duration = Duration::from_secs(5);

/// How often the lock is requested: soon at first, because most waits are short, then rarely.
const SOON: Duration = Duration::from_millis(100);
const RARELY: Duration = Duration::from_secs(1);

/// When a wait is worth a line. By then the holder has entered itself into the ledger.
const TELL_AFTER: Duration = Duration::from_millis(500);

/// Takes the lock; waits for it as long as `wait` allows.
///
/// # Errors
/// `Locked` when another run holds it for longer, `Interrupted` when cancelled.
pub(crate) fn lock(
    connection: &mut impl Connection,
    wait: Wait,
    observer: &dyn Observer,
    cancel: &Cancellation,
) -> Result<()> {
    lock_unless(connection, wait, observer, cancel, |_| Ok(false)).map(drop)
}

/// Takes the lock, unless there is no need for it any more, and returns whether it is taken.
///
/// # Errors
/// As [`lock`], and whatever the question for the need fails with.
pub(crate) fn lock_unless<C: Connection>(
    connection: &mut C,
    wait: Wait,
    observer: &dyn Observer,
    cancel: &Cancellation,
    needless: impl Fn(&mut C) -> Result<bool>,
) -> Result<bool> {
    let began = Instant::now();
    let limit = wait.limit(GRACE);
    // A default wait is not worth a line: it ends soon, one way or the other.
    let mut told = wait == Wait::No;
    let mut pause = SOON;
    while !is_free(connection)? {
        cancel.check()?;
        if needless(connection)? {
            return Ok(false);
        }
        let waited = began.elapsed();
        if limit.is_some_and(|limit| waited >= limit) {
            return Err(refusal(connection, wait));
        }
        if !told && waited >= TELL_AFTER {
            let who = holder(connection);
            observer.observe(&RunEvent::Note(format!("waiting for {who}, which is at work here")));
            told = true;
        }
        let left = limit.map_or(pause, |limit| limit.saturating_sub(waited));
        rest(pause.min(left), || cancel.check())?;
        pause = (pause + pause / 4).min(RARELY);
    }
    Ok(true)
}

/// Lets go of the lock without ending the session.
///
/// # Errors
/// `Warehouse` when the statement fails.
pub(crate) fn unlock(connection: &mut impl Connection) -> Result<()> {
    sql::query(
        connection,
        "run lock",
        &format!("SELECT pg_advisory_unlock({RUN_LOCK}) AS unlocked"),
    )
    .map(drop)
}

/// Fails where the session does not hold the lock: checked before anything that is
/// published is changed.
///
/// # Errors
/// `Warehouse` when the lock is not held.
pub(crate) fn check_held(connection: &mut impl Connection) -> Result<()> {
    let rows = sql::query(
        connection,
        "run lock",
        &format!(
            "SELECT EXISTS (SELECT FROM pg_locks
                 WHERE locktype = 'advisory' AND objsubid = 1 AND granted AND pid = pg_backend_pid()
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                   AND (classid::bigint << 32) + objid::bigint = {RUN_LOCK}) AS held"
        ),
    )?;
    if sql::boolean(&rows, "held", 0) == Some(true) {
        return Ok(());
    }
    Err(Error::warehouse("this session does not hold the lock of the run; nothing was published")
        .hint("is there a connection pooler on the way? Connect to the server itself"))
}

/// Takes the lock if nobody holds it.
fn is_free(connection: &mut impl Connection) -> Result<bool> {
    let rows = sql::query(
        connection,
        "run lock",
        &format!("SELECT pg_try_advisory_lock({RUN_LOCK}) AS locked"),
    )?;
    Ok(sql::boolean(&rows, "locked", 0) == Some(true))
}

/// Who holds the lock, according to the ledger: whatever began last and has not ended. What a
/// killed run left open began earlier, because the holder began after it had the lock.
fn holder(connection: &mut impl Connection) -> String {
    let nobody = || "another run".to_owned();
    // Without a name the wait, and its end, are as right.
    let Ok(rows) = sql::query(
        connection,
        "run lock",
        "SELECT run_id::text AS run_id,
                to_char(since AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS since
         FROM (SELECT run_id, started_at AS since FROM claims_etl.runs WHERE status = 'running'
               UNION ALL
               SELECT run_id, started_at FROM claims_etl.task_runs
               WHERE state IN ('running', 'up_for_retry')
                 -- These need no lock; in a whole run the run itself is listed above.
                 AND task_id NOT LIKE 'extract.%') AS work
         ORDER BY work.since DESC LIMIT 1",
    ) else {
        return nobody();
    };
    let text = |name| sql::text(&rows, name, 0).filter(|_| rows.num_rows() > 0);
    text("run_id")
        .zip(text("since"))
        .map_or_else(nobody, |(run, since)| format!("run {run} (since {since})"))
}

/// Why the run ends here.
fn refusal(connection: &mut impl Connection, wait: Wait) -> Error {
    let who = holder(connection);
    let hint = match wait {
        Wait::No => "run again when it has ended, or wait for it with --wait",
        Wait::Seconds(_) | Wait::Forever => "run again when it has ended, or wait longer",
    };
    let message = format!("{who} is loading this warehouse; nothing was done");
    Error::new(ErrorKind::Locked, message).hint(hint)
}
