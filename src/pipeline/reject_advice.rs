//! When too many rows are rejected: what most of them have in common, and what to set.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use polars::prelude::{Column, DataFrame, StringChunked};

use super::tasks::collect;
use crate::config::{Decimal, Settings};
use crate::error::{Error, Result};
use crate::extract::{self, Extracted};
use crate::rule::Rule;
use crate::schema::origin_file;
use crate::transform::{DateFormats, DateSample, DateSuggestion, decimal_marks};

/// Rows that were rejected, and where the first of them are.
pub(super) struct Rejects<'a> {
    /// All of them, those beyond `reasons` too.
    pub(super) rows: u64,
    pub(super) reasons: &'a BTreeMap<Rule, u64>,
    /// Origins of rows whose amount has another decimal mark than the configured one.
    pub(super) marked: &'a [i64],
}

/// Rows of a file that are looked at for their decimal mark, at least.
const ROWS_LOOKED_AT: u64 = 200_000;

/// The refusal of a run whose claims cannot be loaded as they are read.
pub(super) fn refusal(
    settings: &Settings,
    claims: &Extracted,
    read: u64,
    rejects: &Rejects<'_>,
) -> Result<Option<Error>> {
    let quality = &settings.quality;
    let rejected = rejects.rows;
    if let Some(file) = with_another_mark(settings, claims, rejects.marked)? {
        let (mark, _) = other_mark(settings.claims.decimal);
        return Ok(Some(Error::quality(format!(
            "claims: {file}: amounts have a decimal {mark}, so those without one may be misread; \
             nothing was published"
        ))));
    }
    #[expect(clippy::cast_precision_loss, reason = "a ratio needs no more than 53 bits")]
    let ratio = if read == 0 { 0.0 } else { rejected as f64 / read as f64 };
    let limit = if ratio > quality.max_reject_ratio {
        format!("max_reject_ratio is {}", quality.max_reject_ratio)
    } else if let Some(limit) = quality.max_reject_rows.filter(|&limit| rejected > limit) {
        format!("max_reject_rows is {limit}")
    } else {
        return Ok(None);
    };
    Ok(Some(Error::quality(format!(
        "{rejected} of {read} claims were rejected ({:.1} %), but {limit}; nothing was published",
        ratio * 100.0
    ))))
}

/// A file most of whose amounts with decimals have another mark than the configured one: there
/// `1.234` may be a thousand. A few such amounts among others are rejects like any other.
fn with_another_mark(
    settings: &Settings,
    claims: &Extracted,
    marked: &[i64],
) -> Result<Option<String>> {
    let files: BTreeSet<i64> = marked.iter().map(|&origin| origin_file(origin)).collect();
    for place in files.into_iter().filter_map(|file| usize::try_from(file).ok()) {
        let Some(claims) = claims.of_file(place) else { continue };
        let (mut own, mut other, mut rows) = (0, 0, 0);
        let blocks = extract::scan(&claims);
        while let Some(block) = blocks.next_block()?.filter(|_| rows < ROWS_LOOKED_AT) {
            let frame = collect(block.frame()?)?;
            let texts = text(&frame, "amount")?;
            let (with_own, with_other) = decimal_marks(texts, settings.claims.decimal);
            own += with_own;
            other += with_other;
            rows += frame.height() as u64;
        }
        if other > own {
            return Ok(claims.files.first().map(|file| file.path.display().to_string()));
        }
    }
    Ok(None)
}

fn text<'a>(frame: &'a DataFrame, column: &str) -> Result<&'a StringChunked> {
    let texts = frame.column(column).and_then(Column::str);
    texts.map_err(|_| Error::internal("a block lacks a column"))
}

/// What to do about the rule that rejects most rows; none where there is no such rule.
pub(super) fn advice(
    settings: &Settings,
    claims: &Extracted,
    rejects: &Rejects<'_>,
) -> Option<String> {
    let marks = with_another_mark(settings, claims, rejects.marked).ok().flatten();
    let most = rejects.reasons.iter().max_by_key(|(_, rows)| **rows);
    let most =
        most.filter(|(_, rows)| **rows * 2 > rejects.rows).map(|(rule, rows)| (*rule, *rows));
    // What refuses the run by itself is what to mend first.
    let (rule, rows) = marks.map(|_| (Rule::AmountDecimalMark, 0)).or(most)?;
    let set = |line: &str| format!("set in the configuration:\n  [claims]\n  {line}");
    Some(match rule {
        Rule::AmountDecimalMark => {
            set(&format!("decimal = \"{}\"", other_mark(settings.claims.decimal).1))
        }
        Rule::DateUnparseable | Rule::DateAmbiguous => {
            match dates(settings, claims).ok().flatten() {
                Some(DateSuggestion::Formats(formats, other)) => {
                    let formats: Vec<String> = formats.iter().map(|f| format!("{f:?}")).collect();
                    let other =
                        other.map_or_else(String::new, |other| format!("   # or {other:?}"));
                    set(&format!("date_formats = [{}]{other}", formats.join(", ")))
                }
                Some(DateSuggestion::DayNumbers) => "the dates are day numbers of a spreadsheet: \
                     format the column as a date there, and export it again"
                    .to_owned(),
                None => "name the formats of the file's dates in claims.date_formats, for example \
                     date_formats = [\"%d.%m.%Y\"]"
                    .to_owned(),
            }
        }
        Rule::EncodingInvalid => set("encoding = \"windows-1252\"   # or what the file has"),
        rule => format!(
            "{rows} of them break one rule, {}: {} Correct the source or its mapping",
            rule.name(),
            rule.description()
        ),
    })
}

/// The other decimal mark than the configured one: its name, and how it is written.
fn other_mark(decimal: Decimal) -> (&'static str, char) {
    match decimal {
        Decimal::Point => ("comma", ','),
        Decimal::Comma => ("point", '.'),
    }
}

/// What the dates of the claims look like.
fn dates(settings: &Settings, claims: &Extracted) -> Result<Option<DateSuggestion>> {
    let configured = &settings.claims.date_formats;
    let mut sample = DateSample::new(&Arc::new(DateFormats::new(configured)?));
    let blocks = extract::scan(claims);
    while !sample.is_full() {
        let Some(block) = blocks.next_block()? else { break };
        let rows = collect(block.frame()?)?;
        sample.observe(text(&rows, "date_of_service")?);
    }
    Ok(sample.suggestion(configured))
}
