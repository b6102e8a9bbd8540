//! The tables that a run stages its rows in: how they are called, made and dropped.
//!
//! Whoever removes what a dead run left behind must know every name that a run can give, and no other.

use adbc_core::sync::Connection;

use crate::error::Result;
use crate::schema::{CLAIMS_FACT, Column, INTERNAL, PUBLISHED, Shape, fact_columns};
use crate::warehouse::sql;

/// The schema of the tables that one connection alone reads; they end with it at the latest.
pub(crate) const TEMPORARY: &str = "pg_temp";

/// The name of one connection's table.
#[must_use]
pub(crate) fn claims_stage(run_no: i64, place: usize) -> String {
    format!("claims_stage_{run_no}_{place}")
}

/// The columns of a connection's table, as SQL: those of the published fact, or where that has not
/// the wanted ones yet, the contract's.
#[must_use]
pub(crate) fn stage_columns(shape: Shape, alike: bool) -> String {
    if alike {
        return format!("LIKE {PUBLISHED}.{CLAIMS_FACT}");
    }
    let columns =
        fact_columns(shape).into_iter().flat_map(|Column { name, postgres, nullable, .. }| {
            let column = format!("{name} {postgres}{}", if nullable { "" } else { " NOT NULL" });
            // As in the fact: columns lie in the order of their alignment.
            let run_no = (name == "dq_flags").then(|| "run_no integer NOT NULL".to_owned());
            std::iter::once(column).chain(run_no)
        });
    columns.collect::<Vec<_>>().join(", ")
}

/// The name of a run's staged providers.
#[must_use]
pub(crate) fn providers_stage(run_no: i64) -> String {
    format!("providers_stage_{run_no}")
}

/// The name of a run's versions of providers.
#[must_use]
pub(crate) fn provider_versions(run_no: i64) -> String {
    format!("provider_versions_{run_no}")
}

/// The name of the older versions of a run's providers, with the keys of the current ones.
#[must_use]
pub(crate) fn older_versions(run_no: i64) -> String {
    format!("provider_versions_{run_no}_older")
}

/// Which staging tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StagingOwner {
    /// Those of one run; 0 for a rescore, which is none.
    Run(i64),
    /// Those of all runs in the ledger, and of a rescore.
    AllRuns,
    /// Partitions that a rotation has built and not attached.
    Rotation,
}

/// What a table of a run is called behind the run's number, as a regular expression: a part, its
/// scores, and the steps of the statistics.
const KINDS: [&str; 10] = [
    "[0-9]+(_scores)?",
    "peers",
    "completed",
    "days",
    "twins",
    "touched_(days|patients)",
    "amounts",
    "weekends",
    "totals(_after)?",
    "provider_days",
];

/// Drops the staging tables of a run, as far as they are there.
///
/// # Errors
/// `Warehouse` when a statement fails.
pub(crate) fn drop_stage(connection: &mut impl Connection, run_no: i64) -> Result<()> {
    drop_tables(connection, "dropping the staging tables", StagingOwner::Run(run_no)).map(drop)
}

/// Drops tables that are not published; returns their names.
///
/// # Errors
/// `Warehouse` when a statement fails.
pub(crate) fn drop_tables(
    connection: &mut impl Connection,
    context: &str,
    owner: StagingOwner,
) -> Result<Vec<String>> {
    let names = tables(connection, context, owner)?;
    for name in &names {
        let table = sql::quote_identifier(name);
        sql::execute(connection, context, &format!("DROP TABLE IF EXISTS {INTERNAL}.{table}"))?;
    }
    Ok(names)
}

/// The tables that are there: those alone that the ledger knows to be the program's. Whoever keeps a
/// table of a like name in the schema keeps it.
fn tables(
    connection: &mut impl Connection,
    context: &str,
    owner: StagingOwner,
) -> Result<Vec<String>> {
    let known = match owner {
        StagingOwner::Run(run_no) => format!("{} AND m.run_no = {run_no}", of_a_run()),
        StagingOwner::AllRuns => format!(
            "{} AND (m.run_no = 0 OR EXISTS (
                 SELECT FROM {INTERNAL}.runs r WHERE r.run_no = m.run_no))",
            of_a_run()
        ),
        StagingOwner::Rotation => format!(
            "c.relname = 'rotation_part_' || m.run_no AND EXISTS (
                 SELECT FROM {INTERNAL}.rotation_parts p WHERE p.table_name = c.relname)"
        ),
    };
    let tables = sql::query(
        connection,
        context,
        &format!(
            "SELECT c.relname::text AS name
             FROM pg_class c CROSS JOIN LATERAL (
                 SELECT (substring(c.relname FROM '[0-9]{{1,18}}'))::bigint AS run_no) m
             WHERE c.relnamespace = '{INTERNAL}'::regnamespace AND c.relkind = 'r'
               AND pg_has_role(c.relowner, 'USAGE') AND {known} ORDER BY 1"
        ),
    )?;
    Ok((0..tables.num_rows()).filter_map(|row| sql::text(&tables, "name", row)).collect())
}

/// Whether a table has exactly a name that the run of the number `m.run_no` gives.
fn of_a_run() -> String {
    format!(
        "c.relname ~ ('^(providers_stage_' || m.run_no || '|provider_versions_' || m.run_no || '(_older)?|claims_stage_' || m.run_no || '_({}))$')",
        KINDS.join("|")
    )
}
