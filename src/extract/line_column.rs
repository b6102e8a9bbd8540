//! Detects an unmapped line number column.
//!
//! Without line numbers all lines of a claim share one key, and all but one of them are lost. So a
//! column with the name and the values of a line number is read as such; a column that has only one
//! of the two is suggested.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use polars::prelude::{Column, DataFrame, PolarsError, StringChunked};

use super::extracted::Extracted;
use super::format::Format;
use super::line_name::{Likeness, likeness};
use super::mapping::Take;
use super::name::{may_be_a_value, same};
use super::parquet_file;
use super::scan::scan;
use super::source_file::SourceFile;
use crate::config::{Pattern, Source};
use crate::error::{Error, Result};
use crate::schema::{DAMAGE, Dataset};

/// Contract column.
const LINE_NUMBER: &str = "line_number";
/// Maximum number of records examined, in up to [`FILES`] files until there are [`MIN_ROWS`].
const RECORDS: usize = 20_000;
const MIN_ROWS: usize = 1_000;
const FILES: usize = 4;
/// Largest line number accepted on content alone.
const MAX_LINE_NUMBER: i16 = 999;
/// Contract columns through which candidates are read, several at once.
const CARRIERS: [&str; 6] =
    ["patient_id", "provider_id", "procedure_code", "amount", "date_of_service", LINE_NUMBER];

/// Result of the search for an unmapped line number.
#[derive(Debug, Default)]
pub(super) struct Recognised {
    /// The recognised column.
    pub(super) name: Option<String>,
    /// Why a column named like a line number is not used.
    pub(super) warning: Option<String>,
}

/// Reads the line number of claims from an unmapped column if exactly one has a matching name and
/// matching values.
///
/// # Errors
/// `Source` when a file cannot be read.
pub(super) fn recognise(
    dataset: Dataset,
    source: &Source,
    files: &mut [SourceFile],
) -> Result<Recognised> {
    let is_open = |file: &SourceFile| is_open(dataset, source, file);
    let Some(first) = files.iter().find(|file| is_open(file)) else {
        return Ok(Recognised::default());
    };
    let (mut fitting, named, mut is_empty) = (Vec::new(), by_name(first), true);
    for (name, how) in named.clone() {
        let mut sampled = SampledRows::default();
        for file in files.iter().filter(|file| is_open(file)).take(FILES) {
            if let Some(name) = spelled(file, &name)
                && sampled.rows.len() < MIN_ROWS
            {
                sampled.add(&Extracted::only(dataset, reading(file, &name)))?;
            }
        }
        is_empty &= sampled.rows.is_empty();
        if sampled.numbers_lines(Some(how)) {
            fitting.push((name, how));
        }
    }
    let strongest = fitting.iter().map(|(_, how)| *how).max();
    fitting.retain(|(_, how)| Some(*how) == strongest);
    let [(name, _)] = fitting.as_slice() else {
        let why = match fitting.as_slice() {
            [] => "its values do not number the lines of each claim",
            _ => "another column does so too",
        };
        let strong = named.iter().find(|(_, how)| *how == Likeness::Strong);
        let warning = strong.filter(|_| !is_empty).map(|(name, _)| not_read(name, why));
        return Ok(Recognised { name: None, warning });
    };
    for file in files.iter_mut().filter(|file| is_open(file)) {
        if let Some(name) = spelled(file, name) {
            *file = reading(file, &name);
        }
    }
    let without = files.iter().filter(|file| is_open(file)).count();
    let warning = (without > 0).then(|| {
        let all = files.len();
        format!(
            "claims: {without} of {all} files have no column {name:?}; each row of theirs is line 1 of its claim"
        )
    });
    Ok(Recognised { name: Some(name.clone()), warning })
}

/// Warning: without line numbers every claim line is line 1.
pub(super) fn not_read(name: &str, why: &str) -> String {
    format!(
        "claims: column {name:?} is not read as the line number: {why}; each row is line 1 of its claim. If it is \
         the line number, map it: line_number = {name:?} in [claims.columns]"
    )
}

/// Whether the file has no line number source and the mapping does not declare that.
pub(super) fn is_open(dataset: Dataset, source: &Source, file: &SourceFile) -> bool {
    dataset == Dataset::Claims
        && !source.columns.contains_key(LINE_NUMBER)
        && !file.columns.contains_key(LINE_NUMBER)
}

/// Header names that look like line numbers but are not read, most likely first: name and content,
/// then content alone.
#[must_use]
pub(crate) fn likely_line_columns(extracted: &Extracted) -> Vec<String> {
    if extracted.dataset != Dataset::Claims {
        return Vec::new();
    }
    candidates(extracted).unwrap_or_default()
}

