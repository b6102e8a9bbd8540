//! Record batches as the bytes of COPY BINARY, in chunks that are worth a write.
//!
//! A file of its own because it needs no server: the benchmark measures it alone. The format itself
//! is written by pgpq; this adds what the load needs around it: a bounded buffer, a check that each
//! batch has the announced columns, and a fast path for decimals.

use std::sync::Arc;

use adbc_core::error::{Error, Result, Status};
use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Decimal64Type, Decimal128Type, Field, Schema, SchemaRef};
use pgpq::ArrowToPostgresBinaryEncoder;
use postgres::types::private::BytesMut;

/// Bytes handed on at once: enough that a system call does not count, little enough for the cache.
const CHUNK_BYTES: usize = 1 << 20;
/// Rows encoded before the buffer's size is looked at.
const SLICE_ROWS: usize = 4096;
/// Digits that surely fit 64 bits.
const NARROW_PRECISION: u8 = 18;

/// Encodes the batches of one COPY. Nothing is allocated per value; one buffer is used throughout.
pub struct CopyEncoder {
    source: SchemaRef,
    narrowed: SchemaRef,
    encoder: ArrowToPostgresBinaryEncoder,
    buffer: BytesMut,
}

impl CopyEncoder {
    /// An encoder for batches of `schema`.
    ///
    /// # Errors
    /// `NotImplemented` when a column's type has no COPY form.
    pub fn new(schema: &SchemaRef) -> Result<Self> {
        let narrowed = Arc::new(Schema::new(
            schema.fields().iter().map(|f| narrow_field(f)).collect::<Vec<_>>(),
        ));
        let mut encoder = ArrowToPostgresBinaryEncoder::try_new(&narrowed)
            .map_err(|e| Error::with_message_and_status(e.to_string(), Status::NotImplemented))?;
        let mut buffer = BytesMut::with_capacity(CHUNK_BYTES);
        encoder.write_header(&mut buffer).map_err(|e| internal(&e))?;
        Ok(Self { source: Arc::clone(schema), narrowed, encoder, buffer })
    }

    /// Encodes a batch; whenever a chunk is full it goes to `sink`.
    ///
    /// # Errors
    /// `InvalidData` when the batch does not have the announced columns or holds a value that the
    /// format cannot; whatever `sink` fails with.
    pub fn encode(
        &mut self,
        batch: &RecordBatch,
        mut sink: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let batch = self.narrow(batch)?;
        let mut start = 0;
        while start < batch.num_rows() {
            let rows = SLICE_ROWS.min(batch.num_rows() - start);
            self.encoder
                .write_batch(&batch.slice(start, rows), &mut self.buffer)
                .map_err(|e| invalid(e.to_string()))?;
            start += rows;
            if self.buffer.len() >= CHUNK_BYTES {
                sink(&self.buffer)?;
                self.buffer.clear();
            }
        }
        Ok(())
    }

    /// Writes the trailer and hands on what is left.
    ///
    /// # Errors
    /// Whatever `sink` fails with.
    pub fn finish(mut self, mut sink: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        self.encoder.write_footer(&mut self.buffer).map_err(|e| internal(&e))?;
        sink(&self.buffer)
    }

    /// Checks the batch's columns and narrows its decimals.
    fn narrow(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let same = Arc::ptr_eq(batch.schema_ref(), &self.source)
            || (batch.num_columns() == self.source.fields().len()
                && batch
                    .schema_ref()
                    .fields()
                    .iter()
                    .zip(self.source.fields())
                    .all(|(a, b)| a.name() == b.name() && a.data_type() == b.data_type()));
        if !same {
            return Err(invalid("a batch does not have the columns that its reader announced"));
        }
        let columns = batch
            .columns()
            .iter()
            .zip(self.narrowed.fields())
            .map(|(column, field)| narrow_column(column, field))
            .collect::<Result<Vec<ArrayRef>>>()?;
        Ok(RecordBatch::try_new(Arc::clone(&self.narrowed), columns)?)
    }
}

/// Money and scores fit 64 bits; dividing those into digit groups is several times as fast as
/// dividing 128 bits, and the bytes on the wire are the same.
fn narrow_field(field: &Field) -> Field {
    match field.data_type() {
        DataType::Decimal128(precision, scale) if *precision <= NARROW_PRECISION => {
            field.clone().with_data_type(DataType::Decimal64(*precision, *scale))
        }
        _ => field.clone(),
    }
}

