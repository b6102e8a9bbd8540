//! The rejects of a run: a Parquet file that says where each one is and why, never what it held.
//!
//! A file of its own because it is the only place where rejects are written and read; source file
//! and record number lead those who may see it back to the original.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use serde::Serialize;

use crate::error::{Error, ErrorKind, Result};
use crate::event::RunId;
use crate::rule::RejectReason;

/// One reject.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Reject {
    /// The source file.
    pub source: String,
    /// The record's number in it, from 1, header not counted.
    pub record: u64,
    /// The contract column that broke a rule.
    pub column: String,
    /// The reason code.
    pub reason: String,
    /// Keyed fingerprint of the record's fields, in hex: the same bad record is recognised when it
    /// comes again. Null where only the key conflicts with another row's.
    pub fingerprint: Option<String>,
}

/// Where a run's rejects are.
#[must_use]
pub fn path(folder: &Path, run: RunId) -> PathBuf {
    folder.join(format!("{run}.parquet"))
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("source", DataType::Utf8, false),
        Field::new("record", DataType::Int64, false),
        Field::new("column", DataType::Utf8, false),
        Field::new("reason", DataType::Utf8, false),
        Field::new("fingerprint", DataType::Utf8, true),
    ]))
}

/// Writes the rejects of one run. The file appears under its name only when it is complete.
pub struct Quarantine {
    /// None: nothing is kept.
    path: Option<PathBuf>,
    sources: Vec<String>,
    writer: Option<ArrowWriter<File>>,
    rows: u64,
}

impl Quarantine {
    /// Prepares the file of `run`; nothing is written before the first reject. `sources` are the
    /// claim files in the order of the plan's origins. Unfinished files of dead runs are removed.
    ///
    /// # Errors
    /// `Config` when the folder cannot be made.
    pub fn new(folder: &Path, run: RunId, sources: Vec<String>) -> Result<Self> {
        let failed = |error: std::io::Error| Error::io(ErrorKind::Config, folder, &error);
        fs::create_dir_all(folder).map_err(failed)?;
        for entry in fs::read_dir(folder).map_err(failed)?.flatten() {
            let leftover = entry.path();
            if leftover.extension().is_some_and(|extension| extension == "partial") {
                fs::remove_file(&leftover).map_err(failed)?;
            }
        }
        Ok(Self { path: Some(path(folder, run)), sources, writer: None, rows: 0 })
    }

    /// A quarantine that counts and keeps nothing, for a dry run.
    #[must_use]
    pub fn nowhere() -> Self {
        Self { path: None, sources: Vec::new(), writer: None, rows: 0 }
    }

    /// Adds rejects: origins as the plan packs them, reasons, fingerprints.
    ///
    /// # Errors
    /// `Config` when the file cannot be written.
    pub fn append(&mut self, rejects: &[(i64, RejectReason, Option<[u8; 16]>)]) -> Result<()> {
        self.rows += rejects.len() as u64;
        let Some(path) = self.path.as_deref().filter(|_| !rejects.is_empty()) else {
            return Ok(());
        };
        let source = |origin: i64| {
            let file = usize::try_from(crate::schema::origin_file(origin)).unwrap_or(usize::MAX);
            self.sources.get(file).map_or("", String::as_str)
        };
        let batch = RecordBatch::try_new(
            schema(),
            vec![
                Arc::new(StringArray::from_iter_values(rejects.iter().map(|r| source(r.0)))),
                Arc::new(Int64Array::from_iter_values(
                    rejects.iter().map(|r| crate::schema::origin_record(r.0)),
                )),
                Arc::new(StringArray::from_iter_values(rejects.iter().map(|r| r.1.column()))),
                Arc::new(StringArray::from_iter_values(rejects.iter().map(|r| r.1.name()))),
                Arc::new(rejects.iter().map(|r| r.2.as_ref().map(hex)).collect::<StringArray>()),
            ],
        )
        .map_err(|_| Error::internal("the quarantine's columns do not fit its schema"))?;
        let failed = unwritable(path);
        let writer = match &mut self.writer {
            Some(writer) => writer,
            unopened => unopened.insert(open(path)?),
        };
        writer.write(&batch).map_err(failed)
    }

