//! Converts typed Parquet columns to text that represents the stored value exactly, or not at all.

use std::collections::BTreeMap;
use std::fmt::{Display, UpperExp};
use std::ops::Add;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryViewArray, FixedSizeBinaryArray,
    PrimitiveArray, StringArray, StringViewArray, types,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, TimeUnit};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use chrono::{DateTime, FixedOffset, NaiveDate, TimeZone};
use chrono_tz::Tz;
use memchr::memchr;
use polars::prelude::Column;
use uuid::Uuid;

use super::delimited::{Damage, Damaged};
use crate::extract::projection;
use crate::interchange::{TextBlock, TextColumn};

const SECONDS_A_DAY: i64 = 86_400;

/// Largest integers that floating-point numbers represent uniquely.
const INTEGER_LIMITS: Limits = Limits { double: 9_007_199_254_740_992.0, single: 16_777_216.0 };
/// Largest amounts for which floating-point numbers distinguish every cent.
const CENT_LIMITS: Limits = Limits { double: 70_368_744_177_664.0, single: 131_072.0 };

/// Limits of uniqueness for 64-bit and 32-bit floats.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Limits {
    double: f64,
    single: f32,
}

/// Time zone of a column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Zone {
    Named(Tz),
    Fixed(FixedOffset),
}

/// How a column's values are converted to text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Reading {
    Text,
    /// Bytes expected to be UTF-8.
    Bytes,
    /// 16-byte UUID.
    Uuid,
    /// Integers, decimals, dates, booleans: Arrow's formatting.
    Plain,
    /// Shortest decimal that round-trips.
    Float(Limits),
    /// Date of a timestamp in the column's zone; without a zone, as stored.
    Day(Option<Zone>),
    /// Null type: no values.
    Nothing,
}

/// The Arrow type a column is read as: strings as views, dictionaries as their value type.
pub(super) fn read_as(found: &DataType) -> DataType {
    match found {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        DataType::Dictionary(_, value) => read_as(value),
        other => other.clone(),
    }
}

impl Reading {
    /// The conversion of a [`read_as`] type for a contract column; `None` where text would be
    /// inexact.
    pub(super) fn of(found: &DataType, is_uuid: bool, is_amount: bool) -> Option<Self> {
        Some(match found {
            DataType::Utf8View => Self::Text,
            DataType::FixedSizeBinary(16) if is_uuid => Self::Uuid,
            DataType::BinaryView | DataType::FixedSizeBinary(_) => Self::Bytes,
            DataType::Null => Self::Nothing,
            DataType::Float32 | DataType::Float64 => {
                Self::Float(if is_amount { CENT_LIMITS } else { INTEGER_LIMITS })
            }
            DataType::Timestamp(_, None) => Self::Day(None),
            DataType::Timestamp(_, Some(zone)) => Self::Day(Some(Zone::parse(zone)?)),
            DataType::Boolean
            | DataType::Date32
            | DataType::Date64
            | DataType::Decimal32(..)
            | DataType::Decimal64(..)
            | DataType::Decimal128(..)
            | DataType::Decimal256(..) => Self::Plain,
            other if other.is_integer() => Self::Plain,
            _ => return None,
        })
    }

