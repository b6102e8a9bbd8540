//! A block's records as columns of text.
//!
//! A file of its own because it is the one loop over all bytes of the input: as long as there is no
//! quote, fields are what lies between two marks, and nothing else is looked at.

use memchr::{memchr, memchr2_iter};
use polars::prelude::Column;

use super::Malformed;
use super::record::{End, Field, field, text};
use crate::interchange::{TextBlock, TextColumn};

/// Which fields of a record become columns.
#[derive(Debug, Clone)]
pub(in crate::extract) struct Layout {
    /// For each field of the header the column that it fills, if any.
    pub(in crate::extract) fields: Vec<Option<usize>>,
    /// Names of the columns.
    pub(in crate::extract) names: Vec<&'static str>,
    pub(in crate::extract) separator: u8,
}

/// The columns of a block of `records` records. An empty field is null, a quoted empty one is an
/// empty text; fields that a record lacks are null.
///
/// # Errors
/// What is wrong, and in which record of the block, from 0.
pub(in crate::extract) fn columns(
    bytes: Vec<u8>,
    records: usize,
    layout: &Layout,
) -> Result<Vec<Column>, (usize, Malformed)> {
    let invalid = std::str::from_utf8(&bytes).err().map(|error| error.valid_up_to());
    if let Some(place) = invalid {
        return Err((records_before(&bytes, place, layout.separator), Malformed::NotUtf8));
    }
    let block = TextBlock::new(bytes).ok_or((0, Malformed::EndlessRecord))?;
    let mut rows = Rows {
        layout,
        columns: layout.names.iter().map(|_| TextColumn::new(&block, records)).collect(),
        filled: vec![false; layout.names.len()],
        field: 0,
        record: 0,
    };
    rows.read(block.bytes())?;
    Ok(rows
        .columns
        .into_iter()
        .zip(&layout.names)
        .map(|(column, name)| column.finish(name))
        .collect())
}

/// How many records end before `place`.
fn records_before(bytes: &[u8], place: usize, separator: u8) -> usize {
    let mut at = 0;
    std::iter::from_fn(|| {
        at = super::record::record_end(bytes, at, separator)?;
        (at <= place).then_some(())
    })
    .count()
}

struct Rows<'a> {
    layout: &'a Layout,
    columns: Vec<TextColumn<'a>>,
    /// Whether a column has its text for this record.
    filled: Vec<bool>,
    field: usize,
    record: usize,
}

