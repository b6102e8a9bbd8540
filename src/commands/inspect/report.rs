//! What is found out about a file before it is loaded.
//!
//! It holds names, counts, lengths, sums and dates, never the text of an identifying column.

use chrono::NaiveDate;
use serde::Serialize;

use super::code_systems::SystemCount;
use super::column_profile::KindCount;
use crate::extract::{Census, Compression, Format, Look};
use crate::pipeline::damaged_ids::DamagedIds;
use crate::pipeline::report::ErrorReport;
use crate::schema::Dataset;
use crate::totals::{Cents, ClaimCounts, Example, ProviderCounts, Reversals};

/// All that is found out about one source.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct InspectionReport {
    /// As it was named.
    pub(crate) source: String,
    /// What it is taken for; none where it is like neither.
    pub(crate) dataset: Option<Dataset>,
    /// How it is written.
    pub(crate) shape: Shape,
    /// The contract's columns and where they come from.
    pub(crate) columns: Vec<ColumnReport>,
    /// Names in the header that are not loaded.
    pub(crate) ignored: Vec<String>,
    /// The mapping that the figures are based on, where the configured one does not fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) assumed: Option<String>,
    /// Rows that would be read; none where they cannot be.
    pub(crate) read: Option<u64>,
    /// Rows that `where` leaves out.
    pub(crate) filtered: u64,
    /// Rows that would be rejected.
    pub(crate) rejected: u64,
    /// Claim lines that have the claim id and line number of another one; none where rows were not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) repeats: Option<Repeats>,
    /// The header name that line numbers are read from without being mapped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line_column: Option<String>,
    /// Sum of the amounts that can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) amount: Option<Cents>,
    /// The first and the last date of service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dates: Option<(NaiveDate, NaiveDate)>,
    /// Code systems that procedure codes look like, and how many codes there are.
    pub(crate) code_systems: Vec<SystemCount>,
    /// Procedure codes.
    pub(crate) codes: u64,
    /// Rules that rows break.
    pub(crate) rules: Vec<RuleCount>,
    /// Rules that cannot be judged here, in words.
    pub(crate) left_out: Vec<String>,
    /// The counts of a directory's records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) providers: Option<ProviderCounts>,
    /// Share of rejects above which a run is refused.
    pub(crate) max_reject_ratio: f64,
    /// Why a run would not go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<ErrorReport>,
    /// The exit code that a run would end with because of this source.
    pub(crate) exit_code: u8,
}

/// Rows that a run would drop because another one has their claim id and line number.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Repeats {
    /// With the same content.
    pub(crate) duplicates: u64,
    /// With other content.
    pub(crate) conflicts: u64,
    /// Claim lines with rows that cancel one another.
    pub(crate) reversals: u64,
    /// Header names that look like a line number and are not read as one, the most likely first.
    pub(crate) line_columns: Vec<String>,
}

impl InspectionReport {
    /// The counts of rows that a run would be judged by.
    pub(crate) fn counts(&self) -> (ClaimCounts, Reversals) {
        let repeats = self.repeats.as_ref();
        let of = |count: fn(&Repeats) -> u64| repeats.map_or(0, count);
        let claims = ClaimCounts {
            read: self.read.unwrap_or(0),
            rejected: self.rejected,
            duplicates: of(|repeats| repeats.duplicates),
            conflicts: of(|repeats| repeats.conflicts),
            ..ClaimCounts::default()
        };
        (claims, Reversals { lines: of(|repeats| repeats.reversals), ..Reversals::default() })
    }

    /// A source of which nothing is known.
    pub(crate) fn new(source: String, max_reject_ratio: f64) -> Self {
        Self {
            source,
            dataset: None,
            shape: Shape::default(),
            columns: Vec::new(),
            ignored: Vec::new(),
            assumed: None,
            read: None,
            filtered: 0,
            rejected: 0,
            repeats: None,
            line_column: None,
            amount: None,
            dates: None,
            code_systems: Vec::new(),
            codes: 0,
            rules: Vec::new(),
            left_out: Vec::new(),
            providers: None,
            max_reject_ratio,
            error: None,
            exit_code: 0,
        }
    }
}

