//! How unusual the billing is: the distribution of the score, and whom and what to look at first.

use std::fmt::Write as _;

use super::super::charts::{self, Point};
use super::super::data::{BANDS, RANKED_FROM, Snapshot};
use super::super::released::Released;
use super::super::table::{Cell, Level, numbers, table, words};
use super::super::text::{count, escape, money, patients, share};
use super::{NOT_STATED, section};

/// Claim lines by band of the risk score.
pub(in super::super) fn scores(snapshot: &Snapshot) -> String {
    let total = snapshot.claims;
    let band_name = |band: usize| match band {
        0 => "0".to_owned(),
        1 => "above 0 to 10".to_owned(),
        10 => "90 to 100".to_owned(),
        band => format!("{} to {}", band * 10 - 10, band * 10),
    };
    let levels = snapshot.released.levels;
    // A band has the level of its lower bound.
    let level =
        |band: usize| levels.of(u32::try_from(band.saturating_sub(1) * 10).map_or(0.0, f64::from));
    let point = |band: usize| Point {
        name: band_name(band),
        short: String::new(),
        value: snapshot.bands[band].into(),
        text: count(snapshot.bands[band]),
        class: level(band).name(),
    };
    let points: Vec<Point> = (1..BANDS).map(point).collect();
    let rows: Vec<Vec<Cell>> = (0..BANDS)
        .map(|band| {
            let claims = snapshot.bands[band];
            vec![
                Cell::Name(band_name(band)),
                Cell::Text(level(band).name().to_owned()),
                Cell::Number(count(claims)),
                Cell::Number(share(claims.into(), total.into())),
            ]
        })
        .collect();
    let (medium, high, none) = (snapshot.medium, snapshot.high, snapshot.bands[0]);
    let low = total - medium - high;
    let mut body = String::from("<ul class=\"legend\">");
    for (level, claims, from) in [
        (Level::Low, low, format!("below {}", levels.medium)),
        (Level::Medium, medium, format!("{} to below {}", levels.medium, levels.high)),
        (Level::High, high, format!("{} or more", levels.high)),
    ] {
        let name = level.name();
        let _ = write!(
            body,
            "<li><span class=\"key {name}\"></span><b>{}</b> {name} <small>{from}</small></li>",
            escape(&share(claims.into(), total.into()))
        );
    }
    body.push_str("</ul>");
    body.push_str(&charts::bars("Claim lines by risk score", &points));
    body.push_str(&charts::values(
        "Claim lines by risk score",
        &[words("Score"), words("Level"), numbers("Claim lines"), numbers("Share")],
        &rows,
    ));
    let intro = format!(
        "{} claim lines ({}) score 0 and are not drawn. Each band holds its lower bound.",
        count(none),
        escape(&share(none.into(), total.into()))
    );
    section("scores", "How unusual the billing is", &intro, &body)
}

/// Providers with the highest mean score.
pub(in super::super) fn providers(snapshot: &Snapshot) -> String {
    let Released { shape, levels, .. } = snapshot.released;
    let rows: Vec<Vec<Cell>> = snapshot
        .providers
        .iter()
        .map(|p| {
            let specialty = shape
                .has("specialty")
                .then(|| p.specialty.clone().unwrap_or_else(|| NOT_STATED.to_owned()));
            // Without names an id is not told twice.
            let (first, id) = match &p.name {
                Some(name) => (name.clone(), Some(p.id.clone())),
                None => (p.id.clone(), None),
            };
            let second: Vec<String> = [id, specialty].into_iter().flatten().collect();
            vec![
                Cell::Lines { first, second: second.join(" \u{b7} ") },
                Cell::Score { text: p.mean_score.clone(), level: levels.of_text(&p.mean_score) },
                Cell::Score { text: p.max_score.clone(), level: levels.of_text(&p.max_score) },
                Cell::Number(count(p.high)),
                Cell::Number(count(p.claims)),
                Cell::Number(patients(p.patients)),
                Cell::Number(money(p.amount)),
            ]
        })
        .collect();
    let columns = [
        words("Provider"),
        numbers("Mean"),
        numbers("Highest"),
        numbers("High risk"),
        numbers("Claim lines"),
        numbers("Patients"),
        numbers("Amount"),
    ];
    let body = if rows.is_empty() {
        format!("<p class=\"note\">No provider has {RANKED_FROM} claim lines yet.</p>")
    } else {
        table("Providers with the highest mean score", &columns, &rows)
    };
    let intro = format!(
        "By mean score, among providers with at least {RANKED_FROM} claim lines. Counts \
         of 1 to 10 patients are not shown."
    );
    section("providers", "Providers to look at first", &intro, &body)
}

/// Claim lines with the highest score.
pub(in super::super) fn claims(snapshot: &Snapshot) -> String {
    let Released { shape, dates, levels, .. } = snapshot.released;
    let procedures = shape.has("procedure_code");
    let rows: Vec<Vec<Cell>> = snapshot
        .top_claims
        .iter()
        .map(|claim| {
            let reason = claim.reason.as_deref().map_or(NOT_STATED, reason_words);
            let mut cells = vec![
                Cell::Token {
                    token: claim.token.clone(),
                    title: format!("{}, line {}", claim.token, claim.line),
                },
                Cell::Score { text: claim.score.clone(), level: levels.of_text(&claim.score) },
                Cell::Text(reason.to_owned()),
            ];
            if procedures {
                let procedure = claim.procedure.clone();
                cells.push(Cell::Text(procedure.unwrap_or_else(|| NOT_STATED.to_owned())));
            }
            cells.extend([
                Cell::Text(claim.provider.clone()),
                Cell::Text(dates.cell(&claim.date)),
                Cell::Number(money(claim.amount)),
            ]);
            cells
        })
        .collect();
    let mut columns = vec![words("Claim"), numbers("Score"), words("Main reason")];
    if procedures {
        columns.push(words("Procedure"));
    }
    columns.extend([words("Provider"), words("Service"), numbers("Amount")]);
    let body = if rows.is_empty() {
        "<p class=\"note\">No claim line scores above 0.</p>".to_owned()
    } else {
        table("Claim lines with the highest score", &columns, &rows)
    };
    let intro = "By score, then by amount. A claim shows the first eight digits of its token; \
                 selecting them copies the whole, as <code>claims_fact.claim_token</code> holds it.";
    section("claims", "Claims to look at first", intro, &body)
}

/// What a component of the score means.
fn reason_words(component: &str) -> &str {
    match component {
        "amount" => "Amount far above peers",
        "duplicate" => "Billed more than once",
        "provider" => "Provider charges above peers",
        "volume" => "Unusually many patients that day",
        "mismatch" => "Procedure rare for the specialty",
        "weekend" => "Weekend service",
        other => other,
    }
}
