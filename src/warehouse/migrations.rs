//! Brings the warehouse to the schema that this version needs.
//!
//! The versioned SQL scripts beside this file are the only DDL of published objects; each is applied
//! once, in order, all that are missing in one transaction, under the run lock.

use std::time::Duration;

use adbc_core::sync::Connection;

use super::table_lock::Attempt;
use crate::error::{Error, Result};
use crate::event::{Cancellation, with_ticker};
use crate::schema::{INTERNAL, PUBLISHED};
use crate::warehouse::{sql, table_layout};

/// Version, name and text of each script, oldest first. A script never changes once released.
const SCRIPTS: &[(i64, &str, &str)] =
    &[(1, "warehouse", include_str!("migrations/V001__warehouse.sql"))];

const CONTEXT: &str = "migration";
/// How often a stop is looked for while a statement runs.
const STOP: Duration = Duration::from_millis(50);

/// Whether scripts and views are those of this version.
///
/// # Errors
/// `Config` when the warehouse is of a later version, or a released script differs from the one that was
/// applied; `Warehouse` when a query fails.
pub(crate) fn is_current(connection: &mut impl Connection) -> Result<bool> {
    Ok(is_applied(connection)? && table_layout::is_current(connection)?)
}

/// Applies what is missing, makes the views as this version makes them, and returns the versions applied.
/// The run lock is held, so nobody else migrates or loads.
///
/// # Errors
/// As [`is_current`]; `Warehouse` when a script fails (nothing of it stays), or, which may pass by
/// itself, readers hold all the time what has to change; `Config` when others have built on a view that
/// has to be dropped; `Interrupted` on cancellation.
pub(crate) fn migrate(connection: &mut impl Connection, cancel: &Cancellation) -> Result<Vec<i64>> {
    if is_current(connection)? {
        return Ok(Vec::new());
    }
    let handle = connection.get_cancel_handle();
    let stop = move || {
        if cancel.is_cancelled() {
            // The statement may be over by now.
            let _ = handle.try_cancel();
        }
    };
    let steps = || {
        let applied = apply(connection, cancel)?;
        // In a transaction of its own: who reads a view holds it and waits for a table that a script
        // has altered.
        if !table_layout::is_current(connection)? {
            sql::in_transaction(connection, "making the views", |connection| {
                table_layout::update_views(connection, cancel)
            })?;
        }
        Ok(applied)
    };
    let done = with_ticker(STOP, stop, steps).flatten();
    if done.is_err() {
        // A cancelled statement fails as a warehouse error; the reason is the signal.
        cancel.check()?;
    }
    done
}

/// Applies the scripts that are missing, all or none: in attempts that hold readers up for a moment.
fn apply(connection: &mut impl Connection, cancel: &Cancellation) -> Result<Vec<i64>> {
    if is_applied(connection)? {
        return Ok(Vec::new());
    }
    sql::in_transaction(connection, CONTEXT, |connection| {
        for schema in [INTERNAL, PUBLISHED] {
            create_schema(connection, schema)?;
        }
        sql::execute(
            connection,
            CONTEXT,
            "CREATE TABLE IF NOT EXISTS claims_etl.migrations (
                 version     bigint PRIMARY KEY,
                 name        text NOT NULL,
                 checksum    text NOT NULL,
                 applied_at  timestamptz NOT NULL DEFAULT now());
             COMMENT ON TABLE claims_etl.migrations IS 'The SQL scripts that made these schemas.';
             COMMENT ON COLUMN claims_etl.migrations.version IS 'Version of the script.';
             COMMENT ON COLUMN claims_etl.migrations.name IS 'Its name.';
             COMMENT ON COLUMN claims_etl.migrations.checksum IS 'Digest of its text.';
             COMMENT ON COLUMN claims_etl.migrations.applied_at IS 'When it was applied.'",
        )?;
        let applied = applied(connection)?;
        let missing = SCRIPTS
            .iter()
            .filter(|(version, ..)| !applied.iter().any(|(known, _)| known == version));
        let (mut versions, mut steps) = (Vec::new(), Vec::new());
        for (version, name, script) in missing {
            versions.push(*version);
            steps.push(format!(
                "EXECUTE $script${script}$script$;
                 INSERT INTO claims_etl.migrations (version, name, checksum)
                 VALUES ({version}, '{name}', '{}')",
                checksum(script)
            ));
        }
        let range = versions.first().zip(versions.last());
        let range = range.map_or_else(String::new, |(first, last)| format!(" {first} to {last}"));
        let attempt = Attempt {
            context: &format!("{CONTEXT}{range}"),
            busy: "a table or view of the warehouse",
            undone: "nothing was migrated",
        };
        attempt.make(connection, &steps.join(";\n"), cancel)?;
        Ok(versions)
    })
}

