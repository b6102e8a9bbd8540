//! Quality gates: totals that deviate too much from the previous run, and claim lines lost to
//! duplicate keys.
//!
//! A file of valid rows can still be incomplete; only a comparison with the previous run shows
//! that. Without line numbers all lines of a claim share one key, and only one line would be kept.

use std::fmt::Write as _;

use adbc_core::sync::Connection;

use super::run_context::RunContext;
use crate::config::{Mode, Quality, Settings};
use crate::error::{Error, Result};
use crate::extract::{Extracted, likely_line_columns};
use crate::load::ledger_read;
use crate::rule::{Rule, Severity};
use crate::totals::{Cents, ClaimCounts, ControlTotals, Reversals, grouped};
use crate::warehouse::load_strategy;

/// 100 % in millionths: money is never compared as a float.
const ONE: i128 = 1_000_000;

/// Rejects staged data whose figures deviate too much from the previous published run, unless
/// `--force` is set. `loaded`: number of staged rows, if known.
///
/// # Errors
/// `Quality` with both figures, the previous run and the limit; `Warehouse` when a query fails.
pub(super) fn check(
    connection: &mut impl Connection,
    context: &RunContext<'_>,
    totals: &ControlTotals,
    loaded: Option<u64>,
) -> Result<()> {
    let settings = context.settings;
    if context.options.force {
        return Ok(());
    }
    if settings.warehouse.mode == Mode::Replace
        && loaded == Some(0)
        && load_strategy::has_claims(connection)?
    {
        return Err(Error::quality(
            "no claim of the input was accepted, but claims are published; nothing was replaced",
        )
        .hint("is this the right input? --force replaces the published claims by nothing"));
    }
    let Quality { max_row_change, max_amount_change, max_orphan_change, max_null_change, .. } =
        settings.quality;
    if [max_row_change, max_amount_change, max_orphan_change, max_null_change] == [None; 4] {
        return Ok(());
    }
    let Some((run, then)) = ledger_read::last_published(connection)? else { return Ok(()) };
    let mut found = Vec::new();
    if let Some(limit) = max_row_change {
        let rows = |totals: &ControlTotals| i128::from(totals.claims.read);
        let figure = Figure { name: "claims read", setting: "max_row_change", limit };
        let shown = |rows: i128| grouped(&rows.to_string());
        found.extend(figure.change(rows(totals), rows(&then), shown));
    }
    if let Some(limit) = max_amount_change {
        let figure = Figure { name: "amount read", setting: "max_amount_change", limit };
        let shown = |cents: i128| Cents(cents).to_string();
        found.extend(figure.change(totals.amount.read.0, then.amount.read.0, shown));
    }
    let severities = context.checks.severities();
    for (limit, setting, rule, name) in [
        (
            max_orphan_change,
            "max_orphan_change",
            Rule::ProviderNotInDirectory,
            "share of claims whose provider is not in the directory",
        ),
        (
            max_null_change,
            "max_null_change",
            Rule::ProviderMissing,
            "share of claims without a provider",
        ),
        (
            max_null_change,
            "max_null_change",
            Rule::ProcedureMissing,
            "share of claims without a procedure",
        ),
    ] {
        // A disabled rule has no counts.
        let Some(limit) = limit.filter(|_| severities.of(rule) != Severity::Off) else { continue };
        let share = |totals: &ControlTotals, loaded: u64| {
            let rows = totals.flags.get(rule.name()).copied().unwrap_or(0);
            (loaded > 0).then(|| i128::from(rows) * ONE / i128::from(loaded))
        };
        let now = loaded.and_then(|loaded| share(totals, loaded));
        let shares = now.zip(share(&then, then.claims.loaded));
        let figure = Figure { name, setting, limit };
        found.extend(shares.and_then(|(now, then)| figure.difference(now, then)));
    }
    if found.is_empty() {
        return Ok(());
    }
    Err(Error::quality(format!(
        "out of line with run {run}: {}; nothing was published",
        found.join("; ")
    ))
    .hint(
        "is the input complete? --force publishes it all the same; a wider limit in [quality] does so for good",
    ))
}

/// Rejects a run in which too many claim lines have the same key but different content, unless
/// `on_duplicate` or `--force` is set.
///
/// # Errors
/// `Quality`, naming the columns that look like line numbers.
pub(super) fn check_conflicts(
    context: &RunContext<'_>,
    claims: &Extracted,
    totals: &ControlTotals,
) -> Result<()> {
    if context.options.force {
        return Ok(());
    }
    let refused = too_many_conflicts(context.settings, &totals.claims, &totals.reversals, claims);
    refused.map_or(Ok(()), Err)
}

