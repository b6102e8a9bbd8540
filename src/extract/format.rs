//! Format and compression of a file, told by its first bytes, and the bytes of one that is opened.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use super::foreign::{self, START_BYTES};
use super::{SourceFile, fingerprint};
use crate::error::{Error, ErrorKind, Result};
use crate::schema::Dataset;

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Delimited text.
    Csv,
    /// Apache Parquet.
    Parquet,
    /// Rows of a query.
    Database,
}

/// How bytes are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Not at all (Parquet packs inside its own format).
    None,
    /// gzip, one or several members.
    Gzip,
    /// Zstandard, one or several frames.
    Zstd,
}

/// The bytes of a file, hashed while they are read.
#[derive(Clone)]
pub(super) struct Raw(Arc<Mutex<(File, blake3::Hasher)>>);

impl Raw {
    /// An opened file, from its start.
    pub(super) fn new(file: File) -> Self {
        Self(Arc::new(Mutex::new((file, blake3::Hasher::new()))))
    }

    /// The digest of all of the file's bytes, those that were not read yet too.
    pub(super) fn finish(&mut self) -> io::Result<String> {
        io::copy(self, &mut io::sink())?;
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(inner.1.finalize().to_hex().to_string())
    }
}

impl Read for Raw {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, hasher) = &mut *inner;
        let count = file.read(buffer)?;
        hasher.update(&buffer[..count]);
        Ok(count)
    }
}

/// The unpacked bytes of `raw`.
pub(super) fn unpack(raw: Raw, compression: Compression) -> io::Result<Box<dyn Read + Send>> {
    Ok(match compression {
        Compression::None => Box::new(raw),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::new(raw))),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::new(raw)?),
    })
}

/// Checks that what was read of a file is what was fingerprinted.
pub(super) fn check_unchanged(dataset: Dataset, file: &SourceFile, raw: &mut Raw) -> Result<()> {
    let digest = raw.finish().map_err(|error| unreadable(dataset, file, &error))?;
    if digest == file.fingerprint { Ok(()) } else { Err(fingerprint::changed(dataset, file)) }
}

/// The failure to read an opened file.
pub(super) fn unreadable(dataset: Dataset, file: &SourceFile, error: &io::Error) -> Error {
    match file.compression {
        Compression::None => Error::io(ErrorKind::Source, &file.path, error).context(dataset),
        _ => Error::source(format!("{dataset}: {} cannot be unpacked", file.path.display()))
            .hint("the file is damaged or its transfer was cut short; fetch it again"),
    }
}

/// The format and the compression of a file by its first bytes; none for one without a byte, where
/// it may be empty.
pub(super) fn detect(
    dataset: Dataset,
    file: &SourceFile,
    may_be_empty: bool,
) -> Result<Option<(Format, Compression)>> {
    let path = &file.path;
    let mut start = Vec::with_capacity(START_BYTES);
    let limit = u64::try_from(START_BYTES).unwrap_or(u64::MAX);
    file.open()
        .and_then(|file| file.take(limit).read_to_end(&mut start))
        .map_err(|error| Error::io(ErrorKind::Source, path, &error).context(dataset))?;
    Ok(Some(match start.as_slice() {
        [] if may_be_empty => return Ok(None),
        [] => {
            return Err(Error::source(format!("{dataset}: {} is empty", path.display()))
                .hint("a source needs at least a header"));
        }
        [b'P', b'A', b'R', b'1', ..] => (Format::Parquet, Compression::None),
        [0x1f, 0x8b, ..] => (Format::Csv, Compression::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => (Format::Csv, Compression::Zstd),
        start => {
            foreign::refuse(dataset, file, start, false)?;
            (Format::Csv, Compression::None)
        }
    }))
}