fn candidates(extracted: &Extracted) -> Result<Vec<String>> {
    let Some(file) = extracted.files.first() else { return Ok(Vec::new()) };
    let mut found: Vec<(Option<Likeness>, String)> = Vec::new();
    let free = exact(file, free(file), |name| name);
    // For a database only the query result is available.
    let free = if file.format == Format::Database { Vec::new() } else { free };
    let mut rows = SampledRows::default();
    rows.add(&Extracted::only(extracted.dataset, without_line(file)))?;
    for names in free.chunks(CARRIERS.len()) {
        let mut carrying = file.clone();
        carrying.columns.retain(|column, _| *column == "claim_id");
        for (carrier, name) in CARRIERS.iter().zip(names) {
            carrying.columns.insert(carrier, take(name));
        }
        let Some(frame) = first_rows(&Extracted::only(extracted.dataset, carrying))? else { break };
        for (carrier, name) in CARRIERS.iter().zip(names) {
            let texts = texts(&frame, carrier)?;
            let how = likeness(name);
            if rows.with_lines(&numbers(texts)).numbers_lines(how) {
                found.push((how, name.clone()));
            }
        }
    }
    // Stable sort: ties keep header order.
    found.sort_by_key(|(how, _)| std::cmp::Reverse(*how));
    let names = found.into_iter().map(|(_, name)| name);
    Ok(names.filter(|name| !may_be_a_value(name)).collect())
}

/// Header names that are typical of line numbers.
pub(super) fn by_name(file: &SourceFile) -> Vec<(String, Likeness)> {
    let named = free(file).into_iter().filter_map(|name| likeness(&name).map(|how| (name, how)));
    exact(file, named.collect(), |(name, _)| name)
}

/// Filters out columns whose text form is inexact.
fn exact<T>(file: &SourceFile, mut columns: Vec<T>, name: impl Fn(&T) -> &String) -> Vec<T> {
    if file.format == Format::Parquet && !columns.is_empty() {
        let opened = parquet_file::open(Dataset::Claims, file).ok();
        columns.retain(|column| {
            opened.as_ref().is_some_and(|opened| opened.is_number_or_text(name(column)))
        });
    }
    columns
}

/// Unused header names that occur once.
fn free(file: &SourceFile) -> Vec<String> {
    let once = |name: &str| file.header.iter().filter(|other| same(other, name)).count() == 1;
    let is_free = |name: &&String| !name.is_empty() && !file.reads(name) && once(name);
    file.header.iter().filter(is_free).cloned().collect()
}

/// The file's spelling of an unused name.
fn spelled(file: &SourceFile, name: &str) -> Option<String> {
    free(file).into_iter().find(|own| same(own, name))
}

fn take(name: &str) -> Take {
    Take::Fields(Pattern::Name(name.to_owned()))
}

/// The file with its line number read from `name`.
pub(super) fn reading(file: &SourceFile, name: &str) -> SourceFile {
    let mut file = file.clone();
    file.columns.insert(LINE_NUMBER, take(name));
    file
}

/// The file without a line number column.
pub(super) fn without_line(file: &SourceFile) -> SourceFile {
    let mut file = file.clone();
    file.columns.remove(LINE_NUMBER);
    file
}

/// Whether the values of the file's line number column are line numbers.
///
/// # Errors
/// `Source` when the file cannot be read.
pub(super) fn fits(extracted: &Extracted, how: Likeness) -> Result<bool> {
    let mut sampled = SampledRows::default();
    sampled.add(extracted)?;
    Ok(sampled.numbers_lines(Some(how)))
}

/// First rows of a file as text; `None` when it has no records.
fn first_rows(extracted: &Extracted) -> Result<Option<DataFrame>> {
    let blocks = scan(extracted);
    let Some(block) = blocks.next_block()? else { return Ok(None) };
    let frame = block.frame()?.collect();
    // Polars errors can quote cells.
    let frame = frame.map_err(|_| Error::source("the first records cannot be read"))?;
    let sound = frame.column(DAMAGE).map_err(incomplete)?.is_null();
    frame.filter(&sound).map(|frame| Some(frame.head(Some(RECORDS)))).map_err(incomplete)
}

fn incomplete(_: PolarsError) -> Error {
    Error::internal("a column is missing from a block")
}

fn texts<'a>(frame: &'a DataFrame, column: &str) -> Result<&'a StringChunked> {
    frame.column(column).and_then(Column::str).map_err(incomplete)
}

/// Value of a line number field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Line {
    Blank,
    Number(i16),
    Other,
}

