//! Query results as Arrow record batches.
//!
//! The whole result is read before the first batch is returned, so the connection is immediately
//! free again.

use std::error::Error as StdError;
use std::sync::Arc;

use adbc_core::error::{Error, Result, Status};
use arrow::array::{
    ArrayBuilder, ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, FixedSizeBinaryBuilder,
    Float32Builder, Float64Builder, Int16Builder, Int32Builder, Int64Builder, ListBuilder,
    NullBuilder, RecordBatch, RecordBatchOptions, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::SchemaRef;
use postgres::fallible_iterator::FallibleIterator as _;
use postgres::types::{FromSql, Type};
use postgres::{Client, Row, Statement};

use super::parameter::Parameter;
use super::types::{EPOCH_DAYS, EPOCH_MICROSECONDS, UUID_BYTES, base, result_schema};
use super::{error, numeric};

const BATCH_ROWS: usize = 65_536;

/// Executes a prepared statement and reads its whole result.
pub(super) fn query(
    client: &mut Client,
    statement: &Statement,
    parameters: Vec<Parameter<'_>>,
) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    let failed = |e: &postgres::Error| error::from_postgres("running a query", e);
    let schema = Arc::new(result_schema(statement.columns())?);
    let mut rows = client.query_raw(statement, parameters).map_err(|e| failed(&e))?;
    let mut table = Table::new(Arc::clone(&schema), statement);
    let mut batches = Vec::new();
    while let Some(row) = rows.next().map_err(|e| failed(&e))? {
        table.append(&row)?;
        if table.rows == BATCH_ROWS {
            batches.push(table.finish()?);
        }
    }
    if table.rows > 0 {
        batches.push(table.finish()?);
    }
    Ok((schema, batches))
}

/// Rows of the current batch.
struct Table {
    schema: SchemaRef,
    columns: Vec<Column>,
    rows: usize,
}

impl Table {
    fn new(schema: SchemaRef, statement: &Statement) -> Self {
        let columns = statement.columns().iter().map(|c| Column::new(base(c.type_()))).collect();
        Self { schema, columns, rows: 0 }
    }

    fn append(&mut self, row: &Row) -> Result<()> {
        for (at, column) in self.columns.iter_mut().enumerate() {
            let raw: Option<Raw<'_>> =
                row.try_get(at).map_err(|e| error::from_postgres("reading a result", &e))?;
            column.append(raw.map(|r| r.0)).ok_or_else(|| {
                let field = self.schema.field(at);
                Error::with_message_and_status(
                    format!(
                        "column {} holds a value that {} cannot express",
                        field.name(),
                        field.data_type()
                    ),
                    Status::InvalidData,
                )
            })?;
        }
        self.rows += 1;
        Ok(())
    }

