//! Reads the header of a delimited file and detects its field separator.
//!
//! Most failed first runs end here, so its messages matter. [`super::recognition`] decides which
//! parts of the record may be shown.

use memchr::{memchr, memchr_iter};

use super::name::handed_on;
use super::recognition::{Standing, classify};
use super::source_file::{Delimited, SourceFile};
use super::text_start::{HEADER_BYTES, TextStart};
use super::{delimited, mapping};
use crate::config::{AUTO, Source};
use crate::error::{Error, Result};
use crate::schema::Dataset;

/// Number of records searched for a header.
const MAX_HEADER_RECORDS: usize = 50;

/// Separators tried in this order when none is configured.
const SEPARATORS: [u8; 4] = [b',', b';', b'|', b'\t'];

/// The configured field separator; `None` for detection.
fn configured(dataset: Dataset, source: &Source) -> Result<Option<u8>> {
    match source.delimiter.as_bytes() {
        text if text == AUTO.as_bytes() => Ok(None),
        b"\\t" => Ok(Some(b'\t')),
        [byte] if is_separator(*byte) => Ok(Some(*byte)),
        _ => Err(Error::config(format!(
            "{dataset}: delimiter must be one ASCII character other than a quote or a line end"
        ))
        .hint(format!(
            "for example:\n  [{dataset}]\n  delimiter = \"|\"   # or \"\\\\t\" for a tab, or \"auto\""
        ))),
    }
}

/// The field separator: the configured one, or the one whose header has the most contract columns,
/// then the most known names, then the most fields.
fn separator(
    source: &Source,
    dataset: Dataset,
    start: Preamble,
    names: impl Fn(u8) -> Option<Vec<String>>,
) -> Result<u8> {
    if let Some(separator) = configured(dataset, source)?.or(start.separator) {
        return Ok(separator);
    }
    let (mut best, mut most) = (SEPARATORS[0], (0, 0, 0));
    for separator in SEPARATORS {
        let names = names(separator).unwrap_or_default();
        let matches = mapping::matches(dataset, source, &names);
        let (known, _) = classify(source, &names, 1);
        let found = (matches, known, if matches == 0 { names.len() } else { 0 });
        if found > most {
            (best, most) = (separator, found);
        }
    }
    Ok(best)
}

/// Lines before the header.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Preamble {
    /// Number of bytes to skip.
    bytes: usize,
    /// The separator named by a `sep=;` line, which spreadsheets write and read.
    separator: Option<u8>,
}

impl Preamble {
    /// Skips the configured lines and a `sep=` line.
    fn of(source: &Source, text: &[u8]) -> Self {
        let feeds = memchr_iter(b'\n', text);
        let skipped = match source.skip_lines as usize {
            0 => 0,
            lines => feeds.map(|feed| feed + 1).nth(lines - 1).unwrap_or(text.len()),
        };
        let rest = &text[skipped..];
        let end = memchr(b'\n', rest).map_or(rest.len(), |feed| feed + 1);
        let separator = named_separator(&rest[..end]);
        let bytes = skipped + if separator.is_some() { end } else { 0 };
        Self { bytes, separator }
    }
}

fn named_separator(line: &[u8]) -> Option<u8> {
    let line = line.trim_ascii_end();
    let line = line.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(line);
    let (word, rest) = line.split_at_checked(b"sep=".len())?;
    match rest {
        _ if !word.eq_ignore_ascii_case(b"sep=") => None,
        // The tab was trimmed as trailing white space.
        [] => Some(b'\t'),
        [byte] => Some(*byte).filter(|byte| is_separator(*byte)),
        _ => None,
    }
}

fn is_separator(byte: u8) -> bool {
    byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r' | 0)
}

/// A parsed header.
pub(super) struct ParsedHeader {
    pub(super) names: Vec<String>,
    pub(super) standing: Standing,
    pub(super) delimited: Delimited,
}