fn numbers(texts: &StringChunked) -> Vec<Line> {
    let line = |text: Option<&str>| match text.map(str::trim) {
        None | Some("") => Line::Blank,
        Some(text) => line_number(text).map_or(Line::Other, Line::Number),
    };
    texts.iter().map(line).collect()
}

/// Parses an integer, also in the float form that programs use for nullable columns (`1.0`).
fn line_number(text: &str) -> Option<i16> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let is_plain = !whole.is_empty() && whole.bytes().all(|byte| byte.is_ascii_digit());
    whole.parse().ok().filter(|_| is_plain && rest.bytes().all(|byte| byte == b'0'))
}

/// Sampled rows: claim, hash of the other columns, line number.
#[derive(Debug, Clone, Default)]
struct SampledRows {
    rows: Vec<(u64, u64, Line)>,
}

impl SampledRows {
    /// Adds the first rows of a file.
    fn add(&mut self, extracted: &Extracted) -> Result<()> {
        let Some(frame) = first_rows(extracted)? else { return Ok(()) };
        let mut contents = vec![DefaultHasher::new(); frame.height()];
        let mut claims = contents.clone();
        for column in Dataset::Claims.columns().filter(|column| *column != LINE_NUMBER) {
            for (hasher, text) in contents.iter_mut().zip(texts(&frame, column)?.iter()) {
                text.map(str::trim).hash(hasher);
            }
        }
        for (hasher, text) in claims.iter_mut().zip(texts(&frame, "claim_id")?.iter()) {
            text.map(str::trim).hash(hasher);
        }
        let lines = numbers(texts(&frame, LINE_NUMBER)?);
        let rows = claims.iter().zip(&contents).zip(lines);
        self.rows
            .extend(rows.map(|((claim, content), line)| (claim.finish(), content.finish(), line)));
        Ok(())
    }

    /// Whether `values` line numbers of `claims` claims are plausible although few claims start at
    /// 1: a file may contain only later lines.
    fn may_restart(&self, values: usize, claims: usize) -> bool {
        let in_order = self.rows.iter().zip(1..).all(|((.., line), expected)| {
            *line == Line::Number(expected) || *line == Line::Number(expected - 1)
        });
        values * 2 <= self.rows.len() || self.rows.len() < 10 && (claims == 1 || !in_order)
    }

    /// The same rows with line numbers from another column.
    fn with_lines(&self, lines: &[Line]) -> Self {
        let rows = self.rows.iter().zip(lines);
        Self { rows: rows.map(|(&(claim, content, _), &line)| (claim, content, line)).collect() }
    }