/// Error for too many key conflicts. If the line number is unmapped but a column numbers claim
/// lines, identical repeats count as lines, too.
pub(crate) fn too_many_conflicts(
    settings: &Settings,
    counts: &ClaimCounts,
    reversals: &Reversals,
    extracted: &Extracted,
) -> Option<Error> {
    let unnumbered = !settings.claims.columns.contains_key("line_number")
        && extracted.files.iter().all(|file| !file.columns.contains_key("line_number"));
    refusal(settings, counts, reversals, unnumbered, || likely_line_columns(extracted))
}

fn refusal(
    settings: &Settings,
    counts: &ClaimCounts,
    reversals: &Reversals,
    unnumbered: bool,
    columns: impl FnOnce() -> Vec<String>,
) -> Option<Error> {
    let limit = settings.quality.max_conflict_ratio;
    let read = i128::from(counts.read);
    let too_many = |rows: u64| i128::from(rows) * ONE > millionths(limit) * read;
    let (conflicts, repeats) = (counts.conflicts, counts.conflicts + counts.duplicates);
    let too_many_repeats = unnumbered && too_many(repeats);
    if settings.warehouse.on_duplicate.is_some() || !(too_many(conflicts) || too_many_repeats) {
        return None;
    }
    let columns = columns();
    let (rows, other) = match columns.first() {
        None if !too_many(conflicts) => return None,
        Some(_) if unnumbered => (repeats, ""),
        _ => (conflicts, " and other content"),
    };
    let looks = columns
        .first()
        .map_or_else(String::new, |name| format!("; column {name:?} looks like the line number"));
    let share = percent(i128::from(rows) * ONE / read.max(1));
    let [rows, all] = [rows, counts.read].map(|rows| grouped(&rows.to_string()));
    let error = Error::quality(format!(
        "{rows} of {all} claim lines ({share}) have the claim id and line number of another one{other}, but \
         max_conflict_ratio is {limit}{looks}; nothing was published"
    ));
    let mut hint = String::new();
    if let [name, others @ ..] = columns.as_slice() {
        let others: Vec<String> = others.iter().map(|other| format!("{other:?}")).collect();
        let or = if others.is_empty() {
            String::new()
        } else {
            format!("   # or {}", others.join(", "))
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            hint,
            "say so in the configuration:\n  [claims.columns]\n  line_number = {name:?}{or}"
        );
    } else if reversals.lines > 0 {
        let lines = grouped(&reversals.lines.to_string());
        let _ = writeln!(
            hint,
            "{lines} of these claim lines came with amounts that cancel one another: where reversals have \
             the claim id of what they reverse, give each row a key of its own, for example\n  \
             [claims.columns]\n  claim_id = \"{{claim_id}}-{{adjustment}}\""
        );
    }
    hint += "if later rows correct earlier ones, choose that: --on-duplicate last (or first, or reject); \
             --force publishes this input once as it is";
    Some(error.hint(hint))
}

/// A monitored figure.
struct Figure {
    name: &'static str,
    setting: &'static str,
    limit: f64,
}

impl Figure {
    /// The relative change of a total if it exceeds the limit; a total that was zero has no limit.
    fn change(&self, now: i128, then: i128, shown: impl Fn(i128) -> String) -> Option<String> {
        let (size, change) = (then.abs(), (now - then).abs());
        let too_far = size > 0 && change * ONE > millionths(self.limit) * size;
        too_far.then(|| {
            format!(
                "{} {} now, {} then, a change of {}, but quality.{} is {}",
                self.name,
                shown(now),
                shown(then),
                percent(change.saturating_mul(ONE) / size),
                self.setting,
                self.limit
            )
        })
    }

    /// The absolute change of a share if it exceeds the limit.
    fn difference(&self, now: i128, then: i128) -> Option<String> {
        ((now - then).abs() > millionths(self.limit)).then(|| {
            format!(
                "{} {} now, {} then, but quality.{} is {}",
                self.name,
                percent(now),
                percent(then),
                self.setting,
                self.limit
            )
        })
    }
}

#[expect(clippy::cast_possible_truncation, reason = "limits are checked to be small")]
fn millionths(share: f64) -> i128 {
    (share * 1e6).round() as i128
}

