//! Projects source fields to contract columns and filters rows that are claims.
//!
//! Applied to every block of every format: delimited text, Parquet, database. Fields arrive as
//! text; templates, constants and row filters are applied here.

use polars::prelude::{
    BooleanChunked, Column, DataFrame, DataType, Int32Chunked, IntoColumn, NewChunkedArray,
    PlSmallStr, PolarsError, Scalar, StringChunked, StringChunkedBuilder,
};

use super::mapping::Take;
use super::source_file::SourceFile;
use crate::config::{Part, Pattern, Values};
use crate::error::{Error, Result};
use crate::identifier::{Damage, Kind, Placeholders, canonical, examine};
use crate::schema::{DAMAGE, Dataset, ID_DAMAGE, IDENTIFIERS};

/// Prefix of raw column names.
const FIELD: &str = "field ";

/// Header names read from a file, in header order: column `i` of a raw block.
pub(crate) fn fields(file: &SourceFile) -> Vec<&str> {
    let takes = || file.columns.values().flat_map(Take::names);
    let is_used = |name: &str| takes().any(|used| used == name) || file.filter.contains_key(name);
    file.header.iter().map(String::as_str).filter(|name| is_used(name)).collect()
}

/// Name of a raw block's column.
pub(crate) fn name(field: usize) -> String {
    format!("{FIELD}{field}")
}

/// Projects a raw block to the contract columns, followed by its metadata columns, and drops rows
/// that are not claims; also returns the number of dropped rows. Damaged rows are kept, because
/// their fields are unknown.
///
/// # Errors
/// `Internal` when a field is missing from the block.
pub(crate) fn apply(
    dataset: Dataset,
    file: &SourceFile,
    block: DataFrame,
) -> Result<(DataFrame, u64)> {
    let missing = |_: PolarsError| Error::internal("a field is missing from a block");
    let fields = fields(file);
    let before = block.height();
    let block = match chosen(file, &fields, &block).map_err(missing)? {
        None => block,
        Some(chosen) => block.filter(&chosen).map_err(missing)?,
    };
    let rows = block.height();
    let mut columns = Vec::with_capacity(block.width());
    let mut damages = vec![Damage::NONE; rows];
    for column in dataset.columns() {
        let made = match file.columns.get(column) {
            None => Column::full_null(column.into(), rows, &DataType::String),
            Some(Take::Constant(text)) => Column::new_scalar(
                column.into(),
                Scalar::from(PlSmallStr::from(text.as_str())),
                rows,
            ),
            Some(Take::Fields(Pattern::Name(name))) => {
                let field = texts(&block, &fields, name).map_err(missing)?;
                field.clone().with_name(column.into()).into_column()
            }
            Some(Take::Fields(Pattern::Template(parts))) if IDENTIFIERS.contains(&column) => {
                let placeholders = &file.placeholders;
                identifier(column, parts, &fields, &block, placeholders, &mut damages)
                    .map_err(missing)?
            }
            Some(Take::Fields(Pattern::Template(parts))) => {
                template(column, parts, &fields, &block).map_err(missing)?
            }
        };
        columns.push(made);
    }
    columns.extend(block.columns().iter().filter(|c| !c.name().starts_with(FIELD)).cloned());
    let damages = damages.into_iter().map(Damage::bits).collect();
    columns.push(Int32Chunked::from_vec(ID_DAMAGE.into(), damages).into_column());
    let shaped = DataFrame::new(rows, columns).map_err(missing)?;
    Ok((shaped, (before - rows) as u64))
}

fn texts<'a>(
    block: &'a DataFrame,
    fields: &[&str],
    wanted: &str,
) -> Result<&'a StringChunked, PolarsError> {
    let index = fields.iter().position(|field| *field == wanted).unwrap_or(usize::MAX);
    block.column(&name(index))?.str()
}

/// Mask of the rows that are claims; `None` when all are. Compares identifiers in canonical form.
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
            let text = canonical(text.unwrap_or_default());
            *chosen &= values.iter().any(|value| canonical(value) == text);
        }
    }
    if let Some(damaged) = damaged {
        for (chosen, damaged) in chosen.iter_mut().zip(damaged.iter()) {
            *chosen |= damaged == Some(true);
        }
    }
    Ok(Some(BooleanChunked::from_slice("chosen".into(), &chosen)))
}

/// Display columns, whose templates may be partly filled. Identifiers, codes, amounts and dates
/// would change meaning if a part were missing.
const DISPLAY_COLUMNS: [&str; 2] = ["provider_name", "location"];

/// Joins trimmed fields. If one is missing or blank, a name or location is built from the rest; any
/// other column is null.
fn template(
    column: &str,
    parts: &[Part],
    fields: &[&str],
    block: &DataFrame,
) -> Result<Column, PolarsError> {
    let sources = sources(parts, fields, block)?;
    let is_text = DISPLAY_COLUMNS.contains(&column);
    let mut builder = StringChunkedBuilder::new(column.into(), block.height());
    let mut text = String::new();
    for row in 0..block.height() {
        text.clear();
        let complete = sources.iter().all(|(plain, field)| {
            let part = field.map_or(Some(*plain), |field| filled(field, row));
            text.push_str(part.unwrap_or_default());
            part.is_some()
        });
        if complete {
            builder.append_value(&text);
        } else if is_text {
            let parts = sources.iter().map(|(plain, field)| match field {
                None => TemplateValue::Text(plain),
                Some(field) => TemplateValue::Field(filled(field, row)),
            });
            builder.append_option(joined(parts));
        } else {
            builder.append_null();
        }
    }
    Ok(builder.finish().into_column())
}

