//! Single records of a file, unchanged: for people who fix what was rejected.

use std::collections::BTreeSet;

use super::delimited;
use super::fingerprint::check_unchanged;
use super::format::Format;
use super::scan::{dialect, next_delimited, open_delimited};
use super::source_file::SourceFile;
use crate::error::{Error, Result};
use crate::schema::Dataset;

/// A record as it is in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Original<'a> {
    /// Its number, from 1; 0 for the header.
    pub(crate) record: u64,
    /// The line, from 1, on which it begins in the unpacked file; 0 for the header.
    pub(crate) line: u64,
    /// Its text in UTF-8, but for bytes that are no text in the file's encoding; without its line's
    /// end.
    pub(crate) bytes: &'a [u8],
}

/// Hands `each` the wanted records of a delimited file in their order, the header first if 0 is
/// wanted. The whole file is read, and must be what was fingerprinted.
///
/// # Errors
/// `Source` when the file cannot be read, is no delimited text, or is not what was fingerprinted;
/// those of `each`.
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
