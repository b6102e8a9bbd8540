//! Parquet sources: open, count, and read in batches as text.
//!
//! Malformed files yield an error, never a crash: allocations are bounded by the file size, and a
//! decoder panic makes the file unreadable. The footer's row count is not trusted: it is compared
//! with the page headers before the load and with the rows read.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Fields, Schema, TimeUnit};
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use parquet::basic::{LogicalType, Type as PhysicalType};
use parquet::column::page::PageReader;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::schema::types::TypePtr;
use polars::prelude::Column;

use super::delimited::Damaged;
use super::parquet_text::{self, Reading, Texts};
use super::source_file::SourceFile;
use crate::error::{Error, Result};
use crate::extract::projection;
use crate::schema::Dataset;

const BATCH_ROWS: usize = 131_072;

/// An open Parquet file.
pub(super) struct Opened {
    bytes: Arc<FileBytes>,
    metadata: ArrowReaderMetadata,
}

/// Iterates over a file's rows in batches.
pub(super) struct Batches {
    opened: Opened,
    /// Indexes of the root columns read, in file order.
    roots: Vec<usize>,
    readings: Arc<[Reading]>,
    /// Current row group.
    group: usize,
    reader: Option<ParquetRecordBatchReader>,
    /// Rows read from the current row group.
    rows: u64,
}

/// Rows from one row group.
pub(super) struct Batch {
    rows: RecordBatch,
    readings: Arc<[Reading]>,
}

/// Receives a row number and its fields.
pub(super) type EachRow<'a> = dyn FnMut(u64, &[Option<&[u8]>]) -> Result<()> + 'a;

/// Positional file access; a false length yields an error, not a huge buffer.
struct FileBytes {
    file: File,
    length: u64,
}

/// The file from an offset on.
struct Rest {
    bytes: Arc<FileBytes>,
    at: u64,
}

