//! One record: where its fields begin and end.
//!
//! A file of its own because it is the grammar: whoever cuts a file into blocks and whoever reads
//! the fields must agree on it to the byte.

use std::ops::Range;

use memchr::{memchr, memchr_iter, memchr2, memrchr};

/// What ends a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// A separator: the record goes on.
    Separator,
    /// A line feed.
    LineFeed,
    /// The end of the bytes.
    Bytes,
}

/// A field and what follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    /// Its bytes, without the quotes around it.
    pub(super) place: Range<usize>,
    /// Whether it began with a quote: empty text then, not null.
    pub(super) quoted: bool,
    /// Its text is not the bytes as they are: see [`text`].
    pub(super) altered: bool,
    /// What ends it.
    pub(super) end: End,
    /// Where the next field or record begins.
    pub(super) next: usize,
}

/// The field that begins at `start`; none when its quote is not closed within `bytes`.
pub(super) fn field(bytes: &[u8], start: usize, separator: u8) -> Option<Field> {
    if bytes.get(start) == Some(&b'"') {
        return quoted(bytes, start, separator);
    }
    Some(plain(bytes, start, start, separator))
}

/// A field that goes on to the next separator or line feed after `from`.
fn plain(bytes: &[u8], start: usize, from: usize, separator: u8) -> Field {
    let end = memchr2(separator, b'\n', &bytes[from..]).map(|offset| from + offset);
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
        altered: false,
        end: mark,
        next: end + usize::from(mark != End::Bytes),
    }
}

fn quoted(bytes: &[u8], start: usize, separator: u8) -> Option<Field> {
    let inner = start + 1;
    let (close, doubled) = closing(bytes, inner)?;
    // Nearly always nothing stands between the closing quote and the separator.
    let rest = plain(bytes, close + 1, close + 1, separator);
    let trailing = !rest.place.is_empty();
    let place = if trailing { inner..rest.place.end } else { inner..close };
    Some(Field { place, quoted: true, altered: doubled || trailing, ..rest })
}

/// The text of an altered field: two quotes become one, the closing quote goes, and what follows it
/// is taken as it is.
pub(super) fn text(field: &str) -> String {
    let mut text = String::with_capacity(field.len());
    let mut rest = field;
    while let Some((before, after)) = rest.split_once('"') {
        text.push_str(before);
        if let Some(after) = after.strip_prefix('"') {
            text.push('"');
            rest = after;
        } else {
            text.push_str(after);
            return text;
        }
    }
    text.push_str(rest);
    text
}

/// Where the record that begins at `start` ends, its line feed included; none when it is not
/// complete within `bytes`.
pub(super) fn record_end(bytes: &[u8], start: usize, separator: u8) -> Option<usize> {
    let mut at = start;
    loop {
        let field = field(bytes, at, separator)?;
        match field.end {
            End::Separator => at = field.next,
            End::LineFeed => return Some(field.next),
            End::Bytes => return None,
        }
    }
}

/// Where the last whole record ends, and how many records end until then. Only quotes are looked at
/// one by one; line feeds between them are counted in bulk.
pub(super) fn whole_records(bytes: &[u8], separator: u8) -> (usize, u64) {
    let (mut at, mut end, mut records) = (0, 0, 0);
    loop {
        let quote = memchr(b'"', &bytes[at..]).map(|offset| at + offset);
        let plain = &bytes[at..quote.unwrap_or(bytes.len())];
        records += memchr_iter(b'\n', plain).count() as u64;
        end = memrchr(b'\n', plain).map_or(end, |last| at + last + 1);
        let Some(quote) = quote else { return (end, records) };
        // A quote opens a field only where one begins.
        let opens = quote == 0 || bytes[quote - 1] == separator || bytes[quote - 1] == b'\n';
        if !opens {
            at = quote + 1;
            continue;
        }
        match closing(bytes, quote + 1) {
            Some((close, _)) => at = close + 1,
            None => return (end, records),
        }
        // What follows the closing quote belongs to the field, a quote too.
        let rest = memchr2(separator, b'\n', &bytes[at..]);
        at = rest.map_or(bytes.len(), |offset| at + offset);
    }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The fields of all records, as texts; none for an unclosed quote.
    fn read(text: &str) -> Option<Vec<Vec<String>>> {
        let bytes = text.as_bytes();
        let mut records = vec![Vec::new()];
        let mut at = 0;
        while at < bytes.len() || records.last().is_some_and(|record| !record.is_empty()) {
            let field = field(bytes, at, b',')?;
            let part = &text[field.place.clone()];
            let part = if field.altered { super::text(part) } else { part.to_owned() };
            records.last_mut().expect("one").push(part);
            at = field.next;
            if field.end != End::Separator {
                if at >= bytes.len() {
                    break;
                }
                records.push(Vec::new());
            }
        }
        Some(records)
    }

    #[test]
    fn quotes_count_at_the_start_of_a_field_only() {
        let cases: [(&str, &[&str]); 8] = [
            ("a,b\r\n", &["a", "b"]),
            ("\"a,\nb\",c", &["a,\nb", "c"]),
            ("\"a \"\"b\"\"\",\"\"\r\n", &["a \"b\"", ""]),
            ("5\" bandage,x\n", &["5\" bandage", "x"]),
            ("\"a\"b\"c,d\n", &["ab\"c", "d"]),
            ("a\"\"b,\n", &["a\"\"b", ""]),
            ("\"\"\"\"\n", &["\""]),
            ("\"x\"\r", &["x"]),
        ];
        for (text, fields) in cases {
            assert_eq!(
                read(text),
                Some(vec![fields.iter().map(ToString::to_string).collect()]),
                "{text}"
            );
        }
        assert_eq!(read("a,\"b\n"), None);
    }

    #[test]
    fn a_record_ends_at_a_line_feed_outside_quotes() {
        assert_eq!(record_end(b"a,\"b\nc\"\nd", 0, b','), Some(8));
        assert_eq!(record_end(b"a,\"b\nc\"\nd", 8, b','), None);
        assert_eq!(record_end(b"a,\"b\n", 0, b','), None);
        assert_eq!(record_end(b"\n\n", 0, b','), Some(1));
    }

    proptest! {
        #[test]
        fn bulk_and_single_steps_find_the_same_ends(text in "[a\",\n]{0,40}") {
            let bytes = text.as_bytes();
            let (mut end, mut records) = (0, 0);
            while let Some(next) = record_end(bytes, end, b',') {
                end = next;
                records += 1;
            }
            prop_assert_eq!(whole_records(bytes, b','), (end, records));
        }

        /// The `csv` crate is the other reading. It skips blank lines and takes a lone carriage
        /// return for a line's end, so neither is among the characters.
        #[test]
        fn the_csv_crate_reads_the_same(text in "(x[a\",\n]{0,12}\n){1,4}") {
            let ours = read(&text);
            prop_assume!(ours.is_some() && !text.contains("\n\n"));
            let theirs: Vec<Vec<String>> = csv::ReaderBuilder::new()
                .has_headers(false)
                .flexible(true)
                .from_reader(text.as_bytes())
                .records()
                .map(|record| record.expect("a record").iter().map(ToOwned::to_owned).collect())
                .collect();
            prop_assert_eq!(ours.expect("read"), theirs);
        }
    }
}