/// How a file is written, as far as it can be recognised.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Shape {
    /// Files, where a folder or a pattern names several.
    pub(crate) files: usize,
    /// Their size.
    pub(crate) bytes: Option<u64>,
    /// How rows are written.
    pub(crate) format: Option<Format>,
    /// How bytes are packed.
    pub(crate) compression: Option<Compression>,
    /// What separates fields.
    pub(crate) separator: Option<char>,
    /// The text's encoding.
    pub(crate) encoding: Option<String>,
    /// Whether it begins with a byte-order mark.
    pub(crate) byte_order_mark: bool,
    /// `LF`, `CRLF`, `CR`, or `mixed`.
    pub(crate) line_ends: Option<&'static str>,
    pub(crate) header_columns: usize,
    /// Whether the first record may be data instead of a header.
    pub(crate) headless: bool,
    /// Blank lines among the records.
    pub(crate) blank_lines: u64,
    /// Comments among the records.
    pub(crate) comments: u64,
}

impl Shape {
    /// What its start shows.
    pub(crate) fn of(look: &Look) -> Self {
        let delimited = look.delimited.as_ref();
        let text = delimited.map(|delimited| delimited.text);
        let line_ends = match look.line_ends {
            _ if text.is_some_and(|text| text.has_old_line_ends()) => Some("CR"),
            (0, 0) => None,
            (0, _) => Some("LF"),
            (_, 0) => Some("CRLF"),
            _ => Some("mixed"),
        };
        Self {
            files: usize::from(look.bytes.is_some()),
            bytes: look.bytes,
            format: look.format,
            compression: look.compression,
            separator: delimited.map(|delimited| delimited.separator.into()),
            encoding: text.map(|text| text.encoding().to_owned()),
            byte_order_mark: text.is_some_and(|text| text.has_byte_order_mark()),
            line_ends: line_ends.filter(|_| look.format == Some(Format::Csv)),
            header_columns: look.fields,
            headless: look.headless,
            blank_lines: 0,
            comments: 0,
        }
    }

    /// Adds what only whole files show about their lines.
    pub(crate) fn count_lines(&mut self, census: &[Census]) {
        let sum = |of: fn(&Census) -> u64| -> u64 { census.iter().map(of).sum() };
        self.blank_lines = sum(|census| census.blank_lines);
        self.comments = sum(|census| census.comments);
        let pairs = sum(|census| census.carriage_returns);
        let lines = sum(|census| census.records) + self.blank_lines + self.comments;
        // The last line of each file may lack its end.
        let last = census.len() as u64;
        match self.line_ends {
            Some("LF") if pairs > 0 => self.line_ends = Some("mixed"),
            Some("CRLF") if pairs + last < lines => self.line_ends = Some("mixed"),
            _ => {}
        }
    }
}

/// A column of the contract in this file.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ColumnReport {
    /// The contract's name.
    pub(crate) column: &'static str,
    /// Whether a source must have it.
    pub(crate) required: bool,
    /// Where it comes from; none where it is missing.
    pub(crate) from: Option<String>,
    /// Header names that it may have, the most likely first.
    pub(crate) proposals: Vec<String>,
    /// Identifiers that exports have damaged, and placeholders; none where there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) damaged: Option<DamagedIds>,
    /// What its texts are like; none where they were not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) profile: Option<ProfileReport>,
}

/// What the texts of a column are like.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ProfileReport {
    pub(crate) rows: u64,
    /// Rows with a text.
    pub(crate) filled: u64,
    /// Kinds of texts, the most frequent first.
    pub(crate) kinds: Vec<KindCount>,
    /// Signs of the shortest text.
    pub(crate) shortest: Option<usize>,
    /// Signs of the longest text.
    pub(crate) longest: Option<usize>,
}

/// How many rows break a rule.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct RuleCount {
    /// `reject`, `flag` or `count`.
    pub(crate) severity: String,
    /// The rule's id.
    pub(crate) rule: &'static str,
    pub(crate) name: &'static str,
    pub(crate) description: &'static str,
    /// Rows that break it.
    pub(crate) rows: u64,
    /// The first of them; of rejects only.
    pub(crate) examples: Vec<Example>,
}