thread_local! {
    /// Whether this thread is decoding untrusted bytes.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic of this thread is reported as a file error and is not a bug.
#[must_use]
pub(crate) fn panic_is_expected() -> bool {
    GUARDED.get()
}

/// Opens a Parquet file and reads its footer.
///
/// # Errors `Source` when the file cannot be read or is not Parquet.
pub(super) fn open(dataset: Dataset, file: &SourceFile) -> Result<Opened> {
    let failed = |error: io::Error| file.unreadable(dataset, &error);
    let handle = file.open().map_err(failed)?;
    let length = handle.metadata().map_err(failed)?.len();
    let bytes = Arc::new(FileBytes { file: handle, length });
    guarded(dataset, file, || {
        let found =
            ArrowReaderMetadata::load(&Shared(Arc::clone(&bytes)), ArrowReaderOptions::new())?;
        let roots = found.parquet_schema().root_schema().get_fields();
        let read_as = |(field, root): (&Arc<Field>, &TypePtr)| {
            let data_type = match field.data_type() {
                // Nanoseconds overflow after the year 2262.
                DataType::Timestamp(TimeUnit::Nanosecond, zone) if is_int96(root) => {
                    DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
                }
                other => parquet_text::read_as(other),
            };
            field.as_ref().clone().with_data_type(data_type)
        };
        let fields: Fields = found.schema().fields().iter().zip(roots).map(read_as).collect();
        let schema = Schema::new_with_metadata(fields, found.schema().metadata().clone());
        let options = ArrowReaderOptions::new().with_schema(Arc::new(schema));
        ArrowReaderMetadata::try_new(Arc::clone(found.metadata()), options)
    })
    .map(|metadata| Opened { bytes, metadata })
}

impl Opened {
    pub(super) fn header(&self) -> Vec<String> {
        self.metadata.schema().fields().iter().map(|field| field.name().clone()).collect()
    }

    /// Rejects inexact types, and a footer whose row count differs from the pages.
    ///
    /// # Errors
    /// `Config` for a type, `Source` for the file.
    pub(super) fn check(&self, dataset: Dataset, file: &SourceFile) -> Result<()> {
        let used = used(file);
        for &root in &used {
            self.reading(file, root).ok_or_else(|| self.inexact(dataset, file, root))?;
        }
        let (counted, held) = guarded(dataset, file, || self.count(&used))?;
        if counted == held { Ok(()) } else { Err(miscounted(dataset, file, counted, held)) }
    }

    /// Row counts by the footer and by the page headers of the used columns; on disagreement, those
    /// of the first column that differs.
    fn count(&self, used: &[usize]) -> Result<(u64, u64), ParquetError> {
        let metadata = self.metadata.metadata();
        let schema = self.metadata.parquet_schema();
        let mut held = 0;
        for group in metadata.row_groups() {
            let counted = u64::try_from(group.num_rows())?;
            for leaf in 0..group.num_columns() {
                if !used.contains(&schema.get_column_root_idx(leaf)) {
                    continue;
                }
                let mut rows = 0;
                let bytes = Arc::new(Shared(Arc::clone(&self.bytes)));
                let column = group.column(leaf);
                let mut pages = SerializedPageReader::new(bytes, column, 0, None)?;
                while let Some(page) = pages.peek_next_page()? {
                    if !page.is_dict {
                        rows += page.num_levels.or(page.num_rows).unwrap_or(0) as u64;
                    }
                    pages.skip_next_page()?;
                }
                if rows != counted {
                    return Ok((counted, rows));
                }
            }
            held += counted;
        }
        Ok((u64::try_from(metadata.file_metadata().num_rows())?, held))
    }

    pub(super) fn is_number_or_text(&self, name: &str) -> bool {
        let field = self.metadata.schema().field_with_name(name);
        field.is_ok_and(|field| {
            field.data_type().is_numeric() || *field.data_type() == DataType::Utf8View
        })
    }

    fn reading(&self, file: &SourceFile, root: usize) -> Option<Reading> {
        let field = self.metadata.schema().fields().get(root)?;
        let physical = self.metadata.parquet_schema().root_schema().get_fields().get(root)?;
        let is_uuid = physical.get_basic_info().logical_type_ref() == Some(&LogicalType::Uuid);
        let amount = file.columns.get("amount");
        let is_amount = amount.is_some_and(|take| take.names().any(|name| name == field.name()));
        Reading::of(field.data_type(), is_uuid, is_amount)
    }

    /// Error for an unsupported column type.
    fn inexact(&self, dataset: Dataset, file: &SourceFile, root: usize) -> Error {
        let field = self.metadata.schema().field(root);
        let name = field.name();
        let mut takes = file.columns.iter();
        let column = takes.find(|(_, take)| take.names().any(|used| used == name));
        let column = column.map_or("where", |(column, _)| *column);
        let found = match field.data_type() {
            DataType::Timestamp(_, Some(zone)) => format!("timestamp of the unknown zone {zone}"),
            other => {
                // Do not show the names of nested fields.
                let text = other.to_string();
                text.split('(').next().unwrap_or_default().to_lowercase()
            }
        };
        Error::config(format!(
            "{dataset}: {}: column \"{name}\" ({column}) has the type {found}, which cannot be read exactly",
            file.path.display()
        ))
        .hint("store the column as text")
    }

    /// All rows, with the used columns only.
    ///
    /// # Errors `Internal` when [`Self::check`] was not called.
    pub(super) fn batches(self, file: &SourceFile) -> Result<Batches> {
        let roots = used(file);
        let readings: Option<Vec<Reading>> =
            roots.iter().map(|&root| self.reading(file, root)).collect();
        let readings = readings.ok_or_else(|| Error::internal("a column without a reading"))?;
        let readings = readings.into();
        Ok(Batches { opened: self, roots, readings, group: 0, reader: None, rows: 0 })
    }

    /// Calls `each` with all columns of the wanted rows (1-based), for display.
    ///
    /// # Errors
    /// `Source` when the file cannot be read; those of `each`.
    pub(super) fn rows(
        &self,
        dataset: Dataset,
        file: &SourceFile,
        wanted: &BTreeSet<u64>,
        each: &mut EachRow<'_>,
    ) -> Result<()> {
        let mut before = 0;
        for (number, group) in self.metadata.metadata().row_groups().iter().enumerate() {
            let rows = u64::try_from(group.num_rows()).unwrap_or(0);
            let any = wanted.range(before + 1..=before + rows).next().is_some();
            let mut at = before;
            let mut reader = None;
            if any {
                reader = Some(guarded(dataset, file, || self.reader(number, None))?);
            }
            while let Some(batch) = next(dataset, file, &mut reader)? {
                let columns = guarded(dataset, file, || {
                    batch.columns().iter().map(|column| Ok(Texts::shown(column)?)).collect()
                });
                let columns: Vec<Texts> = columns?;
                let last = at + batch.num_rows() as u64;
                for &record in wanted.range(at + 1..=last) {
                    let row = usize::try_from(record - at - 1).unwrap_or(usize::MAX);
                    let fields: Vec<_> = columns.iter().map(|texts| texts.get(row)).collect();
                    each(record, &fields)?;
                }
                at = last;
            }
            before += rows;
        }
        Ok(())
    }

    /// Reader of one row group, with the given root columns or all.
    fn reader(
        &self,
        group: usize,
        roots: Option<&[usize]>,
    ) -> Result<ParquetRecordBatchReader, ParquetError> {
        let bytes = Shared(Arc::clone(&self.bytes));
        let mut builder =
            ParquetRecordBatchReaderBuilder::new_with_metadata(bytes, self.metadata.clone());
        if let Some(roots) = roots {
            let mask = ProjectionMask::roots(builder.parquet_schema(), roots.iter().copied());
            builder = builder.with_projection(mask);
        }
        builder.with_row_groups(vec![group]).with_batch_size(BATCH_ROWS).build()
    }
}

impl Batches {
    /// The next batch; `None` at the end.
    ///
    /// # Errors `Source` when the file cannot be read, or has a different row count than its
    /// footer.
    pub(super) fn next(&mut self, dataset: Dataset, file: &SourceFile) -> Result<Option<Batch>> {
        let metadata = Arc::clone(self.opened.metadata.metadata());
        while let Some(group) = metadata.row_groups().get(self.group) {
            if self.reader.is_none() {
                let reader =
                    guarded(dataset, file, || self.opened.reader(self.group, Some(&self.roots)))?;
                self.reader = Some(reader);
            }
            if let Some(rows) = next(dataset, file, &mut self.reader)? {
                self.rows += rows.num_rows() as u64;
                return Ok(Some(Batch { rows, readings: Arc::clone(&self.readings) }));
            }
            let counted = u64::try_from(group.num_rows()).unwrap_or(u64::MAX);
            if self.rows != counted {
                return Err(miscounted(dataset, file, counted, self.rows));
            }
            self.reader = None;
            self.rows = 0;
            self.group += 1;
        }
        Ok(None)
    }
}

impl Batch {
    pub(super) fn rows(&self) -> u64 {
        self.rows.num_rows() as u64
    }

    /// The raw columns and the unreadable rows.
    ///
    /// # Errors `Source` when the values cannot be converted to text.
    pub(super) fn table(
        &self,
        dataset: Dataset,
        file: &SourceFile,
    ) -> Result<(Vec<Column>, Vec<Damaged>)> {
        guarded(dataset, file, || {
            let columns = self.rows.columns().iter().zip(self.readings.iter());
            let texts = columns.map(|(column, reading)| Ok(reading.texts(column)?));
            let texts = texts.collect::<Result<Vec<Texts>, ParquetError>>()?;
            Ok(parquet_text::table(&texts, self.rows.num_rows()))
        })
    }
}

fn next(
    dataset: Dataset,
    file: &SourceFile,
    reader: &mut Option<ParquetRecordBatchReader>,
) -> Result<Option<RecordBatch>> {
    guarded(dataset, file, || Ok(reader.as_mut().and_then(Iterator::next).transpose()?))
}

/// Indexes of the root columns used, in file order.
fn used(file: &SourceFile) -> Vec<usize> {
    let names = projection::fields(file);
    let all = file.header.iter().enumerate();
    all.filter(|(_, name)| names.contains(&name.as_str())).map(|(root, _)| root).collect()
}

fn is_int96(root: &TypePtr) -> bool {
    root.is_primitive() && root.get_physical_type() == PhysicalType::INT96
}

/// Decodes untrusted bytes; turns panics into errors.
fn guarded<T>(
    dataset: Dataset,
    file: &SourceFile,
    decode: impl FnOnce() -> Result<T, ParquetError>,
) -> Result<T> {
    let before = GUARDED.replace(true);
    let decoded = catch_unwind(AssertUnwindSafe(decode));
    GUARDED.set(before);
    match decoded {
        Ok(Ok(value)) => Ok(value),
        // Decoder errors can quote cells.
        Ok(Err(_)) | Err(_) => Err(unreadable(dataset, file)),
    }
}

fn unreadable(dataset: Dataset, file: &SourceFile) -> Error {
    Error::source(format!("{dataset}: {} cannot be read as Parquet", file.path.display()))
        .hint("the file is damaged or its transfer was cut short; fetch it again")
}

fn miscounted(dataset: Dataset, file: &SourceFile, counted: u64, held: u64) -> Error {
    Error::source(format!(
        "{dataset}: {}: its footer counts {counted} rows, but its pages hold {held}; nothing was loaded",
        file.path.display()
    ))
    .hint("the file is damaged, or its writer is; fetch it again, or write it with another program")
}

/// Shared handle for the decoder.
struct Shared(Arc<FileBytes>);

impl Length for Shared {
    fn len(&self) -> u64 {
        self.0.length
    }
}

impl ChunkReader for Shared {
    type T = BufReader<Rest>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(BufReader::new(Rest { bytes: Arc::clone(&self.0), at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let fits = start.checked_add(length as u64).is_some_and(|end| end <= self.0.length);
        if !fits {
            return Err(ParquetError::EOF("beyond the end of the file".into()));
        }
        let mut bytes = vec![0; length];
        self.0.file.read_exact_at(&mut bytes, start)?;
        Ok(bytes.into())
    }
}

impl Read for Rest {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.bytes.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}
