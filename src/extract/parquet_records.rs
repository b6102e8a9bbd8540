//! Rows of a Parquet file as CSV.
//!
//! A file of its own because such a row has no bytes of its own: it becomes text here, with all its
//! columns, those beyond the contract too.

use std::collections::BTreeSet;

use polars::prelude::{Column, DataFrame, DataType, PolarsError, StringChunked, all};

use super::records::Original;
use super::{SourceFile, parquet_file};
use crate::error::{Error, Result};
use crate::schema::Dataset;

/// Rows read at once.
const ROWS: u64 = 131_072;

/// Hands `each` the wanted rows of a Parquet file in their order, the header first if 0 is wanted.
/// They have no lines.
///
/// # Errors
/// `Source` when the file cannot be read; those of `each`.
pub fn parquet_records(
    dataset: Dataset,
    file: &SourceFile,
    wanted: &BTreeSet<u64>,
    each: &mut dyn FnMut(Original<'_>) -> Result<()>,
) -> Result<()> {
    if wanted.contains(&0) {
        let names: Vec<Option<&str>> = file.header.iter().map(|name| Some(name.as_str())).collect();
        each(Original { record: 0, line: 0, bytes: &line(&names) })?;
    }
    let mut rest = wanted.range(1..).copied().peekable();
    while let Some(&first) = rest.peek() {
        let frame = slice(dataset, file, first - 1)?;
        let columns = frame
            .columns()
            .iter()
            .map(Column::str)
            .collect::<Result<Vec<&StringChunked>, PolarsError>>()
            .map_err(|_| Error::internal("a column that is no text"))?;
        while let Some(record) = rest.next_if(|&record| record < first + ROWS) {
            let row = usize::try_from(record - first).unwrap_or(usize::MAX);
            if row >= frame.height() {
                return Ok(());
            }
            let fields: Vec<Option<&str>> = columns.iter().map(|column| column.get(row)).collect();
            each(Original { record, line: 0, bytes: &line(&fields) })?;
        }
    }
    Ok(())
}

fn slice(dataset: Dataset, file: &SourceFile, offset: u64) -> Result<DataFrame> {
    let offset = i64::try_from(offset).unwrap_or(i64::MAX);
    parquet_file::scan(dataset, file)?
        .slice(offset, u32::try_from(ROWS).unwrap_or(u32::MAX))
        .select([all().as_expr().cast(DataType::String)])
        .collect()
        .map_err(|_| parquet_file::unreadable(dataset, file))
}

/// One line of CSV without its end; what is missing is empty, what is empty is quoted.
fn line(fields: &[Option<&str>]) -> Vec<u8> {
    let mut line = Vec::new();
    for (place, field) in fields.iter().enumerate() {
        if place > 0 {
            line.push(b',');
        }
        let Some(text) = field else { continue };
        let plain = !text.is_empty() && !text.contains([',', '"', '\n', '\r']);
        if plain {
            line.extend(text.as_bytes());
        } else {
            line.push(b'"');
            line.extend(text.replace('"', "\"\"").as_bytes());
            line.push(b'"');
        }
    }
    line
}
