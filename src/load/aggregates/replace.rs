//! Writes what staging has counted, in place of what was stored.

use std::sync::Arc;

use adbc_core::sync::Connection;
use arrow::array::{
    ArrayRef, Date32Array, Decimal128Array, FixedSizeBinaryArray, Int16Array, Int32Array,
    Int64Array, StringArray,
};

use super::line_totals::{LineTotals, MonthClaims, ProviderSum};
use crate::error::{Error, Result};
use crate::load::risk::copy;
use crate::schema::INTERNAL;
use crate::warehouse::sql;

const CONTEXT: &str = "writing the aggregates";
/// Rows of a batch.
const ROWS: usize = 65_536;

/// Replaces all aggregates, within the publishing transaction. Not by TRUNCATE: a dashboard that reads them
/// would wait for the publish, which waits for it.
///
/// # Errors
/// `Warehouse` when a statement fails.
pub(in crate::load) fn replace(
    connection: &mut impl Connection,
    totals: &mut LineTotals,
) -> Result<()> {
    let (top, is_complete) = totals.top();
    sql::execute(
        connection,
        CONTEXT,
        &format!(
            "DELETE FROM {INTERNAL}.monthly_totals; DELETE FROM {INTERNAL}.monthly_claims;
             DELETE FROM {INTERNAL}.daily_totals; DELETE FROM {INTERNAL}.score_totals;
             DELETE FROM {INTERNAL}.provider_totals; DELETE FROM {INTERNAL}.top_lines;
             UPDATE {INTERNAL}.top_lines_state SET is_complete = {is_complete}"
        ),
    )?;
    let months = totals.months();
    copy(
        connection,
        "monthly_totals",
        [
            ("service_month", dates(months.iter().map(|((month, ..), _)| *month))),
            ("specialty", texts(months.iter().map(|((_, specialty, _), _)| *specialty))),
            ("risk_band", texts(months.iter().map(|((.., band), _)| *band))),
            ("claim_lines", integers(months.iter().map(|(_, sum)| sum.lines))),
            ("amount", cents(months.iter().map(|(_, sum)| sum.amount.0))?),
        ],
    )?;
    let claims = totals.claims();
    let counts = |count: fn(&MonthClaims) -> i64| integers(claims.iter().map(|(_, c)| count(c)));
    copy(
        connection,
        "monthly_claims",
        [
            ("service_month", dates(claims.iter().map(|(month, _)| *month))),
            ("claims", counts(|month| month.claims)),
            ("first_claims", counts(|month| month.first)),
        ],
    )?;
    let days = totals.days();
    copy(
        connection,
        "daily_totals",
        [
            ("date_of_service", dates(days.iter().map(|(day, _)| *day))),
            ("claim_lines", integers(days.iter().map(|(_, sum)| sum.lines))),
            ("amount", cents(days.iter().map(|(_, sum)| sum.amount.0))?),
        ],
    )?;
    copy(
        connection,
        "score_totals",
        [
            ("risk_score", tenths(totals.scores().map(|(score, _)| score))?),
            ("claim_lines", integers(totals.scores().map(|(_, lines)| lines))),
        ],
    )?;
    for providers in totals.providers().chunks(ROWS) {
        let of = |value: fn(&ProviderSum) -> i64| integers(providers.iter().map(|(_, p)| value(p)));
        copy(
            connection,
            "provider_totals",
            [
                ("provider_key", keys(providers.iter().map(|(key, _)| *key))),
                ("claim_lines", of(|provider| provider.sum.lines)),
                ("amount", cents(providers.iter().map(|(_, p)| p.sum.amount.0))?),
                ("score_total", tenths(providers.iter().map(|(_, p)| p.score))?),
                ("high_risk_lines", of(|provider| provider.high_risk_lines)),
            ],
        )?;
    }
    let tokens = FixedSizeBinaryArray::try_from_iter(top.iter().map(|line| line.token));
    if let Ok(tokens) = tokens {
        copy(
            connection,
            "top_lines",
            [
                ("claim_token", Arc::new(tokens) as ArrayRef),
                (
                    "line_number",
                    Arc::new(Int16Array::from_iter_values(top.iter().map(|line| line.line))),
                ),
                ("risk_score", tenths(top.iter().map(|line| line.tenths))?),
                ("amount", cents(top.iter().map(|line| i128::from(line.cents)))?),
            ],
        )?;
    }
    Ok(())
}

fn dates(days: impl Iterator<Item = i32>) -> ArrayRef {
    Arc::new(Date32Array::from_iter_values(days))
}

fn keys(keys: impl Iterator<Item = i32>) -> ArrayRef {
    Arc::new(Int32Array::from_iter_values(keys))
}

fn texts<'t>(texts: impl Iterator<Item = &'t str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(texts))
}

fn integers(numbers: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(numbers))
}

fn cents(cents: impl Iterator<Item = i128>) -> Result<ArrayRef> {
    decimals(cents, 2)
}

fn tenths(tenths: impl Iterator<Item = i64>) -> Result<ArrayRef> {
    decimals(tenths.map(i128::from), 1)
}

fn decimals(units: impl Iterator<Item = i128>, scale: i8) -> Result<ArrayRef> {
    let decimals = Decimal128Array::from_iter_values(units);
    let decimals = decimals
        .with_precision_and_scale(20, scale)
        .map_err(|_| Error::internal("an aggregate with too many digits"))?;
    Ok(Arc::new(decimals))
}
