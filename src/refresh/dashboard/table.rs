//! HTML tables: one place where cells are escaped.

use std::fmt::Write as _;

use super::text::escape;

/// A cell's content; all of it is text of which nothing is trusted.
pub(super) enum Cell {
    /// Left-aligned text.
    Text(String),
    /// The row's name, a header cell.
    Name(String),
    /// A right-aligned number.
    Number(String),
    /// A token, of which the first digits are seen; `title` shows on pointing at it.
    Token { token: String, title: String },
    /// A name with a second, smaller line.
    Lines { first: String, second: String },
    /// A score with the colour of its level.
    Score { text: String, level: Level },
}

/// A level of the risk score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Low,
    Medium,
    High,
}

/// The scores, 0 to 100, from which the levels begin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Levels {
    pub medium: f64,
    pub high: f64,
}

impl Default for Levels {
    fn default() -> Self {
        Self { medium: 20.0, high: 50.0 }
    }
}

impl Levels {
    pub(super) fn of(self, score: f64) -> Level {
        if score >= self.high {
            Level::High
        } else if score >= self.medium {
            Level::Medium
        } else {
            Level::Low
        }
    }

    /// The level of a score as the warehouse prints it.
    pub(super) fn of_text(self, score: &str) -> Level {
        self.of(score.parse().unwrap_or_default())
    }
}

impl Level {
    /// The name, which is also the CSS class.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// A table with a caption for those who do not see the heading above it.
pub(super) fn table(caption: &str, columns: &[Column<'_>], rows: &[Vec<Cell>]) -> String {
    let mut html = format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{0}\"><table>\
         <caption class=\"unseen\">{0}</caption><thead><tr>",
        escape(caption)
    );
    for column in columns {
        let class = if column.number { " class=\"number\"" } else { "" };
        let _ = write!(html, "<th scope=\"col\"{class}>{}</th>", escape(column.name));
    }
    html.push_str("</tr></thead><tbody>\n");
    for row in rows {
        html.push_str("<tr>");
        for cell in row {
            html.push_str(&cell_html(cell));
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody></table></div>");
    html
}

/// A column's heading.
pub(super) struct Column<'a> {
    name: &'a str,
    number: bool,
}

/// A column of text.
pub(super) fn words(name: &str) -> Column<'_> {
    Column { name, number: false }
}

pub(super) fn numbers(name: &str) -> Column<'_> {
    Column { name, number: true }
}

fn cell_html(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) => format!("<td><bdi>{}</bdi></td>", escape(text)),
        Cell::Name(text) => format!("<th scope=\"row\"><bdi>{}</bdi></th>", escape(text)),
        Cell::Number(text) => format!("<td class=\"number\">{}</td>", escape(text)),
        Cell::Token { token, title } => format!(
            "<th scope=\"row\"><code class=\"token\" title=\"{}\">{}</code></th>",
            escape(title),
            escape(token)
        ),
        Cell::Lines { first, second } => format!(
            "<th scope=\"row\"><bdi>{}</bdi><small><bdi>{}</bdi></small></th>",
            escape(first),
            escape(second)
        ),
        Cell::Score { text, level } => format!(
            "<td class=\"number\"><span class=\"score {0}\" title=\"{0}\">{1}</span></td>",
            level.name(),
            escape(text)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_lets_markup_through() {
        let evil = || "<img src=x onerror=\"alert(1)\">".to_owned();
        let html = table(
            &evil(),
            &[words("a")],
            &[vec![
                Cell::Text(evil()),
                Cell::Name(evil()),
                Cell::Number(evil()),
                Cell::Token { token: evil(), title: evil() },
                Cell::Lines { first: evil(), second: evil() },
                Cell::Score { text: evil(), level: Level::Low },
            ]],
        );
        assert!(!html.contains("<img") && !html.contains("\"alert"), "{html}");
        assert_eq!(html.matches("&lt;img").count(), 10);
    }

    #[test]
    fn levels_begin_at_20_and_50_where_nothing_else_is_said() {
        for (score, level) in [
            ("0.0", Level::Low),
            ("19.9", Level::Low),
            ("20.0", Level::Medium),
            ("49.9", Level::Medium),
            ("50.0", Level::High),
        ] {
            assert_eq!(Levels::default().of_text(score), level, "{score}");
        }
        assert_eq!(Levels { medium: 5.0, high: 33.3 }.of_text("33.3"), Level::High);
    }
}
