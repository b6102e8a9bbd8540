//! The tables that a run stages its rows in: how they are called, made and dropped.
//!
//! A file of its own because whoever removes what a dead run left behind must know every name that
//! a run can give.

use adbc_core::sync::Connection;

use crate::error::Result;
use crate::schema::{CLAIMS_FACT, Column, INTERNAL, PUBLISHED, Shape, fact_columns};
use crate::sql;

/// The name of one connection's table.
#[must_use]
pub(super) fn claims_stage(run_no: i64, place: usize) -> String {
    format!("claims_stage_{run_no}_{place}")
}

/// The columns of a connection's table, as SQL: those of the published fact, or where that has not
/// the wanted ones yet, the contract's.
#[must_use]
pub(super) fn stage_columns(shape: Shape, alike: bool) -> String {
    if alike {
        return format!("LIKE {PUBLISHED}.{CLAIMS_FACT}");
    }
    let columns =
        fact_columns(shape).into_iter().map(|Column { name, postgres, nullable, .. }| {
            format!("{name} {postgres}{}", if nullable { "" } else { " NOT NULL" })
        });
    let columns: Vec<String> = columns.chain(["run_no integer NOT NULL".to_owned()]).collect();
    columns.join(", ")
}

/// The name of a run's staged providers.
#[must_use]
pub(super) fn providers_stage(run_no: i64) -> String {
    format!("providers_stage_{run_no}")
}

/// Makes the empty table for a run's providers.
///
/// # Errors
/// `Warehouse` when a statement fails.
pub fn create_stage(connection: &mut impl Connection, run_no: i64) -> Result<()> {
    sql::execute(
        connection,
        "creating the staging tables",
        &format!(
            "CREATE UNLOGGED TABLE {INTERNAL}.{} (
                 provider_id text NOT NULL, provider_name text, specialty text, location text,
                 is_inferred boolean NOT NULL DEFAULT false)",
            providers_stage(run_no)
        ),
    )
    .map(drop)
}

/// Drops the staging tables of a run, as far as they are there.
///
/// # Errors
/// `Warehouse` when a statement fails.
pub fn drop_stage(connection: &mut impl Connection, run_no: i64) -> Result<()> {
    let context = "dropping the staging tables";
    for table in staging_tables(connection, context, Some(run_no))? {
        let table = sql::quote_identifier(&table);
        sql::execute(connection, context, &format!("DROP TABLE IF EXISTS {INTERNAL}.{table}"))?;
    }
    Ok(())
}

/// The staging tables of one run, or of all.
///
/// # Errors
/// `Warehouse` when the query fails.
pub(super) fn staging_tables(
    connection: &mut impl Connection,
    context: &str,
    run_no: Option<i64>,
) -> Result<Vec<String>> {
    let number = run_no.map_or_else(|| "[0-9]+".to_owned(), |run_no| run_no.to_string());
    let tables = sql::query(
        connection,
        context,
        &format!(
            "SELECT relname::text AS name FROM pg_class
             WHERE relnamespace = '{INTERNAL}'::regnamespace AND relkind = 'r'
               AND relname ~ '^(claims_stage_{number}_[0-9a-z_]+|providers_stage_{number})$' ORDER BY 1"
        ),
    )?;
    Ok((0..tables.num_rows()).filter_map(|row| sql::text(&tables, "name", row)).collect())
}