/// Joins fields in canonical form to an identifier; null where one is missing or a placeholder.
/// Characters removed from the fields are added to `damages`, so that the row is validated as if
/// the field were the identifier.
fn identifier(
    column: &str,
    parts: &[Part],
    fields: &[&str],
    block: &DataFrame,
    placeholders: &Placeholders,
    damages: &mut [Damage],
) -> Result<Column, PolarsError> {
    let sources = sources(parts, fields, block)?;
    let kind = Kind::of(column);
    let mut builder = StringChunkedBuilder::new(column.into(), block.height());
    let mut text = String::new();
    for (row, damages) in damages.iter_mut().enumerate() {
        text.clear();
        let mut damage = Damage::NONE;
        let complete = sources.iter().all(|(plain, field)| {
            let Some(field) = field else {
                text.push_str(plain);
                return true;
            };
            let part = examine(field.get(row).unwrap_or_default(), kind);
            damage |= part.damage;
            text.push_str(&part.text);
            !part.text.is_empty() && !placeholders.have(&part.text)
        });
        if complete {
            *damages |= damage;
            builder.append_value(&text);
        } else {
            builder.append_null();
        }
    }
    Ok(builder.finish().into_column())
}

/// Resolves the parts of a template: literal text or field.
fn sources<'a>(
    parts: &'a [Part],
    fields: &[&str],
    block: &'a DataFrame,
) -> Result<Vec<(&'a str, Option<&'a StringChunked>)>, PolarsError> {
    let source = |part: &'a Part| {
        Ok(match part {
            Part::Text(text) => (text.as_str(), None),
            Part::Field(name) => ("", Some(texts(block, fields, name)?)),
        })
    };
    parts.iter().map(source).collect()
}

fn filled(field: &StringChunked, row: usize) -> Option<&str> {
    field.get(row).map(str::trim).filter(|part| !part.is_empty())
}

/// A template part in one row.
enum TemplateValue<'a> {
    Text(&'a str),
    Field(Option<&'a str>),
}

/// Joins the filled fields, each but the first with the literal before it, plus the outer literals
/// whose adjacent fields are filled. `None` when no field is filled.
fn joined<'a>(pieces: impl Iterator<Item = TemplateValue<'a>>) -> Option<String> {
    let mut joined = String::new();
    // The pending literal; whether any field was filled; whether the last one was.
    let (mut before, mut any, mut last) = ("", false, true);
    let mut first_field = true;
    for piece in pieces {
        match piece {
            TemplateValue::Text(text) => before = text,
            TemplateValue::Field(part) => {
                if let Some(part) = part {
                    if any || first_field {
                        joined.push_str(before);
                    }
                    joined.push_str(part);
                    any = true;
                }
                last = part.is_some();
                (before, first_field) = ("", false);
            }
        }
    }
    if last {
        joined.push_str(before);
    }
    any.then(|| without_lone_brackets(&joined).trim().to_owned())
}

/// Removes unmatched brackets.
fn without_lone_brackets(text: &str) -> String {
    let mut open = Vec::new();
    let mut lone = Vec::new();
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' => open.push((at, c)),
            ')' | ']' => match open.last() {
                Some((_, '(')) if c == ')' => drop(open.pop()),
                Some((_, '[')) if c == ']' => drop(open.pop()),
                _ => lone.push(at),
            },
            _ => {}
        }
    }
    lone.extend(open.into_iter().map(|(at, _)| at));
    text.char_indices().filter(|(at, _)| !lone.contains(at)).map(|(_, c)| c).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_of_a_template_is_joined() {
        let made = |template: &str, fields: &[&str]| {
            let Pattern::Template(parts) = Pattern::parse(template).expect("a template") else {
                panic!("no template");
            };
            let mut fields = fields.iter();
            joined(parts.iter().map(|part| match part {
                Part::Text(text) => TemplateValue::Text(text),
                Part::Field(_) => {
                    TemplateValue::Field(fields.next().copied().filter(|field| !field.is_empty()))
                }
            }))
        };
        for (template, fields, expected) in [
            ("{Last}{Org}", ["Roe", "", ""], Some("Roe")),
            ("{Last}{Org}", ["", "Lake Clinic", ""], Some("Lake Clinic")),
            ("{Last}{Org}", ["", "", ""], None),
            ("{City}, {State} {Zip}", ["", "NE", "68847"], Some("NE 68847")),
            ("{City}, {State} {Zip}", ["Kearney", "", "68847"], Some("Kearney 68847")),
            ("{City}, {State} {Zip}", ["Kearney", "NE", ""], Some("Kearney, NE")),
            ("{City}, {State} {Zip}", ["Kearney", "", ""], Some("Kearney")),
            ("{Name} ({City})", ["Roe", "", ""], Some("Roe")),
            ("{Name} ({City})", ["", "Kearney", ""], Some("Kearney")),
            ("({City}, {State})", ["Kearney", "", ""], Some("Kearney")),
            ("Dr. {First} {Last}", ["", "Roe", ""], Some("Roe")),
            ("Dr. {First} {Last}", ["Ann", "", ""], Some("Dr. Ann")),
            ("{Org}{Last}, {First}", ["Clinic [A)", "", ""], Some("Clinic A")),
        ] {
            assert_eq!(made(template, &fields).as_deref(), expected, "{template} {fields:?}");
        }
    }
}
