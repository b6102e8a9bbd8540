//! What the run ledger tells: the accounting, the data quality, where the numbers come from.
//!
//! A file of its own because these sections show the last load, the others the whole warehouse.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::super::data::{Run, Snapshot};
use super::super::table::{Cell, numbers, table, words};
use super::super::text::{self, count, escape, money, share};
use super::{NOT_STATED, section};
use crate::account::Cents;
use crate::rule::RejectReason;

/// The last load as a balanced account: what came in is what is loaded, rejected or repeated.
pub(in super::super) fn accounting(run: &Run) -> String {
    let (claims, amount, providers) =
        (&run.account.claims, &run.account.amount, &run.account.providers);
    // Read, loaded, rejected, duplicates; the second column is money.
    let columns = [
        [claims.read, claims.loaded, claims.rejected, claims.duplicates].map(i128::from),
        [amount.read, amount.loaded, amount.rejected, amount.duplicates].map(|cents| cents.0),
        [providers.read, providers.loaded, providers.rejected, providers.duplicates]
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
        let [read, loaded, rejected, duplicates] = columns[column];
        let missing = read - loaded - rejected - duplicates;
        let (class, name, mark) = match missing {
            0 => ("tick", "balanced", '\u{2713}'),
            _ => ("cross", "does not balance", '\u{2717}'),
        };
        let amount = shown(column, missing);
        format!(
            "{amount}\u{a0}<span class=\"{class}\" role=\"img\" aria-label=\"{name}\">{mark}</span>"
        )
    });
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
        &line("sum", "Read", 0),
        &row("balance", "Difference", &differences),
        "</tbody></table></div><div>",
        &remark(
            amount.unparsed_rows,
            "of the rejected lines had no readable amount and are in no sum of money.",
        ),
        &remark(
            providers.inferred,
            "more providers are named by claims only; they were added as inferred members.",
        ),
        "</div></div>",
    ];
    section(
        "accounting",
        "The last load, to the cent",
        "Every row and every dollar that was read from the sources is loaded, rejected or a \
         duplicate.",
        &body.concat(),
    )
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

/// Rejects, flags and the state of the directory.
pub(in super::super) fn quality(snapshot: &Snapshot, run: &Run) -> String {
    let account = &run.account;
    let body = format!(
        "<div class=\"pair\"><div><h3>Rejected, by reason</h3>{}</div>\
         <div><h3>Loaded with a flag</h3>{}</div></div>\
         <p class=\"note\">Duplicates dropped: {}. Providers that only claims name, in the whole \
         warehouse: {} of {}.</p>",
        tally(
            "Rejected claim lines by reason",
            &account.reject_reasons,
            account.claims.read,
            "Nothing was rejected."
        ),
        tally(
            "Loaded claim lines by flag",
            &account.flags,
            account.claims.loaded,
            "No flag was raised."
        ),
        count(account.claims.duplicates),
        count(snapshot.inferred),
        count(snapshot.directory),
    );
    section(
        "quality",
        "Data quality of the last load",
        "What was kept out of the tables, and what was let in with a mark.",
        &body,
    )
}

/// Counts by code, highest first; codes of the vocabulary name their column.
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
            let reason = RejectReason::ALL.into_iter().find(|reason| reason.name() == code);
            let first = text::words(code);
            let name = match reason {
                Some(reason) => {
                    Cell::Lines { first, second: format!("column {}", reason.column()) }
                }
                None => Cell::Name(first),
            };
            vec![name, Cell::Number(count(n)), Cell::Number(share(n.into(), whole.into()))]
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
