//! The stored statistics: which there are, what a publish adds to them.

use adbc_core::sync::Connection;

use super::Scope;
use crate::error::{Error, Result};
use crate::load::risk::delta::{AMOUNTS, PROVIDER_DAYS, TOTALS, WEEKENDS};
use crate::risk::RISK_MODEL;
use crate::warehouse::sql;

const CONTEXT: &str = "stored statistics";

/// A stored statistic.
pub(crate) struct Stored {
    /// Its name in `risk_state.kept`.
    pub(crate) name: &'static str,
    pub(crate) table: &'static str,
    /// The run's table with what is added.
    change: &'static str,
    keys: &'static [&'static str],
    /// The first: whether the row stays.
    counts: &'static [&'static str],
}

/// All statistics that can be stored.
pub(crate) const STORED: [Stored; 4] = [
    Stored {
        name: "amounts",
        table: "claims_etl.risk_statistics",
        change: AMOUNTS,
        keys: &["procedure_code", "specialty", "bucket"],
        counts: &["claims"],
    },
    Stored {
        name: "weekends",
        table: "claims_etl.risk_weekends",
        change: WEEKENDS,
        keys: &["specialty"],
        counts: &["claims", "weekend_claims"],
    },
    Stored {
        name: "provider_totals",
        table: "claims_etl.risk_provider_totals",
        change: TOTALS,
        keys: &["provider_id", "specialty", "procedure_code"],
        counts: &["claims", "amount"],
    },
    Stored {
        name: "provider_days",
        table: "claims_etl.risk_provider_days",
        change: PROVIDER_DAYS,
        keys: &["specialty", "patients"],
        counts: &["provider_days"],
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
            sql::execute(connection, CONTEXT, &format!("DELETE FROM {}", stored.table))?;
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
    /// Adds what the run changes: rows that reach zero go, rows that are there change, others come.
    fn add(&self, connection: &mut impl Connection, scope: &Scope<'_>) -> Result<()> {
        let (table, change) = (self.table, scope.table(self.change));
        let pairs = |columns: &[&str], separator: &str, pair: &dyn Fn(&str) -> String| {
            columns.iter().map(|column| pair(column)).collect::<Vec<_>>().join(separator)
        };
        let same = pairs(self.keys, " AND ", &|key| format!("s.{key} = d.{key}"));
        let zero = pairs(self.counts, " AND ", &|count| format!("s.{count} + d.{count} = 0"));
        let sums = pairs(self.counts, ", ", &|count| format!("{count} = s.{count} + d.{count}"));
        let columns = [self.keys, self.counts].concat().join(", ");
        let first = self.counts[0];
        let gone = format!("DELETE FROM {table} s USING {change} d WHERE {same} AND {zero}");
        let changed = format!(
            "UPDATE {table} s SET {sums} FROM {change} d WHERE {same} AND s.{first} + d.{first} > 0"
        );
        let new = format!(
            "INSERT INTO {table} ({columns}) SELECT {columns} FROM {change} d
             WHERE d.{first} > 0 AND NOT EXISTS (SELECT FROM {table} s WHERE {same})"
        );
        let rows = sql::query(connection, CONTEXT, &format!("SELECT count(*) AS n FROM {change}"))?;
        let expected = sql::int(&rows, "n", 0).and_then(|n| u64::try_from(n).ok());
        let mut done = 0;
        for statement in [gone, changed, new] {
            done += sql::execute(connection, CONTEXT, &statement)?;
        }
        if Some(done) == expected {
            return Ok(());
        }
        Err(Error::quality(format!(
            "{table} does not fit the published claims: somebody else has changed them; rolled back"
        ))
        .hint("`DELETE FROM claims_etl.risk_state`, and the next run counts the statistics again"))
    }
}
