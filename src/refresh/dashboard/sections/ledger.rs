//! What the run ledger tells: the accounting, the data quality, where the numbers come from.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::super::data::{Run, Snapshot};
use super::super::table::{Cell, numbers, table, words};
use super::super::text::{self, count, escape, money, share};
use super::{NOT_STATED, section};
use crate::rule::{Rule, Severity};
use crate::totals::{Cents, ControlTotals, Example};

/// The last load as a balanced account: what came in is what is loaded, rejected or repeated.
pub(in super::super) fn accounting(run: &Run) -> String {
    let (claims, amount, providers) =
        (&run.account.claims, &run.account.amount, &run.account.providers);
    // Read, loaded, rejected, duplicates, conflicts, generalized; the second column is money.
    let columns = [
        [claims.read, claims.loaded, claims.rejected, claims.duplicates, claims.conflicts, 0]
            .map(i128::from),
        [
            amount.read,
            amount.loaded,
            amount.rejected,
            amount.duplicates,
            amount.conflicts,
            amount.generalized,
        ]
        .map(|cents| cents.0),
        [
            providers.read,
            providers.loaded,
            providers.rejected,
            providers.duplicates,
            providers.conflicts,
            0,
        ]
        .map(i128::from),
    ];
    let shown = |column: usize, value: i128| match column {
        1 => money(Cents(value)),
        _ => count(value),
    };
    let line = |class: &str, name: &str, place: usize| {
        let [claims, amount, providers] =
            [0, 1, 2].map(|column| shown(column, columns[column][place]));
        row(class, name, &[claims, amount, providers])
    };
    let part =
        |name: &str, rows: u64| row("of", name, &[count(rows), String::new(), String::new()]);
    let differences = [0, 1, 2].map(|column| {
        let [read, others @ ..] = columns[column];
        let missing = read - others.iter().sum::<i128>();
        let (class, name, mark) = match missing {
            0 => ("tick", "balanced", '\u{2713}'),
            _ => ("cross", "does not balance", '\u{2717}'),
        };
        let amount = shown(column, missing);
        format!(
            "{amount}\u{a0}<span class=\"{class}\" role=\"img\" aria-label=\"{name}\">{mark}</span>"
        )
    });
    // Only where amounts are made coarser.
    let generalized = match amount.generalized {
        Cents(0) => String::new(),
        cents => row("", "Generalized", &[String::new(), money(cents), String::new()]),
    };
    let conflicts = match claims.conflicts + providers.conflicts {
        0 => String::new(),
        _ => line("", "Conflicts", 4),
    };
    let body = [
        "<div class=\"ledger\"><div class=\"scroll\" tabindex=\"0\" role=\"region\" \
         aria-label=\"Accounting of the last load\"><table class=\"account\">\
         <caption class=\"unseen\">Accounting of the last load</caption><thead><tr><td></td>\
         <th scope=\"col\" class=\"number\">Claim lines</th>\
         <th scope=\"col\" class=\"number\">Amount</th>\
         <th scope=\"col\" class=\"number\">Providers</th></tr></thead><tbody>\n",
        &line("", "Loaded", 1),
        &part("new", claims.inserted),
        &part("changed", claims.updated),
        &part("unchanged", claims.unchanged),
        &line("", "Rejected", 2),
        &line("", "Duplicates", 3),
        &conflicts,
        &generalized,
        &line("sum", "Read", 0),
        &row("balance", "Difference", &differences),
        "</tbody></table></div><div>",
        &remarks(&run.account),
        "</div></div>",
    ];
    let intro = if amount.generalized == Cents(0) {
        "Every row and every dollar that was read from the sources is loaded, rejected or a \
         repeat."
    } else {
        "Every row and every dollar that was read from the sources is loaded, rejected or a \
         repeat; generalized is what coarser amounts took away, or added where it is negative."
    };
    section("accounting", "The last load, to the cent", intro, &body.concat())
}

/// What the sums do not say.
fn remarks(account: &ControlTotals) -> String {
    let ControlTotals { claims, amount, reversals, providers, .. } = account;
    [
        (
            claims.conflicts,
            "repeats of a claim line had other content than the line that was kept: conflicts.",
        ),
        (
            reversals.lines,
            "claim lines came with rows that cancel one another, of which one was kept: the feed \
             sends reversals under the claim id of what they reverse.",
        ),
        (
            reversals.overwritten,
            "published lines were overwritten by the opposite amount: a reversal took the place of \
             what it reverses.",
        ),
        (
            amount.unparsed_rows,
            "of the rejected lines had no readable amount and are in no sum of money.",
        ),
        (
            providers.inferred,
            "more providers are named by claims only; they were added as inferred members.",
        ),
    ]
    .map(|(rows, what)| remark(rows, what))
    .concat()
}

/// A row of the account; `cells` are markup.
fn row(class: &str, name: &str, cells: &[String; 3]) -> String {
    let [claims, amount, providers] = cells;
    format!(
        "<tr class=\"{class}\"><th scope=\"row\">{name}</th><td class=\"number\">{claims}</td>\
         <td class=\"number\">{amount}</td><td class=\"number\">{providers}</td></tr>\n"
    )
}