    /// Converts a column to text.
    ///
    /// # Errors When the column is not of the type that this conversion expects.
    pub(super) fn texts(self, column: &ArrayRef) -> Result<Texts, ArrowError> {
        let wrong = || ArrowError::CastError("another type".into());
        Ok(match self {
            Self::Text => Texts::Text(column.as_string_view_opt().ok_or_else(wrong)?.clone()),
            Self::Bytes => Texts::Bytes(match column.data_type() {
                DataType::FixedSizeBinary(_) => {
                    let fixed = column.as_fixed_size_binary_opt().ok_or_else(wrong)?;
                    fixed.iter().collect()
                }
                _ => column.as_binary_view_opt().ok_or_else(wrong)?.clone(),
            }),
            Self::Uuid => {
                let fixed = column.as_fixed_size_binary_opt().ok_or_else(wrong)?;
                Texts::Made(uuids(fixed))
            }
            Self::Float(limits) => {
                let singly = column.as_primitive_opt::<types::Float32Type>();
                let singly = singly.map(|values| {
                    numbers(values, |value| value.is_finite() && value.abs() >= limits.single)
                });
                let doubly = column.as_primitive_opt::<types::Float64Type>();
                let doubly = doubly.map(|values| {
                    numbers(values, |value| value.is_finite() && value.abs() >= limits.double)
                });
                Texts::Made(singly.or(doubly).ok_or_else(wrong)?)
            }
            Self::Day(zone) => Texts::Made(made(&(cast(&days(column, zone)?, &DataType::Utf8)?))?),
            Self::Plain => Texts::Made(match column.data_type() {
                DataType::Date64 => {
                    made(&cast(&cast(column, &DataType::Date32)?, &DataType::Utf8)?)?
                }
                _ => made(&cast(column, &DataType::Utf8)?)?,
            }),
            Self::Nothing => Texts::Made(StringArray::new_null(column.len())),
        })
    }
}

impl Zone {
    fn parse(name: &str) -> Option<Self> {
        let fixed = |name: &str| name.parse().ok().map(Self::Fixed);
        name.parse().ok().map(Self::Named).or_else(|| fixed(name))
    }

    fn day(self, seconds: i64) -> Option<NaiveDate> {
        let moment = DateTime::from_timestamp(seconds, 0)?;
        Some(match self {
            Self::Named(zone) => zone.from_utc_datetime(&moment.naive_utc()).date_naive(),
            Self::Fixed(zone) => zone.from_utc_datetime(&moment.naive_utc()).date_naive(),
        })
    }
}

pub(super) enum Texts {
    Text(StringViewArray),
    Bytes(BinaryViewArray),
    Made(StringArray),
}

impl Texts {
    /// Formats any column for display.
    ///
    /// # Errors
    /// When Arrow cannot format it.
    pub(super) fn shown(column: &ArrayRef) -> Result<Self, ArrowError> {
        match column.data_type() {
            DataType::Utf8View => return Reading::Text.texts(column),
            DataType::BinaryView => return Reading::Bytes.texts(column),
            _ => {}
        }
        let options = FormatOptions::default();
        let formatter = ArrayFormatter::try_new(column, &options)?;
        let text = |row| column.is_valid(row).then(|| formatter.value(row).to_string());
        Ok(Self::Made((0..column.len()).map(text).collect()))
    }

    /// A row's bytes; `None` for null.
    pub(super) fn get(&self, row: usize) -> Option<&[u8]> {
        match self {
            Self::Text(texts) => texts.is_valid(row).then(|| texts.value(row).as_bytes()),
            Self::Bytes(texts) => texts.is_valid(row).then(|| texts.value(row)),
            Self::Made(texts) => texts.is_valid(row).then(|| texts.value(row).as_bytes()),
        }
    }

    /// Why a value is not valid text.
    fn damage(&self, row: usize) -> Option<Damage> {
        let bytes = match self {
            Self::Made(_) => return None,
            _ => self.get(row)?,
        };
        if matches!(self, Self::Bytes(_)) && std::str::from_utf8(bytes).is_err() {
            return Some(Damage::EncodingInvalid);
        }
        memchr(0, bytes).map(|_| Damage::NulCharacter)
    }
}

