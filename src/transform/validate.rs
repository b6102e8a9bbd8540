//! The rules of a claim row: text to typed values, a nullable reject reason, quality flags.
//!
//! A file of its own because it is the whole of what a row must satisfy; a rejected row stays in
//! the frame, so that one plan conserves one row count.

use std::sync::Arc;

use polars::prelude::{
    DataType, Expr, Int16Chunked, Int32Chunked, Int128Chunked, IntoSeries, LazyFrame,
    NewChunkedArray, Series, StringChunked, col,
};

use super::amount::{cents, is_rounded};
use super::date::{DateFormats, date};
use super::expression::{elementwise, of_text};
use super::text::clean;
use crate::key::Tokenizer;
use crate::rule::{Flag, RejectReason, is_code};
use crate::schema::{AMOUNT_MAX_CENTS, CENTS, Dataset, ORIGIN, REJECT, ROW_FINGERPRINT};

/// The date of service, beside its text.
pub(super) const DAY: &str = "day";
/// The line number, beside its text.
pub(super) const LINE: &str = "line";

/// The claims with typed values, a reject reason and the fingerprint of rejected records.
pub(super) fn validate(
    claims: LazyFrame,
    formats: &Arc<DateFormats>,
    record: &Arc<Tokenizer>,
) -> LazyFrame {
    let texts: Vec<Expr> = Dataset::Claims.columns().map(clean).collect();
    let mut columns = vec![col(ORIGIN)];
    columns.extend(texts);
    claims
        .select(columns)
        .with_columns([
            cents("amount").alias(CENTS),
            date("date_of_service", formats).alias(DAY),
            line_number("line_number").alias(LINE),
        ])
        .with_columns([reject()])
        .with_columns([fingerprint(record)])
}

/// A line number from 0 to 32767; 1 when the source has none, null when it is something else.
fn line_number(column: &str) -> Expr {
    of_text("line_number", col(column), DataType::Int16, |text| {
        let line = |value: Option<&str>| match value {
            None => Some(1),
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse::<i16>().ok()
            }
            Some(_) => None,
        };
        let lines: Int16Chunked =
            Int16Chunked::from_iter_options(text.name().clone(), text.iter().map(line));
        Ok(lines.into_series())
    })
}

/// The code of the first broken rule, or null.
fn reject() -> Expr {
    let inputs = [
        "claim_id",
        "patient_id",
        LINE,
        "amount",
        CENTS,
        "date_of_service",
        DAY,
        "provider_id",
        "procedure_code",
    ];
    elementwise("reject_reason", &inputs.map(col), DataType::Int32, |series| {
        let [claim, patient, line, amount, cents, date_text, day, provider, procedure] = series
        else {
            return Err(super::expression::broken("reject_reason takes nine columns"));
        };
        let (cents, provider, procedure) = (cents.i64()?, provider.str()?, procedure.str()?);
        let rows = claim.len();
        let clean = [claim, patient, line, day].iter().all(|s| s.null_count() == 0)
            && cents.null_count() == 0
            && cents.iter().flatten().all(in_range)
            && all_codes(provider)
            && all_codes(procedure);
        if clean {
            return Ok(Series::full_null(REJECT.into(), rows, &DataType::Int32));
        }
        let missing = [claim, patient, line, amount, date_text, day].map(|series| series.is_null());
        let is = |which: usize, row: usize| missing[which].get(row).unwrap_or(true);
        let no_code = |text: &StringChunked, row| text.get(row).is_some_and(|code| !is_code(code));
        let reason = |row: usize| {
            let reason = if is(0, row) {
                RejectReason::ClaimIdMissing
            } else if is(1, row) {
                RejectReason::PatientIdMissing
            } else if is(2, row) {
                RejectReason::LineNumberInvalid
            } else if is(3, row) {
                RejectReason::AmountMissing
            } else if let Some(cents) = cents.get(row) {
                if !in_range(cents) {
                    RejectReason::AmountOutOfRange
                } else if is(4, row) {
                    RejectReason::DateMissing
                } else if is(5, row) {
                    RejectReason::DateUnparseable
                } else if no_code(provider, row) {
                    RejectReason::ProviderIdInvalid
                } else if no_code(procedure, row) {
                    RejectReason::ProcedureCodeInvalid
                } else {
                    return None;
                }
            } else {
                RejectReason::AmountUnparseable
            };
            Some(reason.code())
        };
        // Nearly all rows are beyond suspicion, and a mask is quicker than six questions.
        let mut suspect = vec![false; rows];
        let mut mark = |bad: &mut dyn Iterator<Item = bool>| {
            for (suspect, bad) in suspect.iter_mut().zip(bad) {
                *suspect |= bad;
            }
        };
        for series in [claim, patient, line, day].iter().filter(|s| s.null_count() > 0) {
            mark(&mut series.is_null().iter().map(|null| null == Some(true)));
        }
        mark(&mut cents.iter().map(|cents| !cents.is_some_and(in_range)));
        for text in [provider, procedure].iter().filter(|text| !all_codes(text)) {
            mark(&mut text.iter().map(|code| code.is_some_and(|code| !is_code(code))));
        }
        let reasons = suspect.iter().enumerate();
        let reasons = reasons.map(|(row, &suspect)| if suspect { reason(row) } else { None });
        Ok(Int32Chunked::from_iter_options(REJECT.into(), reasons).into_series())
    })
    .alias(REJECT)
}

