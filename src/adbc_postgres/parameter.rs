//! A bound parameter: one cell of an Arrow array.

use std::error::Error;
use std::fmt::{self, Write as _};

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Date32Type, Float64Type, Int16Type, Int32Type, Int64Type};
use bytes::BytesMut;
use postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};

use super::types::{EPOCH_DAYS, base};

pub(super) struct Parameter<'a> {
    array: &'a dyn Array,
    row: usize,
}

impl<'a> Parameter<'a> {
    pub(super) fn new(array: &'a dyn Array, row: usize) -> Self {
        Self { array, row }
    }
}

/// A cell's Arrow type cannot be bound to the parameter type.
#[derive(Debug)]
pub(super) struct Unsupported {
    arrow: DataType,
    wanted: Type,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a value of the Arrow type {} cannot be bound to {}", self.arrow, self.wanted)
    }
}

impl Error for Unsupported {}

/// Shows only the type: parameter values must not reach a log.
impl fmt::Debug for Parameter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parameter({})", self.array.data_type())
    }
}

impl ToSql for Parameter<'_> {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let (array, row) = (self.array, self.row);
        if array.is_null(row) || array.data_type() == &DataType::Null {
            return Ok(IsNull::Yes);
        }
        match array.data_type() {
            DataType::Utf8 => out.extend_from_slice(array.as_string::<i32>().value(row).as_bytes()),
            DataType::LargeUtf8 => {
                out.extend_from_slice(array.as_string::<i64>().value(row).as_bytes());
            }
            DataType::Utf8View => {
                out.extend_from_slice(array.as_string_view().value(row).as_bytes());
            }
            DataType::Int16 => write!(out, "{}", array.as_primitive::<Int16Type>().value(row))?,
            DataType::Int32 => write!(out, "{}", array.as_primitive::<Int32Type>().value(row))?,
            DataType::Int64 => write!(out, "{}", array.as_primitive::<Int64Type>().value(row))?,
            DataType::Float64 => write!(out, "{}", array.as_primitive::<Float64Type>().value(row))?,
            DataType::Boolean => write!(out, "{}", array.as_boolean().value(row))?,
            DataType::Date32 if *base(ty) == Type::DATE => {
                let days = array.as_primitive::<Date32Type>().value(row);
                let days = days.checked_sub(EPOCH_DAYS).ok_or("a date is out of range")?;
                out.extend_from_slice(&days.to_be_bytes());
            }
            DataType::FixedSizeBinary(_) if *base(ty) == Type::UUID || *base(ty) == Type::BYTEA => {
                out.extend_from_slice(array.as_fixed_size_binary().value(row));
            }
            DataType::Binary if *base(ty) == Type::BYTEA => {
                out.extend_from_slice(array.as_binary::<i32>().value(row));
            }
            other => {
                return Err(Box::new(Unsupported { arrow: other.clone(), wanted: ty.clone() }));
            }
        }
        Ok(IsNull::No)
    }

    fn accepts(_ty: &Type) -> bool {
        true
    }

    fn encode_format(&self, _ty: &Type) -> Format {
        match self.array.data_type() {
            DataType::Date32 | DataType::FixedSizeBinary(_) | DataType::Binary => Format::Binary,
            _ => Format::Text,
        }
    }

    to_sql_checked!();
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Date32Array, Int32Array, StringArray};

    use super::*;

    fn bytes(array: &ArrayRef, ty: &Type) -> Result<Vec<u8>, String> {
        let mut out = BytesMut::new();
        match Parameter::new(array, 0).to_sql(ty, &mut out) {
            Ok(IsNull::No) => Ok(out.to_vec()),
            Ok(IsNull::Yes) => Err("null".into()),
            Err(e) => Err(e.to_string()),
        }
    }

    #[test]
    fn numbers_travel_as_text_and_dates_as_days() {
        let number: ArrayRef = Arc::new(Int32Array::from(vec![-7]));
        assert_eq!(bytes(&number, &Type::NUMERIC), Ok(b"-7".to_vec()));
        let date: ArrayRef = Arc::new(Date32Array::from(vec![EPOCH_DAYS + 1]));
        assert_eq!(bytes(&date, &Type::DATE), Ok(vec![0, 0, 0, 1]));
        let refused = bytes(&date, &Type::TEXT).expect_err("a date is not a text");
        assert!(refused.contains("Date32") && refused.contains("text"), "{refused}");
    }

    #[test]
    fn a_null_is_null_and_debug_shows_no_value() {
        let text: ArrayRef = Arc::new(StringArray::from(vec![None, Some("canary")]));
        assert_eq!(bytes(&text, &Type::JSONB), Err("null".into()));
        assert!(!format!("{:?}", Parameter::new(&text, 1)).contains("canary"));
    }
}
