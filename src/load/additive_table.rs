//! A table of sums by key that a publish adds to and subtracts from.

use adbc_core::sync::Connection;

use crate::error::{Error, Result};
use crate::warehouse::sql;

const CONTEXT: &str = "adding to stored sums";

/// A table whose rows are sums by key. A row whose sums are all zero is not stored.
pub(super) struct AdditiveTable {
    /// Qualified name.
    pub(super) name: &'static str,
    pub(super) keys: &'static [&'static str],
    /// The sums; the first is a number of rows, so it is above zero in every stored row.
    pub(super) sums: &'static [&'static str],
}

impl AdditiveTable {
    /// Adds the rows of `change`, a table with the same columns and unique keys.
    ///
    /// # Errors
    /// `Quality` when a sum would fall below what is stored, `Warehouse` when a statement fails.
    pub(super) fn add(&self, connection: &mut impl Connection, change: &str) -> Result<()> {
        let table = self.name;
        let each = |columns: &[&str], separator: &str, text: &dyn Fn(&str) -> String| {
            columns.iter().map(|column| text(column)).collect::<Vec<_>>().join(separator)
        };
        let same = each(self.keys, " AND ", &|key| format!("s.{key} = d.{key}"));
        let zero = each(self.sums, " AND ", &|sum| format!("s.{sum} + d.{sum} = 0"));
        let added = each(self.sums, ", ", &|sum| format!("{sum} = s.{sum} + d.{sum}"));
        let columns = [self.keys, self.sums].concat().join(", ");
        let rows = self.sums[0];
        let statements = [
            format!("DELETE FROM {table} s USING {change} d WHERE {same} AND {zero}"),
            format!(
                "UPDATE {table} s SET {added} FROM {change} d WHERE {same} AND s.{rows} + d.{rows} > 0"
            ),
            format!(
                "INSERT INTO {table} ({columns}) SELECT {columns} FROM {change} d
                 WHERE d.{rows} > 0 AND NOT EXISTS (SELECT FROM {table} s WHERE {same})"
            ),
        ];
        let count =
            sql::query(connection, CONTEXT, &format!("SELECT count(*) AS n FROM {change}"))?;
        let expected = sql::int(&count, "n", 0).and_then(|n| u64::try_from(n).ok());
        let mut done = 0;
        for statement in statements {
            done += sql::execute(connection, CONTEXT, &statement)?;
        }
        if Some(done) == expected {
            return Ok(());
        }
        Err(Error::quality(format!(
            "{table} does not fit the published claims: somebody else has changed them; rolled back"
        )))
    }
}
