//! Record grammar: finds record boundaries and detects damage.
//!
//! Works on bytes only, so that it can be fuzzed in isolation.
//!
//! Fields follow RFC 4180 and the `csv` crate: a field that begins with a quote ends at the next
//! single quote, a doubled quote is an escaped quote, and a quote anywhere else is literal. A
//! record ends with a line feed outside quotes; a preceding carriage return is part of the line
//! ending. Blank lines and comments are not records. A multi-line record must be valid, because one
//! stray quote would absorb the records that follow: if it is not, only its first line is treated
//! as a (damaged) record, and parsing resumes at the next line.

use std::ops::Range;

use memchr::{memchr, memchr_iter, memchr2};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dialect {
    /// Field separator.
    pub(crate) separator: u8,
    /// First character of comment lines.
    pub(crate) comment: Option<u8>,
    /// Required number of fields: that of the header.
    pub(crate) fields: usize,
}

/// Why a record cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Damage {
    /// It has fewer fields than the header.
    TooFewFields,
    /// It has more fields than the header.
    TooManyFields,
    /// A quoted field is not closed, or the lines it spans are not one valid record.
    QuoteUnclosed,
    /// Text follows a closing quote.
    QuoteMalformed,
    /// The header occurs again.
    HeaderRepeated,
    /// The record has invalid bytes in the file's encoding.
    EncodingInvalid,
    NulCharacter,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// A separator: the record continues.
    Separator,
    LineFeed,
    /// The end of the bytes.
    Bytes,
}

/// A field and its terminator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    /// Byte range without the enclosing quotes.
    pub(crate) range: Range<usize>,
    /// Whether the field was quoted: if empty, it is an empty string and not null.
    pub(crate) quoted: bool,
    /// Contains doubled quotes: unescape with [`text`].
    pub(crate) doubled: bool,
    /// Text follows the closing quote.
    pub(crate) malformed: bool,
    pub(crate) end: End,
    /// Start of the next field or record.
    pub(crate) next: usize,
}

/// Parses the field that begins at `start`; `None` when its quote is not closed within `bytes`.
pub(crate) fn field(bytes: &[u8], start: usize, separator: u8) -> Option<Field> {
    if bytes.get(start) != Some(&b'"') {
        return Some(plain(bytes, start, separator));
    }
    let inner = start + 1;
    let (close, doubled) = closing(bytes, inner)?;
    // The remainder after the closing quote is nearly always empty.
    let rest = plain(bytes, close + 1, separator);
    let malformed = !bytes[rest.range.clone()].iter().all(|byte| matches!(byte, b' ' | b'\t'));
    Some(Field { range: inner..close, quoted: true, doubled, malformed, ..rest })
}

/// Parses a field up to the next separator or line feed.
fn plain(bytes: &[u8], start: usize, separator: u8) -> Field {
    let end = memchr2(separator, b'\n', &bytes[start..]).map(|offset| start + offset);
    let mark = match end.map(|end| bytes[end]) {
        None => End::Bytes,
        Some(b'\n') => End::LineFeed,
        Some(_) => End::Separator,
    };
    let end = end.unwrap_or(bytes.len());
    let carriage = mark != End::Separator && end > start && bytes[end - 1] == b'\r';
    Field {
        range: start..end - usize::from(carriage),
        quoted: false,
        doubled: false,
        malformed: false,
        end: mark,
        next: end + usize::from(mark != End::Bytes),
    }
}

/// Unescapes doubled quotes.
#[must_use]
pub(crate) fn text(field: &str) -> String {
    field.replace("\"\"", "\"")
}

/// Position of the closing quote of a field whose text begins at `from`, and whether doubled quotes
/// precede it; `None` when there is none.
fn closing(bytes: &[u8], mut from: usize) -> Option<(usize, bool)> {
    let mut doubled = false;
    loop {
        let quote = from + memchr(b'"', bytes.get(from..)?)?;
        if bytes.get(quote + 1) != Some(&b'"') {
            return Some((quote, doubled));
        }
        doubled = true;
        from = quote + 2;
    }
}

/// A record's end offset and damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordEnd {
    /// Offset after the record, including its line feed.
    pub(crate) end: usize,
    /// `None` when the record is valid.
    pub(crate) damage: Option<Damage>,
}

/// Validates the record that begins at `start`; `None` when it is incomplete within `bytes` and
/// more bytes follow.
#[must_use]
pub(crate) fn validate(
    bytes: &[u8],
    start: usize,
    dialect: &Dialect,
    ended: bool,
) -> Option<RecordEnd> {
    let line = match memchr(b'\n', &bytes[start..]) {
        Some(offset) => start + offset + 1,
        None if ended => bytes.len(),
        None => return None,
    };
    let unclosed = RecordEnd { end: line, damage: Some(Damage::QuoteUnclosed) };
    let (mut at, mut fields, mut malformed) = (start, 0, false);
    let end = loop {
        let Some(field) = field(bytes, at, dialect.separator) else {
            return ended.then_some(unclosed);
        };
        fields += 1;
        malformed |= field.malformed;
        at = field.next;
        match field.end {
            End::Separator => {}
            End::LineFeed => break at,
            End::Bytes if ended => break at,
            End::Bytes => return None,
        }
    };
    let damage = if malformed {
        Some(Damage::QuoteMalformed)
    } else if fields < dialect.fields {
        Some(Damage::TooFewFields)
    } else {
        (fields > dialect.fields).then_some(Damage::TooManyFields)
    };
    Some(if end > line && damage.is_some() { unclosed } else { RecordEnd { end, damage } })
}