fn in_range(cents: i64) -> bool {
    cents.unsigned_abs() <= AMOUNT_MAX_CENTS.unsigned_abs()
}

fn all_codes(text: &StringChunked) -> bool {
    text.iter().flatten().all(is_code)
}

/// The keyed fingerprint of a rejected record's fields, so that the same bad record is recognised
/// when it comes again, without its values; null for accepted rows.
fn fingerprint(record: &Arc<Tokenizer>) -> Expr {
    let record = Arc::clone(record);
    let inputs: Vec<Expr> =
        std::iter::once(REJECT).chain(Dataset::Claims.columns()).map(col).collect();
    elementwise("fingerprint", &inputs, DataType::Int128, move |series| {
        let rows = series[0].len();
        let reject = series[0].i32()?;
        if reject.null_count() == rows {
            return Ok(Series::full_null(ROW_FINGERPRINT.into(), rows, &DataType::Int128));
        }
        let fields = series[1..].iter().map(Series::str).collect::<Result<Vec<_>, _>>()?;
        let mut bytes = Vec::new();
        let tokens = reject.iter().enumerate().map(|(row, reject)| {
            reject.map(|_| {
                bytes.clear();
                for field in &fields {
                    // A length before each field: no two records share one spelling.
                    let text = field.get(row);
                    bytes.extend(text.map_or(u64::MAX, |text| text.len() as u64).to_le_bytes());
                    bytes.extend(text.unwrap_or_default().as_bytes());
                }
                i128::from_ne_bytes(record.token_of_bytes(&bytes))
            })
        });
        Ok(Int128Chunked::from_iter_options(ROW_FINGERPRINT.into(), tokens).into_series())
    })
    .alias(ROW_FINGERPRINT)
}

/// The row's quality flags; `known` is a column that is null where the directory has no such
/// provider.
pub(super) fn flags(known: &str) -> Expr {
    let inputs = ["provider_id", known, "procedure_code", CENTS, "amount"];
    elementwise("dq_flags", &inputs.map(col), DataType::Int32, |series| {
        let [provider, known, procedure, cents, amount] = series else {
            return Err(super::expression::broken("dq_flags takes five columns"));
        };
        let of_row = |(cents, amount): (Option<i64>, Option<&str>)| {
            let size = match cents {
                Some(0) => Flag::AmountZero.bit(),
                Some(..0) => Flag::AmountNegative.bit(),
                _ => 0,
            };
            let rounded = amount.is_some_and(is_rounded);
            size | if rounded { Flag::AmountRounded.bit() } else { 0 }
        };
        let rows = cents.i64()?.iter().zip(amount.str()?.iter());
        let mut flags: Vec<i32> = rows.map(of_row).collect();
        let nulls = |series: &Series| (series.null_count() > 0).then(|| series.is_null());
        if let Some(missing) = nulls(procedure) {
            for (flags, missing) in flags.iter_mut().zip(missing.iter()) {
                *flags |= if missing == Some(true) { Flag::ProcedureMissing.bit() } else { 0 };
            }
        }
        // A provider that is missing is not in the directory either.
        if let Some(unknown) = nulls(known) {
            let missing = provider.is_null();
            for (flags, (missing, unknown)) in
                flags.iter_mut().zip(missing.iter().zip(unknown.iter()))
            {
                *flags |= match (missing, unknown) {
                    (Some(true), _) => Flag::ProviderMissing.bit(),
                    (_, Some(true)) => Flag::ProviderNotInDirectory.bit(),
                    _ => 0,
                };
            }
        }
        Ok(Int32Chunked::from_vec("dq_flags".into(), flags).into_series())
    })
    .alias("dq_flags")
}
