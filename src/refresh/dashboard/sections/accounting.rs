//! The last load as a balanced account: every row that was read is loaded, rejected or a duplicate.

use maud::{Markup, Render, html};

use super::section::section;
use crate::refresh::dashboard::format::{count, money};
use crate::refresh::dashboard::snapshot::Run;
use crate::totals::{Cents, ControlTotals};

/// The account of the last load.
pub(in super::super) fn accounting(run: &Run) -> Markup {
    let intro = html! {
        "Every row and every dollar read from the sources is loaded, rejected or a duplicate"
        @if run.account.amount.generalized != Cents(0) {
            "; generalized is what coarser amounts removed, or added where it is negative"
        }
        "."
    };
    let body = html! {
        div class="ledger" {
            div class="scroll" tabindex="0" role="region"
                aria-label="Accounting of the last load" { (table(&run.account)) }
            div { (remarks(&run.account)) }
        }
    };
    section("accounting", "The last load, to the cent", intro, body)
}

fn table(account: &ControlTotals) -> Markup {
    let ControlTotals { claims, amount, providers, .. } = account;
    let line = |name: &str, claims: u64, amount: Cents, providers: u64| {
        row(None, name, &[count(claims), money(amount), count(providers)])
    };
    let part =
        |name: &str, rows: u64| row(Some("of"), name, &[count(rows), String::new(), String::new()]);
    html! {
        table class="account" {
            caption class="unseen" { "Accounting of the last load" }
            thead {
                tr {
                    td {}
                    th scope="col" class="number" { "Claim lines" }
                    th scope="col" class="number" { "Amount" }
                    th scope="col" class="number" { "Providers" }
                }
            }
            tbody {
                (line("Loaded", claims.loaded, amount.loaded, providers.loaded))
                (part("new", claims.inserted))
                (part("changed", claims.updated))
                (part("unchanged", claims.unchanged))
                (line("Rejected", claims.rejected, amount.rejected, providers.rejected))
                (line("Duplicates", claims.duplicates, amount.duplicates, providers.duplicates))
                @if claims.conflicts + providers.conflicts > 0 {
                    (line("Conflicts", claims.conflicts, amount.conflicts, providers.conflicts))
                }
                @if amount.generalized != Cents(0) {
                    (row(None, "Generalized",
                        &[String::new(), money(amount.generalized), String::new()]))
                }
                tr class="sum" {
                    (cells("Read", &[count(claims.read), money(amount.read), count(providers.read)]))
                }
                tr class="balance" { (cells("Difference", &differences(account))) }
            }
        }
    }
}

/// What was read and is not accounted for, each with its mark.
fn differences(account: &ControlTotals) -> [Markup; 3] {
    let ControlTotals { claims, amount, providers, .. } = account;
    let missing =
        |read: u64, parts: [u64; 4]| i128::from(read) - parts.map(i128::from).iter().sum::<i128>();
    let claims =
        missing(claims.read, [claims.loaded, claims.rejected, claims.duplicates, claims.conflicts]);
    let providers = missing(
        providers.read,
        [providers.loaded, providers.rejected, providers.duplicates, providers.conflicts],
    );
    let amounts =
        [amount.loaded, amount.rejected, amount.duplicates, amount.conflicts, amount.generalized];
    let amount = amount.read.0 - amounts.iter().map(|cents| cents.0).sum::<i128>();
    [
        balance(claims, &count(claims)),
        balance(amount, &money(Cents(amount))),
        balance(providers, &count(providers)),
    ]
}

fn balance(missing: i128, text: &str) -> Markup {
    let (class, name, mark) = match missing {
        0 => ("tick", "balanced", '\u{2713}'),
        _ => ("cross", "does not balance", '\u{2717}'),
    };
    html! { (text) "\u{a0}" span class=(class) role="img" aria-label=(name) { (mark) } }
}

fn row(class: Option<&str>, name: &str, figures: &[String; 3]) -> Markup {
    html! { tr class=[class] { (cells(name, figures)) } }
}

fn cells(name: &str, figures: &[impl Render; 3]) -> Markup {
    html! {
        th scope="row" { (name) }
        @for figure in figures { td class="number" { (figure) } }
    }
}

/// What the sums do not show.
fn remarks(account: &ControlTotals) -> Markup {
    let ControlTotals { claims, amount, reversals, providers, .. } = account;
    let remarks = [
        (claims.conflicts, "conflicting duplicates: same claim line, different content."),
        (
            reversals.lines,
            "claim lines came with rows that cancel one another; one was kept. The feed sends \
             reversals under the claim id of the line they reverse.",
        ),
        (
            reversals.overwritten,
            "published lines were overwritten by the opposite amount: a reversal replaced the line \
             it reverses.",
        ),
        (amount.unparsed_rows, "rejected lines have no readable amount and are not in the totals."),
        (
            providers.inferred,
            "more providers appear only in claims; they were added as placeholder providers.",
        ),
    ];
    html! {
        @for (rows, what) in remarks {
            @if rows > 0 { p class="note" { (count(rows)) " " (what) } }
        }
    }
}
