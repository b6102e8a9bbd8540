//! Verify: what is published against what the sources give, row by row.
//!
//! Rows are looked up by their keys, some thousand at a time, so memory and time follow the run
//! that is verified, not the table; only what is there too much takes one look at all rows. A
//! difference names token, line and columns, never a value.

use serde::Serialize;

/// How many differing rows are named; all are counted.
const EXAMPLES: usize = 20;

/// What became of the rows that the sources give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct RowCounts {
    /// Rows that the sources give.
    pub expected: u64,
    /// Those that are published as they should be.
    pub equal: u64,
    /// Those that a later run has written since.
    pub superseded: u64,
    /// Those that are published with other content.
    pub differing: u64,
    /// Those that are not published.
    pub missing: u64,
    /// Published rows under the run's number that the sources do not give.
    pub extra: u64,
}

impl RowCounts {
    /// Whether nothing differs.
    #[must_use]
    pub(crate) fn agree(&self) -> bool {
        self.differing + self.missing + self.extra == 0
    }
}

/// How a row differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Difference {
    /// It is not published.
    Missing,
    /// It is published with other content.
    Differing,
    /// The sources do not give it.
    Extra,
}

/// A row that differs: where it is, never what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Example {
    pub table: &'static str,
    /// The claim's token, or that of the provider's id.
    pub token: String,
    /// The line of the claim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<i16>,
    pub difference: Difference,
    /// The columns that differ.
    pub columns: Vec<&'static str>,
}

/// The first rows that differ.
#[derive(Debug, Clone, Default)]
pub(crate) struct Examples(pub(crate) Vec<Example>);

impl Examples {
    /// How many more are wanted.
    pub(crate) fn room(&self) -> usize {
        EXAMPLES - self.0.len()
    }

    pub(crate) fn add(&mut self, example: impl FnOnce() -> Example) {
        if self.room() > 0 {
            self.0.push(example());
        }
    }
}