/// Strips the line ending.
#[must_use]
pub(crate) fn without_end(record: &[u8]) -> &[u8] {
    let record = record.strip_suffix(b"\n").unwrap_or(record);
    record.strip_suffix(b"\r").unwrap_or(record)
}

/// Whether a line (without its line feed) is blank or a comment.
#[must_use]
#[inline]
pub(crate) fn is_skipped(line: &[u8], comment: Option<u8>) -> bool {
    match line {
        [] | [b'\r'] => true,
        [first, ..] => comment == Some(*first),
    }
}

/// Finds and validates the next record at or after `start`, skipping blank lines and comments.
/// `None` at the end, or when more bytes are needed.
#[must_use]
pub(crate) fn next_record(
    bytes: &[u8],
    mut start: usize,
    dialect: &Dialect,
    ended: bool,
) -> Option<(usize, RecordEnd)> {
    while start < bytes.len() {
        let line = memchr(b'\n', &bytes[start..]).map(|offset| start + offset);
        if line.is_none() && !ended {
            return None;
        }
        let end = line.unwrap_or(bytes.len());
        if !is_skipped(&bytes[start..end], dialect.comment) {
            return Some((start, validate(bytes, start, dialect, ended)?));
        }
        start = end + 1;
    }
    None
}

/// Whole records at the start of a buffer, with line counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Offset after the last whole record.
    pub(crate) end: usize,
    /// Number of records, including damaged ones.
    pub(crate) records: u64,
    /// Number of blank lines.
    pub(crate) blank_lines: u64,
    /// Number of comment lines.
    pub(crate) comments: u64,
    /// Number of lines that end with CR LF outside quotes.
    pub(crate) carriage_returns: u64,
}

impl Cut {
    /// Counts a line (without its line feed).
    fn take(&mut self, line: &[u8], next: usize, comment: Option<u8>) {
        self.end = next;
        self.carriage_returns += u64::from(line.last() == Some(&b'\r'));
        if !is_skipped(line, comment) {
            self.records += 1;
        } else if matches!(line, [] | [b'\r']) {
            self.blank_lines += 1;
        } else {
            self.comments += 1;
        }
    }
}

/// Scans whole records until they fill `enough` bytes or the input ends. Inside quotes only line
/// feeds matter.
#[must_use]
pub(crate) fn cut(bytes: &[u8], dialect: &Dialect, enough: usize, ended: bool) -> Cut {
    let mut cut = Cut::default();
    // Scan position within the record that begins at `cut.end`.
    let mut at = 0;
    while cut.end < enough {
        let quote = memchr(b'"', &bytes[at..]).map(|offset| at + offset);
        for offset in memchr_iter(b'\n', &bytes[at..quote.unwrap_or(bytes.len())]) {
            let feed = at + offset;
            cut.take(&bytes[cut.end..feed], feed + 1, dialect.comment);
            if cut.end >= enough {
                return cut;
            }
        }
        let Some(quote) = quote else { break };
        let start = cut.end;
        if is_skipped(&bytes[start..=quote], dialect.comment) {
            // The quote is inside a comment.
            let Some(offset) = memchr(b'\n', &bytes[quote..]) else { break };
            at = quote + offset + 1;
            cut.take(&bytes[start..at - 1], at, dialect.comment);
            continue;
        }
        // A quote opens a quoted field only at the start of a field.
        if quote > start && bytes[quote - 1] != dialect.separator {
            at = quote + 1;
            continue;
        }
        let close = closing(bytes, quote + 1).map(|(close, _)| close);
        if let Some(close) = close
            && memchr(b'\n', &bytes[quote..close]).is_none()
        {
            // Text after the closing quote is part of the field, including quotes.
            let rest = memchr2(dialect.separator, b'\n', &bytes[close + 1..]);
            at = rest.map_or(bytes.len(), |offset| close + 1 + offset);
            continue;
        }
        // Either multi-line or unclosed.
        let Some(validated) = validate(bytes, start, dialect, ended) else { return cut };
        at = validated.end;
        let line = &bytes[start..at];
        cut.take(line.strip_suffix(b"\n").unwrap_or(line), at, None);
    }
    // The last record may have no line feed.
    if ended && cut.end < enough.min(bytes.len()) {
        let line = &bytes[cut.end..];
        cut.take(line, bytes.len(), dialect.comment);
    }
    cut
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
