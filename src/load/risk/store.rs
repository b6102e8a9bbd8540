//! The stored statistics: which there are, what a publish adds to them.

use adbc_core::sync::Connection;

use super::Scope;
use crate::error::{ErrorKind, Result};
use crate::load::additive_table::AdditiveTable;
use crate::load::array_table::ArrayTable;
use crate::load::risk::delta::{AMOUNTS, PROVIDER_DAYS, TOTALS_AFTER, WEEKENDS};
use crate::risk::RISK_MODEL;
use crate::warehouse::sql;

const CONTEXT: &str = "stored statistics";

/// A stored statistic.
pub(crate) struct Stored {
    /// Its name in `risk_state.kept`.
    pub(crate) name: &'static str,
    table: Table,
    /// The run's table with what is added, or with the rows as they will be.
    change: &'static str,
}

enum Table {
    Sums(AdditiveTable),
    Arrays(ArrayTable),
}

/// All statistics that can be stored.
pub(crate) const STORED: [Stored; 4] = [
    Stored {
        name: "amounts",
        table: Table::Arrays(ArrayTable {
            name: "claims_etl.risk_statistics",
            keys: &["procedure_code", "specialty"],
            arrays: &["buckets", "claims"],
        }),
        change: AMOUNTS,
    },
    Stored {
        name: "weekends",
        table: Table::Sums(AdditiveTable {
            name: "claims_etl.risk_weekends",
            keys: &["specialty"],
            sums: &["claims", "weekend_claims"],
        }),
        change: WEEKENDS,
    },
    Stored {
        name: "provider_totals",
        table: Table::Arrays(ArrayTable {
            name: "claims_etl.risk_provider_totals",
            keys: &["peer_key", "specialty"],
            arrays: &["procedure_codes", "claims", "cents"],
        }),
        change: TOTALS_AFTER,
    },
    Stored {
        name: "provider_days",
        table: Table::Arrays(ArrayTable {
            name: "claims_etl.risk_provider_days",
            keys: &["specialty"],
            arrays: &["patients", "provider_days"],
        }),
        change: PROVIDER_DAYS,
    },
];

/// Whether the statistics that are needed are stored.
///
/// # Errors
/// `Warehouse` when the query fails.
pub(crate) fn is_complete(connection: &mut impl Connection, scope: &Scope<'_>) -> Result<bool> {
    let rows = sql::query_with(
        connection,
        CONTEXT,
        "SELECT EXISTS (SELECT FROM claims_etl.risk_state
             WHERE model = $1 AND kept @> ARRAY(SELECT jsonb_array_elements_text($2::text::jsonb))
         ) AS complete",
        sql::texts(&[Some(RISK_MODEL), Some(&names(scope))]),
    )?;
    Ok(sql::boolean(&rows, "complete", 0) == Some(true))
}

fn names(scope: &Scope<'_>) -> String {
    scope.kept().names().collect::<serde_json::Value>().to_string()
}

/// Brings the stored statistics up to date by what lies in the run's tables, within the publishing
/// transaction.
///
/// # Errors
/// `Quality` when what is stored does not fit the claims, `Warehouse` when a statement fails.
pub(crate) fn save(connection: &mut impl Connection, scope: &Scope<'_>) -> Result<()> {
    add_all(connection, scope)?;
    note(connection, scope, scope.run_no)
}

/// Adds what lies in the run's tables to the statistics that are needed, and empties the others.
///
/// # Errors
/// As [`save`].
pub(crate) fn add_all(connection: &mut impl Connection, scope: &Scope<'_>) -> Result<()> {
    let kept: Vec<&str> = scope.kept().names().collect();
    for stored in &STORED {
        if kept.contains(&stored.name) {
            stored.add(connection, scope)?;
        } else {
            // It is no longer brought up to date, so it must not look as if it were.
            sql::execute(connection, CONTEXT, &format!("DELETE FROM {}", stored.table()))?;
        }
    }
    Ok(())
}

/// Notes which statistics there are, and which run they are of.
///
/// # Errors
/// `Warehouse` when the statement fails.
pub(crate) fn note(
    connection: &mut impl Connection,
    scope: &Scope<'_>,
    version: i64,
) -> Result<()> {
    sql::execute_with(
        connection,
        CONTEXT,
        "INSERT INTO claims_etl.risk_state AS s (version, model, kept)
         VALUES ($1::text::integer, $2, ARRAY(SELECT jsonb_array_elements_text($3::text::jsonb)))
         ON CONFLICT (singleton) DO UPDATE
         SET version = excluded.version, model = excluded.model, kept = excluded.kept,
             as_of = excluded.as_of",
        sql::texts(&[Some(&version.to_string()), Some(RISK_MODEL), Some(&names(scope))]),
    )
    .map(drop)
}

impl Stored {
    /// The qualified name of the table.
    pub(in crate::load) fn table(&self) -> &'static str {
        match &self.table {
            Table::Sums(table) => table.name,
            Table::Arrays(table) => table.name,
        }
    }

    /// Adds what the run changes.
    fn add(&self, connection: &mut impl Connection, scope: &Scope<'_>) -> Result<()> {
        let change = scope.table(self.change);
        let added = match &self.table {
            Table::Sums(table) => table.add(connection, &change),
            Table::Arrays(table) => table.replace(connection, &change),
        };
        added.map_err(|error| {
            if error.kind() != ErrorKind::Quality {
                return error;
            }
            error.hint(
                "`DELETE FROM claims_etl.risk_state`, and the next run counts the statistics again",
            )
        })
    }
}
