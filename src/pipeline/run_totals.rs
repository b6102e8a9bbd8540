//! Control totals of a run from the counts of its two passes.

use super::extract_stage::Inputs;
use super::transform_stage::Transformed;
use crate::load::{self, FirstPassTotals};
use crate::rule::Rule;
use crate::schema::{origin_file, origin_record};
use crate::shuffle::Resolved;
use crate::totals::{ControlTotals, Example};

/// Rows and amounts by outcome, with the first rejected records of each rule. Loaded rows are
/// counted by Postgres.
pub(super) fn totals(
    inputs: &Inputs,
    transformed: &Transformed,
    resolved: &Resolved,
) -> ControlTotals {
    let tally = &transformed.tally;
    let mut totals = counts(tally, resolved);
    totals.providers = transformed.directory.counts();
    let files = &inputs.claims.files;
    let example = |origin: i64| {
        let file = usize::try_from(origin_file(origin)).ok().and_then(|file| files.get(file));
        let source = file.map_or_else(String::new, |file| file.path.display().to_string());
        Example { source, record: u64::try_from(origin_record(origin)).unwrap_or(0) }
    };
    let mut examples = tally.examples.clone();
    for &(origin, rule) in &resolved.rejected {
        load::add_examples(examples.entry(rule).or_default(), [origin]);
    }
    let named = examples.into_iter().map(|(rule, origins)| {
        (rule.name().to_owned(), origins.into_iter().map(example).collect())
    });
    totals.reject_examples = named.collect();
    totals
}

/// Control totals of the claims.
pub(crate) fn counts(tally: &FirstPassTotals, resolved: &Resolved) -> ControlTotals {
    let mut totals = ControlTotals::default();
    totals.claims.read = tally.read();
    totals.claims.filtered = tally.filtered;
    totals.claims.rejected = tally.rejected_rows() + resolved.rejected.len() as u64;
    totals.claims.duplicates = resolved.duplicates;
    totals.claims.conflicts = resolved.conflicts;
    totals.amount.read = tally.accepted_amount + tally.generalized + tally.rejected_amount;
    totals.amount.generalized = tally.generalized;
    totals.amount.rejected = tally.rejected_amount + resolved.rejected_amount;
    totals.amount.duplicates = resolved.duplicates_amount;
    totals.amount.conflicts = resolved.conflicts_amount;
    totals.reversals = resolved.reversals;
    totals.amount.unparsed_rows = tally.unparsed_rows;
    let mut reasons = tally.rejected.clone();
    for &(_, rule) in &resolved.rejected {
        *reasons.entry(rule).or_default() += 1;
    }
    totals.reject_reasons =
        reasons.into_iter().map(|(rule, rows)| (rule.name().to_owned(), rows)).collect();
    let dropped = tally.flags.iter().zip(resolved.removed);
    totals.flags = Rule::FLAGS
        .iter()
        .zip(dropped.zip(resolved.found))
        .map(|(rule, ((&accepted, dropped), found))| {
            (rule.name().to_owned(), accepted.saturating_sub(dropped) + found)
        })
        .filter(|(_, rows)| *rows > 0)
        .collect();
    totals
}
