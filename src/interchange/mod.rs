//! Converts Polars frames to arrow-rs batches over the Arrow C Data Interface.
//!
//! Buffers change ownership without being copied.

mod text;

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, make_array};
use arrow::datatypes::{DataType as ArrowType, SchemaRef};
use arrow::ffi::{FFI_ArrowArray, from_ffi_and_data_type};
use polars::prelude::{Column, DataFrame, DataType};
pub(crate) use text::{TextBlock, TextColumn};

use crate::error::{Error, Result};

/// The columns named by `schema`, in its order and types.
///
/// A 128-bit integer column, which carries tokens within a plan, becomes `FixedSizeBinary(16)`.
///
/// # Errors
/// `Internal` when a column is missing, has another type, or contains a forbidden null: the plan
/// and the contract disagree.
pub(crate) fn record_batch(frame: &DataFrame, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = schema
        .fields()
        .iter()
        .map(|field| {
            let column = frame
                .column(field.name())
                .map_err(|_| Error::internal(format!("the plan has no column {}", field.name())))?;
            array(column, field.data_type())
        })
        .collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(frame.height()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .map_err(|_| Error::internal("a column of the plan is null where the contract forbids it"))
}

/// Converts one column to the contract's Arrow type.
fn array(column: &Column, target: &ArrowType) -> Result<ArrayRef> {
    if !same_layout(column.dtype(), target) {
        return Err(Error::internal(format!(
            "column {} is {} in the plan, but {target} in the contract",
            column.name(),
            column.dtype()
        )));
    }
    let series = column.as_materialized_series().rechunk();
    let chunk =
        series.chunks().first().ok_or_else(|| Error::internal("a column without chunks"))?;
    import(chunk.clone(), target.clone())
        .map_err(|_| Error::internal(format!("column {} cannot cross to Arrow", column.name())))
}

/// Whether a Polars type and an Arrow type have the same physical buffers.
fn same_layout(polars: &DataType, arrow: &ArrowType) -> bool {
    match (polars, arrow) {
        (DataType::Boolean, ArrowType::Boolean)
        | (DataType::Int16, ArrowType::Int16)
        | (DataType::Int32, ArrowType::Int32)
        | (DataType::Int64, ArrowType::Int64)
        | (DataType::Float32, ArrowType::Float32)
        | (DataType::Float64, ArrowType::Float64)
        | (DataType::Date, ArrowType::Date32)
        | (DataType::String, ArrowType::Utf8View)
        | (DataType::Int128, ArrowType::FixedSizeBinary(16)) => true,
        (DataType::Decimal(precision, scale), ArrowType::Decimal128(p, s)) => {
            *precision == usize::from(*p) && i8::try_from(*scale) == Ok(*s)
        }
        _ => false,
    }
}

/// Passes one array through the C Data Interface.
#[expect(unsafe_code, reason = "the C Data Interface is defined by raw pointers")]
fn import(
    array: Box<dyn polars_arrow::array::Array>,
    data_type: ArrowType,
) -> std::result::Result<ArrayRef, arrow::error::ArrowError> {
    let exported = polars_arrow::ffi::export_array_to_c(array);
    // SAFETY: both are the ArrowArray struct of the C Data Interface, `repr(C)` with the same ten
    // fields; ownership (the release callback) moves with the bits, and transmute forgets the
    // source.
    let moved: FFI_ArrowArray = unsafe { std::mem::transmute(exported) };
    // SAFETY: the array is valid and unreleased; `same_layout` has checked that its buffers are
    // those of `data_type`.
    let data = unsafe { from_ffi_and_data_type(moved, data_type)? };
    Ok(make_array(data))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{Date32Type, Decimal128Type, Field, Schema};
    use polars::prelude::{Int128Chunked, IntoSeries, NamedFrom, NewChunkedArray, Series};

    use super::*;

    fn batch(series: Series, arrow: ArrowType, nullable: bool) -> Result<RecordBatch> {
        let schema =
            Arc::new(Schema::new(vec![Field::new(series.name().as_str(), arrow, nullable)]));
        let height = series.len();
        let frame = DataFrame::new(height, vec![series.into()]).expect("a frame");
        record_batch(&frame, &schema)
    }

    #[test]
    fn text_crosses_with_nulls_and_long_values() {
        let long = "x".repeat(100);
        let series = Series::new("a".into(), [Some("V\u{ed}ctor"), None, Some(""), Some(&long)]);
        let batch = batch(series, ArrowType::Utf8View, true).expect("crosses");
        let column = batch.column(0).as_string_view();
        assert_eq!(column.value(0), "V\u{ed}ctor");
        assert!(column.is_null(1));
        assert_eq!((column.value(2), column.value(3)), ("", long.as_str()));
    }

    #[test]
    fn a_token_keeps_its_bytes_in_order() {
        let bytes: [u8; 16] = std::array::from_fn(|i| u8::try_from(i).expect("small"));
        let chunked = Int128Chunked::from_slice("t".into(), &[i128::from_ne_bytes(bytes)]);
        let batch = batch(chunked.into_series(), ArrowType::FixedSizeBinary(16), false);
        assert_eq!(batch.expect("crosses").column(0).as_fixed_size_binary().value(0), bytes);
    }

    #[test]
    fn money_and_dates_keep_their_value() {
        let cents = Int128Chunked::from_slice("m".into(), &[-1, 999_999_999_999]);
        let money = cents.into_decimal_unchecked(12, 2).into_series();
        let money = batch(money, ArrowType::Decimal128(12, 2), false).expect("crosses");
        assert_eq!(
            money.column(0).as_primitive::<Decimal128Type>().values(),
            &[-1, 999_999_999_999]
        );
        let days = Series::new("d".into(), [-1_i32, 0]).cast(&DataType::Date).expect("dates");
        let days = batch(days, ArrowType::Date32, false).expect("crosses");
        assert_eq!(days.column(0).as_primitive::<Date32Type>().values(), &[-1, 0]);
    }

    #[test]
    fn a_disagreement_with_the_contract_is_an_error() {
        let series = Series::new("a".into(), [1_i64]);
        assert!(batch(series.clone(), ArrowType::Int32, false).is_err());
        let hole = Series::new("a".into(), [Some(1_i64), None]);
        assert!(batch(hole, ArrowType::Int64, false).is_err(), "null in a required column");
        assert!(batch(series, ArrowType::Int64, false).is_ok());
    }
}