/// A remark about `rows` rows, where there are any.
fn remark(rows: u64, what: &str) -> String {
    match rows {
        0 => String::new(),
        rows => format!("<p class=\"note\">{} {what}</p>", count(rows)),
    }
}

/// Rejects, flags, counts and the state of the directory.
pub(in super::super) fn quality(snapshot: &Snapshot, run: &Run) -> String {
    let account = &run.account;
    let of = |severity: Severity| -> BTreeMap<String, u64> {
        let is_so = |name: &str| {
            Rule::from_name(name).map_or(Severity::Flag, |rule| snapshot.severities.of(rule))
                == severity
        };
        let counts = account.flags.iter().filter(|(name, _)| is_so(name));
        counts.map(|(name, rows)| (name.clone(), *rows)).collect()
    };
    let list = |title: &str, counts: &BTreeMap<String, u64>, none: &str| {
        tally(title, counts, account.claims.loaded, none)
    };
    let mut body = format!(
        "<h3>Rejected, by reason</h3>{}\
         <div class=\"pair\"><div><h3>Loaded with a flag</h3>{}</div>\
         <div><h3>Counted only</h3>{}</div></div>",
        rejects(account),
        list("Loaded claim lines by flag", &of(Severity::Flag), "No flag was raised."),
        list("Loaded claim lines by rule", &of(Severity::Count), "Nothing else was counted."),
    );
    let refused: u64 = account.providers.reject_reasons.values().sum();
    if refused > 0 {
        let _ = write!(
            body,
            "<h3>Rejected records of the directory</h3>{}",
            tally(
                "Rejected providers by reason",
                &account.providers.reject_reasons,
                account.providers.read,
                ""
            )
        );
    }
    let _ = write!(
        body,
        "<p class=\"note\">Duplicates dropped: {}. Providers that only claims name, in the whole \
         warehouse: {} of {}. Where each rejected record is: \
         <code>claims-etl quarantine {}</code>.</p>",
        count(account.claims.duplicates),
        count(snapshot.inferred),
        count(snapshot.directory),
        escape(&run.id),
    );
    section(
        "quality",
        "Data quality of the last load",
        "What was kept out of the tables, what was let in with a mark, and what was counted.",
        &body,
    )
}

/// The reasons for rejects, with what they mean and the first records of each.
fn rejects(account: &ControlTotals) -> String {
    let mut found: Vec<(&String, u64)> =
        account.reject_reasons.iter().map(|(name, rows)| (name, *rows)).collect();
    found.retain(|(_, rows)| *rows > 0);
    if found.is_empty() {
        return "<p class=\"note\">Nothing was rejected.</p>".into();
    }
    found.sort_by_key(|&(name, rows)| (std::cmp::Reverse(rows), name));
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

/// A rule's name and what it says.
fn explained(name: &str) -> Cell {
    let first = text::words(name);
    match Rule::from_name(name) {
        Some(rule) => Cell::Lines { first, second: rule.description().to_owned() },
        None => Cell::Name(first),
    }
}

/// Counts by rule, highest first.
fn tally(title: &str, counts: &BTreeMap<String, u64>, whole: u64, none: &str) -> String {
    let mut found: Vec<(&str, u64)> =
        counts.iter().filter(|(_, n)| **n > 0).map(|(code, n)| (code.as_str(), *n)).collect();
    if found.is_empty() {
        return format!("<p class=\"note\">{none}</p>");
    }
    found.sort_by_key(|&(code, n)| (std::cmp::Reverse(n), code));
    let rows: Vec<Vec<Cell>> = found
        .into_iter()
        .map(|(code, n)| {
            let share = share(n.into(), whole.into());
            vec![explained(code), Cell::Number(count(n)), Cell::Number(share)]
        })
        .collect();
    table(title, &[words("Rule"), numbers("Claim lines"), numbers("Share")], &rows)
}

/// Where the numbers come from.
pub(in super::super) fn provenance(snapshot: &Snapshot, run: &Run) -> String {
    let facts = [
        ("Published", run.published_at.clone()),
        ("Run", run.id.clone()),
        ("Program", format!("claims-etl {}", run.tool_version)),
        ("Load mode", run.mode.clone()),
        ("Privacy profile", run.privacy_profile.clone()),
        ("Key", run.key_id.clone()),
        ("Risk model", run.risk_model.clone().unwrap_or_else(|| NOT_STATED.to_owned())),
        (
            "Runs so far",
            format!(
                "{}, of which {} published",
                count(snapshot.runs),
                count(snapshot.published_runs)
            ),
        ),
    ];
    let mut body = String::from("<dl class=\"facts\">");
    for (name, value) in facts {
        let _ = write!(body, "<div><dt>{name}</dt><dd>{}</dd></div>", escape(&value));
    }
    body.push_str("</dl>");
    section(
        "provenance",
        "Where these numbers come from",
        "All counts are rows and all sums are exact dollars of \
         <code>healthcare_analytics.claims_fact</code>; the last load is a row of \
         <code>claims_etl.runs</code>.",
        &body,
    )
}
