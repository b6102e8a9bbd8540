//! Charts as inline SVG: columns and a line over time, bars over names.
//!
//! Shapes are placed in percent and stretch with the page, while their labels are HTML and keep
//! their size, so that a chart is readable on a phone. All arithmetic is on whole numbers, cents
//! included.

use std::fmt::Write as _;

use super::table::{Cell, Column, table};
use super::text::escape;

/// One value of a chart.
pub(super) struct Point {
    /// The name in full.
    pub name: String,
    /// The name on an axis.
    pub short: String,
    /// What is drawn.
    pub value: i128,
    /// The value as text, exact.
    pub text: String,
    /// A CSS class, for the colour; may be empty.
    pub class: &'static str,
}

/// Names on the time axis, at most.
const TICKS: usize = 6;

/// Columns from the left to the right.
pub(super) fn columns(title: &str, points: &[Point], axis: fn(i128) -> String) -> String {
    let scale = Scale::over(points);
    let mut shapes = String::new();
    for (place, point) in points.iter().enumerate() {
        let (top, bottom) = (scale.depth(point.value.max(0)), scale.depth(point.value.min(0)));
        let _ = write!(
            shapes,
            "<rect class=\"{}\" x=\"{}\" width=\"{}\" y=\"{}\" height=\"{}\"/>",
            point.class,
            percent(place * 100 + 14, points.len() * 100),
            percent(72, points.len() * 100),
            permyriad(top),
            permyriad(bottom - top)
        );
    }
    over_time(title, points, &scale, &shapes, axis)
}

/// A line with the area under it.
pub(super) fn line(title: &str, points: &[Point], axis: fn(i128) -> String) -> String {
    let scale = Scale::over(points);
    let centre = |place: usize| (place * 2 + 1) * 5_000 / points.len();
    let path: Vec<String> = points
        .iter()
        .enumerate()
        .map(|(place, point)| format!("{},{}", centre(place), scale.depth(point.value)))
        .collect();
    let zero = scale.depth(0);
    let mut shapes = String::from(
        "<svg viewBox=\"0 0 10000 10000\" preserveAspectRatio=\"none\" \
         width=\"100%\" height=\"100%\">",
    );
    if let Some(last) = points.len().checked_sub(1) {
        let _ = write!(
            shapes,
            "<polygon class=\"area\" points=\"{},{zero} {} {},{zero}\"/>\
             <polyline class=\"line\" points=\"{}\"/>",
            centre(0),
            path.join(" "),
            centre(last),
            path.join(" ")
        );
    }
    shapes.push_str("</svg>");
    for (place, point) in points.iter().enumerate() {
        let _ = write!(
            shapes,
            "<circle cx=\"{}\" cy=\"{}\" r=\"2.5\"/>",
            percent(place * 2 + 1, points.len() * 2),
            permyriad(scale.depth(point.value))
        );
    }
    over_time(title, points, &scale, &shapes, axis)
}

/// Horizontal bars, each with its name and its exact value.
pub(super) fn bars(title: &str, points: &[Point]) -> String {
    let longest = points.iter().map(|point| point.value).max().unwrap_or_default().max(1);
    let mut html = format!("<ul class=\"bars\" aria-label=\"{}\">\n", escape(title));
    for point in points {
        let length = parts(point.value.clamp(0, longest), longest);
        let _ = writeln!(
            html,
            "<li><span class=\"name\"><bdi>{}</bdi></span><span class=\"value\">{}</span>\
             <svg role=\"img\" aria-label=\"{}\">\
             <rect class=\"track\" width=\"100%\" height=\"100%\"/>\
             <rect class=\"{}\" width=\"{}\" height=\"100%\"/></svg></li>",
            escape(&point.name),
            escape(&point.text),
            escape(&format!("{}: {}", point.name, point.text)),
            point.class,
            // A value above zero is seen, however small.
            permyriad(if point.value > 0 { length.max(60) } else { 0 })
        );
    }
    html.push_str("</ul>");
    html
}