/// The last version that has changed what dashboards read.
#[must_use]
pub(crate) fn published_version() -> i64 {
    let published = format!("{PUBLISHED}.");
    let versions = SCRIPTS.iter().filter(|(.., script)| script.contains(&published));
    versions.map(|(version, ..)| *version).max().unwrap_or(0)
}

/// The tables of the ledger, as the scripts make them.
pub(crate) fn tables() -> Vec<&'static str> {
    let mut tables = vec!["migrations"];
    for line in SCRIPTS.iter().flat_map(|(.., script)| script.lines()) {
        let name = |start: &str| {
            let name = line.strip_prefix(start)?.strip_prefix(INTERNAL)?.strip_prefix('.')?;
            name.split([' ', '(', ';']).next()
        };
        tables.extend(name("CREATE TABLE "));
    }
    tables
}

/// Makes a schema that is not there. Not `IF NOT EXISTS`, which wants the right to create schemas
/// also where there is nothing to create.
fn create_schema(connection: &mut impl Connection, schema: &str) -> Result<()> {
    let there = format!("SELECT to_regnamespace('{schema}') IS NOT NULL AS there");
    let there = sql::query(connection, CONTEXT, &there)?;
    if sql::boolean(&there, "there", 0) == Some(true) {
        return Ok(());
    }
    sql::execute(connection, CONTEXT, &format!("CREATE SCHEMA {schema}")).map(drop)
}

/// Whether every script is applied, as it is here.
fn is_applied(connection: &mut impl Connection) -> Result<bool> {
    let table = "SELECT to_regclass('claims_etl.migrations') IS NOT NULL AS there";
    let there = sql::query(connection, CONTEXT, table)?;
    if sql::boolean(&there, "there", 0) != Some(true) {
        return Ok(false);
    }
    let applied = applied(connection)?;
    for (version, sum) in &applied {
        let Some((_, name, script)) = SCRIPTS.iter().find(|(known, ..)| known == version) else {
            return Err(Error::config(format!(
                "the warehouse is at schema version {version}, which this program does not know"
            ))
            .hint("a later version of claims-etl has been here: install that version"));
        };
        if *sum != checksum(script) {
            return Err(Error::config(format!(
                "schema version {version} ({name}) of the warehouse is not the one of this program"
            ))
            .hint("released migrations never change: was an unreleased version used here?"));
        }
    }
    Ok(applied.len() == SCRIPTS.len())
}

/// Versions and checksums in the warehouse.
fn applied(connection: &mut impl Connection) -> Result<Vec<(i64, String)>> {
    let rows = sql::query(
        connection,
        CONTEXT,
        "SELECT version, checksum FROM claims_etl.migrations ORDER BY version",
    )?;
    Ok((0..rows.num_rows())
        .filter_map(|row| {
            Some((sql::int(&rows, "version", row)?, sql::text(&rows, "checksum", row)?))
        })
        .collect())
}

fn checksum(script: &str) -> String {
    blake3::hash(script.as_bytes()).to_hex()[..32].to_owned()
}