    /// Completes the file and returns its path; none when nothing was rejected.
    ///
    /// # Errors
    /// `Config` when the file cannot be written.
    pub fn finish(&mut self) -> Result<Option<PathBuf>> {
        let (Some(writer), Some(path)) = (self.writer.take(), &self.path) else { return Ok(None) };
        let file = writer.into_inner().map_err(unwritable(path))?;
        let failed = |error: std::io::Error| Error::io(ErrorKind::Config, path, &error);
        file.sync_all().map_err(failed)?;
        fs::rename(partial(path), path).map_err(failed)?;
        Ok(Some(path.clone()))
    }

    /// Rejects written so far.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }
}

fn partial(path: &Path) -> PathBuf {
    path.with_extension("parquet.partial")
}

fn open(path: &Path) -> Result<ArrowWriter<File>> {
    let partial = partial(path);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&partial)
        .map_err(|error| Error::io(ErrorKind::Config, &partial, &error))?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(100_000))
        .build();
    ArrowWriter::try_new(file, schema(), Some(properties)).map_err(unwritable(path))
}

fn unwritable(path: &Path) -> impl Fn(parquet::errors::ParquetError) -> Error + use<> {
    let message = format!("quarantine {}: cannot be written", path.display());
    move |_| Error::config(message.clone()).hint("is the disk full, or the folder read-only?")
}

/// The rejects of a run, by source and record.
///
/// # Errors
/// `Config` when the run has no quarantine or its file cannot be read.
pub fn read(folder: &Path, run: RunId) -> Result<Vec<Reject>> {
    let path = path(folder, run);
    let file = File::open(&path).map_err(|error| {
        Error::io(ErrorKind::Config, &path, &error)
            .context("quarantine")
            .hint("a run without rejects has no file; `claims-etl runs` shows how many each had")
    })?;
    let broken = || Error::config(format!("quarantine {}: not readable", path.display()));
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .and_then(ParquetRecordBatchReaderBuilder::build)
        .map_err(|_| broken())?;
    let mut rejects = Vec::new();
    for batch in reader {
        let batch = batch.map_err(|_| broken())?;
        let text = |column: usize| batch.column(column).as_string::<i32>();
        let records = batch.column(1).as_primitive::<Int64Type>();
        let fingerprints = text(4);
        rejects.extend((0..batch.num_rows()).map(|row| Reject {
            source: text(0).value(row).to_owned(),
            record: u64::try_from(records.value(row)).unwrap_or(0),
            column: text(2).value(row).to_owned(),
            reason: text(3).value(row).to_owned(),
            fingerprint: fingerprints.is_valid(row).then(|| fingerprints.value(row).to_owned()),
        }));
    }
    rejects.sort();
    Ok(rejects)
}

fn hex(token: &[u8; 16]) -> String {
    uuid::Uuid::from_bytes(*token).simple().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::ORIGIN_RECORD_BITS;

    #[test]
    fn rejects_read_back_in_the_order_of_the_sources() {
        let folder = tempfile::tempdir().expect("a folder");
        let run = RunId::now();
        let sources = vec!["a.csv".to_owned(), "b.csv".to_owned()];
        let mut quarantine = Quarantine::new(folder.path(), run, sources).expect("a quarantine");
        let second = 1 << ORIGIN_RECORD_BITS;
        quarantine
            .append(&[(second | 7, RejectReason::DateMissing, Some([0xab; 16]))])
            .and_then(|()| quarantine.append(&[(3, RejectReason::DuplicateConflict, None)]))
            .expect("appended");
        let path = quarantine.finish().expect("finished").expect("a file");
        assert!(path.exists());
        let rejects = read(folder.path(), run).expect("reads");
        let seen: Vec<_> =
            rejects.iter().map(|r| (r.source.as_str(), r.record, r.reason.as_str())).collect();
        assert_eq!(seen, [("a.csv", 3, "duplicate_conflict"), ("b.csv", 7, "date_missing")]);
        assert_eq!(rejects[1].fingerprint.as_deref(), Some("ab".repeat(16).as_str()));
    }

    #[test]
    fn without_rejects_there_is_no_file_and_leftovers_go() {
        let folder = tempfile::tempdir().expect("a folder");
        let leftover = folder.path().join("dead.parquet.partial");
        fs::write(&leftover, "x").expect("a leftover");
        let mut quarantine =
            Quarantine::new(folder.path(), RunId::now(), Vec::new()).expect("a quarantine");
        assert_eq!(quarantine.finish().expect("finished"), None);
        assert!(!leftover.exists());
    }
}
