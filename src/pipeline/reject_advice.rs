//! Advice for a run with too many rejects: the most common cause and the setting to change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use polars::prelude::{Column, DataFrame, StringChunked};

use super::query_plan::collect;
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::extract::{self, Extracted};
use crate::rule::Rule;
use crate::schema::origin_file;
use crate::transform::{DateFormats, DateSample, DateSuggestion, decimal_marks};

/// Rejected rows and the origins of the first ones.
pub(crate) struct Rejects<'a> {
    /// Total, including rows not in `reasons`.
    pub(crate) rows: u64,
    pub(crate) reasons: &'a BTreeMap<Rule, u64>,
    /// Origins of rows whose amount uses the other decimal separator.
    pub(crate) marked: &'a [i64],
}

/// Minimum number of rows sampled per file to determine the decimal separator.
const SAMPLE_ROWS: u64 = 200_000;

/// The error and its remedy; `None` when no rule predominates.
pub(crate) struct Refusal {
    pub(crate) error: Error,
    pub(crate) advice: Option<String>,
}

/// Error for a run whose claims cannot be loaded with the current settings.
pub(crate) fn refusal(
    settings: &Settings,
    claims: &Extracted,
    read: u64,
    rejects: &Rejects<'_>,
) -> Result<Option<Refusal>> {
    let marks = with_another_mark(settings, claims, rejects.marked)?;
    let error = match &marks {
        Some(file) => Some(Error::quality(format!(
            "claims: {file}: amounts have a decimal {}, so those without one may be misread; \
             nothing was published",
            settings.claims.decimal.other().name()
        ))),
        None => too_many(settings, read, rejects.rows),
    };
    let Some(error) = error else { return Ok(None) };
    // A decimal separator mismatch fails the run by itself, so it comes first.
    let rule = marks.map(|_| (Rule::AmountDecimalMark, 0)).or_else(|| rejects.of_one_rule());
    let advice = rule.map(|(rule, rows)| advice(settings, claims, rule, rows));
    Ok(Some(Refusal { error, advice }))
}

/// Error for too many rejects.
fn too_many(settings: &Settings, read: u64, rejected: u64) -> Option<Error> {
    let quality = &settings.quality;
    #[expect(clippy::cast_precision_loss, reason = "a ratio needs no more than 53 bits")]
    let ratio = if read == 0 { 0.0 } else { rejected as f64 / read as f64 };
    let limit = if ratio > quality.max_reject_ratio {
        format!("max_reject_ratio is {}", quality.max_reject_ratio)
    } else if let Some(limit) = quality.max_reject_rows.filter(|&limit| rejected > limit) {
        format!("max_reject_rows is {limit}")
    } else {
        return None;
    };
    Some(Error::quality(format!(
        "{rejected} of {read} claims were rejected ({:.1} %), but {limit}; nothing was published",
        ratio * 100.0
    )))
}

impl Rejects<'_> {
    /// The rule that rejects the majority of rows, and its count, if there is one.
    fn of_one_rule(&self) -> Option<(Rule, u64)> {
        let (&rule, &rows) = self.reasons.iter().max_by_key(|(_, rows)| **rows)?;
        (rows * 2 > self.rows).then_some((rule, rows))
    }
}

/// Finds a file in which most amounts with decimals use the other decimal separator: there `1.234`
/// may be a thousand. A few such amounts are ordinary rejects.
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
        while let Some(block) = blocks.next_block()?.filter(|_| rows < SAMPLE_ROWS) {
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
    texts.map_err(|_| Error::internal("a column is missing from a block"))
}

/// Advice for the rule that rejects most rows.
fn advice(settings: &Settings, claims: &Extracted, rule: Rule, rows: u64) -> String {
    let set = |line: &str| format!("set in the configuration:\n  [claims]\n  {line}");
    match rule {
        Rule::AmountDecimalMark => {
            set(&format!("decimal = \"{}\"", settings.claims.decimal.other().mark()))
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
    }
}

/// Suggested date formats of the claims.
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
