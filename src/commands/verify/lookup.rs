//! Which place of a chunk of keys each found row belongs to.

use adbc_core::sync::Connection;
use arrow::array::RecordBatch;

use crate::error::{Error, Result};
use crate::warehouse::sql;

/// Keys that are looked up at once.
pub(crate) const KEYS: usize = 16_384;

/// Rows that were found.
pub(crate) struct Found {
    /// The query's columns: `place` among them, which counts from 1, and `run_no`.
    pub(crate) rows: RecordBatch,
    /// For each key the row, where there is one.
    pub(crate) row_of: Vec<Option<usize>>,
}

impl Found {
    /// Looks up `count` keys, which are the parameters of `query`.
    ///
    /// # Errors
    /// `Warehouse` when the query fails.
    pub(crate) fn new(
        connection: &mut impl Connection,
        context: &str,
        query: &str,
        keys: &[Option<&str>],
        count: usize,
    ) -> Result<Self> {
        let rows = sql::query_with(connection, context, query, sql::texts(keys))?;
        let mut row_of = vec![None; count];
        for row in 0..rows.num_rows() {
            let place = sql::int(&rows, "place", row).and_then(|place| usize::try_from(place).ok());
            let found = place
                .and_then(|place| row_of.get_mut(place.checked_sub(1)?))
                .ok_or_else(|| Error::internal("a row was found for no key"))?;
            *found = Some(row);
        }
        Ok(Self { rows, row_of })
    }
}