    fn finish(&mut self) -> Result<RecordBatch> {
        let columns: Vec<ArrayRef> = self.columns.iter_mut().map(Column::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        self.rows = 0;
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

/// A field's bytes as sent by the server.
struct Raw<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(
        _: &Type,
        raw: &'a [u8],
    ) -> std::result::Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Self(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// A column under construction, by wire format.
enum Column {
    Boolean(BooleanBuilder),
    Int2(Int16Builder),
    Int4(Int32Builder),
    Int8(Int64Builder),
    Float4(Float32Builder),
    Float8(Float64Builder),
    Text(StringBuilder),
    Jsonb(StringBuilder),
    Numeric(StringBuilder, String),
    Bytea(BinaryBuilder),
    Date(Date32Builder),
    Timestamp(TimestampMicrosecondBuilder),
    Uuid(FixedSizeBinaryBuilder),
    Void(NullBuilder),
    Int4List(ListBuilder<Int32Builder>),
    Int8List(ListBuilder<Int64Builder>),
    TextList(ListBuilder<StringBuilder>),
}

impl Column {
    /// `ty` was accepted by [`result_schema`]; types not listed are text.
    fn new(ty: &Type) -> Self {
        match *ty {
            Type::BOOL => Self::Boolean(BooleanBuilder::new()),
            Type::INT2 => Self::Int2(Int16Builder::new()),
            Type::INT4 => Self::Int4(Int32Builder::new()),
            Type::INT8 => Self::Int8(Int64Builder::new()),
            Type::FLOAT4 => Self::Float4(Float32Builder::new()),
            Type::FLOAT8 => Self::Float8(Float64Builder::new()),
            Type::JSONB => Self::Jsonb(StringBuilder::new()),
            Type::NUMERIC => Self::Numeric(StringBuilder::new(), String::new()),
            Type::BYTEA => Self::Bytea(BinaryBuilder::new()),
            Type::DATE => Self::Date(Date32Builder::new()),
            Type::TIMESTAMP => Self::Timestamp(TimestampMicrosecondBuilder::new()),
            Type::TIMESTAMPTZ => {
                Self::Timestamp(TimestampMicrosecondBuilder::new().with_timezone("UTC"))
            }
            Type::UUID => Self::Uuid(FixedSizeBinaryBuilder::new(UUID_BYTES)),
            Type::VOID => Self::Void(NullBuilder::new()),
            Type::INT4_ARRAY => Self::Int4List(ListBuilder::new(Int32Builder::new())),
            Type::INT8_ARRAY => Self::Int8List(ListBuilder::new(Int64Builder::new())),
            Type::TEXT_ARRAY => Self::TextList(ListBuilder::new(StringBuilder::new())),
            _ => Self::Text(StringBuilder::new()),
        }
    }

    /// Appends a field; `None` if its bytes are malformed or the value (an infinite date) cannot be
    /// represented in Arrow.
    fn append(&mut self, raw: Option<&[u8]>) -> Option<()> {
        match self {
            Self::Boolean(b) => b.append_option(optional(raw, |r| fixed(r).map(|[v]| v != 0))?),
            Self::Int2(b) => b.append_option(optional(raw, |r| fixed(r).map(i16::from_be_bytes))?),
            Self::Int4(b) => b.append_option(optional(raw, |r| fixed(r).map(i32::from_be_bytes))?),
            Self::Int8(b) => b.append_option(optional(raw, |r| fixed(r).map(i64::from_be_bytes))?),
            Self::Float4(b) => {
                b.append_option(optional(raw, |r| fixed(r).map(f32::from_be_bytes))?);
            }
            Self::Float8(b) => {
                b.append_option(optional(raw, |r| fixed(r).map(f64::from_be_bytes))?);
            }
            Self::Text(b) => b.append_option(optional(raw, text)?),
            Self::Jsonb(b) => {
                b.append_option(optional(raw, |r| text(r.strip_prefix(&[1])?))?);
            }
            Self::Numeric(b, buffer) => match raw {
                Some(raw) => {
                    buffer.clear();
                    numeric::write_text(raw, buffer)?;
                    b.append_value(&buffer);
                }
                None => b.append_null(),
            },
            Self::Bytea(b) => b.append_option(raw),
            Self::Date(b) => b.append_option(optional(raw, date)?),
            Self::Timestamp(b) => b.append_option(optional(raw, timestamp)?),
            Self::Uuid(b) => match raw {
                Some(raw) => b.append_value(raw).ok()?,
                None => b.append_null(),
            },
            Self::Void(b) => b.append_null(),
            Self::Int4List(b) => {
                for element in list(raw)? {
                    let value = optional(element, |r| fixed(r).map(i32::from_be_bytes))?;
                    b.values().append_option(value);
                }
                b.append(raw.is_some());
            }
            Self::Int8List(b) => {
                for element in list(raw)? {
                    let value = optional(element, |r| fixed(r).map(i64::from_be_bytes))?;
                    b.values().append_option(value);
                }
                b.append(raw.is_some());
            }
            Self::TextList(b) => {
                for element in list(raw)? {
                    b.values().append_option(optional(element, text)?);
                }
                b.append(raw.is_some());
            }
        }
        Some(())
    }

    fn finish(&mut self) -> ArrayRef {
        let builder: &mut dyn ArrayBuilder = match self {
            Self::Boolean(b) => b,
            Self::Int2(b) => b,
            Self::Int4(b) => b,
            Self::Int8(b) => b,
            Self::Float4(b) => b,
            Self::Float8(b) => b,
            Self::Text(b) | Self::Jsonb(b) | Self::Numeric(b, _) => b,
            Self::Bytea(b) => b,
            Self::Date(b) => b,
            Self::Timestamp(b) => b,
            Self::Uuid(b) => b,
            Self::Void(b) => b,
            Self::Int4List(b) => b,
            Self::Int8List(b) => b,
            Self::TextList(b) => b,
        };
        builder.finish()
    }
}

/// The decoded field: `None` if malformed, `Some(None)` if null.
#[expect(clippy::option_option, reason = "malformed and null are different things")]
fn optional<'a, T>(
    raw: Option<&'a [u8]>,
    decode: impl FnOnce(&'a [u8]) -> Option<T>,
) -> Option<Option<T>> {
    raw.map_or(Some(None), |raw| decode(raw).map(Some))
}

fn fixed<const N: usize>(raw: &[u8]) -> Option<[u8; N]> {
    raw.try_into().ok()
}

/// The elements of a field that may be null itself.
fn list(raw: Option<&[u8]>) -> Option<Vec<Option<&[u8]>>> {
    raw.map_or_else(|| Some(Vec::new()), elements)
}

/// The elements of an array, null or not; `None` if it has several dimensions or is malformed.
fn elements(raw: &[u8]) -> Option<Vec<Option<&[u8]>>> {
    let word =
        |at: usize| -> Option<i32> { Some(i32::from_be_bytes(fixed(raw.get(at..at + 4)?)?)) };
    let count = match word(0)? {
        0 => return Some(Vec::new()),
        1 => usize::try_from(word(12)?).ok()?,
        _ => return None,
    };
    let (mut elements, mut at) = (Vec::with_capacity(count), 20);
    for _ in 0..count {
        let length = word(at)?;
        at += 4;
        let element = match usize::try_from(length) {
            Ok(length) => Some(raw.get(at..at + length)?),
            Err(_) => None,
        };
        at += element.map_or(0, <[u8]>::len);
        elements.push(element);
    }
    Some(elements)
}

/// The internal "char" type sends a zero byte for its empty value.
fn text(raw: &[u8]) -> Option<&str> {
    if raw == [0] { Some("") } else { std::str::from_utf8(raw).ok() }
}

fn date(raw: &[u8]) -> Option<i32> {
    let days = i32::from_be_bytes(fixed(raw)?);
    // The extremes denote infinity.
    if days == i32::MIN { None } else { days.checked_add(EPOCH_DAYS) }
}

fn timestamp(raw: &[u8]) -> Option<i64> {
    let microseconds = i64::from_be_bytes(fixed(raw)?);
    if microseconds == i64::MIN { None } else { microseconds.checked_add(EPOCH_MICROSECONDS) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn infinite_dates_have_no_arrow_form() {
        assert_eq!(date(&(-EPOCH_DAYS).to_be_bytes()), Some(0));
        assert_eq!(date(&i32::MAX.to_be_bytes()), None);
        assert_eq!(date(&i32::MIN.to_be_bytes()), None);
        assert_eq!(timestamp(&i64::MAX.to_be_bytes()), None);
        assert_eq!(timestamp(&i64::MIN.to_be_bytes()), None);
    }

    #[test]
    fn null_and_malformed_differ() {
        let mut column = Column::new(&Type::INT4);
        assert_eq!(column.append(None), Some(()));
        assert_eq!(column.append(Some(&[0, 0, 0, 7])), Some(()));
        assert_eq!(column.append(Some(&[0, 7])), None);
        assert_eq!(column.finish().len(), 2);
    }
}
