//! The lazy scan: all files of an input as one frame of text columns, each row with its origin.
//!
//! A file of its own because it is the one place where files turn into a plan. Nothing is inferred:
//! columns are text, so leading zeros, `1E5`-like identifiers and exact amounts survive.

use std::collections::BTreeMap;
use std::path::Path;

use polars::prelude::{
    DataType, Expr, Field, LazyCsvReader, LazyFileListReader, LazyFrame, NULL, PlRefPath,
    ScanArgsParquet, Schema, SchemaRef, UnionArgs, col, concat, lit,
};

use super::{Extracted, Format, SourceFile, header};
use crate::config::Source;
use crate::error::{Error, Result};
use crate::schema::{Dataset, ORIGIN, ORIGIN_RECORD_BITS};

/// The row number within one file, from 1, before it becomes part of the origin.
const RECORD: &str = "__record";

/// One frame over all files: the contract's columns in the contract's order as text (an optional
/// column that no file has is null), then [`ORIGIN`]. An empty field is null, a quoted empty field
/// is an empty text; a blank line is a row of nulls.
///
/// Executing the plan can fail with errors of Polars that quote the data; whoever executes it must
/// not pass them on.
///
/// # Errors
/// `Config` when the delimiter is not one ASCII character; `Source` when a file cannot be scanned.
pub fn scan(extracted: &Extracted, source: &Source) -> Result<LazyFrame> {
    let dataset = extracted.dataset;
    let separator = header::separator(dataset, source)?;
    let mut frames = Vec::with_capacity(extracted.files.len());
    for (number, file) in extracted.files.iter().enumerate() {
        let (frame, columns) = match file.format {
            Format::Csv => delimited(dataset, file, separator)?,
            Format::Parquet => {
                let schema = parquet_schema(dataset, &file.path)?;
                let columns = file
                    .columns
                    .iter()
                    .map(|(column, name)| {
                        (*column, as_text(col(name.as_str()), schema.get(name.as_str())))
                    })
                    .collect();
                (parquet(dataset, &file.path)?, columns)
            }
            Format::Database => fetched(extracted)?,
        };
        frames.push(select(dataset, frame, columns, number)?);
    }
    match <[LazyFrame; 1]>::try_from(frames) {
        Ok([only]) => Ok(only),
        Err(several) => concat(several, UnionArgs::default())
            .map_err(|_| Error::internal(format!("{dataset}: the files do not fit together"))),
    }
}

type Columns = BTreeMap<&'static str, Expr>;

/// Selects the contract's columns and numbers the rows.
fn select(
    dataset: Dataset,
    frame: LazyFrame,
    mut columns: Columns,
    number: usize,
) -> Result<LazyFrame> {
    let base = i64::try_from(number)
        .ok()
        .and_then(|number| number.checked_mul(1 << ORIGIN_RECORD_BITS))
        .ok_or_else(|| Error::config(format!("{dataset}: too many files")))?;
    let mut selected: Vec<Expr> = dataset
        .columns()
        .map(|column| {
            columns.remove(column).unwrap_or_else(|| lit(NULL).cast(DataType::String)).alias(column)
        })
        .collect();
    selected.push((col(RECORD).cast(DataType::Int64) + lit(base)).alias(ORIGIN));
    Ok(frame.with_row_index(RECORD, Some(1)).select(selected))
}

/// Scans a delimited file. Its columns are named by position, so that repeated or blank names
/// among those that are ignored do no harm.
fn delimited(dataset: Dataset, file: &SourceFile, separator: u8) -> Result<(LazyFrame, Columns)> {
    let position = |index: usize| format!("column_{index}");
    let schema: Schema =
        (0..file.header.len()).map(|i| Field::new(position(i).into(), DataType::String)).collect();
    let columns = file
        .columns
        .iter()
        .filter_map(|(column, name)| {
            let index = file.header.iter().position(|found| found == name)?;
            Some((*column, col(position(index).as_str())))
        })
        .collect();
    let frame = LazyCsvReader::new(polars_path(dataset, &file.path)?)
        .with_glob(false)
        .with_has_header(true)
        .with_separator(separator)
        .with_quote_char(Some(b'"'))
        .with_schema(Some(SchemaRef::new(schema)))
        .with_missing_is_null(true)
        .finish()
        .map_err(|_| unreadable(dataset, &file.path, "a delimited file"))?;
    Ok((frame, columns))
}

#[cfg(feature = "database")]
fn fetched(extracted: &Extracted) -> Result<(LazyFrame, Columns)> {
    let fetched = extracted
        .fetched
        .as_ref()
        .ok_or_else(|| Error::internal("a database source without its rows"))?;
    let columns =
        extracted.files.iter().flat_map(|file| file.columns.keys()).map(|c| (*c, col(*c)));
    Ok((fetched.lazy(), columns.collect()))
}

#[cfg(not(feature = "database"))]
fn fetched(_: &Extracted) -> Result<(LazyFrame, Columns)> {
    Err(Error::internal("this build cannot read from a database"))
}

fn parquet(dataset: Dataset, path: &Path) -> Result<LazyFrame> {
    let arguments = ScanArgsParquet { glob: false, ..ScanArgsParquet::default() };
    LazyFrame::scan_parquet(polars_path(dataset, path)?, arguments)
        .map_err(|_| unreadable(dataset, path, "Parquet"))
}

/// The schema of a Parquet file.
pub(super) fn parquet_schema(dataset: Dataset, path: &Path) -> Result<SchemaRef> {
    parquet(dataset, path)?.collect_schema().map_err(|_| unreadable(dataset, path, "Parquet"))
}

/// Refuses types whose text would not be exact.
pub(super) fn check_parquet_types(
    dataset: Dataset,
    path: &Path,
    columns: &BTreeMap<&'static str, String>,
) -> Result<()> {
    let schema = parquet_schema(dataset, path)?;
    for (column, name) in columns {
        let Some(found) = schema.get(name.as_str()) else { continue };
        let exact = match found {
            DataType::String | DataType::Date | DataType::Decimal(..) | DataType::Null => true,
            DataType::Datetime(_, zone) => {
                zone.as_ref().is_none_or(|zone| matches!(zone.as_str(), "UTC" | "Etc/UTC"))
            }
            other => other.is_integer(),
        };
        if !exact {
            let hint = match (*column, found.is_float()) {
                ("amount", true) => "money must be exact: store amount as decimal or text",
                (_, true) => "identifiers and codes must be exact: store the column as text",
                _ => "store the column as text",
            };
            return Err(Error::config(format!(
                "{dataset}: {}: column \"{name}\" ({column}) has the type {found}, which cannot be read exactly",
                path.display()
            ))
            .hint(hint));
        }
    }
    Ok(())
}

/// A typed column as text. A cast that fails ends the run: it must not make a null.
fn as_text(column: Expr, found: Option<&DataType>) -> Expr {
    match found {
        // Midnight is not part of a date of service.
        Some(DataType::Datetime(..)) => {
            column.strict_cast(DataType::Date).strict_cast(DataType::String)
        }
        _ => column.strict_cast(DataType::String),
    }
}

fn polars_path(dataset: Dataset, path: &Path) -> Result<PlRefPath> {
    PlRefPath::try_from_path(path)
        .map_err(|_| Error::source(format!("{dataset}: {}: not a UTF-8 path", path.display())))
}

fn unreadable(dataset: Dataset, path: &Path, what: &str) -> Error {
    Error::source(format!("{dataset}: {} cannot be read as {what}", path.display()))
        .hint("the file is damaged or its transfer was cut short; fetch it again")
}
