//! Reads a delimited file block by block.
//!
//! Memory use is two blocks, whatever the file size.

use std::io::{self, Read};

use memchr::{memchr, memchr_iter};

use super::record::{Cut, Dialect, cut};

/// Target block size in bytes: about 100,000 claims, enough to amortise the cost of building a
/// query plan.
const BLOCK_BYTES: usize = 8 << 20;
/// Maximum record size in bytes. A quoted field that exceeds it counts as unclosed; a longer line
/// is an error.
pub(in crate::extract) const RECORD_BYTES: usize = 32 << 20;

pub(in crate::extract) struct Block {
    pub(in crate::extract) bytes: Vec<u8>,
    pub(in crate::extract) cut: Cut,
    /// Number of preceding lines in the file.
    pub(in crate::extract) lines_before: u64,
}

pub(in crate::extract) struct Reader {
    source: Box<dyn Read + Send>,
    dialect: Dialect,
    /// Number of header bytes to skip.
    header: usize,
    block_bytes: usize,
    record_bytes: usize,
    rest: Vec<u8>,
    lines: u64,
    ended: bool,
}

/// A line exceeds [`RECORD_BYTES`]: not text, or other line endings.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::extract) struct EndlessLine;

impl Reader {
    /// Reads `source` after skipping its first `header` bytes.
    pub(in crate::extract) fn new(
        source: Box<dyn Read + Send>,
        dialect: Dialect,
        header: usize,
    ) -> Self {
        Self {
            source,
            dialect,
            header,
            block_bytes: BLOCK_BYTES,
            record_bytes: RECORD_BYTES,
            rest: Vec::new(),
            lines: 0,
            ended: false,
        }
    }

    /// Returns the next block; `None` at the end of the file.
    pub(in crate::extract) fn next(&mut self) -> io::Result<Result<Option<Block>, EndlessLine>> {
        let mut bytes = std::mem::take(&mut self.rest);
        loop {
            self.fill(&mut bytes)?;
            if self.header > 0 {
                if bytes.len() < self.header && !self.ended {
                    continue;
                }
                let header = bytes.drain(..self.header.min(bytes.len()));
                self.lines += count_lines(header.as_slice());
                drop(header);
                self.header = 0;
                continue;
            }
            let mut cut = cut(&bytes, &self.dialect, self.block_bytes, self.ended);
            if cut.end == 0 {
                if self.ended {
                    return Ok(Ok(None));
                }
                if bytes.len() < self.record_bytes {
                    continue;
                }
                // Unclosed quote: only its first line is the record.
                let Some(feed) = memchr(b'\n', &bytes) else { return Ok(Err(EndlessLine)) };
                cut = super::record::cut(&bytes[..=feed], &self.dialect, usize::MAX, true);
            }
            self.rest = bytes.split_off(cut.end);
            let lines_before = self.lines;
            self.lines += count_lines(&bytes);
            return Ok(Ok(Some(Block { bytes, cut, lines_before })));
        }
    }

    /// Reads more: up to one block, or another half block beyond what is already read.
    fn fill(&mut self, bytes: &mut Vec<u8>) -> io::Result<()> {
        if self.ended {
            return Ok(());
        }
        let wanted = self.block_bytes.saturating_sub(bytes.len()).max(self.block_bytes.div_ceil(2));
        bytes.reserve_exact(wanted);
        let limit = u64::try_from(wanted).unwrap_or(u64::MAX);
        let read = (&mut self.source).take(limit).read_to_end(bytes)?;
        self.ended = read < wanted;
        Ok(())
    }
}

fn count_lines(bytes: &[u8]) -> u64 {
    memchr_iter(b'\n', bytes).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(text: &str, block_bytes: usize, record_bytes: usize) -> Vec<(String, u64, u64)> {
        let source: Box<dyn Read + Send> = Box::new(io::Cursor::new(text.to_owned().into_bytes()));
        let dialect = Dialect { separator: b',', comment: None, fields: 2 };
        let header = text.find("1,").unwrap_or(text.len());
        let mut reader = Reader::new(source, dialect, header);
        (reader.block_bytes, reader.record_bytes) = (block_bytes, record_bytes);
        let mut blocks = Vec::new();
        while let Some(block) = reader.next().expect("read").expect("records") {
            let text = String::from_utf8(block.bytes).expect("text");
            blocks.push((text, block.cut.records, block.lines_before));
        }
        blocks
    }

    #[test]
    fn blocks_are_whole_records_whatever_their_size() {
        let body = "1,a\n2,\"b\nb\"\r\n\n3,\"\"\"\"\n4,\"c\n5,d\n6,e";
        for block_bytes in 1..60 {
            let blocks = blocks(&format!("id,\"na\nme\"\n{body}"), block_bytes, 1000);
            let text: String = blocks.iter().map(|block| block.0.as_str()).collect();
            assert_eq!(text, body, "{block_bytes}");
            assert_eq!(blocks.iter().map(|block| block.1).sum::<u64>(), 6, "{block_bytes}");
            let mut lines = 2;
            for (text, _, before) in &blocks {
                assert_eq!(*before, lines, "{block_bytes}");
                lines += count_lines(text.as_bytes());
            }
        }
    }

    #[test]
    fn a_quote_that_is_never_closed_costs_one_line() {
        let rest = "2,b\n".repeat(50);
        let blocks = blocks(&format!("id,name\n1,\"a\n{rest}"), 16, 64);
        assert_eq!(blocks[0].0, "1,\"a\n");
        assert_eq!(blocks.iter().map(|block| block.1).sum::<u64>(), 51);
    }

    #[test]
    fn a_line_without_end_is_no_record() {
        let source: Box<dyn Read + Send> = Box::new(io::repeat(b'x'));
        let dialect = Dialect { separator: b',', comment: None, fields: 2 };
        let mut reader = Reader::new(source, dialect, 0);
        (reader.block_bytes, reader.record_bytes) = (16, 64);
        assert_eq!(reader.next().expect("read").err(), Some(EndlessLine));
    }

    #[test]
    fn a_header_alone_has_no_records() {
        for text in ["", "id", "id\n", "\"id"] {
            assert!(blocks(text, 4, 64).is_empty(), "{text}");
        }
    }
}
