//! Computes the bits of `dq_flags`.
//!
//! Includes every rule that is not off, whatever its severity: rejecting, flagging and counting
//! rules are masks over the bits.

use std::sync::Arc;

use polars::prelude::{DataType, Expr, Int32Chunked, IntoSeries, PolarsResult, Series, col};

use super::amount::is_rounded;
use super::directory::FalseNpis;
use super::expression::{broken, elementwise};
use super::identifiers::{FLAG_MARKS, MARKS};
use super::npi::is_false_npi;
use super::validate::DAY;
use crate::rule::{CodeSystem, Rule};
use crate::schema::{CENTS, PROVIDER_ROW};
use crate::transform::column_access::{each_null, each_text, values};
use crate::transform::procedure_code::{belongs, hcpcs_within};
use crate::transform::rule_set::RuleSet;

/// The flags of each row; requires the provider's directory index.
pub(crate) fn flags(checks: &Arc<RuleSet>, false_npis: FalseNpis) -> Expr {
    let checks = Arc::clone(checks);
    let inputs = [MARKS, "provider_id", PROVIDER_ROW, "procedure_code", "amount", CENTS, DAY];
    elementwise("dq_flags", &inputs.map(col), DataType::Int32, move |series| {
        let [marks, provider, place, procedure, amount, cents, day] = series else {
            return Err(broken("dq_flags takes seven columns"));
        };
        let day = day.to_physical_repr();
        let mut flags = by_size(&checks, values(cents.i64()?), values(day.i32()?));
        let marks = values(marks.i32()?);
        flags.iter_mut().zip(marks).for_each(|(flags, mark)| *flags |= mark & FLAG_MARKS);
        let mut mark = |row: usize, bit: i32| flags[row] |= bit;

        let rounded = checks.bit(Rule::AmountRounded);
        each_text(amount.str()?, |row, text| {
            if is_rounded(text, checks.decimal) {
                mark(row, rounded);
            }
        });
        let missing = checks.bit(Rule::ProcedureMissing);
        each_null(procedure, |row| mark(row, missing));
        procedures(&checks, procedure, &mut mark)?;
        providers(&checks, &false_npis, provider, place, &mut mark)?;
        Ok(Int32Chunked::from_vec("dq_flags".into(), flags).into_series())
    })
    .alias("dq_flags")
}

/// Flags that depend only on numbers, computed for all rows without branches. Rows without the
/// number are rejected anyway.
fn by_size(checks: &RuleSet, cents: &[i64], days: &[i32]) -> Vec<i32> {
    let [negative, zero, over, future, old, unfiled] = [
        Rule::AmountNegative,
        Rule::AmountZero,
        Rule::AmountOverLimit,
        Rule::DateInFuture,
        Rule::DateTooOld,
        Rule::DateOutsideFilingWindow,
    ]
    .map(|rule| checks.bit(rule));
    let (limit, last, first, first_filing) =
        (checks.amount_limit, checks.last_day, checks.first_day, checks.first_filing_day);
    let of_row = |(&cents, &day): (&i64, &i32)| {
        let bit = |is_so: bool, bit: i32| -i32::from(is_so) & bit;
        bit(cents < 0, negative)
            | bit(cents == 0, zero)
            | bit(cents.unsigned_abs() > limit, over)
            | bit(day > last, future)
            | bit(day < first, old)
            | bit(day < first_filing, unfiled)
    };
    cents.iter().zip(days).map(of_row).collect()
}

/// Flags codes that are not in their system, or were normalised.
fn procedures(
    checks: &RuleSet,
    procedure: &Series,
    mark: &mut impl FnMut(usize, i32),
) -> PolarsResult<()> {
    let system = checks.code_system;
    let normalized = checks.bit(Rule::ProcedureNormalized);
    let foreign = match system {
        CodeSystem::Any => return Ok(()),
        CodeSystem::Hcpcs => checks.bit(Rule::ProcedureNotHcpcs),
        CodeSystem::Icd9 | CodeSystem::Icd10pcs | CodeSystem::Snomed => {
            checks.bit(Rule::ProcedureNotInSystem)
        }
    };
    each_text(procedure.str()?, |row, code| {
        if belongs(code, system) {
            return;
        }
        let wrapped = system == CodeSystem::Hcpcs && hcpcs_within(code).is_some();
        if wrapped && normalized != 0 {
            mark(row, normalized);
        } else if !(wrapped && belongs(&code.to_ascii_uppercase(), system)) {
            mark(row, foreign);
        }
    });
    Ok(())
}

/// Flags providers that are missing, not in the directory, or not a valid NPI.
fn providers(
    checks: &RuleSet,
    false_npis: &FalseNpis,
    provider: &Series,
    place: &Series,
    mark: &mut impl FnMut(usize, i32),
) -> PolarsResult<()> {
    let [missing, unknown, false_npi] =
        [Rule::ProviderMissing, Rule::ProviderNotInDirectory, Rule::NpiInvalid]
            .map(|rule| checks.bit(rule));
    let (ids, places) = (provider.str()?, place.u32()?);
    // A missing provider is also absent from the directory. NPIs in the directory were already
    // checked there.
    each_null(place, |row| match ids.get(row) {
        None => mark(row, missing),
        Some(id) => {
            mark(row, unknown);
            if is_false_npi(id) {
                mark(row, false_npi);
            }
        }
    });
    if let Some(false_npis) = false_npis.as_deref().filter(|_| false_npi != 0) {
        let is_false = |place: u32| false_npis.get(place as usize) == Some(&true);
        for (row, place) in places.iter().enumerate() {
            if place.is_some_and(is_false) {
                mark(row, false_npi);
            }
        }
    }
    Ok(())
}