/// Raw columns of a block, and its unreadable rows, which become rows of nulls.
pub(super) fn table(fields: &[Texts], rows: usize) -> (Vec<Column>, Vec<Damaged>) {
    let mut broken: BTreeMap<usize, Damage> = BTreeMap::new();
    for texts in fields {
        broken.extend((0..rows).filter_map(|row| Some((row, texts.damage(row)?))));
    }
    let block = TextBlock::empty();
    let column = |(field, texts): (usize, &Texts)| {
        let mut column = TextColumn::new(&block, rows);
        for row in 0..rows {
            let text = match texts.get(row) {
                Some(bytes) if broken.is_empty() || !broken.contains_key(&row) => {
                    std::str::from_utf8(bytes).ok()
                }
                _ => None,
            };
            match text {
                Some(text) => column.push_own(text),
                None => column.push_null(),
            }
        }
        column.finish(&projection::name(field))
    };
    let columns = fields.iter().enumerate().map(column).collect();
    let damaged = broken.iter().map(|(&row, &damage)| {
        let fields: Vec<Option<&[u8]>> = fields.iter().map(|texts| texts.get(row)).collect();
        let raw = String::from_utf8_lossy(&line(&fields)).into_owned();
        Damaged { row, damage, raw }
    });
    (columns, damaged.collect())
}

/// One CSV line without line ending; null is empty, the empty string is quoted.
pub(super) fn line(fields: &[Option<&[u8]>]) -> Vec<u8> {
    let mut line = Vec::new();
    for (index, field) in fields.iter().enumerate() {
        if index > 0 {
            line.push(b',');
        }
        let Some(text) = field else { continue };
        let plain = |byte: &u8| !matches!(byte, b',' | b'"' | b'\n' | b'\r');
        if !text.is_empty() && text.iter().all(plain) {
            line.extend_from_slice(text);
            continue;
        }
        line.push(b'"');
        for &byte in *text {
            line.push(byte);
            if byte == b'"' {
                line.push(b'"');
            }
        }
        line.push(b'"');
    }
    line
}

fn made(array: &ArrayRef) -> Result<StringArray, ArrowError> {
    let texts = array.as_string_opt::<i32>();
    texts.cloned().ok_or_else(|| ArrowError::CastError("not text".into()))
}

fn uuids(values: &FixedSizeBinaryArray) -> StringArray {
    let text = |bytes: &[u8]| Uuid::from_slice(bytes).ok().map(|id| id.to_string());
    values.iter().map(|bytes| bytes.and_then(text)).collect()
}

/// Beyond the limit a number is written with an exponent, which no identifier or amount has. That
/// rejects the row, because the original value is ambiguous.
fn numbers<T>(values: &PrimitiveArray<T>, is_beyond: impl Fn(T::Native) -> bool) -> StringArray
where
    T: ArrowPrimitiveType,
    T::Native: Add<Output = T::Native> + Display + UpperExp,
{
    let text = |value: T::Native| {
        if is_beyond(value) {
            format!("{value:E}")
        } else {
            // Normalises negative zero.
            (value + T::Native::default()).to_string()
        }
    };
    values.iter().map(|value| value.map(text)).collect()
}

