//! The start of a delimited file, searched for the header.

use std::io::{self, Read};

use super::foreign;
use super::format::{Compression, Raw, unpack};
use super::source_file::SourceFile;
use super::text::TextFormat;
use crate::config::Source;
use crate::error::Result;
use crate::schema::Dataset;

pub(super) struct TextStart {
    pub(super) format: TextFormat,
    pub(super) text: Vec<u8>,
    /// Whether this is the whole file.
    pub(super) ended: bool,
}

/// Maximum end offset of a header, in bytes.
pub(super) const HEADER_BYTES: usize = 1 << 20;

pub(super) fn text_start(
    dataset: Dataset,
    source: &Source,
    file: &SourceFile,
) -> Result<TextStart> {
    let unreadable = |error: io::Error| file.unreadable(dataset, &error);
    let raw = Raw::new(file.open().map_err(unreadable)?);
    let unpacked = unpack(raw, file.compression).map_err(unreadable)?;
    let mut start = Vec::new();
    let limit = u64::try_from(HEADER_BYTES).unwrap_or(u64::MAX);
    unpacked.take(limit).read_to_end(&mut start).map_err(unreadable)?;
    let ended = start.len() < HEADER_BYTES;
    if file.compression != Compression::None {
        foreign::refuse(dataset, file, &start, true)?;
    }
    let format = TextFormat::detect(dataset, source, &start)?;
    let mut text = Vec::new();
    format.decode(Box::new(io::Cursor::new(start))).read_to_end(&mut text).map_err(unreadable)?;
    Ok(TextStart { format, text, ended })
}
