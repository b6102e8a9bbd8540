//! A table with a row per key that holds arrays: statistics of the score.

use adbc_core::sync::Connection;

use crate::error::Result;
use crate::warehouse::sql;

/// A table of arrays by key.
pub(super) struct ArrayTable {
    /// Qualified name.
    pub(super) name: &'static str,
    pub(super) keys: &'static [&'static str],
    pub(super) arrays: &'static [&'static str],
}

impl ArrayTable {
    /// Replaces the rows of the keys in `after`, a table with the same columns; a row with empty arrays is gone.
    ///
    /// # Errors
    /// `Warehouse` when a statement fails.
    pub(super) fn replace(&self, connection: &mut impl Connection, after: &str) -> Result<()> {
        let Self { name, keys, arrays } = self;
        let columns = [*keys, *arrays].concat().join(", ");
        let same: Vec<String> = keys.iter().map(|key| format!("t.{key} = a.{key}")).collect();
        sql::execute(
            connection,
            "replacing stored arrays",
            &format!(
                "DELETE FROM {name} t USING {after} a WHERE {};
                 INSERT INTO {name} ({columns})
                 SELECT {columns} FROM {after} WHERE cardinality({}) > 0",
                same.join(" AND "),
                arrays[0]
            ),
        )
        .map(drop)
    }
}
