//! Encodes the cells of a batch for COPY BINARY.

use std::ops::Range;

use adbc_core::error::{Error, Result, Status};
use arrow::array::{
    Array, AsArray, BinaryArray, BooleanArray, FixedSizeBinaryArray, LargeBinaryArray,
    LargeStringArray, RecordBatch, StringArray, StringViewArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, Float32Type, Float64Type, Int16Type, Int32Type,
    Int64Type, TimeUnit, TimestampMicrosecondType,
};

use super::numeric;
use super::types::{EPOCH_DAYS, EPOCH_MICROSECONDS, element_type, no_copy_form};

/// The length that denotes null.
const NULL: i32 = -1;

/// One column of a batch.
pub(super) struct Cells<'a> {
    values: Values<'a>,
    nulls: Option<&'a NullBuffer>,
}

enum Values<'a> {
    Boolean(&'a BooleanArray),
    Int16(&'a [i16]),
    Int32(&'a [i32]),
    Int64(&'a [i64]),
    Float32(&'a [f32]),
    Float64(&'a [f64]),
    Decimal {
        values: &'a [i128],
        scale: i8,
    },
    Date(&'a [i32]),
    Timestamp(&'a [i64]),
    Text(&'a StringArray),
    LargeText(&'a LargeStringArray),
    TextView(&'a StringViewArray),
    Bytes(&'a BinaryArray),
    LargeBytes(&'a LargeBinaryArray),
    FixedBytes(&'a FixedSizeBinaryArray),
    /// An array of one dimension: the type of its elements, and where each row's elements are.
    List {
        element: u32,
        elements: Box<Cells<'a>>,
        offsets: &'a [i32],
    },
}

/// All columns of a batch.
///
/// # Errors
/// `NotImplemented` when a column's type has no COPY form.
pub(super) fn columns(batch: &RecordBatch) -> Result<Vec<Cells<'_>>> {
    batch
        .columns()
        .iter()
        .zip(batch.schema_ref().fields())
        .map(|(array, field)| {
            Ok(Cells { values: values(array.as_ref(), field)?, nulls: array.nulls() })
        })
        .collect()
}

fn values<'a>(array: &'a dyn Array, field: &Field) -> Result<Values<'a>> {
    Ok(match array.data_type() {
        DataType::Boolean => Values::Boolean(array.as_boolean()),
        DataType::Int16 => Values::Int16(array.as_primitive::<Int16Type>().values()),
        DataType::Int32 => Values::Int32(array.as_primitive::<Int32Type>().values()),
        DataType::Int64 => Values::Int64(array.as_primitive::<Int64Type>().values()),
        DataType::Float32 => Values::Float32(array.as_primitive::<Float32Type>().values()),
        DataType::Float64 => Values::Float64(array.as_primitive::<Float64Type>().values()),
        DataType::Decimal128(_, scale) => Values::Decimal {
            values: array.as_primitive::<Decimal128Type>().values(),
            scale: *scale,
        },
        DataType::Date32 => Values::Date(array.as_primitive::<Date32Type>().values()),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            Values::Timestamp(array.as_primitive::<TimestampMicrosecondType>().values())
        }
        DataType::Utf8 => Values::Text(array.as_string()),
        DataType::LargeUtf8 => Values::LargeText(array.as_string()),
        DataType::Utf8View => Values::TextView(array.as_string_view()),
        DataType::Binary => Values::Bytes(array.as_binary()),
        DataType::LargeBinary => Values::LargeBytes(array.as_binary()),
        DataType::FixedSizeBinary(_) => Values::FixedBytes(array.as_fixed_size_binary()),
        DataType::List(of) => {
            let list = array.as_list::<i32>();
            let element = element_type(of).ok_or_else(|| no_copy_form(field))?.oid();
            let elements =
                Cells { values: values(list.values().as_ref(), of)?, nulls: list.values().nulls() };
            Values::List { element, elements: Box::new(elements), offsets: list.value_offsets() }
        }
        _ => return Err(no_copy_form(field)),
    })
}

impl Cells<'_> {
    /// Appends the cell of a row: length and bytes.
    ///
    /// # Errors
    /// `InvalidData` when the value is outside Postgres' range or longer than 2 GiB.
    #[inline]
    pub(super) fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        if self.nulls.is_some_and(|nulls| nulls.is_null(row)) {
            out.extend_from_slice(&NULL.to_be_bytes());
            return Ok(());
        }
        match &self.values {
            Values::Boolean(cells) => fixed(out, [u8::from(cells.value(row))]),
            Values::Int16(cells) => fixed(out, cells[row].to_be_bytes()),
            Values::Int32(cells) => fixed(out, cells[row].to_be_bytes()),
            Values::Int64(cells) => fixed(out, cells[row].to_be_bytes()),
            Values::Float32(cells) => fixed(out, cells[row].to_be_bytes()),
            Values::Float64(cells) => fixed(out, cells[row].to_be_bytes()),
            Values::Decimal { values, scale } => numeric::write_binary(values[row], *scale, out),
            Values::Date(cells) => {
                let days = cells[row].checked_sub(EPOCH_DAYS).ok_or_else(|| beyond("a date"))?;
                fixed(out, days.to_be_bytes());
            }
            Values::Timestamp(cells) => {
                let since = cells[row].checked_sub(EPOCH_MICROSECONDS);
                fixed(out, since.ok_or_else(|| beyond("a timestamp"))?.to_be_bytes());
            }
            Values::Text(cells) => return bytes(out, cells.value(row).as_bytes()),
            Values::LargeText(cells) => return bytes(out, cells.value(row).as_bytes()),
            Values::TextView(cells) => return bytes(out, cells.value(row).as_bytes()),
            Values::Bytes(cells) => return bytes(out, cells.value(row)),
            Values::LargeBytes(cells) => return bytes(out, cells.value(row)),
            Values::FixedBytes(cells) => return bytes(out, cells.value(row)),
            Values::List { element, elements, offsets } => {
                return list(out, *element, elements, offsets[row]..offsets[row + 1]);
            }
        }
        Ok(())
    }
}

#[inline]
fn fixed<const N: usize>(out: &mut Vec<u8>, value: [u8; N]) {
    // Fixed-size values have at most sixteen bytes.
    #[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "small")]
    out.extend_from_slice(&(N as i32).to_be_bytes());
    out.extend_from_slice(&value);
}

#[inline]
fn bytes(out: &mut Vec<u8>, value: &[u8]) -> Result<()> {
    let length = i32::try_from(value.len()).map_err(|_| beyond("a text"))?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(value);
    Ok(())
}

/// Appends an array of one dimension: dimensions, whether there are nulls, type of the elements, their number, the
/// first subscript, and the elements as cells.
fn list(out: &mut Vec<u8>, element: u32, elements: &Cells<'_>, range: Range<i32>) -> Result<()> {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    let (count, nulls) = (range.end - range.start, elements.nulls.is_some());
    out.extend_from_slice(&i32::from(count > 0).to_be_bytes());
    out.extend_from_slice(&i32::from(nulls).to_be_bytes());
    out.extend_from_slice(&element.to_be_bytes());
    if count > 0 {
        out.extend_from_slice(&count.to_be_bytes());
        out.extend_from_slice(&1_i32.to_be_bytes());
    }
    for row in range {
        elements.write(usize::try_from(row).unwrap_or_default(), out)?;
    }
    let length = i32::try_from(out.len() - start - 4).map_err(|_| beyond("an array"))?;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

fn beyond(what: &str) -> Error {
    Error::with_message_and_status(
        format!("{what} is beyond what PostgreSQL can hold"),
        Status::InvalidData,
    )
}
