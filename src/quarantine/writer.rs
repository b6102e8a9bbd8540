//! Writes the rejects of one run.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::{NamedSource, Rejected, path, schema};
use crate::error::{Error, ErrorKind, Result};
use crate::event::RunId;
use crate::failpoint;
use crate::schema::{Dataset, ORIGIN_RECORD_BITS, origin_file, origin_record};

/// Writes the rejects of one run. The file gets its final name only when complete.
pub(crate) struct Quarantine {
    /// `None` discards rejects.
    path: Option<PathBuf>,
    sources: Vec<NamedSource>,
    writer: Option<ArrowWriter<File>>,
    rows: u64,
}

impl Quarantine {
    /// Prepares the file of `run`; nothing is written before the first reject. `sources`: the
    /// claims files in the order of the plan's origins, then the provider files.
    ///
    /// # Errors
    /// `Config` when the folder cannot be created.
    pub(crate) fn new(folder: &Path, run: RunId, sources: Vec<NamedSource>) -> Result<Self> {
        let failed = |error: std::io::Error| Error::io(ErrorKind::Config, folder, &error);
        fs::create_dir_all(folder).map_err(failed)?;
        Ok(Self { path: Some(path(folder, run)), sources, writer: None, rows: 0 })
    }

    /// A quarantine that discards rejects, for a dry run.
    #[must_use]
    pub(crate) fn nowhere() -> Self {
        Self { path: None, sources: Vec::new(), writer: None, rows: 0 }
    }

    /// Whether rejects are stored.
    #[must_use]
    pub(crate) fn keeps(&self) -> bool {
        self.path.is_some()
    }

    /// Adds rejected claims.
    ///
    /// # Errors
    /// `Config` when the file cannot be written.
    pub(crate) fn append(&mut self, rejects: &[Rejected]) -> Result<()> {
        self.rows += rejects.len() as u64;
        let Some(path) = self.path.as_deref().filter(|_| !rejects.is_empty()) else {
            return Ok(());
        };
        let unnamed = NamedSource {
            dataset: Dataset::Claims,
            path: String::new(),
            fingerprint: String::new(),
        };
        let source = |reject: &Rejected| {
            let file = usize::try_from(origin_file(reject.origin)).unwrap_or(usize::MAX);
            self.sources.get(file).unwrap_or(&unnamed)
        };
        let text = |of: &dyn Fn(&Rejected) -> &str| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(rejects.iter().map(of)))
        };
        let sourced = |of: fn(&NamedSource) -> &str| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(rejects.iter().map(|r| of(source(r)))))
        };
        let leaked = failpoint::value("leak.quarantine");
        let described = rejects.iter().map(|r| leaked.as_deref().unwrap_or(r.rule.description()));
        let described = Arc::new(StringArray::from_iter_values(described));
        let line = |reject: &Rejected| reject.line.and_then(|line| i64::try_from(line).ok());
        let prints = rejects.iter().map(|r| r.fingerprint.as_ref().map(hex));
        let batch = RecordBatch::try_new(
            schema(),
            vec![
                sourced(|source| &source.path),
                sourced(|source| source.dataset.name()),
                Arc::new(Int64Array::from_iter_values(
                    rejects.iter().map(|r| origin_record(r.origin)),
                )),
                Arc::new(rejects.iter().map(line).collect::<Int64Array>()),
                text(&|r| r.rule.column()),
                text(&|r| r.rule.id()),
                text(&|r| r.rule.name()),
                described,
                Arc::new(prints.collect::<StringArray>()),
                sourced(|source| &source.fingerprint),
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

    /// Adds rejected providers; their origins number the files of their own input.
    ///
    /// # Errors
    /// `Config` when the file cannot be written.
    pub(crate) fn append_providers(&mut self, rejects: &[Rejected]) -> Result<()> {
        let claims = self.sources.iter().filter(|source| source.dataset == Dataset::Claims).count();
        let before = i64::try_from(claims).unwrap_or(0) << ORIGIN_RECORD_BITS;
        let shifted: Vec<Rejected> = rejects
            .iter()
            .map(|reject| Rejected { origin: reject.origin + before, ..*reject })
            .collect();
        self.append(&shifted)
    }

    /// Completes the file and returns its path; `None` when nothing was rejected.
    ///
    /// # Errors
    /// `Config` when the file cannot be written.
    pub(crate) fn finish(&mut self) -> Result<Option<PathBuf>> {
        let (Some(writer), Some(path)) = (self.writer.take(), &self.path) else { return Ok(None) };
        let file = writer.into_inner().map_err(unwritable(path))?;
        let failed = |error: std::io::Error| Error::io(ErrorKind::Config, path, &error);
        file.sync_all().map_err(failed)?;
        fs::rename(partial(path), path).map_err(failed)?;
        Ok(Some(path.clone()))
    }
}

/// Suffix of an incomplete file.
const PARTIAL: &str = "parquet.partial";

fn partial(path: &Path) -> PathBuf {
    path.with_extension(PARTIAL)
}

/// Runs with an incomplete file: active or dead, possibly of other warehouses.
///
/// # Errors
/// `Config` when the folder cannot be read.
pub(crate) fn unfinished(folder: &Path) -> Result<Vec<RunId>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io(ErrorKind::Config, folder, &error)),
    };
    let run = |name: &str| RunId::parse(name.strip_suffix(PARTIAL)?.strip_suffix('.')?).ok();
    Ok(entries.flatten().filter_map(|entry| run(entry.file_name().to_str()?)).collect())
}

/// Deletes the incomplete file of a dead run.
///
/// # Errors
/// `Config` when that fails.
pub(crate) fn remove_unfinished(folder: &Path, run: RunId) -> Result<()> {
    remove_if_there(&partial(&path(folder, run)))
}

fn remove_if_there(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io(ErrorKind::Config, file, &error))
        }
        _ => Ok(()),
    }
}

fn open(path: &Path) -> Result<ArrowWriter<File>> {
    let partial = partial(path);
    let failed = |error: std::io::Error| Error::io(ErrorKind::Config, &partial, &error);
    remove_if_there(&partial)?;
    // Creates a new file, so that an existing file under this name is not written to.
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(&partial).map_err(failed)?;
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

fn hex(token: &[u8; 16]) -> String {
    uuid::Uuid::from_bytes(*token).simple().to_string()
}
