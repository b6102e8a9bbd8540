//! Parses the records of a block into text columns.
//!
//! A record that cannot be read becomes a row of nulls; the damage is reported separately.

use std::ops::Range;

use memchr::{memchr, memchr_iter, memchr2_iter};
use polars::prelude::Column;

use super::record::{Damage, Dialect, End, field, is_skipped, text, validate, without_end};
use crate::interchange::{TextBlock, TextColumn};

/// UTF-8 byte-order mark.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Maps record fields to columns.
#[derive(Debug, Clone)]
pub(in crate::extract) struct Layout {
    /// For each header field, the index of its column, if it is read.
    pub(in crate::extract) fields: Vec<Option<usize>>,
    pub(in crate::extract) names: Vec<String>,
    pub(in crate::extract) separator: u8,
    pub(in crate::extract) comment: Option<u8>,
    /// Bytes of the header record without the line ending.
    pub(in crate::extract) header: Vec<u8>,
}

/// A record that cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::extract) struct Damaged {
    /// Zero-based row number in the block.
    pub(in crate::extract) row: usize,
    pub(in crate::extract) damage: Damage,
    /// The raw record; each invalid byte is replaced by the character with the same code (Latin-1).
    pub(in crate::extract) raw: String,
}

/// A parsed block.
pub(in crate::extract) struct Table {
    pub(in crate::extract) columns: Vec<Column>,
    /// Damaged records in record order.
    pub(in crate::extract) damaged: Vec<Damaged>,
    /// For each record, the number of preceding lines in the block.
    pub(in crate::extract) lines: Vec<i64>,
}

/// Parses a block of about `records` records. An empty field is null, a quoted empty field is an
/// empty string.
///
/// `None` when the block is too long for 32-bit offsets, which does not happen in practice.
pub(in crate::extract) fn read(bytes: Vec<u8>, records: usize, layout: &Layout) -> Option<Table> {
    let (block, invalid) = match TextBlock::new(bytes) {
        Ok(block) => (block, Vec::new()),
        Err(bytes) => {
            let (bytes, invalid) = only_text(bytes);
            (TextBlock::new(bytes).ok()?, invalid)
        }
    };
    let bytes = block.bytes();
    let mut rows = Rows {
        layout,
        dialect: Dialect {
            separator: layout.separator,
            comment: layout.comment,
            fields: layout.fields.len(),
        },
        bytes,
        columns: layout.names.iter().map(|_| TextColumn::new(&block, records)).collect(),
        record: vec![Slot::Null; layout.names.len()],
        own: Vec::new(),
        field: 0,
        start: 0,
        malformed: false,
        line: 0,
        lines: Vec::with_capacity(records),
        damaged: Vec::new(),
        invalid: &invalid,
        nul: memchr(0, bytes).is_some(),
    };
    rows.read();
    let Rows { columns, damaged, lines, .. } = rows;
    let finished = columns.into_iter().zip(&layout.names);
    Some(Table {
        columns: finished.map(|(column, name)| column.finish(name)).collect(),
        damaged,
        lines,
    })
}

/// Replaces invalid UTF-8 bytes; returns their positions and original values.
fn only_text(mut bytes: Vec<u8>) -> (Vec<u8>, Vec<(usize, u8)>) {
    let mut invalid = Vec::new();
    let mut from = 0;
    while let Err(error) = std::str::from_utf8(&bytes[from..]) {
        let start = from + error.valid_up_to();
        let end = error.error_len().map_or(bytes.len(), |length| start + length);
        invalid.extend((start..end).map(|offset| (offset, bytes[offset])));
        bytes[start..end].fill(b'?');
        from = end;
    }
    (bytes, invalid)
}

/// A field of the current record.
#[derive(Debug, Clone)]
enum Slot {
    Null,
    /// Byte range in the block's text.
    Part(Range<usize>),
    /// Index into the record's unescaped strings.
    Own(usize),
}

