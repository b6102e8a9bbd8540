//! The page: its frame, the headline sentence and figures, and the order of the sections.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::format::{count, money, share};
use super::sections;
use super::snapshot::{Failure, Snapshot};

const STYLE: &str = include_str!("style.css");

/// The whole page as one self-contained HTML document, the same for the same snapshot.
pub(super) fn render(snapshot: &Snapshot) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy"
                    content="default-src 'none'; style-src 'unsafe-inline'";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="referrer" content="no-referrer";
                meta name="robots" content="noindex";
                meta name="color-scheme" content="light dark";
                title { "Claims warehouse" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (header(snapshot))
                main { (main(snapshot)) }
                (footer())
            }
        }
    };
    page.into_string()
}

fn main(snapshot: &Snapshot) -> Markup {
    let has_claims = snapshot.lines > 0;
    html! {
        (notices(snapshot))
        @if has_claims { (figures(snapshot)) }
        @if let Some(run) = &snapshot.run { (sections::accounting(run)) }
        @if has_claims {
            (sections::months(snapshot))
            div class="pair" {
                (sections::specialties(snapshot))
                (sections::scores(snapshot))
            }
            (sections::providers(snapshot))
            @if let Some(months) = &snapshot.provider_months {
                (sections::provider_months(months, &snapshot.released))
            }
            (sections::claims(snapshot))
        }
        @if let Some(run) = &snapshot.run {
            (sections::quality(snapshot, run))
            (sections::provenance(snapshot, run))
        }
    }
}

fn header(snapshot: &Snapshot) -> Markup {
    html! {
        header {
            div class="mast" {
                h1 { "Claims warehouse" }
                @if let Some(run) = &snapshot.run {
                    p class="stamp" { "Published " time { (run.published_at) } }
                }
            }
            p class="lead" { span { (lead(snapshot)) } }
        }
    }
}

fn lead(snapshot: &Snapshot) -> Markup {
    let dates = snapshot.released.dates;
    html! {
        @match (&snapshot.run, &snapshot.dates) {
            (None, _) => {
                "Nothing has been published yet. The first successful "
                code { "claims-etl run" }
                " fills this page."
            },
            (Some(_), None) => { "The warehouse holds no claims." },
            (Some(run), Some((first, last))) => {
                b { (count(snapshot.lines)) } " lines of " b { (count(snapshot.claims)) } " claims worth " b { (money(snapshot.amount)) }
                ", for services from " (dates.day(first)) " to " (dates.day(last)) ", "
                @if run.account.imbalances().is_empty() {
                    "and every row and cent of the last load is accounted for."
                } @else {
                    "but the last load does not balance."
                }
            },
        }
    }
}

/// What to know before reading any number.
fn notices(snapshot: &Snapshot) -> Markup {
    let imbalances = snapshot.run.as_ref().map(|run| run.account.imbalances()).unwrap_or_default();
    html! {
        @if let Some(failure) = &snapshot.failure { (failed(failure)) }
        @if !imbalances.is_empty() {
            div class="notice alarm" role="note" {
                b { "The last load does not balance" }
                ul { @for imbalance in &imbalances { li { (imbalance) } } }
            }
        }
    }
}

fn failed(failure: &Failure) -> Markup {
    html! {
        div class="notice warning" role="note" {
            b { "The latest run failed" }
            " (" (failure.kind.as_deref().unwrap_or("unknown kind")) ", started "
            (failure.started_at) "). Nothing of it is on this page."
            p { (failure.message.as_deref().unwrap_or_default()) }
            p { "Run " code { (failure.id) } }
        }
    }
}

fn figures(snapshot: &Snapshot) -> Markup {
    let directory = match snapshot.placeholders {
        0 => "all in the directory".into(),
        placeholders => format!("{} only in claims", count(placeholders)),
    };
    let high = format!(
        "{} score {} or more",
        share(snapshot.high.into(), snapshot.lines.into()),
        snapshot.released.levels.high
    );
    let tiles = [
        ("ink", "Claims", count(snapshot.claims), format!("{} lines", count(snapshot.lines))),
        ("ink wide", "Amount", money(snapshot.amount), String::new()),
        ("ink", "Providers", count(snapshot.directory), directory),
        ("ink", "Mean risk score", snapshot.mean_score.clone(), "of 100".into()),
        ("high", "High-risk claim lines", count(snapshot.high), high),
    ];
    html! {
        dl class="figures" aria-label="Headline figures" {
            @for (class, name, value, note) in tiles {
                div class=(class) { dt { (name) } dd { (value) small { (note) } } }
            }
        }
    }
}

fn footer() -> Markup {
    html! {
        footer {
            p {
                "Claims appear as keyed tokens, never under their identifiers; patients are only \
                 counted. The tokens, dates and amounts are still protected health information: \
                 share this page as you would share the claims."
            }
            p {
                "The risk score marks unusual billing. It is not a clinical risk adjustment and no \
                 proof of anything."
            }
        }
    }
}
