//! HTML tables.

use maud::{Markup, Render, html};

use super::released::Level;

pub(super) enum Cell {
    Text(String),
    /// The row's name, a header cell.
    Name(String),
    Number(String),
    /// A token; the first digits are visible, `title` is its tooltip.
    Token {
        token: String,
        title: String,
    },
    /// A name with a second, smaller line.
    Lines {
        first: String,
        second: String,
    },
    /// A score with the colour of its level.
    Score {
        text: String,
        level: Level,
    },
}

impl Render for Cell {
    fn render(&self) -> Markup {
        html! {
            @match self {
                Self::Text(text) => td { bdi { (text) } },
                Self::Name(name) => th scope="row" { bdi { (name) } },
                Self::Number(number) => td class="number" { (number) },
                Self::Token { token, title } => th scope="row" {
                    code class="token" title=(title) { (token) }
                },
                Self::Lines { first, second } => th scope="row" {
                    bdi { (first) }
                    small { bdi { (second) } }
                },
                Self::Score { text, level } => td class="number" {
                    span class={ "score " (level.name()) } title=(level.name()) { (text) }
                },
            }
        }
    }
}

/// A column's heading.
pub(super) struct Column<'a> {
    name: &'a str,
    number: bool,
}

pub(super) fn words(name: &str) -> Column<'_> {
    Column { name, number: false }
}

pub(super) fn numbers(name: &str) -> Column<'_> {
    Column { name, number: true }
}

/// A table with a caption for screen readers.
pub(super) fn table(caption: &str, columns: &[Column<'_>], rows: &[Vec<Cell>]) -> Markup {
    html! {
        div class="scroll" tabindex="0" role="region" aria-label=(caption) {
            table {
                caption class="unseen" { (caption) }
                thead {
                    tr {
                        @for column in columns {
                            th scope="col" class=[column.number.then_some("number")] {
                                (column.name)
                            }
                        }
                    }
                }
                tbody {
                    @for row in rows {
                        tr { @for cell in row { (cell) } }
                    }
                }
            }
        }
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
        )
        .into_string();
        assert!(!html.contains("<img") && !html.contains("\"alert"), "{html}");
        assert_eq!(html.matches("&lt;img").count(), 10);
    }
}
