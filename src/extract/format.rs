//! Format and compression of a file, told by its first bytes.
//!
//! A file of its own because names lie: exports come as `claims.txt`, and gzip as `claims.csv`.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use serde::Serialize;

use super::SourceFile;
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

/// Opens a file's unpacked bytes.
pub(super) fn open(
    dataset: Dataset,
    path: &Path,
    compression: Compression,
) -> Result<Box<dyn Read + Send>> {
    let io = |error: &io::Error| Error::io(ErrorKind::Source, path, error).context(dataset);
    let file = File::open(path).map_err(|error| io(&error))?;
    Ok(match compression {
        Compression::None => Box::new(file),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::new(file))),
        Compression::Zstd => {
            Box::new(zstd::stream::read::Decoder::new(file).map_err(|error| io(&error))?)
        }
    })
}

/// The failure to read an opened file.
pub(super) fn unreadable(dataset: Dataset, file: &SourceFile, error: &io::Error) -> Error {
    match file.compression {
        Compression::None => Error::io(ErrorKind::Source, &file.path, error).context(dataset),
        _ => cannot_be_unpacked(dataset, &file.path),
    }
}

/// The failure to unpack a compressed file.
pub(super) fn cannot_be_unpacked(dataset: Dataset, path: &Path) -> Error {
    Error::source(format!("{dataset}: {} cannot be unpacked", path.display()))
        .hint("the file is damaged or its transfer was cut short; fetch it again")
}

/// Tells the format and the compression of a file.
pub(super) fn detect(dataset: Dataset, path: &Path) -> Result<(Format, Compression)> {
    let mut start = Vec::with_capacity(4);
    File::open(path)
        .and_then(|file| file.take(4).read_to_end(&mut start))
        .map_err(|error| Error::io(ErrorKind::Source, path, &error).context(dataset))?;
    match start.as_slice() {
        [] => Err(Error::source(format!("{dataset}: {} is empty", path.display()))
            .hint("a source needs at least a header")),
        b"PAR1" => Ok((Format::Parquet, Compression::None)),
        [0x1f, 0x8b, ..] => Ok((Format::Csv, Compression::Gzip)),
        [0x28, 0xb5, 0x2f, 0xfd] => Ok((Format::Csv, Compression::Zstd)),
        [b'P', b'K', 3, 4] => {
            Err(Error::source(format!("{dataset}: {} is a ZIP archive", path.display()))
                .hint("unpack it; plain, gzip and zstd files are read as they are"))
        }
        _ => Ok((Format::Csv, Compression::None)),
    }
}
