//! Values out of a result: null becomes empty or zero.

use arrow::record_batch::RecordBatch;

use crate::error::{Error, Result};
use crate::totals::Cents;
use crate::warehouse::sql;

pub(super) fn text(batch: &RecordBatch, column: &str, row: usize) -> String {
    sql::text(batch, column, row).unwrap_or_default()
}

/// A count; null counts as 0.
pub(super) fn number(batch: &RecordBatch, column: &str, row: usize) -> i64 {
    sql::int(batch, column, row).unwrap_or_default()
}

/// An amount.
///
/// # Errors
///
/// An internal error where the column is not dollars and cents.
pub(super) fn cents(batch: &RecordBatch, column: &str, row: usize) -> Result<Cents> {
    match sql::text(batch, column, row) {
        None => Ok(Cents::default()),
        Some(text) => Cents::parse(&text).ok_or_else(|| {
            Error::internal(format!("{column} is not an amount in dollars and cents"))
        }),
    }
}
