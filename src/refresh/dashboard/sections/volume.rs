//! How much there is: claims and amount by month and by specialty.
//!
//! A file of its own because it decides which months and specialties are drawn, and says what is
//! not.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::super::charts::{self, Point};
use super::super::data::{Month, Snapshot};
use super::super::table::{Cell, numbers, words};
use super::super::text::{compact, compact_money, count, escape, money, month, share, short_month};
use super::{NOT_STATED, section};
use crate::account::Cents;

/// Months drawn, at most.
const MONTHS: i64 = 36;
/// Specialties with a bar of their own, at most.
const SPECIALTIES: usize = 12;

/// Claims and amount by month.
pub(in super::super) fn months(snapshot: &Snapshot) -> String {
    let (shown, before, after) = window(snapshot);
    let last_day = snapshot.dates.as_ref().map_or("", |(_, last)| last);
    let points = |value: fn(&Month) -> (i128, String)| -> Vec<Point> {
        shown
            .iter()
            .map(|entry| {
                let (value, text) = value(entry);
                let (name, short) = (month(entry.number), short_month(entry.number));
                Point { name, short, value, text, class: "ink" }
            })
            .collect()
    };
    let claims = points(|m| (m.claims.into(), format!("{} claim lines", count(m.claims))));
    let amount = points(|m| (m.amount.0, money(m.amount)));
    let rows: Vec<Vec<Cell>> = shown
        .iter()
        .rev()
        .map(|m| {
            vec![
                Cell::Name(month(m.number)),
                Cell::Number(count(m.claims)),
                Cell::Number(money(m.amount)),
            ]
        })
        .collect();
    let mut body = format!(
        "<div class=\"pair\"><figure><figcaption>Claim lines</figcaption>{}</figure>\
         <figure><figcaption>Amount</figcaption>{}</figure></div>{}",
        charts::columns("Claim lines by month", &claims, compact),
        charts::line("Amount by month", &amount, compact_money),
        charts::values(
            "Claim lines and amount by month",
            &[words("Month"), numbers("Claim lines"), numbers("Amount")],
            &rows
        ),
    );
    for (rest, when) in [(before, "before these months"), (after, "after the month of publication")]
    {
        if rest.claims > 0 {
            let _ = write!(
                body,
                "<p class=\"note\">Not drawn: {} claim lines worth {} {when}.</p>",
                count(rest.claims),
                money(rest.amount)
            );
        }
    }
    let intro = format!(
        "By month of service. The last date of service is {}; the latest months may \
         still be filling up.",
        escape(last_day)
    );
    section("months", "Claims by month", &intro, &body)
}

/// The months to draw, without gaps, and what lies before and after them. Dates after the
/// publication are mistakes: they must not push the real months off the chart.
fn window(snapshot: &Snapshot) -> (Vec<Month>, Month, Month) {
    let newest = snapshot.months.last().map_or(0, |m| m.number);
    let published = snapshot.run.as_ref().map_or(newest, |run| run.month);
    let past = snapshot.months.iter().rfind(|m| m.number <= published);
    let last = past.map_or(newest, |m| m.number);
    let oldest = snapshot.months.first().map_or(last, |m| m.number);
    let first = oldest.max(last - MONTHS + 1);
    let known: BTreeMap<i64, &Month> = snapshot.months.iter().map(|m| (m.number, m)).collect();
    let shown = (first..=last)
        .map(|number| {
            known.get(&number).map_or(Month { number, ..Month::default() }, |m| (*m).clone())
        })
        .collect();
    let rest = |outside: &dyn Fn(i64) -> bool| {
        let outside = snapshot.months.iter().filter(|m| outside(m.number));
        outside.fold(Month::default(), |sum, m| Month {
            number: 0,
            claims: sum.claims + m.claims,
            amount: sum.amount + m.amount,
        })
    };
    (shown, rest(&|number| number < first), rest(&|number| number > last))
}

/// Specialties by amount.
pub(in super::super) fn specialties(snapshot: &Snapshot) -> String {
    let name = |name: &Option<String>| name.clone().unwrap_or_else(|| NOT_STATED.to_owned());
    let shown = snapshot.specialties.len().min(SPECIALTIES);
    let (top, rest) = snapshot.specialties.split_at(shown);
    let mut points: Vec<Point> = top
        .iter()
        .map(|s| Point {
            name: name(&s.name),
            short: String::new(),
            value: s.amount.0,
            text: money(s.amount),
            class: "ink",
        })
        .collect();
    if !rest.is_empty() {
        let amount: Cents = rest.iter().map(|s| s.amount).sum();
        points.push(Point {
            name: format!("{} others", rest.len()),
            short: String::new(),
            value: amount.0,
            text: money(amount),
            class: "pale",
        });
    }
    let rows: Vec<Vec<Cell>> = snapshot
        .specialties
        .iter()
        .map(|s| {
            vec![
                Cell::Name(name(&s.name)),
                Cell::Number(count(s.claims)),
                Cell::Number(money(s.amount)),
                Cell::Number(share(s.amount.0, snapshot.amount.0)),
                Cell::Number(count(s.high)),
            ]
        })
        .collect();
    let columns = [
        words("Specialty"),
        numbers("Claim lines"),
        numbers("Amount"),
        numbers("Share"),
        numbers("High risk"),
    ];
    let body = charts::bars("Amount by specialty", &points)
        + &charts::values("Amount by specialty", &columns, &rows);
    section("specialties", "Where the money goes", "Amount by specialty of the provider.", &body)
}
