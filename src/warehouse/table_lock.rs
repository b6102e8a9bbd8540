//! Taking a table for oneself without making its readers wait.
//!
//! Because of how Postgres queues: a session that waits for an exclusive lock
//! makes all later readers wait behind it. So each attempt waits for a moment only, gives way to
//! those who came after it, and tries again.

use std::thread;
use std::time::{Duration, Instant};

use adbc_core::sync::Connection;

use crate::error::{Error, ErrorKind, Result};
use crate::event::Cancellation;
use crate::failpoint;
use crate::schema::{CLAIMS_FACT, PUBLISHED};
use crate::warehouse::sql;

/// How long one attempt may hold readers up.
const ATTEMPT: &str = "40ms";
/// How long readers have for themselves between two attempts.
const PAUSE: Duration = Duration::from_millis(200);
/// How long any other statement of the program waits for a lock that somebody else holds.
pub(crate) const STATEMENT: &str = "60s";
/// How long to try in all; a report that runs longer ends the attempt to publish.
const PATIENCE_SECS: u64 = 60;

/// A change for which readers have to let go.
pub(crate) struct Attempt<'a> {
    /// For the error of a statement.
    pub(crate) context: &'a str,
    /// What readers hold.
    pub(crate) busy: &'a str,
    /// What does not happen when they do not let go.
    pub(crate) undone: &'a str,
}

/// Locks what is published against readers until the open transaction ends, by SQL that takes all the
/// locks, or undoes what it has done where one of them is not to be had.
///
/// # Errors
/// As [`Attempt::make`].
pub(crate) fn exclusively(
    connection: &mut impl Connection,
    locks: &str,
    cancel: &Cancellation,
) -> Result<()> {
    let attempt = Attempt {
        context: "locking the published claims",
        busy: &format!("{PUBLISHED}.{CLAIMS_FACT}"),
        undone: "nothing was published",
    };
    attempt.make(connection, locks, cancel)
}

impl Attempt<'_> {
    /// Runs a script within the open transaction, as soon as each of its locks is to be had at
    /// once; their holders have a minute.
    ///
    /// # Errors
    /// `Warehouse` when the script fails, or, which may pass by itself, somebody holds a lock all the
    /// time; `Interrupted` on cancellation.
    pub(crate) fn make(
        &self,
        connection: &mut impl Connection,
        script: &str,
        cancel: &Cancellation,
    ) -> Result<()> {
        let Self { context, busy, undone } = *self;
        // In a block, so that a refused lock undoes itself alone and is no error in the server's log.
        let attempt = format!(
            "DO $attempt$ BEGIN
                 SET LOCAL lock_timeout = '{ATTEMPT}';
                 {script};
                 PERFORM set_config('claims_etl.locked', 'yes', true);
             EXCEPTION WHEN lock_not_available THEN
                 PERFORM set_config('claims_etl.locked', 'no', true);
             END $attempt$;
             SET LOCAL lock_timeout = '{STATEMENT}'"
        );
        let patience = failpoint::limit("lock.patience", PATIENCE_SECS);
        let deadline = Instant::now() + Duration::from_secs(patience);
        loop {
            sql::execute(connection, context, &attempt)?;
            let query = "SELECT current_setting('claims_etl.locked') = 'yes' AS locked";
            if sql::boolean(&sql::query(connection, context, query)?, "locked", 0) == Some(true) {
                return Ok(());
            }
            cancel.check()?;
            if Instant::now() >= deadline {
                return Err(Error::new(
                    ErrorKind::Warehouse { transient: true },
                    format!("{busy} was in use for {patience} s; {undone}"),
                )
                .hint("end the long query that reads it (see pg_stat_activity), then run again"));
            }
            thread::sleep(PAUSE);
        }
    }
}
