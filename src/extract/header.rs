//! Headers: reading the first record of a delimited file, and matching names to the contract.
//!
//! A file of its own because most failed first runs end here, and its messages are what people
//! then read. A file without a header would show a patient's first row in such a message, so
//! names are only repeated when the record looks like a header.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;

use super::{Compression, SourceFile, format};
use crate::config::Source;
use crate::error::{Error, ErrorKind, Result};
use crate::schema::Dataset;

/// A first record longer than this is no header.
const HEADER_BYTES: u64 = 1 << 20;
/// Names shown in a message, at most.
const SHOWN_NAMES: usize = 40;
/// A name with a longer run of digits is taken for an identifier.
const DIGITS_IN_A_NAME: usize = 4;

/// The configured field separator.
pub(super) fn separator(dataset: Dataset, source: &Source) -> Result<u8> {
    match source.delimiter.as_bytes() {
        b"\\t" => Ok(b'\t'),
        [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r' | 0) => Ok(*byte),
        _ => Err(Error::config(format!(
            "{dataset}: delimiter must be one ASCII character other than a quote or a line end"
        ))
        .hint(format!(
            "for example:\n  [{dataset}]\n  delimiter = \"|\"   # or \"\\\\t\" for a tab"
        ))),
    }
}

/// Reads the names in the first record of a delimited file: without a byte-order mark, trimmed.
pub(super) fn read_delimited(
    dataset: Dataset,
    source: &Source,
    path: &Path,
    compression: Compression,
) -> Result<Vec<String>> {
    let io = |error: &std::io::Error| Error::io(ErrorKind::Source, path, error).context(dataset);
    let delimiter = separator(dataset, source)?;
    let reader = format::open(dataset, path, compression)?;
    let mut records = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        .flexible(true)
        .from_reader(reader.take(HEADER_BYTES));
    let mut record = csv::ByteRecord::new();
    let found = records.read_byte_record(&mut record).map_err(|error| match error.into_kind() {
        csv::ErrorKind::Io(error) => match compression {
            Compression::None => io(&error),
            _ => format::cannot_be_unpacked(dataset, path),
        },
        _ => Error::source(format!("{dataset}: {} has no readable header", path.display())),
    })?;
    if !found {
        return Err(Error::source(format!("{dataset}: {} holds no header", path.display()))
            .hint("the first line must name the columns"));
    }
    if records.position().byte() >= HEADER_BYTES {
        return Err(Error::source(format!(
            "{dataset}: the first record of {} does not end within {} KiB",
            path.display(),
            HEADER_BYTES >> 10
        ))
        .hint("look for a quote that is not closed, and check the delimiter"));
    }
    names(&record).ok_or_else(|| {
        Error::source(format!("{dataset}: the header of {} is not UTF-8 text", path.display()))
            .hint("convert the file first, for example: iconv -f UTF-16 -t UTF-8 IN > OUT")
    })
}

fn names(record: &csv::ByteRecord) -> Option<Vec<String>> {
    record
        .iter()
        .map(|field| {
            let text = std::str::from_utf8(field).ok()?;
            let name = text.trim_start_matches('\u{feff}').trim();
            (!name.contains('\0')).then(|| name.to_owned())
        })
        .collect()
}

/// Finds the header name of every contract column.
pub(super) fn match_contract(
    dataset: Dataset,
    source: &Source,
    place: &str,
    header: &[String],
) -> Result<BTreeMap<&'static str, String>> {
    check_mapping(dataset, source)?;
    let mut columns = BTreeMap::new();
    let mut missing = Vec::new();
    for column in dataset.columns() {
        let mapped = source.columns.get(column);
        let wanted = mapped.map_or(column, String::as_str);
        let hits: Vec<&String> = header.iter().filter(|name| same(name, wanted)).collect();
        match (hits.as_slice(), mapped) {
            ([name], _) => {
                columns.insert(column, (*name).clone());
            }
            ([], Some(name)) => {
                return Err(Error::config(format!(
                    "{place}: [{dataset}.columns] maps {column} to \"{name}\", but {}",
                    describe(header, "there is no such column")
                ))
                .hint("correct the name in the configuration, or remove the line"));
            }
            ([], None) if dataset.required().contains(&column) => missing.push(column),
            ([], None) => {}
            (several, _) => {
                return Err(Error::config(format!(
                    "{place}: {} columns are named \"{wanted}\", so {column} is ambiguous",
                    several.len()
                ))
                .hint(format!(
                    "give them different names, or map {column} to another in [{dataset}.columns]"
                )));
            }
        }
    }
    if missing.is_empty() {
        return Ok(columns);
    }
    let what = format!("no column for {}", missing.join(", "));
    let error = Error::config(format!("{place}: {}", describe(header, &what)));
    Err(if looks_like_names(header) {
        error.hint(mapping_lines(dataset, &missing, header, &columns))
    } else {
        error.hint("the first line must name the columns; check the delimiter too")
    })
}

/// Whether two names are the same: without regard to case and surrounding blanks.
fn same(one: &str, other: &str) -> bool {
    one.trim().to_lowercase() == other.trim().to_lowercase()
}

fn check_mapping(dataset: Dataset, source: &Source) -> Result<()> {
    let known: Vec<&str> = dataset.columns().collect();
    match source.columns.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(Error::config(format!(
            "[{dataset}.columns] maps \"{key}\", which is not a column of {dataset}"
        ))
        .hint(format!("the columns are: {}", known.join(", ")))),
        None => Ok(()),
    }
}

/// `what`, followed by the names that were found, unless they may be data.
fn describe(header: &[String], what: &str) -> String {
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
fn looks_like_names(header: &[String]) -> bool {
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

/// The lines to write into the configuration, with what each missing column may be called.
fn mapping_lines(
    dataset: Dataset,
    missing: &[&str],
    header: &[String],
    columns: &BTreeMap<&'static str, String>,
) -> String {
    let free: Vec<&str> = header
        .iter()
        .filter(|name| !name.is_empty() && !columns.values().any(|taken| taken == *name))
        .map(String::as_str)
        .collect();
    let mut lines = format!("say in the configuration how they are named:\n  [{dataset}.columns]");
    for column in missing {
        let close: Vec<&str> = free.iter().copied().filter(|name| close(column, name)).collect();
        let offered = if close.is_empty() { &free } else { &close };
        let offered: Vec<&str> = offered.iter().copied().take(SHOWN_NAMES).collect();
        // Writing to a String cannot fail.
        let _ = match offered.as_slice() {
            [only] if !close.is_empty() => write!(lines, "\n  {column} = \"{only}\""),
            several => write!(lines, "\n  {column} = \"…\"   # one of: {}", several.join(", ")),
        };
    }
    lines
}

/// Whether a header name shares a telling word with a contract column.
fn close(column: &str, name: &str) -> bool {
    let plain = |text: &str| -> String {
        text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    let (name, whole) = (plain(name), plain(column));
    name.contains(&whole)
        || whole.contains(&name)
        || column.split('_').any(|word| word.len() > 3 && name.contains(word))
}

/// The names that no contract column uses, over all files, each once.
pub(super) fn ignored(files: &[SourceFile]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for file in files {
        for name in &file.header {
            let used = file.columns.values().any(|column| column == name);
            if !used && !name.is_empty() && !names.contains(name) {
                names.push(name.clone());
            }
        }
    }
    names
}
