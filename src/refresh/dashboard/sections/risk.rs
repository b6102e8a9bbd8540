//! The risk score: its distribution, and the providers and claims with the highest scores.

use maud::{Markup, html};

use super::section::{NOT_STATED, section};
use crate::refresh::dashboard::charts::{self, Point};
use crate::refresh::dashboard::format::{count, money, share};
use crate::refresh::dashboard::released::{Level, Released};
use crate::refresh::dashboard::snapshot::{BANDS, RANKED_FROM, Snapshot};
use crate::refresh::dashboard::table::{Cell, numbers, table, words};

/// Claim lines by band of the risk score.
pub(in super::super) fn scores(snapshot: &Snapshot) -> Markup {
    let total = snapshot.lines;
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
    let legend = [
        (Level::Low, low, format!("below {}", levels.medium)),
        (Level::Medium, medium, format!("{} to below {}", levels.medium, levels.high)),
        (Level::High, high, format!("{} or more", levels.high)),
    ];
    let columns = [words("Score"), words("Level"), numbers("Claim lines"), numbers("Share")];
    let body = html! {
        ul class="legend" {
            @for (level, claims, from) in legend {
                li {
                    span class={ "key " (level.name()) } {}
                    b { (share(claims.into(), total.into())) }
                    " " (level.name()) " "
                    small { (from) }
                }
            }
        }
        (charts::bars("Claim lines by risk score", &points))
        (charts::values("Claim lines by risk score", &columns, &rows))
    };
    let intro = format!(
        "{} claim lines ({}) score 0 and are not drawn. Each band includes its lower bound.",
        count(none),
        share(none.into(), total.into())
    );
    section("scores", "How unusual the billing is", intro, body)
}

/// Providers with the highest mean score.
pub(in super::super) fn providers(snapshot: &Snapshot) -> Markup {
    let Released { shape, levels, .. } = snapshot.released;
    let rows: Vec<Vec<Cell>> = snapshot
        .providers
        .iter()
        .map(|p| {
            let specialty = shape
                .has("specialty")
                .then(|| p.specialty.clone().unwrap_or_else(|| NOT_STATED.to_owned()));
            let (first, id) = match &p.name {
                Some(name) => (name.clone(), Some(p.id.clone())),
                None => (p.id.clone(), None),
            };
            let second: Vec<String> = [id, specialty].into_iter().flatten().collect();
            vec![
                Cell::Lines { first, second: second.join(" \u{b7} ") },
                Cell::Score { text: p.mean_score.clone(), level: levels.of_text(&p.mean_score) },
                Cell::Number(count(p.high)),
                Cell::Number(count(p.lines)),
                Cell::Number(money(p.amount)),
            ]
        })
        .collect();
    let columns = [
        words("Provider"),
        numbers("Mean"),
        numbers("High risk"),
        numbers("Claim lines"),
        numbers("Amount"),
    ];
    let body = if rows.is_empty() {
        html! { p class="note" { "No provider has " (RANKED_FROM) " claim lines yet." } }
    } else {
        table("Providers with the highest mean score", &columns, &rows)
    };
    let intro = format!("By mean score, among providers with at least {RANKED_FROM} claim lines.");
    section("providers", "Providers to look at first", intro, body)
}

/// Claim lines with the highest score.
pub(in super::super) fn claims(snapshot: &Snapshot) -> Markup {
    let Released { shape, dates, levels, .. } = snapshot.released;
    let procedures = shape.has("procedure_code");
    let rows: Vec<Vec<Cell>> = snapshot
        .top_lines
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
        html! { p class="note" { "No claim line scores above 0." } }
    } else {
        table("Claim lines with the highest score", &columns, &rows)
    };
    let intro = html! {
        "By score, then by amount. A claim shows the first eight digits of its token; selecting \
         them copies the whole token, as in "
        code { "claims_fact.claim_token" }
        "."
    };
    section("claims", "Claims to look at first", intro, body)
}

/// A component of the score in words.
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
