//! A table of sums by key and element, the elements of a key in one row as arrays.

use adbc_core::sync::Connection;

use crate::error::{Error, Result};
use crate::warehouse::sql;

const CONTEXT: &str = "adding to stored arrays";

/// A table with a row per key, whose arrays have an element and its sums at each place, in the order of the
/// elements. An element whose first sum is zero is not stored.
pub(super) struct ArrayTable {
    /// Qualified name.
    pub(super) name: &'static str,
    pub(super) keys: &'static [&'static str],
    /// Element: its column in a change, and the column of the array.
    pub(super) element: (&'static str, &'static str),
    /// The order of the elements.
    pub(super) order: &'static str,
    /// The sums likewise, all of type bigint; the first is a number of rows.
    pub(super) sums: &'static [(&'static str, &'static str)],
}

impl ArrayTable {
    /// Adds the rows of `change`: keys, element and sums in columns of their own, each key and element once.
    ///
    /// # Errors
    /// `Quality` when a number of rows would fall below zero, `Warehouse` when a statement fails.
    pub(super) fn add(&self, connection: &mut impl Connection, change: &str) -> Result<()> {
        let Self { name, keys, element: (element, elements), order, sums } = self;
        let list = |texts: Vec<String>| texts.join(", ");
        let key = keys.join(", ");
        let arrays = list(
            std::iter::once(*elements)
                .chain(sums.iter().map(|sum| sum.1))
                .map(|array| format!("t.{array}"))
                .collect(),
        );
        let scalars = list(
            std::iter::once(*element)
                .chain(sums.iter().map(|sum| sum.0))
                .map(str::to_owned)
                .collect(),
        );
        let qualified = format!("u.{}", scalars.replace(", ", ", u."));
        let added =
            list(sums.iter().map(|(sum, _)| format!("sum({sum})::bigint AS {sum}")).collect());
        let rows = sums[0].0;
        let gathered = list(
            std::iter::once((*element, *elements))
                .chain(sums.iter().copied())
                .map(|(scalar, array)| {
                    format!(
                        "array_agg({scalar} ORDER BY {order}) FILTER (WHERE {rows} > 0) AS {array}"
                    )
                })
                .collect(),
        );
        let others: Vec<String> =
            sums[1..].iter().map(|(sum, _)| format!("{rows} = 0 AND {sum} <> 0")).collect();
        let broken = std::iter::once(format!("{rows} < 0")).chain(others).collect::<Vec<_>>();
        let columns = list(
            keys.iter()
                .copied()
                .chain([*elements])
                .chain(sums.iter().map(|sum| sum.1))
                .map(str::to_owned)
                .collect(),
        );
        sql::execute(
            connection,
            CONTEXT,
            &format!(
                "CREATE TEMPORARY TABLE changed_arrays ON COMMIT DROP AS
                 WITH touched AS (SELECT DISTINCT {key} FROM {change})
                 SELECT {key}, {gathered}, bool_or({}) AS is_broken
                 FROM (SELECT {key}, {element}, {added}
                       FROM (SELECT {key}, {qualified} FROM {name} t JOIN touched USING ({key})
                             CROSS JOIN LATERAL unnest({arrays}) AS u({scalars})
                             UNION ALL SELECT {key}, {scalars} FROM {change}) both_of_them
                       GROUP BY {key}, {element}) elements
                 GROUP BY {key};
                 DELETE FROM {name} t USING pg_temp.changed_arrays c WHERE {};
                 INSERT INTO {name} ({columns})
                 SELECT {columns} FROM pg_temp.changed_arrays WHERE {elements} IS NOT NULL",
                broken.join(" OR "),
                keys.iter()
                    .map(|key| format!("t.{key} = c.{key}"))
                    .collect::<Vec<_>>()
                    .join(" AND ")
            ),
        )?;
        let found = sql::query(
            connection,
            CONTEXT,
            "SELECT coalesce(bool_or(is_broken), false) AS broken FROM pg_temp.changed_arrays",
        )?;
        sql::execute(connection, CONTEXT, "DROP TABLE pg_temp.changed_arrays")?;
        if sql::boolean(&found, "broken", 0) == Some(false) {
            return Ok(());
        }
        Err(Error::quality(format!(
            "{name} does not fit the published claims: somebody else has changed them; rolled back"
        )))
    }
}
