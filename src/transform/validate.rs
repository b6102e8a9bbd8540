//! Parses the texts of a claim to typed values, keeping the texts.

use std::sync::Arc;

use polars::prelude::{DataType, Expr, Int16Chunked, Int16Type, IntoSeries, LazyFrame, col};

use super::amount::cents;
use super::date::{DateFormats, date};
use super::expression::of_text;
use super::identifiers;
use super::text::bare;
use crate::rule::{CodeSystem, Rule};
use crate::schema::{CENTS, DAMAGE, Dataset, ID_DAMAGE, IDENTIFIERS, ORIGIN, RAW, SOURCE_LINE};
use crate::transform::column_access::{each_text, nullable_series};
use crate::transform::procedure_code;
use crate::transform::rule_set::RuleSet;

/// Parsed date of service.
pub(super) const DAY: &str = "day";
/// Parsed line number.
pub(super) const LINE: &str = "line";
/// Normalised procedure code.
pub(super) const CODE: &str = "code";

/// Adds the typed values to the claims.
pub(super) fn typed(
    claims: LazyFrame,
    formats: &Arc<DateFormats>,
    checks: &Arc<RuleSet>,
) -> LazyFrame {
    let mut columns: Vec<Expr> = [ORIGIN, DAMAGE, RAW, SOURCE_LINE, ID_DAMAGE].map(col).to_vec();
    let judged = |column: &str| IDENTIFIERS.contains(&column);
    columns.extend(
        Dataset::Claims
            .columns()
            .map(|column| if judged(column) { col(column) } else { bare(column) }),
    );
    columns.push(identifiers::marks(checks));
    let normalized =
        checks.code_system == CodeSystem::Hcpcs && checks.bit(Rule::ProcedureNormalized) != 0;
    let code =
        if normalized { procedure_code::bare("procedure_code") } else { col("procedure_code") };
    let canonical = IDENTIFIERS.map(|column| identifiers::canonical(column, checks));
    claims.select(columns).with_columns(canonical).with_columns([
        cents("amount", checks.decimal).alias(CENTS),
        date("date_of_service", formats).alias(DAY),
        line_number("line_number").alias(LINE),
        code.alias(CODE),
    ])
}

/// A line number from 0 to 32767; 1 if the source has none, null if invalid. Accepts `1.0`, the
/// float form of nullable integer columns.
fn line_number(column: &str) -> Expr {
    of_text("line_number", col(column), DataType::Int16, |text| {
        let rows = text.len();
        if text.null_count() == rows {
            return Ok(Int16Chunked::from_vec(text.name().clone(), vec![1; rows]).into_series());
        }
        let (mut lines, mut valid) = (vec![1; rows], vec![true; rows]);
        each_text(text, |row, text| {
            let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
            let is_number = whole.bytes().all(|byte| byte.is_ascii_digit())
                && rest.bytes().all(|byte| byte == b'0');
            match whole.parse::<i16>() {
                Ok(line) if is_number => lines[row] = line,
                _ => valid[row] = false,
            }
        });
        Ok(nullable_series::<Int16Type>(text.name(), lines, &valid))
    })
}