struct Rows<'a> {
    layout: &'a Layout,
    dialect: Dialect,
    bytes: &'a [u8],
    columns: Vec<TextColumn<'a>>,
    /// The mapped fields of the current record.
    record: Vec<Slot>,
    own: Vec<String>,
    /// Number of fields of the current record so far.
    field: usize,
    /// Start offset of the current record.
    start: usize,
    /// Whether text followed a closing quote.
    malformed: bool,
    line: i64,
    lines: Vec<i64>,
    damaged: Vec<Damaged>,
    /// Invalid bytes from the current record on.
    invalid: &'a [(usize, u8)],
    /// Whether the block contains a NUL.
    nul: bool,
}

impl Rows<'_> {
    /// Parses all records. Fields without quotes take the fast path; a field with a quote is parsed
    /// by [`field`].
    fn read(&mut self) {
        let bytes = self.bytes;
        let mut at = 0;
        loop {
            let quote = memchr(b'"', &bytes[at..]).map(|offset| at + offset);
            at = self.unquoted(at, quote.unwrap_or(bytes.len()));
            let Some(quote) = quote else { break };
            at = if self.field == 0 && is_skipped(&bytes[at..=quote], self.dialect.comment) {
                let end = memchr(b'\n', &bytes[quote..]).map(|offset| quote + offset + 1);
                self.skip(end.unwrap_or(bytes.len()))
            } else {
                self.quoted_field(at)
            };
        }
        // The last record may have no line feed.
        if at < bytes.len() || self.field > 0 {
            let line = &bytes[self.start..];
            if self.field > 0 || !is_skipped(line, self.dialect.comment) {
                let carriage = bytes.len() > at && bytes[bytes.len() - 1] == b'\r';
                self.plain(at, bytes.len() - usize::from(carriage));
                self.end_record(bytes.len());
            }
        }
    }

    /// Parses unquoted fields that end before `limit`; returns the start of the next field.
    fn unquoted(&mut self, from: usize, limit: usize) -> usize {
        let bytes = self.bytes;
        let mut start = from;
        let mut marks = memchr2_iter(self.dialect.separator, b'\n', &bytes[from..limit]);
        while let Some(offset) = marks.next() {
            let end = from + offset;
            if bytes[end] != b'\n' {
                if self.field == 0 && self.dialect.comment == Some(bytes[start]) {
                    // Separators and quotes have no meaning in a comment.
                    let feed = marks.find(|offset| bytes[from + offset] == b'\n');
                    let Some(feed) = feed else { return start };
                    start = self.skip(from + feed + 1);
                    continue;
                }
                self.plain(start, end);
            } else if self.field == 0 && is_skipped(&bytes[start..end], self.dialect.comment) {
                self.skip(end + 1);
            } else {
                let carriage = end > start && bytes[end - 1] == b'\r';
                self.plain(start, end - usize::from(carriage));
                self.end_record(end + 1);
            }
            start = end + 1;
        }
        start
    }

    /// Parses one field that contains a quote; returns the start of the next field.
    fn quoted_field(&mut self, at: usize) -> usize {
        let bytes = self.bytes;
        let found = field(bytes, at, self.dialect.separator);
        let one_line = found.as_ref().is_some_and(|found| {
            !found.quoted || memchr(b'\n', &bytes[found.range.clone()]).is_none()
        });
        if !one_line
            && let Some(validated) = validate(bytes, self.start, &self.dialect, true)
            && let Some(damage) = validated.damage
        {
            self.damage(validated.end, damage);
            return self.next(validated.end);
        }
        // An unclosed field was already reported as damage.
        let Some(found) = found else { return bytes.len() };
        self.malformed |= found.malformed;
        self.put(|own| match (found.quoted, found.doubled) {
            (false, _) if found.range.is_empty() => Slot::Null,
            (true, true) => {
                // Fields begin and end at ASCII characters, so the slice is valid UTF-8.
                own.push(text(&String::from_utf8_lossy(&bytes[found.range.clone()])));
                Slot::Own(own.len() - 1)
            }
            _ => Slot::Part(found.range.clone()),
        });
        if found.end != End::Separator {
            self.end_record(found.next);
        }
        found.next
    }

    #[inline]
    fn plain(&mut self, start: usize, end: usize) {
        self.put(|_| if start == end { Slot::Null } else { Slot::Part(start..end) });
    }

    #[inline]
    fn put(&mut self, slot: impl FnOnce(&mut Vec<String>) -> Slot) {
        if let Some(&Some(column)) = self.layout.fields.get(self.field) {
            self.record[column] = slot(&mut self.own);
        }
        self.field += 1;
    }

    /// Skips a blank line or comment; returns the start of the next line.
    fn skip(&mut self, end: usize) -> usize {
        self.line += 1;
        self.start = end;
        end
    }

    #[inline]
    fn end_record(&mut self, end: usize) {
        if let Some(damage) = self.wrong(end) {
            self.damage(end, damage);
        } else {
            for (column, slot) in self.columns.iter_mut().zip(&mut self.record) {
                match std::mem::replace(slot, Slot::Null) {
                    Slot::Null => column.push_null(),
                    Slot::Part(range) => column.push(range),
                    Slot::Own(text) => column.push_own(&self.own[text]),
                }
            }
            self.lines.push(self.line);
        }
        self.next(end);
    }

    /// Validates the record that ends at `end`.
    #[inline]
    fn wrong(&self, end: usize) -> Option<Damage> {
        if self.malformed {
            return Some(Damage::QuoteMalformed);
        }
        if self.field != self.dialect.fields {
            let few = self.field < self.dialect.fields;
            return Some(if few { Damage::TooFewFields } else { Damage::TooManyFields });
        }
        if self.invalid.first().is_some_and(|&(offset, _)| offset < end) {
            return Some(Damage::EncodingInvalid);
        }
        if self.nul && memchr(0, &self.bytes[self.start..end]).is_some() {
            return Some(Damage::NulCharacter);
        }
        let (record, header) = (&self.bytes[self.start..end], &self.layout.header);
        // Cheap length check first.
        let may_be =
            (header.len()..=header.len() + BYTE_ORDER_MARK.len() + 2).contains(&record.len());
        let is_header = || {
            let record = without_end(record);
            // A concatenated file brings its own byte-order mark.
            record.strip_prefix(BYTE_ORDER_MARK).unwrap_or(record) == header
        };
        (may_be && is_header()).then_some(Damage::HeaderRepeated)
    }

    /// Adds the record from `start` to `end` as a damaged row.
    fn damage(&mut self, end: usize, damage: Damage) {
        let row = self.lines.len();
        let mut raw =
            String::from_utf8_lossy(without_end(&self.bytes[self.start..end])).into_owned();
        let invalid = self.invalid.iter().take_while(|&&(offset, _)| offset < end);
        raw.extend(invalid.map(|&(_, byte)| char::from(byte)));
        self.damaged.push(Damaged { row, damage, raw });
        for column in &mut self.columns {
            column.push_null();
        }
        self.record.fill(Slot::Null);
        self.lines.push(self.line);
    }

    /// Moves on to the record that begins at `end`; returns `end`.
    #[inline]
    fn next(&mut self, end: usize) -> usize {
        let feeds = memchr_iter(b'\n', &self.bytes[self.start..end]).count();
        self.line += i64::try_from(feeds).unwrap_or(0);
        while let [(offset, _), rest @ ..] = self.invalid
            && *offset < end
        {
            self.invalid = rest;
        }
        self.field = 0;
        self.malformed = false;
        self.own.clear();
        self.start = end;
        end
    }
}

#[cfg(test)]
#[path = "columns_tests.rs"]
mod tests;
