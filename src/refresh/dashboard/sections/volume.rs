//! Claims and amount by month and by specialty.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::section::{NOT_STATED, section};
use crate::refresh::dashboard::charts::{self, Point};
use crate::refresh::dashboard::format::{self, compact, compact_money, count, money, share};
use crate::refresh::dashboard::snapshot::{Month, Snapshot};
use crate::refresh::dashboard::table::{Cell, numbers, words};
use crate::totals::Cents;

/// Months, quarters or years drawn, at most.
const PERIODS: i64 = 36;
/// Specialties with a bar, at most; the others share one.
const SPECIALTIES: usize = 12;

/// Claims and amount by month, or by quarter or year where dates are no finer.
pub(in super::super) fn months(snapshot: &Snapshot) -> Markup {
    let dates = snapshot.released.dates;
    let period = dates.period();
    let (shown, before, after) = window(snapshot);
    let last_day = snapshot.dates.as_ref().map_or("", |(_, last)| last);
    let points = |value: fn(&Month) -> (i128, String)| -> Vec<Point> {
        shown
            .iter()
            .map(|entry| {
                let (value, text) = value(entry);
                let (name, short) = (dates.name(entry.number), dates.short(entry.number));
                Point { name, short, value, text, class: "ink" }
            })
            .collect()
    };
    let lines = points(|m| (m.lines.into(), format!("{} claim lines", count(m.lines))));
    let amount = points(|m| (m.amount.0, money(m.amount)));
    let rows: Vec<Vec<Cell>> = shown
        .iter()
        .rev()
        .map(|m| {
            vec![
                Cell::Name(dates.name(m.number)),
                Cell::Number(count(m.claims)),
                Cell::Number(count(m.lines)),
                Cell::Number(money(m.amount)),
            ]
        })
        .collect();
    let title = format::words(period);
    let columns = [words(&title), numbers("Claims"), numbers("Claim lines"), numbers("Amount")];
    let by = |what: &str| format!("{what} by {period}");
    let body = html! {
        div class="pair" {
            figure {
                figcaption { "Claim lines" }
                (charts::columns(&by("Claim lines"), &lines, compact))
            }
            figure {
                figcaption { "Amount" }
                (charts::line(&by("Amount"), &amount, compact_money))
            }
        }
        (charts::values(&by("Claims, lines and amount"), &columns, &rows))
        (not_drawn(&before, &format!("before these {period}s")))
        (not_drawn(&after, &format!("after the {period} of publication")))
    };
    let intro = html! {
        "By " (period) " of service. The last date of service is " (dates.cell(last_day))
        "; the latest " (period) "s may still be filling up."
        @if let Some(remark) = dates.remark() { " " (remark) }
    };
    section("months", &by("Claims"), intro, body)
}

fn not_drawn(rest: &Month, when: &str) -> Markup {
    html! {
        @if rest.lines > 0 {
            p class="note" {
                "Not drawn: " (count(rest.lines)) " claim lines worth " (money(rest.amount))
                " " (when) "."
            }
        }
    }
}

/// The months to draw, without gaps, and the sums before and after them. Dates after the publication
/// are errors: they must not push the real months off the chart.
fn window(snapshot: &Snapshot) -> (Vec<Month>, Month, Month) {
    let step = snapshot.released.dates.months();
    let newest = snapshot.months.last().map_or(0, |m| m.number);
    let published = snapshot.run.as_ref().map_or(newest, |run| run.month);
    let past = snapshot.months.iter().rfind(|m| m.number <= published);
    let last = past.map_or(newest, |m| m.number);
    let oldest = snapshot.months.first().map_or(last, |m| m.number);
    let first = oldest.max(last - (PERIODS - 1) * step);
    let known: BTreeMap<i64, &Month> = snapshot.months.iter().map(|m| (m.number, m)).collect();
    let shown = (first..=last)
        .step_by(usize::try_from(step).unwrap_or(1))
        .map(|number| {
            known.get(&number).map_or(Month { number, ..Month::default() }, |m| (*m).clone())
        })
        .collect();
    let rest = |outside: &dyn Fn(i64) -> bool| {
        let outside = snapshot.months.iter().filter(|m| outside(m.number));
        outside.fold(Month::default(), |sum, m| Month {
            number: 0,
            claims: sum.claims + m.claims,
            lines: sum.lines + m.lines,
            amount: sum.amount + m.amount,
        })
    };
    (shown, rest(&|number| number < first), rest(&|number| number > last))
}

/// Specialties by amount.
pub(in super::super) fn specialties(snapshot: &Snapshot) -> Markup {
    let title = "Where the money goes";
    if !snapshot.released.shape.has("specialty") {
        let why = snapshot.released.without("Amounts by specialty are not shown", "specialty");
        return section("specialties", title, why, "");
    }
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
                Cell::Number(count(s.lines)),
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
    let body = html! {
        (charts::bars("Amount by specialty", &points))
        (charts::values("Amount by specialty", &columns, &rows))
    };
    section("specialties", title, "Amount by specialty of the provider.", body)
}
