//! A connection to the warehouse with the settings of the program, and the schema brought up to date.

use adbc_core::sync::{Connection, Database};

use super::{lock, server};
use crate::config::Wait;
use crate::error::Result;
use crate::event::{Cancellation, Observer, RunEvent};
use crate::warehouse::{migrations, sql};

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

/// Brings the warehouse to this version's schema where it is not there yet, and lets go of it; returns the
/// versions that were applied.
///
/// # Errors
/// As `load::hold`, and as `migrations::migrate`.
pub(crate) fn migrate_if_needed(
    connection: &mut impl Connection,
    wait: Wait,
    observer: &dyn Observer,
    cancel: &Cancellation,
) -> Result<Vec<i64>> {
    server::check(connection)?;
    if migrations::is_current(connection)? {
        return Ok(Vec::new());
    }
    // Whoever holds the lock may have migrated, and holds it for long.
    if !lock::lock_unless(connection, wait, observer, cancel, migrations::is_current)? {
        return Ok(Vec::new());
    }
    let applied = migrate(connection, observer, cancel);
    // At the latest the end of the connection does it.
    let unlocked = lock::unlock(connection);
    let applied = applied?;
    unlocked.map(|()| applied)
}

/// Migrates under the lock.
pub(crate) fn migrate(
    connection: &mut impl Connection,
    observer: &dyn Observer,
    cancel: &Cancellation,
) -> Result<Vec<i64>> {
    let applied = migrations::migrate(connection, cancel)?;
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
pub(crate) fn unlock(mut control: impl Connection) -> Result<()> {
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
pub(crate) fn warn_if_unencrypted(
    connection: &mut impl Connection,
    observer: &dyn Observer,
) -> Result<()> {
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
