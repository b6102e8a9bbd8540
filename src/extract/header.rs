//! Headers: reading the first record of a delimited file, and finding out what separates its fields.
//!
//! A file of its own because most failed first runs end here, and its messages are what people
//! then read. A file without a header would show a patient's first row in such a message, so
//! names are only repeated when the record looks like a header.

use super::mapping::{self, Take};
use super::{Delimited, HEADER_BYTES, SourceFile, TextStart, delimited};
use crate::config::{AUTO, Source};
use crate::error::{Error, Result};
use crate::schema::Dataset;

/// Names shown in a message, at most.
const SHOWN_NAMES: usize = 40;
/// A name with a longer run of digits is taken for an identifier.
const DIGITS_IN_A_NAME: usize = 4;

/// Separators that are tried where none is configured, in this order.
const SEPARATORS: [u8; 4] = [b',', b';', b'|', b'\t'];

/// The configured field separator; none where it is to be found out.
fn configured(dataset: Dataset, source: &Source) -> Result<Option<u8>> {
    match source.delimiter.as_bytes() {
        text if text == AUTO.as_bytes() => Ok(None),
        b"\\t" => Ok(Some(b'\t')),
        [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r' | 0) => Ok(Some(*byte)),
        _ => Err(Error::config(format!(
            "{dataset}: delimiter must be one ASCII character other than a quote or a line end"
        ))
        .hint(format!(
            "for example:\n  [{dataset}]\n  delimiter = \"|\"   # or \"\\\\t\" for a tab, or \"auto\""
        ))),
    }
}

/// The field separator: the configured one, or that with which the header has most of the contract's
/// columns. A header that has none of them is cut into as many fields as possible, so that the
/// message about it names them.
fn separator(
    dataset: Dataset,
    source: &Source,
    names: impl Fn(u8) -> Option<Vec<String>>,
) -> Result<u8> {
    if let Some(separator) = configured(dataset, source)? {
        return Ok(separator);
    }
    let (mut best, mut most) = (SEPARATORS[0], (0, 0));
    for separator in SEPARATORS {
        let names = names(separator).unwrap_or_default();
        let matches = mapping::matches(dataset, source, &names);
        let found = (matches, if matches == 0 { names.len() } else { 0 });
        if found > most {
            (best, most) = (separator, found);
        }
    }
    Ok(best)
}

/// Reads the names in the first record of a delimited file, and how the file is cut.
pub(super) fn read(
    dataset: Dataset,
    source: &Source,
    file: &SourceFile,
    start: TextStart,
) -> Result<(Vec<String>, Delimited)> {
    let path = file.path.display();
    let comment = comment(dataset, source)?;
    let TextStart { format, text, ended } = start;
    let names =
        |separator| delimited::header(&text, separator, comment, ended).map(|found| found.names);
    let separator = separator(dataset, source, names)?;
    let Some(found) = delimited::header(&text, separator, comment, ended) else {
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
            "say which it is, for example:\n  [{dataset}]\n  encoding = \"windows-1252\""
        )));
    }
    let delimited =
        Delimited { text: format, separator, comment, record: found.record, header_end: found.end };
    Ok((found.names, delimited))
}

/// The configured first character of comments.
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

/// `what`, followed by the names that were found, unless they may be data.
pub(super) fn describe(header: &[String], what: &str) -> String {
    if !looks_like_names(header) {
        return format!(
            "{what}; the first of its lines has {} fields and looks like data, not like a header",
            header.len()
        );
    }
    let shown: Vec<&str> = header.iter().take(SHOWN_NAMES).map(String::as_str).collect();
    let more = match header.len() - shown.len() {
        0 => String::new(),
        rest => format!(" and {rest} more"),
    };
    format!("{what}; the header has: {}{more}", shown.join(", "))
}

/// Whether all fields could be column names: words, no dates, amounts or identifiers, and no blanks,
/// which a first record without an amount and a date would have.
pub(super) fn looks_like_names(header: &[String]) -> bool {
    header.iter().all(|name| {
        let mut run = 0;
        let short_runs = name.chars().all(|c| {
            run = if c.is_ascii_digit() { run + 1 } else { 0 };
            run <= DIGITS_IN_A_NAME
        });
        let starts_well = name.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_');
        let plain = name.chars().all(|c| c.is_alphanumeric() || " _-.#/()".contains(c));
        short_runs && starts_well && plain && name.len() <= 64
    })
}

/// The names that no contract column uses, over all files, each once.
pub(super) fn ignored(files: &[SourceFile]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for file in files {
        for name in &file.header {
            let taken = || file.columns.values().flat_map(Take::names);
            let used = taken().any(|used| used == name) || file.filter.contains_key(name);
            if !used && !name.is_empty() && !names.contains(name) {
                names.push(name.clone());
            }
        }
    }
    names
}
