//! Charts as inline SVG: columns and a line over time, bars over names.
//!
//! Shapes are placed in percent and stretch with the page, while their labels are HTML and keep
//! their size, so that a chart is readable on a phone. All arithmetic is on whole numbers, cents
//! included.

use maud::{Markup, html};

use super::table::{Cell, Column, table};

/// One value of a chart.
pub(super) struct Point {
    /// The name in full.
    pub(crate) name: String,
    /// The name on an axis.
    pub(crate) short: String,
    pub(crate) value: i128,
    /// The value as text, exact.
    pub(crate) text: String,
    /// A CSS class, for the colour; may be empty.
    pub(crate) class: &'static str,
}

/// Labels on the time axis, at most.
const TICKS: usize = 6;

/// Columns over time.
pub(super) fn columns(title: &str, points: &[Point], axis: fn(i128) -> String) -> Markup {
    let scale = Scale::over(points);
    let shapes = html! {
        @for (place, point) in points.iter().enumerate() {
            @let top = scale.depth(point.value.max(0));
            @let bottom = scale.depth(point.value.min(0));
            rect class=(point.class)
                x=(percent(place * 100 + 14, points.len() * 100))
                width=(percent(72, points.len() * 100))
                y=(permyriad(top)) height=(permyriad(bottom - top)) {}
        }
    };
    over_time(title, points, &scale, &shapes, axis)
}

/// A line over time with the area under it.
pub(super) fn line(title: &str, points: &[Point], axis: fn(i128) -> String) -> Markup {
    let scale = Scale::over(points);
    let centre = |place: usize| (place * 2 + 1) * 5_000 / points.len();
    let path: Vec<String> = points
        .iter()
        .enumerate()
        .map(|(place, point)| format!("{},{}", centre(place), scale.depth(point.value)))
        .collect();
    let path = path.join(" ");
    let zero = scale.depth(0);
    let shapes = html! {
        svg viewBox="0 0 10000 10000" preserveAspectRatio="none" width="100%" height="100%" {
            @if let Some(last) = points.len().checked_sub(1) {
                polygon class="area"
                    points={ (centre(0)) "," (zero) " " (path) " " (centre(last)) "," (zero) } {}
                polyline class="line" points=(path) {}
            }
        }
        @for (place, point) in points.iter().enumerate() {
            circle cx=(percent(place * 2 + 1, points.len() * 2))
                cy=(permyriad(scale.depth(point.value))) r="2.5" {}
        }
    };
    over_time(title, points, &scale, &shapes, axis)
}

/// Horizontal bars, each with its name and its exact value.
pub(super) fn bars(title: &str, points: &[Point]) -> Markup {
    let longest = points.iter().map(|point| point.value).max().unwrap_or_default().max(1);
    // A value above zero is visible, however small.
    let length = |value: i128| match parts(value.clamp(0, longest), longest) {
        length if value > 0 => length.max(60),
        _ => 0,
    };
    html! {
        ul class="bars" aria-label=(title) {
            @for point in points {
                li {
                    span class="name" { bdi { (point.name) } }
                    span class="value" { (point.text) }
                    svg role="img" aria-label={ (point.name) ": " (point.text) } {
                        rect class="track" width="100%" height="100%" {}
                        rect class=(point.class) width=(permyriad(length(point.value)))
                            height="100%" {}
                    }
                }
            }
        }
    }
}

/// The values of a chart, in a closed disclosure below it.
pub(super) fn values(title: &str, columns: &[Column<'_>], rows: &[Vec<Cell>]) -> Markup {
    html! {
        details {
            summary { "Values" }
            (table(title, columns, rows))
        }
    }
}

fn over_time(
    title: &str,
    points: &[Point],
    scale: &Scale,
    shapes: &Markup,
    axis: fn(i128) -> String,
) -> Markup {
    let step = points.len().div_ceil(TICKS).max(1);
    html! {
        div class="plot" {
            div class="y" aria-hidden="true" {
                @for value in scale.lines() {
                    span style={ "top:" (permyriad(scale.depth(value))) } { (axis(value)) }
                }
            }
            svg role="img" aria-label=(summary(title, points)) {
                @for value in scale.lines() {
                    @let depth = permyriad(scale.depth(value));
                    line class=(if value == 0 { "zero" } else { "grid" })
                        x2="100%" y1=(depth) y2=(depth) {}
                }
                (shapes)
                @for (place, point) in points.iter().enumerate() {
                    rect class="hover" x=(percent(place, points.len()))
                        width=(percent(1, points.len())) height="100%" {
                        title { (point.name) ": " (point.text) }
                    }
                }
            }
            div class="x" aria-hidden="true" {
                @for (place, point) in points.iter().enumerate().step_by(step) {
                    span style={ "left:" (percent(place * 2 + 1, points.len() * 2)) } {
                        (point.short)
                    }
                }
            }
        }
    }
}

/// What the chart shows, for screen readers.
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

/// The next round number for the end of an axis, even so that half of it is whole.
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
    use super::super::format::compact;
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
        let svg = columns("Claims", &[point("a", 10), point("b", 5), point("c", -10)], compact)
            .into_string();
        assert!(svg.contains("y=\"0.00%\" height=\"50.00%\""), "{svg}");
        assert!(svg.contains("y=\"25.00%\" height=\"25.00%\""), "{svg}");
        assert!(svg.contains("y=\"50.00%\" height=\"50.00%\""), "{svg}");
    }

    #[test]
    fn a_small_value_is_seen_and_none_is_longer_than_the_longest() {
        let svg =
            bars("Bands", &[point("a", 1), point("b", 1_000_000), point("c", 0)]).into_string();
        assert!(svg.contains("width=\"0.60%\""));
        assert!(svg.contains("class=\"low\" width=\"100.00%\""));
        assert!(svg.contains("class=\"low\" width=\"0.00%\""));
    }

    #[test]
    fn charts_of_nothing_and_of_one_value_are_drawn() {
        for points in [vec![], vec![point("only", 3)]] {
            assert!(columns("c", &points, compact).into_string().contains("role=\"img\""));
            assert!(line("l", &points, compact).into_string().contains("role=\"img\""));
            assert!(bars("b", &points).into_string().contains("<ul"));
        }
    }

    #[test]
    fn names_are_escaped_everywhere() {
        let evil = [point("<script>", 1)];
        for html in [columns("c", &evil, compact), line("l", &evil, compact), bars("b", &evil)] {
            let html = html.into_string();
            assert!(!html.contains("<script>") && html.contains("&lt;script&gt;"));
        }
    }
}
