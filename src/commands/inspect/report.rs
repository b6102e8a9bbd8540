//! Report on a file before it is loaded.
//!
//! Contains names, counts, lengths, sums and dates, never values of identifying columns.

use chrono::NaiveDate;
use serde::Serialize;

use super::code_systems::SystemCount;
use super::column_profile::KindCount;
use crate::extract::{Census, Compression, Format, Preview};
use crate::pipeline::damaged_ids::DamagedIds;
use crate::pipeline::report::ErrorReport;
use crate::schema::Dataset;
use crate::totals::{Cents, ClaimCounts, Example, ProviderCounts, Reversals};

/// Report on one source.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct InspectionReport {
    /// As given by the user.
    pub(crate) source: String,
    /// The detected input; `None` if it resembles neither.
    pub(crate) dataset: Option<Dataset>,
    /// Format.
    pub(crate) shape: Shape,
    /// Contract columns and their sources.
    pub(crate) columns: Vec<ColumnReport>,
    /// Header names that are not loaded.
    pub(crate) ignored: Vec<String>,
    /// The mapping behind the figures, if the configured one does not fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) assumed: Option<String>,
    /// Rows that would be read; `None` if unreadable.
    pub(crate) read: Option<u64>,
    /// Rows excluded by the filter.
    pub(crate) filtered: u64,
    /// Rows that would be rejected.
    pub(crate) rejected: u64,
    /// Claim lines with duplicate keys; `None` if rows were not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) repeats: Option<Repeats>,
    /// The unmapped header name recognised as the line number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line_column: Option<String>,
    /// Sum of the readable amounts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) amount: Option<Cents>,
    /// First and last date of service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dates: Option<(NaiveDate, NaiveDate)>,
    /// Matching code systems, with counts.
    pub(crate) code_systems: Vec<SystemCount>,
    /// Number of procedure codes.
    pub(crate) codes: u64,
    /// Broken rules.
    pub(crate) rules: Vec<RuleCount>,
    /// Rules that cannot be checked here.
    pub(crate) left_out: Vec<String>,
    /// Record counts of a directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) providers: Option<ProviderCounts>,
    /// Maximum reject ratio of a run.
    pub(crate) max_reject_ratio: f64,
    /// Why a run would fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<ErrorReport>,
    /// Exit code of a run with this source.
    pub(crate) exit_code: u8,
}

/// Rows a run would drop because of duplicate claim id and line number.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Repeats {
    /// With equal content.
    pub(crate) duplicates: u64,
    /// With different content.
    pub(crate) conflicts: u64,
    /// Claim lines with rows that cancel out.
    pub(crate) reversals: u64,
    /// Unmapped header names that look like line numbers, most likely first.
    pub(crate) line_columns: Vec<String>,
}

impl InspectionReport {
    /// Counts relevant to a run's quality gates.
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

    /// Report of an unread source.
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

/// Format of a file, as far as recognised.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Shape {
    /// Number of files, for a folder or pattern.
    pub(crate) files: usize,
    /// Total size.
    pub(crate) bytes: Option<u64>,
    pub(crate) format: Option<Format>,
    pub(crate) compression: Option<Compression>,
    /// Field separator.
    pub(crate) separator: Option<char>,
    /// Text encoding.
    pub(crate) encoding: Option<String>,
    /// Whether it starts with a byte-order mark.
    pub(crate) byte_order_mark: bool,
    /// `LF`, `CRLF`, `CR`, or `mixed`.
    pub(crate) line_ends: Option<&'static str>,
    pub(crate) header_columns: usize,
    /// Whether the first record may be data, not a header.
    pub(crate) headless: bool,
    /// Number of blank lines.
    pub(crate) blank_lines: u64,
    /// Number of comment lines.
    pub(crate) comments: u64,
}

impl Shape {
    /// Format from the start of the file.
    pub(crate) fn of(preview: &Preview) -> Self {
        let delimited = preview.delimited.as_ref();
        let text = delimited.map(|delimited| delimited.text);
        let line_ends = match preview.line_ends {
            _ if text.is_some_and(|text| text.has_old_line_ends()) => Some("CR"),
            (0, 0) => None,
            (0, _) => Some("LF"),
            (_, 0) => Some("CRLF"),
            _ => Some("mixed"),
        };
        Self {
            files: usize::from(preview.bytes.is_some()),
            bytes: preview.bytes,
            format: preview.format,
            compression: preview.compression,
            separator: delimited.map(|delimited| delimited.separator.into()),
            encoding: text.map(|text| text.encoding().to_owned()),
            byte_order_mark: text.is_some_and(|text| text.has_byte_order_mark()),
            line_ends: line_ends.filter(|_| preview.format == Some(Format::Csv)),
            header_columns: preview.fields,
            headless: preview.headless,
            blank_lines: 0,
            comments: 0,
        }
    }

    /// Adds line counts that require reading whole files.
    pub(crate) fn count_lines(&mut self, census: &[Census]) {
        let sum = |of: fn(&Census) -> u64| -> u64 { census.iter().map(of).sum() };
        self.blank_lines = sum(|census| census.blank_lines);
        self.comments = sum(|census| census.comments);
        let pairs = sum(|census| census.carriage_returns);
        let lines = sum(|census| census.records) + self.blank_lines + self.comments;
        // The last line of each file may have no line ending.
        let last = census.len() as u64;
        match self.line_ends {
            Some("LF") if pairs > 0 => self.line_ends = Some("mixed"),
            Some("CRLF") if pairs + last < lines => self.line_ends = Some("mixed"),
            _ => {}
        }
    }
}

/// A contract column in this file.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ColumnReport {
    /// Contract column name.
    pub(crate) column: &'static str,
    /// Whether it is mandatory.
    pub(crate) required: bool,
    /// Its source; `None` if missing.
    pub(crate) from: Option<String>,
    /// Suggested header names, most likely first.
    pub(crate) proposals: Vec<String>,
    /// Damaged and placeholder identifiers; `None` if all are intact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) damaged: Option<DamagedIds>,
    /// Profile of its values; `None` if not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) profile: Option<ProfileReport>,
}

/// Profile of a column's values.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ProfileReport {
    pub(crate) rows: u64,
    /// Non-empty rows.
    pub(crate) filled: u64,
    /// Kinds of values, most frequent first.
    pub(crate) kinds: Vec<KindCount>,
    /// Minimum length in characters.
    pub(crate) shortest: Option<usize>,
    /// Maximum length in characters.
    pub(crate) longest: Option<usize>,
}

/// Rows that break a rule.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct RuleCount {
    /// `reject`, `flag` or `count`.
    pub(crate) severity: String,
    /// Rule id.
    pub(crate) rule: &'static str,
    pub(crate) name: &'static str,
    pub(crate) description: &'static str,
    /// Number of rows.
    pub(crate) rows: u64,
    /// First rows, for rejects only.
    pub(crate) examples: Vec<Example>,
}
