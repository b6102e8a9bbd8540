//! The page: its frame, the sentence that says it all, the figures, and the order of the sections.

use std::fmt::Write as _;

use super::data::{Run, Snapshot};
use super::text::{count, escape, money, share};
use super::{provider_months, sections};

const STYLE: &str = include_str!("style.css");

/// The whole page as one self-contained HTML document, the same for the same snapshot.
pub(super) fn render(snapshot: &Snapshot) -> String {
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" \
         content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n\
         <meta name=\"robots\" content=\"noindex\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>Claims warehouse</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n"
    );
    html.push_str(&header(snapshot));
    html.push_str("<main>\n");
    html.push_str(&notices(snapshot));
    if snapshot.claims > 0 {
        html.push_str(&figures(snapshot));
    }
    if let Some(run) = &snapshot.run {
        html.push_str(&sections::accounting(run));
    }
    if snapshot.claims > 0 {
        html.push_str(&sections::months(snapshot));
        html.push_str("<div class=\"pair\">\n");
        html.push_str(&sections::specialties(snapshot));
        html.push_str(&sections::scores(snapshot));
        html.push_str("</div>\n");
        html.push_str(&sections::providers(snapshot));
        if let Some(months) = &snapshot.provider_months {
            html.push_str(&provider_months::render(months, &snapshot.released));
        }
        html.push_str(&sections::claims(snapshot));
    }
    if let Some(run) = &snapshot.run {
        html.push_str(&sections::quality(snapshot, run));
        html.push_str(&sections::provenance(snapshot, run));
    }
    html.push_str("</main>\n");
    html.push_str(
        "<footer><p>Claims appear as keyed tokens, never under their identifiers; patients are only \
         counted. The tokens, dates and amounts are still protected health information: share this \
         page as you would share the claims.</p><p>The risk score marks unusual billing. It is not a \
         clinical risk adjustment and no proof of anything.</p></footer>\n</body>\n</html>\n",
    );
    html
}

fn header(snapshot: &Snapshot) -> String {
    let lead = match (&snapshot.run, &snapshot.dates) {
        (None, _) => "Nothing has been published yet. The first <code>claims-etl run</code> that \
                      succeeds fills this page."
            .to_owned(),
        (Some(_), None) => "The warehouse holds no claims.".to_owned(),
        (Some(run), Some((first, last))) => {
            let balance = if run.account.imbalances().is_empty() {
                "and every row and cent of the last load is accounted for"
            } else {
                "but the last load does not balance"
            };
            format!(
                "<b>{}</b> claim lines worth <b>{}</b>, for services from {} to {}, {balance}.",
                count(snapshot.claims),
                money(snapshot.amount),
                escape(&snapshot.released.dates.day(first)),
                escape(&snapshot.released.dates.day(last))
            )
        }
    };
    format!(
        "<header><div class=\"mast\"><h1>Claims warehouse</h1>{}</div>\
         <p class=\"lead\"><span>{lead}</span></p>\
         </header>\n",
        snapshot.run.as_ref().map(stamp).unwrap_or_default()
    )
}

fn stamp(run: &Run) -> String {
    format!("<p class=\"stamp\">Published <time>{}</time></p>", escape(&run.published_at))
}

/// What needs a look before any number is read.
fn notices(snapshot: &Snapshot) -> String {
    let mut html = String::new();
    if let Some(failure) = &snapshot.failure {
        let _ = writeln!(
            html,
            "<div class=\"notice warning\" role=\"note\"><b>The latest run failed</b> ({}, started \
             {}). Nothing of it is on this page.<p>{}</p><p>Run <code>{}</code></p></div>",
            escape(failure.kind.as_deref().unwrap_or("unknown kind")),
            escape(&failure.started_at),
            escape(failure.message.as_deref().unwrap_or_default()),
            escape(&failure.id),
        );
    }
    let imbalances = snapshot.run.as_ref().map(|run| run.account.imbalances()).unwrap_or_default();
    if !imbalances.is_empty() {
        html.push_str(
            "<div class=\"notice alarm\" role=\"note\"><b>The last load does not balance</b><ul>",
        );
        for imbalance in &imbalances {
            let _ = write!(html, "<li>{}</li>", escape(imbalance));
        }
        html.push_str("</ul></div>\n");
    }
    html
}

fn figures(snapshot: &Snapshot) -> String {
    let high = snapshot.high;
    let tiles = [
        ("Claim lines", count(snapshot.claims), String::new(), "ink"),
        ("Amount", money(snapshot.amount), String::new(), "ink wide"),
        (
            "Providers",
            count(snapshot.directory),
            match snapshot.inferred {
                0 => "all in the directory".into(),
                inferred => format!("{} only in claims", count(inferred)),
            },
            "ink",
        ),
        ("Mean risk score", snapshot.mean_score.clone(), "of 100".into(), "ink"),
        (
            "High-risk claim lines",
            count(high),
            format!(
                "{} score {} or more",
                share(high.into(), snapshot.claims.into()),
                snapshot.released.levels.high
            ),
            "high",
        ),
    ];
    let mut html = String::from("<dl class=\"figures\" aria-label=\"Headline figures\">\n");
    for (name, value, note, class) in tiles {
        let _ = writeln!(
            html,
            "<div class=\"{class}\"><dt>{name}</dt><dd>{}<small>{}</small></dd></div>",
            escape(&value),
            escape(&note)
        );
    }
    html.push_str("</dl>\n");
    html
}
