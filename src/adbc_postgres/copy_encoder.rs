//! Encodes record batches as COPY BINARY, in chunks.
//!
//! The cells encode themselves; this adds rows, header and trailer, a bounded buffer, and a check
//! that each batch has the announced columns.

use std::sync::Arc;

use adbc_core::error::{Error, Result, Status};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::cells::{self, Cells};
use super::types::ddl_type;

/// Chunk size in bytes: large enough to amortise system calls, small enough for the cache.
const CHUNK_BYTES: usize = 256 << 10;
/// Signature, no flags, no extension.
const HEADER: &[u8; 19] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// Replaces a row's column count.
const TRAILER: i16 = -1;

/// Encodes the batches of one COPY. Allocates nothing per value; reuses one buffer.
pub struct CopyEncoder {
    schema: SchemaRef,
    columns: i16,
    buffer: Vec<u8>,
}

impl CopyEncoder {
    /// An encoder for batches of `schema`.
    ///
    /// # Errors
    /// `NotImplemented` when a column type has no COPY format, `InvalidArguments` for more columns
    /// than a table can have.
    pub fn new(schema: &SchemaRef) -> Result<Self> {
        for field in schema.fields() {
            ddl_type(field)?;
        }
        let columns = i16::try_from(schema.fields().len()).map_err(|_| {
            Error::with_message_and_status("too many columns", Status::InvalidArguments)
        })?;
        let mut buffer = Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 8);
        buffer.extend_from_slice(HEADER);
        Ok(Self { schema: Arc::clone(schema), columns, buffer })
    }

    /// Encodes a batch; passes each full chunk to `sink`.
    ///
    /// # Errors
    /// `InvalidData` when the batch does not have the announced columns or has a value that cannot
    /// be encoded; errors of `sink`.
    pub fn encode(
        &mut self,
        batch: &RecordBatch,
        mut sink: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        self.check_columns(batch)?;
        let columns: Vec<Cells<'_>> = cells::columns(batch)?;
        for row in 0..batch.num_rows() {
            self.buffer.extend_from_slice(&self.columns.to_be_bytes());
            for column in &columns {
                column.write(row, &mut self.buffer)?;
            }
            if self.buffer.len() >= CHUNK_BYTES {
                sink(&self.buffer)?;
                self.buffer.clear();
            }
        }
        Ok(())
    }

    /// Writes the trailer and flushes the buffer.
    ///
    /// # Errors
    /// Errors of `sink`.
    pub fn finish(mut self, mut sink: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        self.buffer.extend_from_slice(&TRAILER.to_be_bytes());
        sink(&self.buffer)
    }

    /// The columns are announced once; a different batch would fill the wrong ones.
    fn check_columns(&self, batch: &RecordBatch) -> Result<()> {
        let same = Arc::ptr_eq(batch.schema_ref(), &self.schema)
            || (batch.num_columns() == self.schema.fields().len()
                && batch
                    .schema_ref()
                    .fields()
                    .iter()
                    .zip(self.schema.fields())
                    .all(|(a, b)| a.name() == b.name() && a.data_type() == b.data_type()));
        if same {
            return Ok(());
        }
        Err(Error::with_message_and_status(
            "a batch does not have the columns that its reader announced",
            Status::InvalidData,
        ))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int32Array;
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    fn numbers(rows: i32) -> RecordBatch {
        let schema = Schema::new(vec![Field::new("n", DataType::Int32, false)]);
        let array = Int32Array::from_iter_values(0..rows);
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(array)]).expect("a batch")
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
    fn no_batch_at_all_is_a_header_and_a_trailer() {
        let empty = bytes(&numbers(0));
        assert_eq!(empty, b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\xff\xff");
    }

    #[test]
    fn every_row_has_its_count_and_length() {
        let count = 10_001;
        let rows = i32::try_from(count).expect("few rows");
        let encoded = bytes(&numbers(rows));
        assert_eq!(encoded.len(), 19 + count * 10 + 2);
        assert_eq!(encoded[19 + (count - 1) * 10 + 6..][..4], (rows - 1).to_be_bytes());
    }

    #[test]
    fn a_large_batch_leaves_in_chunks() {
        let rows = i32::try_from(CHUNK_BYTES / 10 * 3).expect("few rows");
        let batch = numbers(rows);
        let mut encoder = CopyEncoder::new(&batch.schema()).expect("a type with a COPY form");
        let mut chunks = Vec::new();
        let sink = |chunk: &[u8]| {
            chunks.push(chunk.len());
            Ok(())
        };
        encoder.encode(&batch, sink).expect("encodes");
        let largest = CHUNK_BYTES + 10;
        assert_eq!(chunks.len(), 2);
        assert!(chunks.iter().all(|len| (CHUNK_BYTES..largest).contains(len)), "{chunks:?}");
    }

    #[test]
    fn a_batch_with_other_columns_is_refused() {
        let other = Schema::new(vec![Field::new("other", DataType::Int32, false)]);
        let mut encoder = CopyEncoder::new(&Arc::new(other)).expect("encoder");
        assert!(encoder.encode(&numbers(1), |_| Ok(())).is_err());
    }
}