/// The values of a chart, folded away below it.
pub(super) fn values(title: &str, columns: &[Column<'_>], rows: &[Vec<Cell>]) -> String {
    format!("<details><summary>Values</summary>{}</details>", table(title, columns, rows))
}

fn over_time(
    title: &str,
    points: &[Point],
    scale: &Scale,
    shapes: &str,
    axis: fn(i128) -> String,
) -> String {
    let mut lines = String::new();
    let mut labels = String::new();
    for value in scale.lines() {
        let depth = permyriad(scale.depth(value));
        let class = if value == 0 { "zero" } else { "grid" };
        let _ =
            write!(lines, "<line class=\"{class}\" x2=\"100%\" y1=\"{depth}\" y2=\"{depth}\"/>");
        let _ = write!(labels, "<span style=\"top:{depth}\">{}</span>", escape(&axis(value)));
    }
    let mut hover = String::new();
    let mut ticks = String::new();
    let step = points.len().div_ceil(TICKS).max(1);
    for (place, point) in points.iter().enumerate() {
        let _ = write!(
            hover,
            "<rect class=\"hover\" x=\"{}\" width=\"{}\" height=\"100%\">\
             <title>{}: {}</title></rect>",
            percent(place, points.len()),
            percent(1, points.len()),
            escape(&point.name),
            escape(&point.text)
        );
        if place % step == 0 {
            let _ = write!(
                ticks,
                "<span style=\"left:{}\">{}</span>",
                percent(place * 2 + 1, points.len() * 2),
                escape(&point.short)
            );
        }
    }
    format!(
        "<div class=\"plot\"><div class=\"y\" aria-hidden=\"true\">{labels}</div>\
         <svg role=\"img\" aria-label=\"{}\">{lines}{shapes}{hover}</svg>\
         <div class=\"x\" aria-hidden=\"true\">{ticks}</div></div>",
        escape(&summary(title, points)),
    )
}

/// What the chart shows, for those who do not see it.
fn summary(title: &str, points: &[Point]) -> String {
    let highest = points.iter().max_by_key(|point| point.value);
    match (points.first(), points.last(), highest) {
        (Some(first), Some(last), Some(highest)) => format!(
            "{title}: {} in {}, {} in {}, highest in {} with {}",
            first.text, first.name, last.text, last.name, highest.name, highest.text
        ),
        _ => title.to_owned(),
    }
}

/// A vertical axis from a round number at or below zero to a round number above.
struct Scale {
    low: i128,
    high: i128,
}

impl Scale {
    fn over(points: &[Point]) -> Self {
        let values = || points.iter().map(|point| point.value);
        let low = values().min().unwrap_or_default().min(0);
        Self {
            low: if low < 0 { -ceiling(-low) } else { 0 },
            high: ceiling(values().max().unwrap_or_default().max(0)),
        }
    }

    /// How far below the top a value lies, in ten-thousandths of the height.
    fn depth(&self, value: i128) -> usize {
        parts(self.high - value.clamp(self.low, self.high), self.high - self.low)
    }

    fn lines(&self) -> impl Iterator<Item = i128> {
        let low = (self.low < 0).then_some(self.low);
        [self.high, self.high / 2, 0].into_iter().chain(low)
    }
}

/// The next number that an axis can end with, even so that half of it is whole.
fn ceiling(value: i128) -> i128 {
    let mut unit = 1;
    loop {
        for step in [2, 3, 4, 5, 6, 8, 10] {
            let round = step * unit;
            if round >= value && round % 2 == 0 {
                return round;
            }
        }
        unit *= 10;
    }
}

/// `part` of `whole` in ten-thousandths.
fn parts(part: i128, whole: i128) -> usize {
    usize::try_from(part * 10_000 / whole.max(1)).unwrap_or_default().min(10_000)
}

fn permyriad(parts: usize) -> String {
    format!("{}.{:02}%", parts / 100, parts % 100)
}

fn percent(part: usize, whole: usize) -> String {
    permyriad(part * 10_000 / whole.max(1))
}

#[cfg(test)]
mod tests {
    use super::super::text::compact;
    use super::*;

    fn point(name: &str, value: i128) -> Point {
        Point {
            name: name.into(),
            short: name.into(),
            value,
            text: value.to_string(),
            class: "low",
        }
    }

    #[test]
    fn an_axis_ends_with_a_round_number() {
        for (value, end) in [(0, 2), (1, 2), (7, 8), (11, 20), (23, 30), (4_999, 5_000), (61, 80)] {
            assert_eq!(ceiling(value), end, "{value}");
        }
    }

    #[test]
    fn heights_are_in_proportion_and_a_negative_column_hangs_from_zero() {
        let svg = columns("Claims", &[point("a", 10), point("b", 5), point("c", -10)], compact);
        assert!(svg.contains("y=\"0.00%\" height=\"50.00%\""), "{svg}");
        assert!(svg.contains("y=\"25.00%\" height=\"25.00%\""), "{svg}");
        assert!(svg.contains("y=\"50.00%\" height=\"50.00%\""), "{svg}");
    }

    #[test]
    fn a_small_value_is_seen_and_none_is_longer_than_the_longest() {
        let svg = bars("Bands", &[point("a", 1), point("b", 1_000_000), point("c", 0)]);
        assert!(svg.contains("width=\"0.60%\""));
        assert!(svg.contains("class=\"low\" width=\"100.00%\""));
        assert!(svg.contains("class=\"low\" width=\"0.00%\""));
    }

    #[test]
    fn charts_of_nothing_and_of_one_value_are_drawn() {
        for points in [vec![], vec![point("only", 3)]] {
            assert!(columns("c", &points, compact).contains("role=\"img\""));
            assert!(line("l", &points, compact).contains("role=\"img\""));
            assert!(bars("b", &points).contains("<ul"));
        }
    }

    #[test]
    fn names_are_escaped_wherever_they_stand() {
        let evil = [point("<script>", 1)];
        for html in [columns("c", &evil, compact), line("l", &evil, compact), bars("b", &evil)] {
            assert!(!html.contains("<script>") && html.contains("&lt;script&gt;"));
        }
    }
}