    /// Whether the values number claim lines; `how`: likeness of the name, if any. Row numbers do
    /// not qualify: they start once, not once per claim.
    fn numbers_lines(&self, how: Option<Likeness>) -> bool {
        let mut blank = 0;
        let mut keys = HashSet::new();
        let mut different = HashSet::new();
        let mut values = HashSet::new();
        let mut claims: HashMap<u64, (i16, i16, usize)> = HashMap::new();
        for &(claim, content, line) in &self.rows {
            let line = match line {
                Line::Other => return false,
                Line::Number(line) => line,
                Line::Blank => {
                    blank += 1;
                    continue;
                }
            };
            different.insert((claim, content, line));
            values.insert(line);
            let (first, last, count) = claims.entry(claim).or_insert((line, line, 0));
            (*first, *last) = ((*first).min(line), (*last).max(line));
            *count += usize::from(keys.insert((claim, line)));
        }
        let (rows, claims_seen) = (different.len(), claims.len());
        let (repeats, unexplained) = (rows - claims_seen, rows - keys.len());
        let begun = claims.values().filter(|(first, ..)| *first <= 1).count();
        let small = values.iter().all(|line| *line <= MAX_LINE_NUMBER);
        let restarts = begun * 2 > claims_seen
            || small && rows >= 50 && values.len() * 10 <= rows
            || small
                && how == Some(Likeness::Strong)
                && self.may_restart(values.len(), claims_seen);
        match how {
            _ if rows == 0 || blank * 20 > self.rows.len() || !restarts => false,
            Some(Likeness::Strong) => unexplained * 2 <= repeats,
            Some(Likeness::Weak) => repeats > 0 && unexplained * 2 <= repeats,
            None => {
                let of_several = || claims.values().filter(|(.., count)| *count > 1);
                let whole = of_several().filter(|(first, last, count)| {
                    *first == 1 && usize::try_from(*last) == Ok(*count)
                });
                blank == 0
                    && small
                    && values.iter().all(|line| *line >= 1)
                    && repeats > 1
                    && unexplained * 20 <= repeats
                    && whole.count() * 2 > of_several().count()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampled(rows: &[(u64, u64, i16)]) -> SampledRows {
        SampledRows { rows: rows.iter().map(|&(c, d, line)| (c, d, Line::Number(line))).collect() }
    }

    const HOW: [Option<Likeness>; 3] = [Some(Likeness::Strong), Some(Likeness::Weak), None];

    fn verdicts(rows: &SampledRows) -> [bool; 3] {
        HOW.map(|how| rows.numbers_lines(how))
    }

    #[test]
    fn numbers_are_whole_also_with_zeros_behind_the_point() {
        for (text, number) in
            [("1", Some(1)), ("007", Some(7)), ("1.0", Some(1)), ("12.", Some(12))]
        {
            assert_eq!(line_number(text), number, "{text}");
        }
        for text in ["", "-1", "1.5", "+1", "1 2", "a", ".0", "99999", "1e3", "1,000"] {
            assert_eq!(line_number(text), None, "{text}");
        }
    }

    #[test]
    fn lines_of_claims_are_told_from_numbers_of_rows() {
        let lines = sampled(&[(1, 1, 1), (1, 2, 2), (1, 3, 3), (2, 4, 1), (2, 5, 2), (3, 6, 1)]);
        assert_eq!(verdicts(&lines), [true; 3]);
        let rows = sampled(&[(1, 1, 1), (1, 2, 2), (1, 3, 3), (2, 4, 4), (2, 5, 5), (3, 6, 6)]);
        assert_eq!(verdicts(&rows), [false; 3]);
        let units = sampled(&[(1, 1, 1), (1, 2, 1), (1, 3, 2), (2, 4, 1), (2, 5, 1), (3, 6, 4)]);
        assert_eq!(verdicts(&units), [false; 3]);
        // Single-line claims do not contradict a line number name.
        let single = sampled(&[(1, 1, 1), (2, 2, 1), (3, 3, 1)]);
        assert_eq!(verdicts(&single), [true, false, false]);
        // Gaps: denied lines are omitted from the file.
        let gaps = sampled(&[(1, 1, 1), (1, 2, 4), (2, 3, 1), (2, 4, 3)]);
        assert_eq!(verdicts(&gaps), [true, true, false]);
        assert_eq!(verdicts(&SampledRows::default()), [false; 3]);
    }

    #[test]
    fn a_file_of_lines_that_came_later_is_read_alike() {
        for lines in [&[(1, 1, 2)][..], &[(1, 1, 3), (2, 2, 2)], &[(1, 1, 2), (1, 2, 3), (2, 3, 2)]]
        {
            assert!(verdicts(&sampled(lines))[0], "{lines:?}");
        }
        let later: Vec<(u64, u64, i16)> =
            (0..30).map(|n| (n, n, i16::try_from(n % 4).expect("small") + 2)).collect();
        assert_eq!(verdicts(&sampled(&later)), [true, false, false]);
        let numbered: Vec<(u64, u64, i16)> =
            (0..30).map(|n| (n / 2, n, i16::try_from(n).expect("small") + 500)).collect();
        assert_eq!(verdicts(&sampled(&numbered)), [false; 3]);
    }

    #[test]
    fn rows_that_come_twice_say_nothing_against_a_column() {
        let once = [(1, 1, 1), (1, 2, 2), (2, 3, 1), (2, 4, 2)];
        assert_eq!(verdicts(&sampled(&[once, once].concat())), [true; 3]);
        // Different content with the same line number: a reversal, or not a line number.
        let reversed = [(1, 1, 1), (1, 2, 2), (1, 9, 2), (2, 3, 1), (2, 4, 2)];
        assert_eq!(verdicts(&sampled(&reversed)), [true, true, false]);
    }

    #[test]
    fn a_part_of_scattered_lines_is_known_by_its_few_values() {
        let rows: Vec<(u64, u64, i16)> =
            (0..200).map(|n| (n, n, i16::try_from(n % 7).expect("small") + 2)).collect();
        assert_eq!(verdicts(&sampled(&rows)), [true, false, false]);
    }

    #[test]
    fn blanks_are_borne_if_they_are_few_and_the_name_fits() {
        let mut rows = sampled(&[(1, 1, 1), (1, 2, 2), (2, 3, 1), (2, 4, 2)]);
        rows.rows.push((3, 5, Line::Blank));
        assert_eq!(verdicts(&rows), [false; 3]);
        for n in 10..60 {
            rows.rows.push((n, n, Line::Number(1)));
        }
        assert_eq!(verdicts(&rows), [true, true, false]);
        rows.rows.push((99, 99, Line::Other));
        assert_eq!(verdicts(&rows), [false; 3]);
    }
}
