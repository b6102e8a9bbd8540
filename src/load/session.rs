//! One run's hold on the warehouse: connected, migrated, locked, swept.
//!
//! These steps come before anything else, in this order: the lock makes this run the only one, and only
//! then may tables be altered and the leftovers of dead runs be removed.

use adbc_core::sync::{Connection, Database};

use super::stage::{self, Whose};
use super::{keys, ledger, lock, migrate, server, shape, table_checks};
use crate::config::{Mode, Wait};
use crate::error::Result;
use crate::event::{Cancellation, Observer, RunEvent};
use crate::failpoint;
use crate::schema::INTERNAL;
use crate::sql;

/// The control connection of a run. The lock is held as long as it lives.
pub struct Session<C> {
    /// The connection that holds the lock and publishes.
    pub control: C,
    /// The run's number in the ledger; stored with every row.
    pub run_no: i64,
    /// Whether an earlier try of this very run has published already.
    pub published: bool,
    /// What identifies the run's work.
    pub identity: ledger::Identity,
}

/// What holds in every session of the program, whatever the role, the database or the server has set:
/// - functions and operators are PostgreSQL's own: in a schema that others may write to, somebody could have
///   left one of the same name;
/// - the server ends no statement, transaction or idle session of ours; a refresh has a limit of its own.
///   Who waits for a lock gives up in a time;
/// - the server refuses a query of which row level security would hide rows;
/// - texts have one form, and a transaction is what the program takes it for.
const SETTINGS: &str = "\
    SET quote_all_identifiers = off;
    SET search_path = pg_catalog, pg_temp;
    SET statement_timeout = 0;
    SET idle_in_transaction_session_timeout = 0;
    SET idle_session_timeout = 0;
    SET lock_timeout = '60s';
    SELECT set_config('transaction_timeout', '0', false)
    WHERE current_setting('server_version_num')::integer >= 170000;
    SET row_security = off;
    SET client_encoding = 'UTF8';
    SET standard_conforming_strings = on;
    SET transform_null_equals = off;
    SET array_nulls = on;
    SET DateStyle = 'ISO, YMD';
    SET IntervalStyle = 'postgres';
    SET TimeZone = 'UTC';
    SET bytea_output = 'hex';
    SET extra_float_digits = 1;
    SET default_transaction_isolation = 'read committed';
    SET default_transaction_deferrable = off;
    SET exit_on_error = off;
    SELECT set_config('synchronous_commit', 'on', false)
    WHERE current_setting('synchronous_commit') = 'off'";

/// Opens a connection with the settings of the program.
///
/// # Errors
/// `Warehouse` when the server cannot be reached or refuses, `Config` when the address leads to a pooler that
/// keeps no session.
pub fn connect<D: Database>(database: &D) -> Result<D::ConnectionType> {
    let context = "connecting to the warehouse";
    let mut connection = database.new_connection().map_err(|error| sql::error(context, error))?;
    if let Err(error) = sql::execute(&mut connection, context, SETTINGS) {
        // A server that is too old does not know all of them.
        server::version(&mut connection)?;
        return Err(error);
    }
    notice_a_dead_client(&mut connection);
    Ok(connection)
}

impl<C: Connection> Session<C> {
    /// Holds the warehouse (see [`hold`]), checks the key and what is done to the columns, and enters
    /// the run into the ledger.
    ///
    /// # Errors
    /// As [`hold`]; `Config` when the warehouse holds tokens of another key, or rows to which other
    /// things were done, beside which these cannot stand.
    pub fn open<D>(
        database: &D,
        identity: ledger::Identity,
        wait: Wait,
        observer: &dyn Observer,
        cancel: &Cancellation,
    ) -> Result<Self>
    where
        D: Database<ConnectionType = C>,
    {
        let mut control = hold(database, wait, observer, cancel)?;
        keys::check(&mut control, &identity.key(), identity.mode == Mode::Replace)?;
        shape::check(&mut control, &identity.treatment, identity.mode)?;
        table_checks::check_ties(&mut control, &identity.treatment, identity.mode)?;
        let (run_no, published) = ledger::begin(&mut control, &identity)?;
        failpoint::hit("session.begun")?;
        Ok(Self { control, run_no, published, identity })
    }
}

/// Connects, takes the lock, which may mean to wait for it, migrates, and removes what dead runs left
/// behind. The warehouse is held as long as the connection lives, or until [`let_go`].
///
/// # Errors
/// `Warehouse` when the server cannot be reached, `Locked` when another run is at work for longer
/// than `wait`, `Interrupted` when somebody asked to stop.
pub fn hold<D: Database>(
    database: &D,
    wait: Wait,
    observer: &dyn Observer,
    cancel: &Cancellation,
) -> Result<D::ConnectionType> {
    let mut control = connect(database)?;
    tell_if_clear(&mut control, observer)?;
    server::check(&mut control)?;
    lock::lock(&mut control, wait, observer, cancel)?;
    failpoint::hit("session.locked")?;
    migrate(&mut control, observer, cancel)?;
    failpoint::hit("session.migrated")?;
    table_checks::check(&mut control)?;
    sweep(&mut control, observer)?;
    Ok(control)
}

