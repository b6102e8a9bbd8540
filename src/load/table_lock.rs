//! Taking a table for oneself without making its readers wait.
//!
//! A file of its own because of how Postgres queues: a session that waits for an exclusive lock
//! makes all later readers wait behind it. So each attempt waits for a moment only, gives way to
//! those who came after it, and tries again.

use std::thread;
use std::time::{Duration, Instant};

use adbc_core::sync::Connection;

use crate::error::{Error, ErrorKind, Result};
use crate::event::Cancellation;
use crate::failpoint;
use crate::schema::{CLAIMS_FACT, PUBLISHED};
use crate::sql;

/// How long one attempt may hold readers up.
const ATTEMPT: &str = "40ms";
/// How long readers have for themselves between two attempts.
const PAUSE: Duration = Duration::from_millis(200);
/// How long any other statement of the program waits for a lock that somebody else holds.
pub(super) const STATEMENT: &str = "60s";
/// How long to try in all; a report that runs longer ends the attempt to publish.
const PATIENCE_SECS: u64 = 60;

/// Locks what is published against readers until the open transaction ends, by SQL that takes all the
/// locks, or undoes what it has done where one of them is not to be had.
///
/// # Errors
/// `Warehouse`, which may pass by itself, when readers hold the table all the time; `Interrupted`
/// on cancellation.
pub(super) fn exclusively(
    connection: &mut impl Connection,
    locks: &str,
    cancel: &Cancellation,
) -> Result<()> {
    let context = "locking the published claims";
    // In a block, so that a refused lock undoes itself alone and is no error in the server's log.
    let attempt = format!(
        "DO $$ BEGIN
             SET LOCAL lock_timeout = '{ATTEMPT}';
             {locks};
             PERFORM set_config('claims_etl.locked', 'yes', true);
         EXCEPTION WHEN lock_not_available THEN
             PERFORM set_config('claims_etl.locked', 'no', true);
         END $$;
         SET LOCAL lock_timeout = '{STATEMENT}'"
    );
    let patience = failpoint::limit("lock.patience", PATIENCE_SECS);
    let deadline = Instant::now() + Duration::from_secs(patience);
    loop {
        sql::execute(connection, context, &attempt)?;
        let asked = "SELECT current_setting('claims_etl.locked') = 'yes' AS locked";
        if sql::boolean(&sql::query(connection, context, asked)?, "locked", 0) == Some(true) {
            return Ok(());
        }
        cancel.check()?;
        if Instant::now() >= deadline {
            return Err(Error::new(
                ErrorKind::Warehouse { transient: true },
                format!(
                    "{PUBLISHED}.{CLAIMS_FACT} was in use for {patience} s; nothing was published"
                ),
            )
            .hint("end the long query that reads it (see pg_stat_activity), then run again"));
        }
        thread::sleep(PAUSE);
    }
}
