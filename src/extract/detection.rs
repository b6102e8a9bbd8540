//! Detects a file's format from its first bytes.

use std::io::Read;

use super::foreign::{self, START_BYTES};
use super::format::{Compression, Format};
use super::source_file::SourceFile;
use crate::error::{Error, ErrorKind, Result};
use crate::schema::Dataset;

/// Detects format and compression from the first bytes; `None` for an empty file where those are
/// allowed.
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