/// Brings the warehouse to this version's schema where it is not there yet, and lets go of it; returns the
/// versions that were applied.
///
/// # Errors
/// As [`hold`], and as `migrate::migrate`.
pub fn bring_up(
    connection: &mut impl Connection,
    wait: Wait,
    observer: &dyn Observer,
    cancel: &Cancellation,
) -> Result<Vec<i64>> {
    server::check(connection)?;
    if migrate::is_current(connection)? {
        return Ok(Vec::new());
    }
    // Whoever holds the lock may have migrated, and holds it for long.
    if !lock::lock_unless(connection, wait, observer, cancel, migrate::is_current)? {
        return Ok(Vec::new());
    }
    let applied = migrate(connection, observer, cancel);
    // At the latest the end of the connection does it.
    let unlocked = lock::unlock(connection);
    let applied = applied?;
    unlocked.map(|()| applied)
}

/// Migrates under the lock.
fn migrate(
    connection: &mut impl Connection,
    observer: &dyn Observer,
    cancel: &Cancellation,
) -> Result<Vec<i64>> {
    let applied = migrate::migrate(connection, cancel)?;
    for version in &applied {
        observer.observe(&RunEvent::Note(format!("warehouse migrated to version {version}")));
    }
    Ok(applied)
}

/// Ends the hold on the warehouse at once; the end of the connection would take the server a
/// moment.
///
/// # Errors
/// `Warehouse` when the statement fails.
pub fn let_go(mut control: impl Connection) -> Result<()> {
    lock::unlock(&mut control)
}

/// Lets the server end the session of a killed run also in the middle of a statement: without this it
/// would hold the run lock, and readers would queue behind it, as long as it waits for another lock; and a
/// table that it makes would be there after the next run has cleared away what the dead one left.
fn notice_a_dead_client(connection: &mut impl Connection) {
    // Best effort: some systems cannot do it.
    let _ = sql::query(
        connection,
        "watching the connection",
        "SELECT set_config(name, '1s', false) AS set FROM pg_settings
         WHERE name = 'client_connection_check_interval'",
    );
}

/// Says so when rows will cross a network that could read them: the address allows it, but whoever
/// wrote it may not know that the server offers nothing better.
fn tell_if_clear(connection: &mut impl Connection, observer: &dyn Observer) -> Result<()> {
    let rows = sql::query(
        connection,
        "asking for TLS",
        "SELECT inet_client_addr() IS NOT NULL AND NOT ssl AS clear
         FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
    )?;
    if sql::boolean(&rows, "clear", 0) == Some(true) {
        observer.observe(&RunEvent::Note(
            "the connection to the warehouse is not encrypted; sslmode=verify-full would demand it"
                .into(),
        ));
    }
    Ok(())
}

/// Removes staging tables and closes ledger rows of runs that ended without saying so. The lock is
/// held, so none of them is alive; but the server may still have been at a statement of one when the lock
/// became free, so whoever has succeeded does it once more.
///
/// # Errors
/// `Warehouse` when a statement fails.
pub fn sweep(connection: &mut impl Connection, observer: &dyn Observer) -> Result<()> {
    let context = "removing leftovers";
    for name in stage::drop_tables(connection, context, Whose::AllRuns)? {
        observer.observe(&RunEvent::Note(format!("removed {INTERNAL}.{name} of an earlier run")));
    }
    sql::execute(
        connection,
        context,
        "UPDATE claims_etl.runs SET status = 'failed', finished_at = clock_timestamp(),
             error_kind = 'interrupted', error = 'the run ended without saying so'
         WHERE status = 'running';
         UPDATE claims_etl.runs SET status = 'failed', finished_at = clock_timestamp(),
             error_kind = 'interrupted', error = 'nobody went on with the run for 7 days'
         WHERE status = 'open'
           AND coalesce(last_task_at, started_at) < clock_timestamp() - interval '7 days';
         -- A task that only looks at a source may be at work without the lock; and a try that failed
         -- stays what it was where another one followed.
         UPDATE claims_etl.task_runs t SET state = 'failed', error = 'the run ended without saying so'
         WHERE state IN ('running', 'up_for_retry')
           AND NOT (task_id LIKE 'extract.%' AND EXISTS (
               SELECT FROM claims_etl.runs r WHERE r.run_id = t.run_id AND r.status = 'open'))
           AND NOT (state = 'up_for_retry' AND EXISTS (
               SELECT FROM claims_etl.task_runs next WHERE next.run_id = t.run_id
                   AND next.task_id = t.task_id AND next.try_number > t.try_number))",
    )
    .map(drop)
}
