//! Rows of a Parquet file as CSV.
//!
//! Parquet rows have no source text, so they are rendered here with all columns, including those
//! outside the contract.

use std::collections::BTreeSet;

use super::parquet_file;
use super::parquet_text::line;
use super::records::Original;
use super::source_file::SourceFile;
use crate::error::Result;
use crate::schema::Dataset;

/// Passes the wanted rows of a Parquet file to `each` in order, the header first if 0 is wanted.
/// Line numbers do not apply.
///
/// # Errors
/// `Source` when the file cannot be read; those of `each`.
pub(crate) fn parquet_records(
    dataset: Dataset,
    file: &SourceFile,
    wanted: &BTreeSet<u64>,
    each: &mut dyn FnMut(Original<'_>) -> Result<()>,
) -> Result<()> {
    if wanted.contains(&0) {
        let names: Vec<Option<&[u8]>> =
            file.header.iter().map(|name| Some(name.as_bytes())).collect();
        each(Original { record: 0, line: 0, bytes: &line(&names) })?;
    }
    let opened = parquet_file::open(dataset, file)?;
    opened.rows(dataset, file, wanted, &mut |record, fields| {
        each(Original { record, line: 0, bytes: &line(fields) })
    })
}
