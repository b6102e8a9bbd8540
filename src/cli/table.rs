//! Text in aligned columns.

/// Column alignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// A table.
#[derive(Debug)]
pub(super) struct Table {
    align: Vec<Align>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table with one column per letter: `l` for text, `r` for numbers.
    pub(super) fn new(columns: &str) -> Self {
        let align = columns.chars().map(|c| if c == 'r' { Align::Right } else { Align::Left });
        Self { align: align.collect(), rows: Vec::new() }
    }

    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    /// Adds a row of fixed texts.
    pub(super) fn head<const N: usize>(&mut self, cells: [&str; N]) {
        self.row(cells.map(ToOwned::to_owned));
    }

    /// The lines, indented, without trailing spaces.
    pub(super) fn render(&self, indent: &str) -> String {
        let cell_width =
            |row: &Vec<String>, index: usize| row.get(index).map_or(0, |cell| width(cell));
        let widths: Vec<usize> = (0..self.align.len())
            .map(|index| self.rows.iter().map(|row| cell_width(row, index)).max().unwrap_or(0))
            .collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = indent.to_owned();
            for ((cell, align), column) in row.iter().zip(&self.align).zip(&widths) {
                let space = " ".repeat(column - width(cell));
                match align {
                    Align::Left => line.extend([cell.as_str(), &space, "  "]),
                    Align::Right => line.extend([space.as_str(), cell, "  "]),
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Shortens a name to this length, keeping the more informative end.
pub(super) fn shortened(name: &str, most: usize) -> String {
    let signs = width(name);
    if signs <= most {
        return name.to_owned();
    }
    let end: String = name.chars().skip(signs + 1 - most).collect();
    format!("…{end}")
}

fn width(cell: &str) -> usize {
    cell.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_keeps_its_end() {
        assert_eq!(shortened("claims.csv", 10), "claims.csv");
        assert_eq!(shortened("inbox/claims.csv", 10), "…laims.csv");
    }

    #[test]
    fn columns_line_up() {
        let mut table = Table::new("lr");
        table.head(["what", "rows"]);
        table.row(["é".into(), "1,000".into()]);
        assert_eq!(table.render("  "), "  what   rows\n  é     1,000\n");
    }
}
