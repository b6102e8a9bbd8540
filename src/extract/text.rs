//! Decodes delimited files: encoding, byte-order mark and line endings.
//!
//! Invalid bytes are never silently replaced: they become a byte that is invalid UTF-8, so that the
//! record is rejected.

use std::io::{self, Cursor, Read};

use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE};
use memchr::memchr;

use crate::config::Source;
use crate::error::{Error, Result};
use crate::schema::Dataset;

/// A byte that never occurs in UTF-8.
const INVALID_BYTE: u8 = 0xff;
/// Bytes decoded at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// Text format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TextFormat {
    encoding: &'static Encoding,
    /// Length of the byte-order mark in bytes.
    mark: usize,
    /// Whether lines end with CR alone.
    old_line_ends: bool,
}

impl TextFormat {
    #[must_use]
    pub(crate) fn encoding(&self) -> &'static str {
        self.encoding.name()
    }

    #[must_use]
    pub(crate) fn has_byte_order_mark(&self) -> bool {
        self.mark > 0
    }

    /// Whether lines end with CR alone (classic Mac OS).
    #[must_use]
    pub(crate) fn has_old_line_ends(&self) -> bool {
        self.old_line_ends
    }

    /// Detects the format from the first decompressed bytes and the configured encoding. `auto`
    /// means UTF-8 unless a byte-order mark or alternating NULs show UTF-16.
    pub(super) fn detect(dataset: Dataset, source: &Source, start: &[u8]) -> Result<Self> {
        let marked = Encoding::for_bom(start);
        let encoding = match (source.encoding.as_str(), marked) {
            ("auto", Some((encoding, _))) => encoding,
            ("auto", None) => match start {
                [first, 0, second, 0, ..] if *first != 0 && *second != 0 => UTF_16LE,
                [0, first, 0, second, ..] if *first != 0 && *second != 0 => UTF_16BE,
                _ => UTF_8,
            },
            (label, _) => Encoding::for_label(label.as_bytes()).ok_or_else(|| {
                Error::config(format!("{dataset}: encoding {label:?} is not known"))
                    .hint("for example encoding = \"windows-1252\", \"utf-16le\" or \"auto\"")
            })?,
        };
        let mark = marked.filter(|(found, _)| *found == encoding).map_or(0, |(_, length)| length);
        let mut format = Self { encoding, mark, old_line_ends: false };
        let mut text = Vec::new();
        // Reading from a cursor cannot fail.
        let _ = format.decode(Box::new(Cursor::new(start.to_vec()))).read_to_end(&mut text);
        format.old_line_ends = memchr(b'\n', &text).is_none()
            && memchr(b'\r', &text).is_some_and(|at| at + 1 < text.len());
        Ok(format)
    }

    /// Decodes to UTF-8 without a byte-order mark, with LF line endings.
    pub(super) fn decode(self, source: Box<dyn Read + Send>) -> Box<dyn Read + Send> {
        let unmarked = Unmarked { source, mark: self.mark };
        let decoded: Box<dyn Read + Send> = if self.encoding == UTF_8 {
            Box::new(unmarked)
        } else {
            Box::new(Decoded {
                source: unmarked,
                decoder: self.encoding.new_decoder_without_bom_handling(),
                input: Vec::new(),
                output: Vec::new(),
                given: 0,
                ended: false,
            })
        };
        if self.old_line_ends { Box::new(LineFeeds(decoded)) } else { decoded }
    }
}

/// Skips the byte-order mark.
struct Unmarked {
    source: Box<dyn Read + Send>,
    mark: usize,
}

impl Read for Unmarked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.mark > 0 {
            let mark = u64::try_from(std::mem::take(&mut self.mark)).unwrap_or(0);
            io::copy(&mut (&mut self.source).take(mark), &mut io::sink())?;
        }
        self.source.read(buffer)
    }
}

/// Decodes in chunks.
struct Decoded {
    source: Unmarked,
    decoder: Decoder,
    /// Bytes not decoded yet.
    input: Vec<u8>,
    output: Vec<u8>,
    /// Number of `output` bytes already returned.
    given: usize,
    ended: bool,
}

