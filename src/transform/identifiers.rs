//! A claim's identifiers and code: each is examined once, into a mask column, and then
//! canonicalised where its mask requires it. Nearly always nothing is set, and the columns pass
//! unchanged.

use std::sync::Arc;

use polars::prelude::{
    DataType, Expr, Int32Chunked, IntoSeries, NewChunkedArray, Series, StringChunked,
    StringChunkedBuilder, col,
};

use super::expression::elementwise;
use crate::identifier::Damage;
use crate::rule::{Rule, Severity};
use crate::schema::{DAMAGE, ID_DAMAGE, IDENTIFIERS};
use crate::transform::column_access::{each_text, values};
use crate::transform::rule_set::RuleSet;

/// Name of the mask column.
pub(super) const MARKS: &str = "marks";
/// Mask bit of a claim id that is a placeholder.
pub(super) const CLAIM_PLACEHOLDER: i32 = 1 << IDENTIFIERS.len();
/// Mask bits that are flags, equal to those in `dq_flags`.
pub(super) const FLAG_MARKS: i32 =
    Rule::IdentifierScientific.mask() | Rule::PatientIdPlaceholder.mask() | Rule::MENDED;

/// Computes the mask of each row: what to canonicalise and what to flag.
pub(super) fn marks(checks: &Arc<RuleSet>) -> Expr {
    let checks = Arc::clone(checks);
    let mut inputs = IDENTIFIERS.map(col).to_vec();
    inputs.push(col(ID_DAMAGE));
    elementwise("judge_identifiers", &inputs, DataType::Int32, move |series| {
        let damages = values(series[IDENTIFIERS.len()].i32()?);
        let of_parts = |&damage: &i32| checks.bits_of(Damage::from_bits(damage));
        let mut marks: Vec<i32> = damages.iter().map(of_parts).collect();
        for (index, (column, texts)) in IDENTIFIERS.iter().zip(series).enumerate() {
            each_text(texts.str()?, |row, text| marks[row] |= mark(&checks, index, column, text));
        }
        Ok(Int32Chunked::from_vec(MARKS.into(), marks).into_series())
    })
    .alias(MARKS)
}

/// The mask of one identifier.
#[inline]
fn mark(checks: &RuleSet, index: usize, column: &str, text: &str) -> i32 {
    let Some(checked) = checks.check(column, text) else { return 0 };
    let rewritten = 1 << index;
    let mut mark = checks.bits_of(checked.damage);
    if checked.text != text || checked.text.is_empty() {
        mark |= rewritten;
    }
    if checked.is_placeholder {
        mark |= match column {
            "claim_id" => CLAIM_PLACEHOLDER,
            "patient_id" => checks.bit(Rule::PatientIdPlaceholder),
            _ => rewritten,
        };
    }
    mark
}

/// A claims column in canonical form; null if blank, or if a provider or code is a placeholder.
pub(super) fn canonical(column: &'static str, checks: &Arc<RuleSet>) -> Expr {
    let checks = Arc::clone(checks);
    let bit = IDENTIFIERS.iter().position(|known| *known == column).map_or(0, |index| 1 << index);
    elementwise("canonical", &[col(column), col(MARKS)], DataType::String, move |series| {
        let marks = values(series[1].i32()?);
        Ok(rewritten(series[0].str()?, |row| marks[row] & bit != 0, &checks, column))
    })
    .alias(column)
}

/// A column with marked rows in canonical form.
fn rewritten(
    texts: &StringChunked,
    is_marked: impl Fn(usize) -> bool,
    checks: &RuleSet,
    column: &str,
) -> Series {
    if !(0..texts.len()).any(&is_marked) {
        return texts.clone().into_series();
    }
    let is_null = matches!(column, "provider_id" | "procedure_code");
    let mut builder = StringChunkedBuilder::new(texts.name().clone(), texts.len());
    for (row, text) in texts.iter().enumerate() {
        match text.filter(|_| is_marked(row)).and_then(|text| checks.check(column, text)) {
            None => builder.append_option(text),
            Some(checked) if checked.text.is_empty() || checked.is_placeholder && is_null => {
                builder.append_null();
            }
            Some(checked) => builder.append_value(checked.text),
        }
    }
    builder.finish().into_series()
}

/// The id of directory records in canonical form; blank is null.
pub(super) fn of_directory(checks: &RuleSet) -> [Expr; 2] {
    let one = Arc::new(checks.clone());
    let other = Arc::clone(&one);
    let inputs = [DAMAGE, "provider_id", ID_DAMAGE].map(col);
    let damage = elementwise("judge_directory", &inputs, DataType::Int32, move |series| {
        let (damage, ids) = (series[0].i32()?, series[1].str()?);
        let of_parts = values(series[2].i32()?);
        let refusing = one.severities().mask(Severity::Reject);
        let mut found: Vec<Option<i32>> = Vec::new();
        each_text(ids, |row, text| {
            let of_parts = Damage::from_bits(of_parts[row]);
            if let Some(rule) = refusal(&one, refusing, of_parts, text) {
                if found.is_empty() {
                    found = damage.iter().collect();
                }
                found[row] = found[row].or(Some(rule.code()));
            }
        });
        if found.is_empty() {
            return Ok(series[0].clone());
        }
        Ok(Int32Chunked::from_iter_options(DAMAGE.into(), found.into_iter()).into_series())
    });
    let id = elementwise("canonical", &[col("provider_id")], DataType::String, move |series| {
        let ids = series[0].str()?;
        let mut marked = vec![false; ids.len()];
        each_text(ids, |row, text| marked[row] = other.check("provider_id", text).is_some());
        Ok(rewritten(ids, |row| marked[row], &other, "provider_id"))
    });
    [damage.alias(DAMAGE), id.alias("provider_id")]
}

/// The rule that rejects a directory record because of its id.
fn refusal(checks: &RuleSet, refusing: i32, of_parts: Damage, text: &str) -> Option<Rule> {
    let mut damage = of_parts;
    if let Some(checked) = checks.check("provider_id", text) {
        if checked.is_placeholder {
            return Some(Rule::DirectoryIdPlaceholder);
        }
        damage |= checked.damage;
    }
    let broken = checks.bits_of(damage) & refusing;
    Rule::FLAGS.into_iter().find(|rule| broken & rule.mask() != 0)
}
