//! Reading a delimited file block by block.
//!
//! A file of its own because it alone holds bytes across blocks: it reads sequentially, hands out
//! blocks of whole records, counts them and keeps the rest for the next block. Memory is two
//! blocks, however long the file is.

use std::io::{self, Read};

use super::Malformed;
use super::record::{record_end, whole_records};

/// Bytes of a block, if no record is longer: some 100,000 claims, so that what a plan costs to set
/// up does not count.
const BLOCK_BYTES: usize = 8 << 20;
/// A longer record is none: its quote was never closed.
const RECORD_BYTES: usize = 64 << 20;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A block of whole records.
pub(in crate::extract) struct Cut {
    pub(in crate::extract) bytes: Vec<u8>,
    /// Records in it; a blank line is one.
    pub(in crate::extract) records: u64,
}

/// Reads one file.
pub(in crate::extract) struct Reader {
    source: Box<dyn Read + Send>,
    separator: u8,
    block_bytes: usize,
    rest: Vec<u8>,
    started: bool,
    ended: bool,
}

impl Reader {
    /// A reader of unpacked bytes that begin with a header.
    pub(in crate::extract) fn new(source: Box<dyn Read + Send>, separator: u8) -> Self {
        Self {
            source,
            separator,
            block_bytes: BLOCK_BYTES,
            rest: Vec::new(),
            started: false,
            ended: false,
        }
    }

    /// The next block without the header; none at the end of the file.
    pub(in crate::extract) fn next(&mut self) -> io::Result<Result<Option<Cut>, Malformed>> {
        let mut bytes = std::mem::take(&mut self.rest);
        loop {
            self.fill(&mut bytes)?;
            if !self.started {
                let Some(header) = self.header(&bytes) else {
                    if self.ended {
                        // A header without a line's end: no records.
                        return Ok(Ok(None));
                    }
                    if bytes.len() >= RECORD_BYTES {
                        return Ok(Err(Malformed::EndlessRecord));
                    }
                    continue;
                };
                bytes.drain(..header);
                self.started = true;
                continue;
            }
            if bytes.is_empty() && self.ended {
                return Ok(Ok(None));
            }
            let (end, records) = whole_records(&bytes, self.separator);
            if self.ended {
                // The last record may lack its line's end.
                let tail = u64::from(end < bytes.len());
                return Ok(Ok(Some(Cut { bytes, records: records + tail })));
            }
            if end > 0 {
                self.rest = bytes.split_off(end);
                return Ok(Ok(Some(Cut { bytes, records })));
            }
            if bytes.len() >= RECORD_BYTES {
                return Ok(Err(Malformed::EndlessRecord));
            }
        }
    }

    /// Reads on, one block more than there is.
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

    /// Where the header record ends; blank lines may come before it.
    fn header(&self, bytes: &[u8]) -> Option<usize> {
        let mut at = if bytes.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        loop {
            let end = record_end(bytes, at, self.separator)?;
            if !matches!(&bytes[at..end], b"\n" | b"\r\n") {
                return Some(end);
            }
            at = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(text: &str, block_bytes: usize) -> Vec<(String, u64)> {
        let source: Box<dyn Read + Send> = Box::new(io::Cursor::new(text.to_owned().into_bytes()));
        let mut reader = Reader::new(source, b',');
        reader.block_bytes = block_bytes;
        let mut blocks = Vec::new();
        while let Some(cut) = reader.next().expect("read").expect("records") {
            blocks.push((String::from_utf8(cut.bytes).expect("text"), cut.records));
        }
        blocks
    }

    #[test]
    fn blocks_are_whole_records_whatever_their_size() {
        let body = "1,a\n2,\"b\nb\"\r\n\n3,\"\"\"\"\n4,c";
        for block_bytes in 1..40 {
            let blocks = blocks(&format!("\u{feff}id,\"na\nme\"\n{body}"), block_bytes);
            let text: String = blocks.iter().map(|block| block.0.as_str()).collect();
            assert_eq!(text, body, "{block_bytes}");
            assert_eq!(blocks.iter().map(|block| block.1).sum::<u64>(), 5, "{block_bytes}");
        }
    }

    #[test]
    fn a_header_alone_has_no_records() {
        for text in ["", "id", "id\n", "\"id"] {
            assert!(blocks(text, 4).is_empty(), "{text}");
        }
    }
}
