//! A query's rows, some thousand at a time.

use adbc_core::sync::Connection;
use arrow::array::RecordBatch;

use crate::error::Result;
use crate::event::Cancellation;
use crate::warehouse::sql;

/// Rows that are fetched at once.
const ROWS: usize = 32_768;

/// Hands all rows of `query` to `take`, batch by batch, within the transaction that is open. `take`
/// may use the connection with_ticker.
///
/// # Errors
/// `Warehouse` when a statement fails, `Interrupted` when cancelled, and that of `take`.
pub(crate) fn each_batch<C: Connection>(
    connection: &mut C,
    context: &str,
    query: &str,
    cancel: &Cancellation,
    mut take: impl FnMut(&mut C, &RecordBatch) -> Result<()>,
) -> Result<()> {
    // All rows will be fetched, so the first ones need not come soon.
    sql::execute(
        connection,
        context,
        &format!(
            "SET LOCAL cursor_tuple_fraction = 1;
             DECLARE all_rows NO SCROLL CURSOR FOR {query}"
        ),
    )?;
    loop {
        cancel.check()?;
        let rows = sql::query(connection, context, &format!("FETCH {ROWS} FROM all_rows"))?;
        if rows.num_rows() == 0 {
            break;
        }
        take(connection, &rows)?;
        if rows.num_rows() < ROWS {
            break;
        }
    }
    sql::execute(connection, context, "CLOSE all_rows").map(drop)
}
