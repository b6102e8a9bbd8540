//! Format and compression of a file, and its bytes as they are unpacked and hashed.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Format {
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
pub(crate) enum Compression {
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