fn narrow_column(column: &ArrayRef, field: &Field) -> Result<ArrayRef> {
    match (column.data_type(), field.data_type()) {
        (DataType::Decimal128(..), DataType::Decimal64(precision, scale)) => {
            let narrowed = column
                .as_primitive::<Decimal128Type>()
                .try_unary::<_, Decimal64Type, _>(i64::try_from)
                .map_err(|_| {
                    let name = field.name();
                    invalid(format!("column {name} holds a number beyond its {precision} digits"))
                })?;
            Ok(Arc::new(narrowed.with_precision_and_scale(*precision, *scale)?))
        }
        _ => Ok(Arc::clone(column)),
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::with_message_and_status(message, Status::InvalidData)
}

fn internal(e: &pgpq::error::ErrorKind) -> Error {
    Error::with_message_and_status(e.to_string(), Status::Internal)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Decimal128Array, Int32Array};

    use super::*;

    fn decimals(values: Vec<Option<i128>>) -> RecordBatch {
        let array = Decimal128Array::from(values)
            .with_precision_and_scale(12, 2)
            .expect("a valid precision");
        let field = Field::new("amount", DataType::Decimal128(12, 2), true);
        RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![Arc::new(array)])
            .expect("a batch")
    }

    fn bytes(batch: &RecordBatch) -> Vec<u8> {
        let mut out = Vec::new();
        let mut encoder = CopyEncoder::new(&batch.schema()).expect("a type with a COPY form");
        let mut sink = |chunk: &[u8]| {
            out.extend_from_slice(chunk);
            Ok(())
        };
        encoder.encode(batch, &mut sink).expect("encodes");
        encoder.finish(&mut sink).expect("finishes");
        out
    }

    #[test]
    fn narrowed_decimals_give_the_bytes_of_the_wide_ones() {
        let batch = decimals(vec![Some(-1), None, Some(0), Some(999_999_999_999), Some(10_000)]);
        let mut plain = BytesMut::new();
        let mut wide = ArrowToPostgresBinaryEncoder::try_new(&batch.schema()).expect("encoder");
        wide.write_header(&mut plain).expect("header");
        wide.write_batch(&batch, &mut plain).expect("batch");
        wide.write_footer(&mut plain).expect("footer");
        assert_eq!(bytes(&batch), plain.to_vec());
    }

    #[test]
    fn no_batch_at_all_is_a_header_and_a_trailer() {
        let empty = bytes(&decimals(vec![]));
        assert_eq!(empty, b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\xff\xff");
    }

    #[test]
    fn slices_do_not_change_the_bytes() {
        let count = SLICE_ROWS * 2 + 1;
        let rows = i32::try_from(count).expect("few rows");
        let schema = Schema::new(vec![Field::new("n", DataType::Int32, false)]);
        let array = Int32Array::from_iter_values(0..rows);
        let batch = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(array)]).expect("a batch");
        let encoded = bytes(&batch);
        assert_eq!(encoded.len(), 19 + count * 10 + 2);
        assert_eq!(encoded[19 + (count - 1) * 10 + 6..][..4], (rows - 1).to_be_bytes());
    }

    #[test]
    fn a_number_beyond_its_digits_is_an_error_without_the_number() {
        let batch = decimals(vec![Some(i128::MAX)]);
        let mut encoder = CopyEncoder::new(&batch.schema()).expect("encoder");
        let e = encoder.encode(&batch, |_| Ok(())).expect_err("does not fit");
        assert!(e.message.contains("amount"), "{}", e.message);
        assert!(!e.message.contains(&i128::MAX.to_string()[..6]), "{}", e.message);
    }

    #[test]
    fn a_batch_with_other_columns_is_refused() {
        let batch = decimals(vec![Some(1)]);
        let other = Schema::new(vec![Field::new("other", DataType::Decimal128(12, 2), true)]);
        let mut encoder = CopyEncoder::new(&Arc::new(other)).expect("encoder");
        assert!(encoder.encode(&batch, |_| Ok(())).is_err());
    }
}