/// Dates of timestamps; null when out of range.
fn days(column: &ArrayRef, zone: Option<Zone>) -> Result<ArrayRef, ArrowError> {
    let DataType::Timestamp(unit, _) = column.data_type() else {
        return Err(ArrowError::CastError("no moments".into()));
    };
    let a_second = match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    };
    let moments = cast(column, &DataType::Int64)?;
    let moments = moments.as_primitive::<types::Int64Type>();
    let utc = |zone: Option<Zone>| matches!(zone, None | Some(Zone::Named(Tz::UTC)));
    let day = |moment: i64| {
        let seconds = moment.div_euclid(a_second);
        if utc(zone) {
            return i32::try_from(seconds.div_euclid(SECONDS_A_DAY)).ok();
        }
        let day = zone?.day(seconds)?;
        i32::try_from(day.signed_duration_since(NaiveDate::default()).num_days()).ok()
    };
    Ok(std::sync::Arc::new(moments.unary_opt::<_, Date32Type>(day)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float32Array, Float64Array, Int64Array, TimestampSecondArray};

    use super::*;

    fn read(column: &ArrayRef, is_amount: bool) -> Vec<Option<String>> {
        let reading = Reading::of(column.data_type(), false, is_amount).expect("readable");
        let texts = reading.texts(column).expect("texts");
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        (0..column.len()).map(|row| texts.get(row).map(text)).collect()
    }

    fn texts(column: impl Array + 'static, is_amount: bool) -> Vec<String> {
        read(&(Arc::new(column) as ArrayRef), is_amount)
            .into_iter()
            .map(Option::unwrap_or_default)
            .collect()
    }

    #[test]
    fn every_cent_of_a_float_is_that_cent() {
        // All cents near zero and near the 32-bit limit.
        for cents in (0..20_000_i64).chain(13_087_200..13_107_200) {
            let exact = format!("{}.{:02}", cents / 100, cents % 100);
            let shortest = exact.trim_end_matches('0').trim_end_matches('.');
            let single: f32 = exact.parse().expect("a number");
            let double: f64 = exact.parse().expect("a number");
            assert_eq!(texts(Float32Array::from(vec![single]), true), [shortest]);
            assert_eq!(texts(Float64Array::from(vec![double]), true), [shortest]);
        }
    }

    #[test]
    fn a_float_that_may_be_several_numbers_is_none() {
        let single = Float32Array::from(vec![131_071.99, 131_072.0, -1_234_567.9]);
        assert_eq!(texts(single, true), ["131071.99", "1.31072E5", "-1.2345679E6"]);
        let ids = Float64Array::from(vec![1001.0, -0.0, 9_007_199_254_740_991.0, 9e17, f64::NAN]);
        let ids = texts(ids, false);
        assert_eq!(ids, ["1001", "0", "9007199254740991", "9E17", "NaN"]);
        let ids = Float32Array::from(vec![16_777_215.0, 16_777_216.0, 0.5]);
        assert_eq!(texts(ids, false), ["16777215", "1.6777216E7", "0.5"]);
    }

    #[test]
    fn a_moment_is_the_day_of_its_own_zone() {
        let moments = [1_706_745_600_i64, 1_706_718_600, -1];
        let of = |zone: Option<&str>| {
            let column = TimestampSecondArray::from(moments.to_vec());
            texts(column.with_timezone_opt(zone), false)
        };
        assert_eq!(of(None), ["2024-02-01", "2024-01-31", "1969-12-31"]);
        assert_eq!(of(Some("UTC")), of(None));
        assert_eq!(of(Some("America/New_York")), ["2024-01-31", "2024-01-31", "1969-12-31"]);
        assert_eq!(of(Some("+14:00")), ["2024-02-01", "2024-02-01", "1970-01-01"]);
        let unknown = DataType::Timestamp(TimeUnit::Second, Some("Nowhere/At_All".into()));
        assert_eq!(Reading::of(&unknown, false, false), None);
        let no_day = TimestampSecondArray::from(vec![i64::MAX]);
        assert_eq!(read(&(Arc::new(no_day) as ArrayRef), false), [None]);
    }

    #[test]
    fn bytes_that_are_no_text_cost_their_row() {
        let bytes: BinaryViewArray =
            [Some(&b"a"[..]), Some(b"\xff"), None, Some(b"n\0"), Some("V\u{ed}".as_bytes())]
                .into_iter()
                .collect();
        let whole: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3, 4, 5]));
        let fields = [Texts::Bytes(bytes), Reading::Plain.texts(&whole).expect("texts")];
        let (columns, damaged) = table(&fields, 5);
        let read = |column: &Column| -> Vec<Option<String>> {
            column.str().expect("text").iter().map(|text| text.map(ToOwned::to_owned)).collect()
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(read(&columns[0]), [some("a"), None, None, None, some("V\u{ed}")]);
        assert_eq!(read(&columns[1]), [some("1"), None, some("3"), None, some("5")]);
        let damaged: Vec<_> = damaged.iter().map(|d| (d.row, d.damage)).collect();
        assert_eq!(damaged, [(1, Damage::EncodingInvalid), (3, Damage::NulCharacter)]);
    }

    #[test]
    fn a_row_is_a_line_of_csv() {
        let fields: [Option<&[u8]>; 4] = [Some(b"a"), None, Some(b""), Some(b"b\"c,")];
        assert_eq!(line(&fields), b"a,,\"\",\"b\"\"c,\"");
    }
}
