//! Records: where each one begins and ends, and whether it can be read.
//!
//! It knows bytes only, so that it can be fuzzed alone.
//!
//! Fields are those of RFC 4180 and of the `csv` crate: one that begins with a quote ends at the
//! next single one, two quotes inside stand for one, and a quote anywhere else is a character. A
//! record ends with a line feed outside quotes; a carriage return before it belongs to the line's
//! end. Blank lines are no records, nor are comments. A record that spans several lines must be
//! flawless, because one stray quote makes the following records part of a field: if it is not, its
//! first line alone is the record, a damaged one, and reading goes on with the next line.

use std::ops::Range;

use memchr::{memchr, memchr_iter, memchr2};

/// How a file's text is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dialect {
    /// What separates fields.
    pub(crate) separator: u8,
    /// Lines that begin with it are comments.
    pub(crate) comment: Option<u8>,
    /// Fields that every record must have: those of the header.
    pub(crate) fields: usize,
}

/// Why a record cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Damage {
    /// It has fewer fields than the header.
    TooFewFields,
    /// It has more fields than the header.
    TooManyFields,
    /// A quoted field does not end in a way that the lines it spans are one record.
    QuoteUnclosed,
    /// Text follows a closing quote.
    QuoteMalformed,
    /// It is the header again.
    HeaderRepeated,
    /// It has bytes that are no text in the file's encoding.
    EncodingInvalid,
    NulCharacter,
}

/// What ends a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// A separator: the record goes on.
    Separator,
    LineFeed,
    /// The end of the bytes.
    Bytes,
}

/// A field and what follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    /// Its bytes, without the quotes around it.
    pub(crate) place: Range<usize>,
    /// Whether it began with a quote: empty text then, not null.
    pub(crate) quoted: bool,
    /// Two quotes in it stand for one: see [`text`].
    pub(crate) doubled: bool,
    /// Text follows its closing quote.
    pub(crate) malformed: bool,
    pub(crate) end: End,
    /// Where the next field or record begins.
    pub(crate) next: usize,
}

/// The field that begins at `start`; none when its quote is not closed within `bytes`.
pub(crate) fn field(bytes: &[u8], start: usize, separator: u8) -> Option<Field> {
    if bytes.get(start) != Some(&b'"') {
        return Some(plain(bytes, start, separator));
    }
    let inner = start + 1;
    let (close, doubled) = closing(bytes, inner)?;
    // Nearly always there is nothing between the closing quote and the separator.
    let rest = plain(bytes, close + 1, separator);
    let malformed = !bytes[rest.place.clone()].iter().all(|byte| matches!(byte, b' ' | b'\t'));
    Some(Field { place: inner..close, quoted: true, doubled, malformed, ..rest })
}

/// A field that goes on to the next separator or line feed.
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
        place: start..end - usize::from(carriage),
        quoted: false,
        doubled: false,
        malformed: false,
        end: mark,
        next: end + usize::from(mark != End::Bytes),
    }
}

/// The text of a field with doubled quotes: each pair is one.
#[must_use]
pub(crate) fn text(field: &str) -> String {
    field.replace("\"\"", "\"")
}

/// The quote that closes a field whose text begins at `from`, and whether two quotes stand for one
/// before it; none when it is not there.
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

/// Where a record ends, its line feed included, and what is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    /// The first byte beyond.
    pub(crate) end: usize,
    /// None where its fields can be read.
    pub(crate) damage: Option<Damage>,
}

/// Judges the record that begins at `start`; none when it is not complete within `bytes` and they
/// are not the file's last.
#[must_use]
pub(crate) fn judge(bytes: &[u8], start: usize, dialect: &Dialect, ended: bool) -> Option<Judged> {
    let line = match memchr(b'\n', &bytes[start..]) {
        Some(offset) => start + offset + 1,
        None if ended => bytes.len(),
        None => return None,
    };
    let unclosed = Judged { end: line, damage: Some(Damage::QuoteUnclosed) };
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
    Some(if end > line && damage.is_some() { unclosed } else { Judged { end, damage } })
}

/// A record without its line's end.
#[must_use]
pub(crate) fn without_end(record: &[u8]) -> &[u8] {
    let record = record.strip_suffix(b"\n").unwrap_or(record);
    record.strip_suffix(b"\r").unwrap_or(record)
}

/// Whether a line, given without its line feed, is no record: blank or a comment.
#[must_use]
#[inline]
pub(crate) fn is_skipped(line: &[u8], comment: Option<u8>) -> bool {
    match line {
        [] | [b'\r'] => true,
        [first, ..] => comment == Some(*first),
    }
}

/// The next record from `start` on, blank lines and comments passed over: where it begins, and its
/// judgement. None at the end, or when more bytes are needed.
#[must_use]
pub(crate) fn next_record(
    bytes: &[u8],
    mut start: usize,
    dialect: &Dialect,
    ended: bool,
) -> Option<(usize, Judged)> {
    while start < bytes.len() {
        let line = memchr(b'\n', &bytes[start..]).map(|offset| start + offset);
        if line.is_none() && !ended {
            return None;
        }
        let end = line.unwrap_or(bytes.len());
        if !is_skipped(&bytes[start..end], dialect.comment) {
            return Some((start, judge(bytes, start, dialect, ended)?));
        }
        start = end + 1;
    }
    None
}

/// Whole records at the start of some bytes, and what they are made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cut {
    /// The first byte beyond.
    pub(crate) end: usize,
    /// Records, damaged ones too.
    pub(crate) records: u64,
    /// Blank lines, which are no records.
    pub(crate) blank_lines: u64,
    /// Comments, which are no records.
    pub(crate) comments: u64,
    /// Lines that end with a carriage return and a line feed, outside quotes.
    pub(crate) carriage_returns: u64,
}

impl Cut {
    /// Takes a line, given without its line feed.
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

/// Cuts whole records until they are `enough` bytes or the bytes end. Between quotes only line feeds
/// are looked at.
#[must_use]
pub(crate) fn cut(bytes: &[u8], dialect: &Dialect, enough: usize, ended: bool) -> Cut {
    let mut cut = Cut::default();
    // Where to go on looking, within the record that begins at `cut.end`.
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
            // The quote is part of a comment.
            let Some(offset) = memchr(b'\n', &bytes[quote..]) else { break };
            at = quote + offset + 1;
            cut.take(&bytes[start..at - 1], at, dialect.comment);
            continue;
        }
        // A quote opens a field only where one begins.
        if quote > start && bytes[quote - 1] != dialect.separator {
            at = quote + 1;
            continue;
        }
        let close = closing(bytes, quote + 1).map(|(close, _)| close);
        if let Some(close) = close
            && memchr(b'\n', &bytes[quote..close]).is_none()
        {
            // What follows the closing quote belongs to the field, a quote too.
            let rest = memchr2(dialect.separator, b'\n', &bytes[close + 1..]);
            at = rest.map_or(bytes.len(), |offset| close + 1 + offset);
            continue;
        }
        // Either more than one line, or not closed.
        let Some(judged) = judge(bytes, start, dialect, ended) else { return cut };
        at = judged.end;
        let line = &bytes[start..at];
        cut.take(line.strip_suffix(b"\n").unwrap_or(line), at, None);
    }
    // The file's last record may lack its line feed.
    if ended && cut.end < enough.min(bytes.len()) {
        let line = &bytes[cut.end..];
        cut.take(line, bytes.len(), dialect.comment);
    }
    cut
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
