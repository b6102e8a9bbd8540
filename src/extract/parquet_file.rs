//! Parquet sources: typed columns that must become text exactly.
//!
//! A file of its own because these files have types: those whose text would not be exact are
//! refused before anything is read.

use polars::prelude::{DataType, Expr, LazyFrame, PlRefPath, ScanArgsParquet, SchemaRef, col, len};

use super::{SourceFile, shape};
use crate::error::{Error, Result};
use crate::schema::Dataset;

/// The file's rows: the fields that are read, as text.
pub(super) fn rows(dataset: Dataset, file: &SourceFile) -> Result<LazyFrame> {
    let schema = schema(dataset, file)?;
    let fields = shape::fields(file);
    let fields = fields
        .iter()
        .enumerate()
        .map(|(field, name)| as_text(col(*name), schema.get(name)).alias(shape::name(field)));
    Ok(scan(dataset, file)?.select(fields.collect::<Vec<Expr>>()))
}

/// How many rows the file has.
pub(super) fn count(dataset: Dataset, file: &SourceFile) -> Result<u64> {
    scan(dataset, file)?
        .select([len()])
        .collect()
        .ok()
        .and_then(|frame| frame.columns().first()?.get(0).ok()?.try_extract().ok())
        .ok_or_else(|| unreadable(dataset, file))
}

pub(super) fn scan(dataset: Dataset, file: &SourceFile) -> Result<LazyFrame> {
    let arguments = ScanArgsParquet { glob: false, ..ScanArgsParquet::default() };
    LazyFrame::scan_parquet(polars_path(dataset, file)?, arguments)
        .map_err(|_| unreadable(dataset, file))
}

/// The schema of a Parquet file.
pub(super) fn schema(dataset: Dataset, file: &SourceFile) -> Result<SchemaRef> {
    scan(dataset, file)?.collect_schema().map_err(|_| unreadable(dataset, file))
}

/// Refuses types whose text would not be exact.
pub(super) fn check_types(dataset: Dataset, file: &SourceFile) -> Result<()> {
    let schema = schema(dataset, file)?;
    let takes = file.columns.iter();
    let mapped = takes.flat_map(|(column, take)| take.names().map(|name| (*column, name)));
    let chosen = file.filter.keys().map(|name| ("where", name.as_str()));
    for (column, name) in mapped.chain(chosen) {
        let Some(found) = schema.get(name) else { continue };
        let exact = match found {
            DataType::String | DataType::Date | DataType::Decimal(..) | DataType::Null => true,
            DataType::Datetime(_, zone) => {
                zone.as_ref().is_none_or(|zone| matches!(zone.as_str(), "UTC" | "Etc/UTC"))
            }
            other => other.is_integer(),
        };
        if !exact {
            let hint = match (column, found.is_float()) {
                ("amount", true) => "money must be exact: store amount as decimal or text",
                (_, true) => "identifiers and codes must be exact: store the column as text",
                _ => "store the column as text",
            };
            return Err(Error::config(format!(
                "{dataset}: {}: column \"{name}\" ({column}) has the type {found}, which cannot be read exactly",
                file.path.display()
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

fn polars_path(dataset: Dataset, file: &SourceFile) -> Result<PlRefPath> {
    PlRefPath::try_from_path(&file.local_path())
        .map_err(|_| Error::source(format!("{dataset}: {}: not a UTF-8 path", file.path.display())))
}

/// The failure to read a Parquet file, without the engine's words, which can quote cells.
pub(super) fn unreadable(dataset: Dataset, file: &SourceFile) -> Error {
    Error::source(format!("{dataset}: {} cannot be read as Parquet", file.path.display()))
        .hint("the file is damaged or its transfer was cut short; fetch it again")
}