impl Rows<'_> {
    /// Reads all records: what lies between two marks as it is, up to the next quote; the field
    /// that the quote is in by the grammar.
    fn read(&mut self, bytes: &[u8]) -> Result<(), (usize, Malformed)> {
        let mut start = 0;
        loop {
            let quote = memchr(b'"', &bytes[start..]).map(|offset| start + offset);
            start = self.unquoted(bytes, start, quote.unwrap_or(bytes.len()))?;
            if quote.is_none() {
                break;
            }
            let found = field(bytes, start, self.layout.separator)
                .ok_or((self.record, Malformed::UnclosedQuote))?;
            start = found.next;
            let last = found.end != End::Separator;
            self.found(bytes, found)?;
            if last {
                self.end_record();
            }
        }
        // The file's last record may lack its line's end.
        if start < bytes.len() || self.field > 0 {
            let carriage = bytes.len() > start && bytes[bytes.len() - 1] == b'\r';
            self.plain(start, bytes.len() - usize::from(carriage))?;
            self.end_record();
        }
        Ok(())
    }

    /// Reads the fields that end before `limit`; returns where the next one begins.
    fn unquoted(
        &mut self,
        bytes: &[u8],
        mut start: usize,
        limit: usize,
    ) -> Result<usize, (usize, Malformed)> {
        let from = start;
        for offset in memchr2_iter(self.layout.separator, b'\n', &bytes[from..limit]) {
            let end = from + offset;
            if bytes[end] == b'\n' {
                let carriage = end > start && bytes[end - 1] == b'\r';
                self.plain(start, end - usize::from(carriage))?;
                self.end_record();
            } else {
                self.plain(start, end)?;
            }
            start = end + 1;
        }
        Ok(start)
    }

    #[inline]
    fn plain(&mut self, start: usize, end: usize) -> Result<(), (usize, Malformed)> {
        let Some(&column) = self.layout.fields.get(self.field) else {
            return Err((self.record, Malformed::TooManyFields));
        };
        self.field += 1;
        if let Some(column) = column {
            if start == end {
                self.columns[column].push_null();
            } else {
                self.columns[column].push(start..end);
            }
            self.filled[column] = true;
        }
        Ok(())
    }

    fn found(&mut self, bytes: &[u8], found: Field) -> Result<(), (usize, Malformed)> {
        if !found.quoted {
            return self.plain(found.place.start, found.place.end);
        }
        let Some(&column) = self.layout.fields.get(self.field) else {
            return Err((self.record, Malformed::TooManyFields));
        };
        self.field += 1;
        if let Some(column) = column {
            if found.altered {
                // The block is UTF-8, and a field begins and ends at ASCII marks.
                let part = std::str::from_utf8(&bytes[found.place])
                    .map_err(|_| (self.record, Malformed::NotUtf8))?;
                self.columns[column].push_own(&text(part));
            } else {
                self.columns[column].push(found.place);
            }
            self.filled[column] = true;
        }
        Ok(())
    }

    #[inline]
    fn end_record(&mut self) {
        for (column, filled) in self.columns.iter_mut().zip(&mut self.filled) {
            if !std::mem::take(filled) {
                column.push_null();
            }
        }
        self.field = 0;
        self.record += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Columns `b` and `a` of a file with the header `a,x,b`.
    fn read(text: &str, records: usize) -> Result<Vec<Vec<Option<String>>>, (usize, Malformed)> {
        let layout =
            Layout { fields: vec![Some(1), None, Some(0)], names: vec!["b", "a"], separator: b',' };
        let columns = columns(text.into(), records, &layout)?;
        let text = |column: &Column| -> Vec<Option<String>> {
            column.str().expect("text").iter().map(|text| text.map(ToOwned::to_owned)).collect()
        };
        Ok(columns.iter().map(text).collect())
    }

    fn some(texts: &[&str]) -> Vec<Option<String>> {
        texts.iter().map(|text| (*text != "∅").then(|| (*text).to_owned())).collect()
    }

    #[test]
    fn a_quote_changes_nothing_else() {
        let plain = "1,x,2\r\n\n3\n4,,\nlonger than twelve,x,5";
        let expected = vec![
            some(&["2", "∅", "∅", "∅", "5"]),
            some(&["1", "∅", "3", "4", "longer than twelve"]),
        ];
        assert_eq!(read(plain, 5).expect("read"), expected);
        let quoted = plain.replacen(",x,", ",\"x\",", 1);
        assert_eq!(read(&quoted, 5).expect("read"), expected);
    }

    #[test]
    fn quoted_fields_keep_what_is_in_them() {
        let columns = read("\"a,\n\"\"b\"\"\",\"\",\"\"\n\"c\",\"d", 1);
        assert_eq!(columns.expect_err("unclosed"), (1, Malformed::UnclosedQuote));
        let columns = read("\"a,\n\"\"b\"\"\",\"\",\"\"\n\"c\",\"d\",\n", 2).expect("read");
        assert_eq!(columns, [some(&["", "∅"]), some(&["a,\n\"b\"", "c"])]);
    }

    #[test]
    fn what_cannot_be_read_says_where() {
        assert_eq!(read("1,2,3\n1,2,3,\n", 2), Err((1, Malformed::TooManyFields)));
        assert_eq!(read("\"1\",2,3\n1,2,3,4\n", 2), Err((1, Malformed::TooManyFields)));
        let layout = Layout { fields: vec![Some(0)], names: vec!["a"], separator: b',' };
        let bytes = b"a\n\"b\n\"\nc\xff\n".to_vec();
        let failure = columns(bytes, 3, &layout).expect_err("not UTF-8");
        assert_eq!(failure, (2, Malformed::NotUtf8));
    }

    #[test]
    fn a_trailing_separator_at_the_end_is_a_field() {
        assert_eq!(read("1,2,", 1).expect("read"), [some(&["∅"]), some(&["1"])]);
        assert_eq!(read("\"1\",2,", 1).expect("read"), [some(&["∅"]), some(&["1"])]);
    }
}
