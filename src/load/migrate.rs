//! Brings the warehouse to the schema that this version needs.
//!
//! A file of its own because the versioned SQL scripts beside it are the only DDL of published
//! objects; each is applied once, in order, in a transaction of its own, under an advisory lock.

use adbc_core::sync::Connection;

use super::{server, shape};
use crate::error::{Error, Result};
use crate::schema::{INTERNAL, PUBLISHED};
use crate::sql;

/// Version, name and text of each script, oldest first. A script never changes once released.
const SCRIPTS: &[(i64, &str, &str)] = &[
    (1, "warehouse", include_str!("migrations/V001__warehouse.sql")),
    (2, "filtered", include_str!("migrations/V002__filtered.sql")),
    (3, "rules", include_str!("migrations/V003__rules.sql")),
    (4, "refresh_outbox", include_str!("migrations/V004__refresh_outbox.sql")),
    (5, "schedule", include_str!("migrations/V005__schedule.sql")),
    (6, "tasks_apart", include_str!("migrations/V006__tasks_apart.sql")),
    (7, "risk", include_str!("migrations/V007__risk.sql")),
    (8, "privacy", include_str!("migrations/V008__privacy.sql")),
    (9, "keys", include_str!("migrations/V009__keys.sql")),
    (10, "provider_months", include_str!("migrations/V010__provider_months.sql")),
    (11, "publications", include_str!("migrations/V011__publications.sql")),
    (12, "conflicts", include_str!("migrations/V012__conflicts.sql")),
];

/// Serialises migrations of one database ("clmetlmg").
const LOCK: i64 = 0x636c_6d65_746c_6d67;

/// Applies what is missing, makes the views as this version makes them, and returns the versions applied.
///
/// # Errors
/// `Warehouse` when the server or the role cannot do it (see [`server::check`]) or a script fails (nothing of it stays), `Config` when the warehouse is of a
/// later version, others have built on a view that has to be dropped, or a released script differs from the one that was applied.
pub fn migrate(connection: &mut impl Connection) -> Result<Vec<i64>> {
    server::check(connection)?;
    let applied = if is_current(connection)? { Vec::new() } else { apply(connection)? };
    // In a transaction of its own: who reads a view holds it and waits for a table that a script
    // has altered.
    if !shape::is_current(connection)? {
        sql::in_transaction(connection, "making the views", |connection| {
            lock(connection)?;
            shape::bring_up_views(connection)
        })?;
    }
    Ok(applied)
}

/// Applies the scripts that are missing, all or none.
fn apply(connection: &mut impl Connection) -> Result<Vec<i64>> {
    let context = "migration";
    sql::in_transaction(connection, context, |connection| {
        lock(connection)?;
        for schema in [INTERNAL, PUBLISHED] {
            create_schema(connection, schema)?;
        }
        sql::execute(
            connection,
            context,
            "CREATE TABLE IF NOT EXISTS claims_etl.migrations (
                 version     bigint PRIMARY KEY,
                 name        text NOT NULL,
                 checksum    text NOT NULL,
                 applied_at  timestamptz NOT NULL DEFAULT now());
             COMMENT ON TABLE claims_etl.migrations IS 'The SQL scripts that made these schemas.'",
        )?;
        let applied = applied(connection)?;
        let mut done = Vec::new();
        for (version, name, script) in SCRIPTS {
            if applied.iter().any(|(known, _)| known == version) {
                continue;
            }
            let context = format!("migration {version} ({name})");
            sql::execute(connection, &context, script)?;
            sql::execute_with(
                connection,
                &context,
                "INSERT INTO claims_etl.migrations (version, name, checksum)
                 VALUES ($1::text::bigint, $2, $3)",
                sql::texts(&[Some(&version.to_string()), Some(name), Some(&checksum(script))]),
            )?;
            done.push(*version);
        }
        Ok(done)
    })
}

/// Waits for whoever else migrates, until the open transaction ends.
fn lock(connection: &mut impl Connection) -> Result<()> {
    let lock = format!("SELECT pg_advisory_xact_lock({LOCK})");
    sql::query(connection, "migration", &lock).map(drop)
}

/// The last version that has changed what dashboards read.
#[must_use]
pub(super) fn published_version() -> i64 {
    let published = format!("{PUBLISHED}.");
    let versions = SCRIPTS.iter().filter(|(.., script)| script.contains(&published));
    versions.map(|(version, ..)| *version).max().unwrap_or(0)
}

/// Makes a schema that is not there. Not `IF NOT EXISTS`, which wants the right to create schemas
/// also where there is nothing to create.
fn create_schema(connection: &mut impl Connection, schema: &str) -> Result<()> {
    let there = format!("SELECT to_regnamespace('{schema}') IS NOT NULL AS there");
    let there = sql::query(connection, "migration", &there)?;
    if sql::boolean(&there, "there", 0) == Some(true) {
        return Ok(());
    }
    sql::execute(connection, "migration", &format!("CREATE SCHEMA {schema}")).map(drop)
}

/// Whether every script is applied, as it is here.
fn is_current(connection: &mut impl Connection) -> Result<bool> {
    let table = "SELECT to_regclass('claims_etl.migrations') IS NOT NULL AS there";
    let there = sql::query(connection, "migration", table)?;
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
        "migration",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_dashboards_read_is_of_a_version_of_its_own() {
        assert_eq!(published_version(), 8, "set it anew with a script that changes what they read");
    }
}
