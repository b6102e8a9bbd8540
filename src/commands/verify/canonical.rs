//! A row as canonical bytes: the same value gives the same bytes, whichever side it came from.
//!
//! Each cell is a byte (0 for null, else 1), then the value: numbers in eight bytes, texts
//! and amounts (as Postgres prints them) after their length.

use arrow::array::{
    Array, AsArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray, Float32Array,
    Int16Array, Int32Array, Int64Array, StringArray, StringViewArray,
};
use arrow::datatypes::DataType;

use crate::error::{Error, Result};
use crate::risk::tenths_of_score;
use crate::totals::Cents;

/// A column of either side.
pub(crate) enum Cells<'a> {
    Token(&'a FixedSizeBinaryArray),
    Short(&'a Int16Array),
    Int(&'a Int32Array),
    Long(&'a Int64Array),
    /// A score: a multiple of a tenth.
    Tenths(&'a Float32Array),
    Truth(&'a BooleanArray),
    Day(&'a Date32Array),
    /// Two decimals.
    Hundredths(&'a Decimal128Array),
    View(&'a StringViewArray),
    Text(&'a StringArray),
}

impl<'a> Cells<'a> {
    /// The cells of a column.
    ///
    /// # Errors
    /// `Internal` for a type that neither side has.
    pub(crate) fn of(column: &'a dyn Array) -> Result<Self> {
        Ok(match column.data_type() {
            DataType::FixedSizeBinary(_) => Self::Token(column.as_fixed_size_binary()),
            DataType::Int16 => Self::Short(column.as_primitive()),
            DataType::Int32 => Self::Int(column.as_primitive()),
            DataType::Int64 => Self::Long(column.as_primitive()),
            DataType::Float32 => Self::Tenths(column.as_primitive()),
            DataType::Boolean => Self::Truth(column.as_boolean()),
            DataType::Date32 => Self::Day(column.as_primitive()),
            DataType::Decimal128(_, 2) => Self::Hundredths(column.as_primitive()),
            DataType::Utf8View => Self::View(column.as_string_view()),
            DataType::Utf8 => Self::Text(column.as_string()),
            other => return Err(Error::internal(format!("a column of type {other} in a row"))),
        })
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Token(cells) => cells.is_null(row),
            Self::Short(cells) => cells.is_null(row),
            Self::Int(cells) => cells.is_null(row),
            Self::Long(cells) => cells.is_null(row),
            Self::Tenths(cells) => cells.is_null(row),
            Self::Truth(cells) => cells.is_null(row),
            Self::Day(cells) => cells.is_null(row),
            Self::Hundredths(cells) => cells.is_null(row),
            Self::View(cells) => cells.is_null(row),
            Self::Text(cells) => cells.is_null(row),
        }
    }

    /// Appends a cell.
    fn append(&self, row: usize, bytes: &mut Vec<u8>) {
        if self.is_null(row) {
            bytes.push(0);
            return;
        }
        bytes.push(1);
        let mut number = |number: i64| bytes.extend_from_slice(&number.to_le_bytes());
        match self {
            Self::Short(cells) => number(cells.value(row).into()),
            Self::Int(cells) => number(cells.value(row).into()),
            Self::Long(cells) => number(cells.value(row)),
            Self::Tenths(cells) => number(tenths_of_score(cells.value(row))),
            Self::Truth(cells) => number(cells.value(row).into()),
            Self::Day(cells) => number(cells.value(row).into()),
            Self::Token(cells) => bytes.extend_from_slice(cells.value(row)),
            Self::Hundredths(cells) => text(&Cents(cells.value(row)).to_string(), bytes),
            Self::View(cells) => text(cells.value(row), bytes),
            Self::Text(cells) => text(cells.value(row), bytes),
        }
    }
}

fn text(text: &str, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

/// One row's bytes, and where each column's end.
#[derive(Default)]
pub(crate) struct Row {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Row {
    /// Takes the row's cells of those columns that `counts`.
    pub(crate) fn take(
        &mut self,
        columns: &[Cells<'_>],
        row: usize,
        counts: &dyn Fn(usize) -> bool,
    ) {
        self.bytes.clear();
        self.ends.clear();
        for (place, column) in columns.iter().enumerate() {
            if counts(place) {
                column.append(row, &mut self.bytes);
            }
            self.ends.push(self.bytes.len());
        }
    }

    /// The canonical bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The places of the columns that are not alike.
    pub(crate) fn unlike(&self, other: &Self) -> Vec<usize> {
        if self.bytes == other.bytes && self.ends == other.ends {
            return Vec::new();
        }
        (0..self.ends.len()).filter(|&place| self.cell(place) != other.cell(place)).collect()
    }

    fn cell(&self, place: usize) -> &[u8] {
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[place]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_give_the_same_bytes_and_a_difference_has_a_place() {
        let amounts = Decimal128Array::from(vec![Some(-5), Some(120_050)])
            .with_precision_and_scale(12, 2)
            .expect("fits");
        let views = StringViewArray::from(vec![None, Some("a")]);
        let computed = [Cells::of(&amounts).expect("cells"), Cells::of(&views).expect("cells")];
        let printed = StringArray::from(vec![Some("-0.05"), Some("1200.50")]);
        let texts = StringArray::from(vec![Some(""), Some("a")]);
        let found = [Cells::of(&printed).expect("cells"), Cells::of(&texts).expect("cells")];
        let (mut one, mut other) = (Row::default(), Row::default());
        let mut unlike = |row: usize, counts: &dyn Fn(usize) -> bool| {
            one.take(&computed, row, counts);
            other.take(&found, row, counts);
            one.unlike(&other)
        };
        assert_eq!(unlike(0, &|_| true), [1], "null is no empty text");
        assert_eq!(unlike(0, &|place| place == 0), [0_usize; 0]);
        assert_eq!(unlike(1, &|_| true), [0_usize; 0]);
    }
}