/// Millionths as a percentage with one decimal.
fn percent(millionths: i128) -> String {
    let tenths = (millionths + 500) / 1000;
    format!("{}.{} %", grouped(&(tenths / 10).to_string()), tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::OnDuplicate;

    #[test]
    fn a_limit_holds_at_its_end() {
        let figure = Figure { name: "claims read", setting: "max_row_change", limit: 0.5 };
        let change = |now, then| figure.change(now, then, |n| n.to_string());
        assert_eq!(change(50, 100), None);
        assert_eq!(change(150, 100), None);
        assert_eq!(change(-50, -100), None);
        let expected =
            "claims read 49 now, 100 then, a change of 51.0 %, but quality.max_row_change is 0.5";
        assert_eq!(change(49, 100).as_deref(), Some(expected));
        assert!(change(151, 100).is_some() && change(50, -100).is_some());
        assert_eq!(change(7, 0), None, "nothing to compare with");
        assert_eq!(figure.difference(0, 500_000), None);
        assert!(figure.difference(0, 500_001).is_some());
    }

    #[test]
    fn conflicts_are_borne_up_to_their_limit_and_where_somebody_has_chosen() {
        let mut settings = Settings::default();
        let stopped = |settings: &Settings, conflicts, read| {
            let counts = ClaimCounts { read, conflicts, ..ClaimCounts::default() };
            let found = refusal(settings, &counts, &Reversals::default(), true, Vec::new);
            found.map(|error| error.message().to_owned())
        };
        for (conflicts, read) in [(0, 0), (0, 5), (1, 100), (10, 1_000), (99, 10_000)] {
            assert_eq!(stopped(&settings, conflicts, read), None, "{conflicts} of {read}");
        }
        let expected = "1 of 99 claim lines (1.0 %) have the claim id and line number of another one and \
             other content, but max_conflict_ratio is 0.01; nothing was published";
        assert_eq!(stopped(&settings, 1, 99).as_deref(), Some(expected));
        for (conflicts, read) in [(1, 2), (1, 20), (101, 10_000), (1_000_001, 100_000_000)] {
            assert!(stopped(&settings, conflicts, read).is_some(), "{conflicts} of {read}");
        }
        settings.quality.max_conflict_ratio = 0.0;
        assert_eq!(stopped(&settings, 0, 10), None);
        assert!(stopped(&settings, 1, 1_000_000_000).is_some());
        settings.quality.max_conflict_ratio = 1.0;
        assert_eq!(stopped(&settings, 99, 100), None);
        for policy in [OnDuplicate::Last, OnDuplicate::First, OnDuplicate::Reject] {
            let mut chosen = Settings::default();
            chosen.warehouse.on_duplicate = Some(policy);
            assert_eq!(stopped(&chosen, 99, 100), None, "{policy:?}");
        }
    }

    #[test]
    fn what_is_advised_fits_what_was_found() {
        let counts = ClaimCounts { read: 8, duplicates: 1, conflicts: 4, ..ClaimCounts::default() };
        let advised = |counts: &ClaimCounts, lines, unnumbered, columns: &[&str]| {
            let reversals = Reversals { lines, ..Reversals::default() };
            let columns = columns.iter().map(|name| (*name).to_owned()).collect();
            let error = refusal(&Settings::default(), counts, &reversals, unnumbered, || columns)?;
            Some(format!("{}\n{}", error.message(), error.way_out().unwrap_or_default()))
        };
        let advice =
            |lines, columns: &[&str]| advised(&counts, lines, true, columns).expect("refused");
        let named = advice(0, &["SVC_LN", "units"]);
        assert!(named.contains("column \"SVC_LN\" looks like the line number"), "{named}");
        assert!(named.contains("line_number = \"SVC_LN\"   # or \"units\""), "{named}");
        let reversed = advice(3, &[]);
        assert!(reversed.contains("claim_id = \"{claim_id}-{adjustment}\""), "{reversed}");
        assert!(advice(0, &[]).starts_with("4 of 8 claim lines") && named.starts_with("5 of 8"));
        assert!(advice(0, &[]).contains("--on-duplicate last"));
        // Identical lines are duplicates, unless a column numbers them.
        let alike = ClaimCounts { read: 8, duplicates: 4, ..ClaimCounts::default() };
        assert_eq!(advised(&alike, 0, true, &[]), None);
        assert_eq!(advised(&alike, 0, false, &["SVC_LN"]), None);
        assert!(advised(&alike, 0, true, &["SVC_LN"]).is_some());
    }

    #[test]
    fn one_cent_too_much_of_a_large_sum_is_seen() {
        let figure = Figure { name: "amount read", setting: "max_amount_change", limit: 0.1 };
        let then = 999_999_999_999_999_990;
        let change = |now| figure.change(now, then, |cents| Cents(cents).to_string());
        assert_eq!(change(then / 10 * 11), None);
        assert!(change(then / 10 * 11 + 1).is_some());
    }
}