impl Decoded {
    /// Fills the output buffer; leaves it empty at the end.
    fn fill(&mut self) -> io::Result<()> {
        self.output.clear();
        self.given = 0;
        while self.output.is_empty() {
            let last = self.ended;
            if !last {
                let limit = u64::try_from(CHUNK_BYTES - self.input.len()).unwrap_or(0);
                let read = (&mut self.source).take(limit).read_to_end(&mut self.input)?;
                self.ended = read == 0;
            }
            // At most three UTF-8 bytes per input byte, so only an incomplete character can remain.
            self.output.resize(3 * self.input.len() + 16, 0);
            let (mut read, mut written) = (0, 0);
            loop {
                let (result, more_read, more_written) =
                    self.decoder.decode_to_utf8_without_replacement(
                        &self.input[read..],
                        &mut self.output[written..],
                        self.ended,
                    );
                (read, written) = (read + more_read, written + more_written);
                match result {
                    DecoderResult::Malformed(..) => {
                        self.output.resize(self.output.len() + 1, 0);
                        self.output[written] = INVALID_BYTE;
                        written += 1;
                    }
                    DecoderResult::InputEmpty => break,
                    DecoderResult::OutputFull => self.output.resize(written + CHUNK_BYTES, 0),
                }
            }
            self.input.drain(..read);
            self.output.truncate(written);
            if self.ended {
                break;
            }
        }
        Ok(())
    }
}

impl Read for Decoded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given == self.output.len() {
            if self.ended {
                return Ok(0);
            }
            self.fill()?;
        }
        let part = &self.output[self.given..];
        let count = part.len().min(buffer.len());
        buffer[..count].copy_from_slice(&part[..count]);
        self.given += count;
        Ok(count)
    }
}

/// Converts CR to LF.
struct LineFeeds(Box<dyn Read + Send>);

impl Read for LineFeeds {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(buffer)?;
        for byte in buffer[..count].iter_mut().filter(|byte| **byte == b'\r') {
            *byte = b'\n';
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns a few bytes at a time.
    struct Slow(Vec<u8>, usize);

    impl Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(buffer.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0.drain(..count);
            Ok(count)
        }
    }

    fn decoded(bytes: &[u8], encoding: &str, step: usize) -> (TextFormat, Vec<u8>) {
        let source = Source { encoding: encoding.into(), ..Source::default() };
        let format = TextFormat::detect(Dataset::Claims, &source, bytes).expect("known");
        let mut text = Vec::new();
        format.decode(Box::new(Slow(bytes.to_vec(), step))).read_to_end(&mut text).expect("read");
        (format, text)
    }

    fn utf16(text: &str, big: bool, mark: bool) -> Vec<u8> {
        let text = if mark { format!("\u{feff}{text}") } else { text.to_owned() };
        let units = text.encode_utf16();
        units.flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect()
    }

    #[test]
    fn the_encodings_of_the_field() {
        let text = "claim_id,patient\nV\u{ed}ctor,\u{20ac}5\n";
        for (bytes, encoding, name, mark) in [
            (text.as_bytes().to_vec(), "auto", "UTF-8", false),
            (format!("\u{feff}{text}").into_bytes(), "auto", "UTF-8", true),
            (utf16(text, false, true), "auto", "UTF-16LE", true),
            (utf16(text, true, true), "auto", "UTF-16BE", true),
            (utf16(text, false, false), "auto", "UTF-16LE", false),
            (utf16(text, true, false), "auto", "UTF-16BE", false),
            (b"claim_id,patient\nV\xedctor,\x805\n".to_vec(), "latin1", "windows-1252", false),
        ] {
            for step in [1, 3, 1000] {
                let (format, read) = decoded(&bytes, encoding, step);
                assert_eq!((format.encoding(), format.has_byte_order_mark()), (name, mark));
                assert_eq!(read, text.as_bytes(), "{name} {step}");
            }
        }
        let source = Source { encoding: "ebcdic".into(), ..Source::default() };
        assert!(TextFormat::detect(Dataset::Claims, &source, b"").is_err());
    }

    #[test]
    fn what_is_no_text_stays_no_text() {
        // An unpaired surrogate and an incomplete code unit at the end.
        let mut bytes = utf16("a,", false, true);
        bytes.extend([0x00, 0xd8]);
        bytes.extend(utf16("b\n", false, false));
        bytes.push(b'c');
        assert_eq!(decoded(&bytes, "auto", 2).1, b"a,\xffb\n\xff");
        assert_eq!(decoded(b"a\xff\n", "auto", 2).1, b"a\xff\n");
    }

    #[test]
    fn old_line_ends_become_line_feeds() {
        let (format, text) = decoded(b"a,b\rc,d\r", "auto", 2);
        assert!(format.has_old_line_ends());
        assert_eq!(text, b"a,b\nc,d\n");
        assert!(!decoded(b"a,b\r\nc\rd,e", "auto", 2).0.has_old_line_ends());
        assert!(!decoded(b"a,b\r", "auto", 2).0.has_old_line_ends());
    }

    proptest! {
        #[test]
        fn pieces_change_nothing(text in "\\PC{0,40}", step in 1_usize..9, big: bool) {
            let text = format!("id\n{text}");
            let (_, read) = decoded(&utf16(&text, big, true), "auto", step);
            prop_assert_eq!(read, text.as_bytes());
        }
    }
}
