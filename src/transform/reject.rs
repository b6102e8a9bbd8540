//! Rejects rows: the rule, and the fingerprint of the record.
//!
//! A rejected row stays in the frame, so that one plan preserves the row count.

use std::sync::Arc;

use polars::prelude::{
    DataType, Expr, Int32Chunked, Int32Type, Int64Chunked, Int128Type, PolarsResult, Series,
    StringChunked, col,
};

use super::amount::has_the_other_mark;
use super::date::{DateFormats, Unread};
use super::expression::{broken, elementwise};
use super::identifiers::{CLAIM_PLACEHOLDER, MARKS};
use super::validate::{DAY, LINE};
use crate::config::Decimal;
use crate::key::Tokenizer;
use crate::rule::{Rule, Severity, is_code, is_one_line};
use crate::schema::{
    AMOUNT_MAX_CENTS, CENTS, DAMAGE, Dataset, PROVIDER_ROW, RAW, REJECT, ROW_FINGERPRINT,
};
use crate::transform::column_access::{all_texts, each_null, each_text, nullable_series, values};
use crate::transform::rule_set::RuleSet;

/// The code of the first broken rejecting rule, or null.
pub(super) fn reject(checks: &Arc<RuleSet>, formats: &Arc<DateFormats>) -> Expr {
    let refusing = checks.severities().mask(Severity::Reject);
    let formats = Arc::clone(formats);
    let decimal = checks.decimal;
    let inputs = [
        DAMAGE,
        "claim_id",
        "patient_id",
        LINE,
        "amount",
        CENTS,
        "date_of_service",
        DAY,
        "provider_id",
        PROVIDER_ROW,
        "procedure_code",
        "dq_flags",
        MARKS,
    ];
    elementwise("reject_reason", &inputs.map(col), DataType::Int32, move |series| {
        let columns = Columns::of(series, decimal)?;
        let rows = series[0].len();
        let suspects = columns.suspects(rows, refusing);
        if suspects.is_empty() {
            return Ok(Series::full_null(REJECT.into(), rows, &DataType::Int32));
        }
        let (mut codes, mut valid) = (vec![0; rows], vec![false; rows]);
        for row in suspects {
            if let Some(rule) = columns.first_broken(row, refusing, &formats) {
                (codes[row], valid[row]) = (rule.code(), true);
            }
        }
        Ok(nullable_series::<Int32Type>(REJECT, codes, &valid))
    })
    .alias(REJECT)
}

fn in_range(cents: i64) -> bool {
    cents.unsigned_abs() <= AMOUNT_MAX_CENTS.unsigned_abs()
}

/// Input of the fixed rules, and the flags of the configurable ones.
struct Columns<'a> {
    /// Columns that must not be null.
    required: [&'a Series; 5],
    damage: &'a Int32Chunked,
    claim: &'a StringChunked,
    patient: &'a StringChunked,
    line: &'a Series,
    amount: &'a StringChunked,
    cents: &'a Int64Chunked,
    date: &'a StringChunked,
    day: &'a Series,
    provider: &'a StringChunked,
    place: &'a Series,
    procedure: &'a StringChunked,
    flags: &'a [i32],
    marks: &'a [i32],
    /// Decimal separator of amounts.
    decimal: Decimal,
}

impl<'a> Columns<'a> {
    fn of(series: &'a [Series], decimal: Decimal) -> PolarsResult<Self> {
        let [
            damage,
            claim,
            patient,
            line,
            amount,
            cents,
            date,
            day,
            provider,
            place,
            procedure,
            flags,
            marks,
        ] = series
        else {
            return Err(broken("reject_reason takes thirteen columns"));
        };
        Ok(Self {
            required: [claim, patient, line, cents, day],
            damage: damage.i32()?,
            claim: claim.str()?,
            patient: patient.str()?,
            line,
            amount: amount.str()?,
            cents: cents.i64()?,
            date: date.str()?,
            day,
            provider: provider.str()?,
            place,
            procedure: procedure.str()?,
            flags: values(flags.i32()?),
            marks: values(marks.i32()?),
            decimal,
        })
    }

    /// Rows that may break a rejecting rule. Usually none, and then no row is checked individually.
    fn suspects(&self, rows: usize, refusing: i32) -> Vec<usize> {
        let mut suspect: Vec<bool> = Vec::new();
        let mut mark = |row: usize| {
            if suspect.is_empty() {
                suspect.resize(rows, false);
            }
            suspect[row] = true;
        };
        for series in self.required {
            each_null(series, &mut mark);
        }
        let cents = values(self.cents);
        if cents.iter().map(|cents| cents.unsigned_abs()).max() > Some(AMOUNT_MAX_CENTS as u64) {
            let beyond = cents.iter().enumerate().filter(|(_, cents)| !in_range(**cents));
            beyond.for_each(|(row, _)| mark(row));
        }
        if self.flags.iter().fold(0, |all, flags| all | flags) & refusing != 0 {
            let found = self.flags.iter().enumerate().filter(|(_, flags)| *flags & refusing != 0);
            found.for_each(|(row, _)| mark(row));
        }
        if self.marks.iter().fold(0, |all, marks| all | marks) & CLAIM_PLACEHOLDER != 0 {
            let found = self.marks.iter().enumerate();
            let found = found.filter(|(_, marks)| *marks & CLAIM_PLACEHOLDER != 0);
            found.for_each(|(row, _)| mark(row));
        }
        // Directory ids are valid codes.
        each_null(self.place, |row| {
            if self.provider.get(row).is_some_and(|id| !is_code(id)) {
                mark(row);
            }
        });
        for ids in [self.claim, self.patient] {
            if !all_texts(ids, is_one_line) {
                each_text(ids, |row, id| {
                    if !is_one_line(id) {
                        mark(row);
                    }
                });
            }
        }
        if !all_texts(self.procedure, is_code) {
            each_text(self.procedure, |row, code| {
                if !is_code(code) {
                    mark(row);
                }
            });
        }
        suspect.iter().enumerate().filter_map(|(row, suspect)| suspect.then_some(row)).collect()
    }

