//! From a source's fields to the contract's columns, and from its rows to the claims among them.
//!
//! A file of its own because every block goes through it, whatever the source is: delimited text,
//! Parquet or a database. The fields are read as text first; templates, constants and the choice of
//! rows are made of them here.

use polars::prelude::{
    BooleanChunked, Column, DataFrame, DataType, IntoColumn, NewChunkedArray, PlSmallStr,
    PolarsError, Scalar, StringChunked, StringChunkedBuilder,
};

use super::SourceFile;
use super::mapping::Take;
use crate::config::{Part, Pattern, Values};
use crate::error::{Error, Result};
use crate::schema::{DAMAGE, Dataset};

/// What is before the number of a field in the name of its column.
const FIELD: &str = "field ";

/// The header names that are read of a file, in the header's order: column `i` of a raw block.
pub(super) fn fields(file: &SourceFile) -> Vec<&str> {
    let takes = || file.columns.values().flat_map(Take::names);
    let is_used = |name: &str| takes().any(|used| used == name) || file.filter.contains_key(name);
    file.header.iter().map(String::as_str).filter(|name| is_used(name)).collect()
}

/// The name of a raw block's column.
pub(super) fn name(field: usize) -> String {
    format!("{FIELD}{field}")
}

/// The contract's columns of a raw block, followed by those that are no fields, without the rows
/// that are no claims; and how many those were. A damaged row is kept: nobody knows what it says.
///
/// # Errors
/// `Internal` when the block lacks a field.
pub(super) fn apply(
    dataset: Dataset,
    file: &SourceFile,
    block: DataFrame,
) -> Result<(DataFrame, u64)> {
    let lacks = |_: PolarsError| Error::internal("a block lacks a field");
    let fields = fields(file);
    let before = block.height();
    let block = match chosen(file, &fields, &block).map_err(lacks)? {
        None => block,
        Some(chosen) => block.filter(&chosen).map_err(lacks)?,
    };
    let rows = block.height();
    let mut columns = Vec::with_capacity(block.width());
    for column in dataset.columns() {
        let made = match file.columns.get(column) {
            None => Column::full_null(column.into(), rows, &DataType::String),
            Some(Take::Constant(text)) => Column::new_scalar(
                column.into(),
                Scalar::from(PlSmallStr::from(text.as_str())),
                rows,
            ),
            Some(Take::Fields(Pattern::Name(name))) => {
                let field = texts(&block, &fields, name).map_err(lacks)?;
                field.clone().with_name(column.into()).into_column()
            }
            Some(Take::Fields(Pattern::Template(parts))) => {
                template(column, parts, &fields, &block).map_err(lacks)?
            }
        };
        columns.push(made);
    }
    columns.extend(block.columns().iter().filter(|c| !c.name().starts_with(FIELD)).cloned());
    let shaped = DataFrame::new(rows, columns).map_err(lacks)?;
    Ok((shaped, (before - rows) as u64))
}

fn texts<'a>(
    block: &'a DataFrame,
    fields: &[&str],
    wanted: &str,
) -> Result<&'a StringChunked, PolarsError> {
    let place = fields.iter().position(|field| *field == wanted).unwrap_or(usize::MAX);
    block.column(&name(place))?.str()
}

/// Which rows are claims; none where all are.
fn chosen(
    file: &SourceFile,
    fields: &[&str],
    block: &DataFrame,
) -> Result<Option<BooleanChunked>, PolarsError> {
    if file.filter.is_empty() {
        return Ok(None);
    }
    let damaged = block.column(DAMAGE).ok().map(Column::is_not_null);
    let mut chosen = vec![true; block.height()];
    for (name, Values(values)) in &file.filter {
        for (chosen, text) in chosen.iter_mut().zip(texts(block, fields, name)?.iter()) {
            let text = text.unwrap_or_default().trim();
            *chosen &= values.iter().any(|value| value.trim() == text);
        }
    }
    if let Some(damaged) = damaged {
        for (chosen, damaged) in chosen.iter_mut().zip(damaged.iter()) {
            *chosen |= damaged == Some(true);
        }
    }
    Ok(Some(BooleanChunked::from_slice("chosen".into(), &chosen)))
}

/// Puts fields together, each without blanks around it; null where one of them is missing or blank.
fn template(
    column: &str,
    parts: &[Part],
    fields: &[&str],
    block: &DataFrame,
) -> Result<Column, PolarsError> {
    let mut sources = Vec::with_capacity(parts.len());
    for part in parts {
        sources.push(match part {
            Part::Text(text) => (text.as_str(), None),
            Part::Field(name) => ("", Some(texts(block, fields, name)?)),
        });
    }
    let mut builder = StringChunkedBuilder::new(column.into(), block.height());
    let mut text = String::new();
    for row in 0..block.height() {
        text.clear();
        let complete = sources.iter().all(|(plain, field)| {
            let part = field.map_or(Some(*plain), |field| {
                field.get(row).map(str::trim).filter(|part| !part.is_empty())
            });
            text.push_str(part.unwrap_or_default());
            part.is_some()
        });
        builder.append_option(complete.then_some(text.as_str()));
    }
    Ok(builder.finish().into_column())
}
