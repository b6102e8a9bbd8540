//! Delimited text, split into blocks of whole records and parsed into text columns.
//!
//! Fields are not copied: string views point into the block.

mod columns;
mod reader;
#[expect(unreachable_pub, reason = "the fuzz target includes this file")]
mod record;

pub(super) use columns::{Damaged, Layout, Table, read};
use memchr::memchr;
pub(super) use reader::{Block, RECORD_BYTES, Reader};
pub(super) use record::{Damage, Dialect, next_record, without_end};
use record::{End, field, is_skipped, text};

/// The header record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    /// Field values, trimmed.
    pub(super) names: Vec<String>,
    /// The record's bytes without the line ending.
    pub(super) record: Vec<u8>,
    /// Start offset.
    pub(super) start: usize,
    /// End offset, including the line feed.
    pub(super) end: usize,
}

/// Finds the header at the start of a text, after blank lines and comments. `None` when no record
/// ends within `bytes`.
pub(super) fn header(
    bytes: &[u8],
    separator: u8,
    comment: Option<u8>,
    ended: bool,
) -> Option<Header> {
    let mut start = 0;
    loop {
        let line = memchr(b'\n', &bytes[start..]).map(|offset| start + offset);
        if start == bytes.len() || (line.is_none() && !ended) {
            return None;
        }
        let end = line.unwrap_or(bytes.len());
        if !is_skipped(&bytes[start..end], comment) {
            break;
        }
        start = (end + 1).min(bytes.len());
    }
    let mut names = Vec::new();
    let mut at = start;
    loop {
        let field = field(bytes, at, separator)?;
        let name = String::from_utf8_lossy(&bytes[field.range]).into_owned();
        let name = if field.doubled { text(&name) } else { name };
        names.push(name.trim().to_owned());
        at = field.next;
        match field.end {
            End::Separator => {}
            End::Bytes if !ended => return None,
            _ => break,
        }
    }
    Some(Header { names, record: without_end(&bytes[start..at]).to_vec(), start, end: at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_the_first_record() {
        let text = b"\r\n# made by x\n\"a \",\"b\nb\", c\r\n1,2,3\n";
        let found = header(text, b',', Some(b'#'), false).expect("a header");
        assert_eq!(found.names, ["a", "b\nb", "c"]);
        assert_eq!(found.record, b"\"a \",\"b\nb\", c");
        assert_eq!((found.start, &text[found.end..]), (14, &b"1,2,3\n"[..]));
        for (text, ended) in [("", true), ("\n\n", true), ("a,b", false), ("a,\"b\n", true)] {
            assert_eq!(header(text.as_bytes(), b',', None, ended), None, "{text:?}");
        }
        assert_eq!(header(b"a,b", b',', None, true).expect("a header").names, ["a", "b"]);
    }
}