    /// The first broken rejecting rule.
    fn first_broken(&self, row: usize, refusing: i32, formats: &DateFormats) -> Option<Rule> {
        if let Some(damage) = self.damage.get(row) {
            return Rule::from_code(damage);
        }
        let configured = self.flags[row] & refusing;
        let configured = Rule::FLAGS.into_iter().filter(|rule| configured & rule.mask() != 0);
        self.structural(row, formats).into_iter().chain(configured).min()
    }

    /// The first broken rule among those that always reject.
    fn structural(&self, row: usize, formats: &DateFormats) -> Option<Rule> {
        let no_code = |text: &StringChunked| text.get(row).is_some_and(|code| !is_code(code));
        let is_null = |series: &Series| series.get(row).is_ok_and(|value| value.is_null());
        let torn = |text: &StringChunked| text.get(row).is_some_and(|id| !is_one_line(id));
        Some(if no_code(self.provider) {
            Rule::ProviderIdInvalid
        } else if no_code(self.procedure) {
            Rule::ProcedureCodeInvalid
        } else if torn(self.claim) {
            Rule::ClaimIdInvalid
        } else if torn(self.patient) {
            Rule::PatientIdInvalid
        } else if self.claim.get(row).is_none() {
            Rule::ClaimIdMissing
        } else if self.marks[row] & CLAIM_PLACEHOLDER != 0 {
            Rule::ClaimIdPlaceholder
        } else if is_null(self.line) {
            Rule::LineNumberInvalid
        } else if self.patient.get(row).is_none() {
            Rule::PatientIdMissing
        } else if self.amount.get(row).is_none() {
            Rule::AmountMissing
        } else if self.cents.get(row).is_none() {
            let text = self.amount.get(row).unwrap_or_default();
            if has_the_other_mark(text, self.decimal) {
                Rule::AmountDecimalMark
            } else {
                Rule::AmountUnparseable
            }
        } else if !self.cents.get(row).is_some_and(in_range) {
            Rule::AmountOutOfRange
        } else if !is_null(self.day) {
            return None;
        } else {
            match self.date.get(row).map(|text| formats.days(text)) {
                None => Rule::DateMissing,
                Some(Err(Unread::Ambiguous)) => Rule::DateAmbiguous,
                Some(Err(Unread::TooEarly)) => Rule::DateBeforeEarliest,
                Some(_) => Rule::DateUnparseable,
            }
        })
    }
}

/// Keyed fingerprint of a rejected record's fields, which recognises a repeated bad record without
/// storing its values; null for accepted rows. If the fields could not be split, it covers the
/// whole record.
pub(super) fn fingerprint(record: &Arc<Tokenizer>) -> Expr {
    let record = Arc::clone(record);
    let inputs: Vec<Expr> =
        [REJECT, RAW].into_iter().chain(Dataset::Claims.columns()).map(col).collect();
    elementwise("fingerprint", &inputs, DataType::Int128, move |series| {
        let rows = series[0].len();
        let reject = series[0].i32()?;
        if reject.null_count() == rows {
            return Ok(Series::full_null(ROW_FINGERPRINT.into(), rows, &DataType::Int128));
        }
        let raw = series[1].str()?;
        let fields = series[2..].iter().map(Series::str).collect::<Result<Vec<_>, _>>()?;
        let (mut prints, mut valid) = (vec![0; rows], vec![false; rows]);
        let mut bytes = Vec::new();
        for (row, _) in reject.iter().enumerate().filter(|(_, reject)| reject.is_some()) {
            bytes.clear();
            if let Some(raw) = raw.get(row) {
                // No field has this length.
                bytes.extend((u64::MAX - 1).to_le_bytes());
                bytes.extend(raw.as_bytes());
            } else {
                for field in &fields {
                    // Length-prefixed fields: no two records have the same encoding.
                    let text = field.get(row);
                    bytes.extend(text.map_or(u64::MAX, |text| text.len() as u64).to_le_bytes());
                    bytes.extend(text.unwrap_or_default().as_bytes());
                }
            }
            prints[row] = i128::from_ne_bytes(record.token_of_bytes(&bytes));
            valid[row] = true;
        }
        Ok(nullable_series::<Int128Type>(ROW_FINGERPRINT, prints, &valid))
    })
    .alias(ROW_FINGERPRINT)
}
