//! Data quality of the last load: rejects, flags, counts and the state of the directory.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, html};

use super::section::section;
use crate::refresh::dashboard::format::{self, count, share};
use crate::refresh::dashboard::snapshot::{Run, Snapshot};
use crate::refresh::dashboard::table::{Cell, numbers, table, words};
use crate::rule::{Rule, Severity};
use crate::totals::{ControlTotals, Example};

/// What was rejected, flagged and counted.
pub(in super::super) fn quality(snapshot: &Snapshot, run: &Run) -> Markup {
    let account = &run.account;
    let of = |severity: Severity| -> BTreeMap<String, u64> {
        let has = |name: &str| {
            Rule::from_name(name).map_or(Severity::Flag, |rule| snapshot.severities.of(rule))
                == severity
        };
        let counts = account.flags.iter().filter(|(name, _)| has(name));
        counts.map(|(name, rows)| (name.clone(), *rows)).collect()
    };
    let (flagged, counted) = (of(Severity::Flag), of(Severity::Count));
    let loaded = account.claims.loaded;
    let providers = &account.providers;
    let body = html! {
        h3 { "Rejected, by reason" }
        (rejects(account))
        div class="pair" {
            div {
                h3 { "Loaded with a flag" }
                (tally("Loaded claim lines by flag", &flagged, loaded, "No flag was raised."))
            }
            div {
                h3 { "Counted only" }
                (tally("Loaded claim lines by rule", &counted, loaded, "Nothing else was counted."))
            }
        }
        @if providers.reject_reasons.values().sum::<u64>() > 0 {
            h3 { "Rejected records of the directory" }
            (tally("Rejected providers by reason", &providers.reject_reasons, providers.read, ""))
        }
        p class="note" {
            "Duplicates dropped: " (count(account.claims.duplicates)) ". "
            "Placeholder providers in the whole warehouse: "
            (count(snapshot.placeholders)) " of " (count(snapshot.directory)) ". "
            "To list the rejected records: " code { "claims-etl quarantine " (run.id) } "."
        }
    };
    section(
        "quality",
        "Data quality of the last load",
        "What was rejected, what was loaded with a flag, and what was only counted.",
        body,
    )
}

/// Rejects by rule with the first records of each.
fn rejects(account: &ControlTotals) -> Markup {
    let found = highest_first(&account.reject_reasons);
    if found.is_empty() {
        return html! { p class="note" { "Nothing was rejected." } };
    }
    let sources: BTreeSet<&str> =
        account.reject_examples.values().flatten().map(|at| at.source.as_str()).collect();
    let place = |example: &Example| {
        let name = example.source.rsplit('/').next().unwrap_or_default();
        let name = if sources.len() > 1 { format!("{name} ") } else { String::new() };
        format!("{name}{}", example.record)
    };
    let rows: Vec<Vec<Cell>> = found
        .into_iter()
        .map(|(name, rows)| {
            let examples = account.reject_examples.get(name).map_or(&[][..], Vec::as_slice);
            let examples: Vec<String> = examples.iter().take(3).map(place).collect();
            vec![
                explained(name),
                Cell::Text(examples.join(", ")),
                Cell::Number(count(rows)),
                Cell::Number(share(rows.into(), account.claims.read.into())),
            ]
        })
        .collect();
    table(
        "Rejected claim lines by reason",
        &[words("Rule"), words("First records"), numbers("Claim lines"), numbers("Share")],
        &rows,
    )
}

/// Counts by rule; `none` is shown where there are none.
fn tally(title: &str, counts: &BTreeMap<String, u64>, whole: u64, none: &str) -> Markup {
    let found = highest_first(counts);
    if found.is_empty() {
        return html! { p class="note" { (none) } };
    }
    let rows: Vec<Vec<Cell>> = found
        .into_iter()
        .map(|(code, rows)| {
            let share = share(rows.into(), whole.into());
            vec![explained(code), Cell::Number(count(rows)), Cell::Number(share)]
        })
        .collect();
    table(title, &[words("Rule"), numbers("Claim lines"), numbers("Share")], &rows)
}

fn highest_first(counts: &BTreeMap<String, u64>) -> Vec<(&str, u64)> {
    let mut found: Vec<(&str, u64)> = counts
        .iter()
        .filter(|(_, rows)| **rows > 0)
        .map(|(code, rows)| (code.as_str(), *rows))
        .collect();
    found.sort_by_key(|&(code, rows)| (Reverse(rows), code));
    found
}

/// A rule's name and description.
fn explained(name: &str) -> Cell {
    let first = format::words(name);
    match Rule::from_name(name) {
        Some(rule) => Cell::Lines { first, second: rule.description().to_owned() },
        None => Cell::Name(first),
    }
}
