//! File format, compression, and reading with hashing.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

/// Format of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Format {
    /// Delimited text.
    Csv,
    /// Apache Parquet.
    Parquet,
    /// Query result.
    Database,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Compression {
    /// Uncompressed, or Parquet with its internal compression.
    None,
    /// gzip, one or more members.
    Gzip,
    /// Zstandard, one or more frames.
    Zstd,
}

/// File bytes, hashed as they are read.
#[derive(Clone)]
pub(super) struct Raw(Arc<Mutex<(File, blake3::Hasher)>>);

impl Raw {
    pub(super) fn new(file: File) -> Self {
        Self(Arc::new(Mutex::new((file, blake3::Hasher::new()))))
    }

    /// Digest of the whole file, including bytes not yet read.
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

/// Decompresses `raw`.
pub(super) fn unpack(raw: Raw, compression: Compression) -> io::Result<Box<dyn Read + Send>> {
    Ok(match compression {
        Compression::None => Box::new(raw),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::new(raw))),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::new(raw)?),
    })
}
