//! Parquet sources: typed columns that must become text exactly.
//!
//! A file of its own because these files have types: those whose text would not be exact are
//! refused before anything is read.

use std::collections::BTreeMap;
use std::path::Path;

use polars::prelude::{DataType, Expr, LazyFrame, PlRefPath, ScanArgsParquet, SchemaRef, col, len};

use super::SourceFile;
use crate::error::{Error, Result};
use crate::schema::Dataset;

/// The file's rows, and its columns as text by the contract's names.
pub(super) fn rows(
    dataset: Dataset,
    file: &SourceFile,
) -> Result<(LazyFrame, BTreeMap<&'static str, Expr>)> {
    let schema = schema(dataset, &file.path)?;
    let columns = file
        .columns
        .iter()
        .map(|(column, name)| (*column, as_text(col(name.as_str()), schema.get(name.as_str()))))
        .collect();
    Ok((scan(dataset, &file.path)?, columns))
}

/// How many rows the file has.
pub(super) fn count(dataset: Dataset, file: &SourceFile) -> Result<u64> {
    scan(dataset, &file.path)?
        .select([len()])
        .collect()
        .ok()
        .and_then(|frame| frame.columns().first()?.get(0).ok()?.try_extract().ok())
        .ok_or_else(|| unreadable(dataset, &file.path))
}

fn scan(dataset: Dataset, path: &Path) -> Result<LazyFrame> {
    let arguments = ScanArgsParquet { glob: false, ..ScanArgsParquet::default() };
    LazyFrame::scan_parquet(polars_path(dataset, path)?, arguments)
        .map_err(|_| unreadable(dataset, path))
}

/// The schema of a Parquet file.
pub(super) fn schema(dataset: Dataset, path: &Path) -> Result<SchemaRef> {
    scan(dataset, path)?.collect_schema().map_err(|_| unreadable(dataset, path))
}

/// Refuses types whose text would not be exact.
pub(super) fn check_types(
    dataset: Dataset,
    path: &Path,
    columns: &BTreeMap<&'static str, String>,
) -> Result<()> {
    let schema = schema(dataset, path)?;
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

fn unreadable(dataset: Dataset, path: &Path) -> Error {
    Error::source(format!("{dataset}: {} cannot be read as Parquet", path.display()))
        .hint("the file is damaged or its transfer was cut short; fetch it again")
}