/// Reads the header of a delimited file and its dialect.
pub(super) fn read(
    dataset: Dataset,
    source: &Source,
    file: &SourceFile,
    start: TextStart,
) -> Result<ParsedHeader> {
    let path = file.path.display();
    let comment = comment(dataset, source)?;
    let TextStart { format, text, ended } = start;
    let preamble = Preamble::of(source, &text);
    let rest = &text[preamble.bytes..];
    let names =
        |separator| delimited::header(rest, separator, comment, ended).map(|found| found.names);
    let separator = separator(source, dataset, preamble, names)?;
    let Some(found) = delimited::header(rest, separator, comment, ended) else {
        return Err(if ended {
            Error::source(format!("{dataset}: {path} holds no header"))
                .hint("the first line must name the columns")
        } else {
            Error::source(format!(
                "{dataset}: the first record of {path} does not end within {} KiB",
                HEADER_BYTES >> 10
            ))
            .hint("look for a quote that is not closed, and check the delimiter")
        });
    };
    let is_text = std::str::from_utf8(&found.record).is_ok() && !found.record.contains(&0);
    if !is_text {
        return Err(Error::source(format!(
            "{dataset}: the header of {path} is not text in the encoding {}",
            format.encoding()
        ))
        .hint(format!(
            "set its encoding, for example:\n  [{dataset}]\n  encoding = \"windows-1252\""
        )));
    }
    let line = 1 + feeds(&text[..preamble.bytes + found.start]);
    let (known, mut standing) = classify(source, &found.names, line);
    if mapping::fit(dataset, source, &found.names).is_none() {
        let lines = Lines { source, text: &text, comment, ended };
        let separators = configured(dataset, source)?.or(preamble.separator);
        let separators = separators.map_or(SEPARATORS.to_vec(), |separator| vec![separator]);
        let after = preamble.bytes + found.end;
        match lines.most_known(after, &separators, &found.record) {
            Some((most, likely)) if most > known => {
                standing = Standing::Data { line, likely: Some(likely) };
            }
            // Several equally likely lines are data.
            Some((most, _)) if most == known => standing = Standing::Data { line, likely: None },
            _ => {}
        }
    }
    let header_end = preamble.bytes + found.end;
    let delimited =
        Delimited { text: format, separator, comment, record: found.record, header_end };
    Ok(ParsedHeader { names: found.names, standing, delimited })
}

/// First lines of a text.
struct Lines<'a> {
    source: &'a Source,
    text: &'a [u8],
    comment: Option<u8>,
    ended: bool,
}

impl Lines<'_> {
    /// The largest number of known names in any of the first records from `from` on, and its line
    /// number; `None` when no record can be a header.
    fn most_known(&self, from: usize, separators: &[u8], header: &[u8]) -> Option<(usize, u64)> {
        let mut best: Option<(usize, u64)> = None;
        for &separator in separators {
            let mut at = from;
            for _ in 0..MAX_HEADER_RECORDS {
                let rest = &self.text[at..];
                let Some(found) = delimited::header(rest, separator, self.comment, self.ended)
                else {
                    break;
                };
                let line = 1 + feeds(&self.text[..at + found.start]);
                at += found.end;
                let (known, standing) = classify(self.source, &found.names, line);
                let data = matches!(standing, Standing::Data { .. });
                let better = best.is_none_or(|(most, _)| known > most);
                if better && !data && found.record != header {
                    best = Some((known, line));
                }
            }
        }
        best
    }
}

fn feeds(text: &[u8]) -> u64 {
    memchr_iter(b'\n', text).count() as u64
}

/// The configured comment character.
fn comment(dataset: Dataset, source: &Source) -> Result<Option<u8>> {
    let usable = |mark: char| u8::try_from(mark).ok().filter(u8::is_ascii_punctuation);
    match source.comment {
        None => Ok(None),
        Some(mark) => usable(mark).map(Some).ok_or_else(|| {
            Error::config(format!("{dataset}: comment must be one ASCII punctuation character"))
                .hint(format!("for example:\n  [{dataset}]\n  comment = \"#\""))
        }),
    }
}

/// Distinct header names that no contract column uses, over all files.
pub(super) fn ignored(files: &[SourceFile]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for file in files {
        for name in &file.header {
            let used = file.reads(name);
            let name = handed_on(name);
            if !used && !name.is_empty() && !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}
