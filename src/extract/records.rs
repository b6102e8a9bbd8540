//! Single records of a file, unchanged, for people who repair rejected rows.

use std::collections::BTreeSet;

use super::delimited;
use super::fingerprint::check_unchanged;
use super::format::Format;
use super::scan::{dialect, next_delimited, open_delimited};
use super::source_file::SourceFile;
use crate::error::{Error, Result};
use crate::schema::Dataset;

/// A record as in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Original<'a> {
    /// Record number, 1-based; 0 for the header.
    pub(crate) record: u64,
    /// First line in the decompressed file, 1-based; 0 for the header.
    pub(crate) line: u64,
    /// The record in UTF-8, except invalid bytes; without the line ending.
    pub(crate) bytes: &'a [u8],
}

/// Passes the wanted records of a delimited file to `each` in order, the header first if 0 is
/// wanted. Reads the whole file and checks its fingerprint.
///
/// # Errors
/// `Source` when the file cannot be read, is not delimited text or has changed; errors of `each`.
pub(crate) fn records(
    dataset: Dataset,
    file: &SourceFile,
    wanted: &BTreeSet<u64>,
    each: &mut dyn FnMut(Original<'_>) -> Result<()>,
) -> Result<()> {
    let how = file.delimited.as_ref().filter(|_| file.format == Format::Csv).ok_or_else(|| {
        Error::source(format!("{dataset}: {} is no delimited text", file.path.display()))
            .hint("its records have no text of their own")
    })?;
    let dialect = dialect(file)?;
    let (mut reader, mut raw) = open_delimited(dataset, file)?;
    if wanted.contains(&0) {
        each(Original { record: 0, line: 0, bytes: &how.record })?;
    }
    let mut number = 0;
    while let Some(block) = next_delimited(dataset, file, &mut reader, number)? {
        let any = wanted.range(number + 1..=number + block.cut.records).next().is_some();
        if !any {
            number += block.cut.records;
            continue;
        }
        let (mut at, mut line) = (0, block.lines_before + 1);
        while let Some((start, judged)) = delimited::next_record(&block.bytes, at, &dialect, true) {
            line += feeds(&block.bytes[at..start]);
            number += 1;
            let bytes = &block.bytes[start..judged.end];
            if wanted.contains(&number) {
                each(Original { record: number, line, bytes: delimited::without_end(bytes) })?;
            }
            line += feeds(bytes);
            at = judged.end;
        }
    }
    check_unchanged(dataset, file, &mut raw)
}

fn feeds(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}
