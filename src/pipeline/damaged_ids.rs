//! How many identifiers of a column are placeholders, or damaged by an export; never which.

use polars::prelude::StringChunked;
use serde::Serialize;

use crate::identifier::Damage;
use crate::transform::{Judged, RuleSet};

/// Rows by what is wrong with their identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(crate) struct DamagedIds {
    pub(crate) placeholders: u64,
    /// It is a number in scientific form, or has lost digits.
    pub(crate) scientific: u64,
    /// It ends with `.0`.
    pub(crate) decimal: u64,
    /// It has invisible characters or unusual blanks.
    pub(crate) invisible: u64,
    /// It is in the text markers of a spreadsheet.
    pub(crate) wrapped: u64,
}

impl DamagedIds {
    /// Counts a column of a block; none where nothing is wrong in it.
    pub(crate) fn of(column: &str, texts: &StringChunked, checks: &RuleSet) -> Option<Self> {
        let mut counts = Self::default();
        for text in texts.iter().flatten() {
            if let Some(judged) = checks.judge(column, text).filter(|judged| !judged.is_sound()) {
                counts.add(&judged);
            }
        }
        (counts != Self::default()).then_some(counts)
    }

    fn add(&mut self, judged: &Judged<'_>) {
        let of = |damage| u64::from(judged.damage.has(damage));
        self.placeholders += u64::from(judged.is_placeholder);
        self.scientific += of(Damage::SCIENTIFIC);
        self.decimal += of(Damage::DECIMAL);
        self.invisible += of(Damage::INVISIBLE);
        self.wrapped += of(Damage::WRAPPED);
    }

    /// Adds the counts of another thread.
    pub(crate) fn merge(&mut self, other: Self) {
        self.placeholders += other.placeholders;
        self.scientific += other.scientific;
        self.decimal += other.decimal;
        self.invisible += other.invisible;
        self.wrapped += other.wrapped;
    }

    /// Each that there are, with its name.
    #[must_use]
    pub(crate) fn named(&self) -> Vec<(u64, &'static str)> {
        let all = [
            (self.placeholders, "placeholders"),
            (self.scientific, "in scientific form"),
            (self.decimal, "with .0"),
            (self.invisible, "with invisible characters"),
            (self.wrapped, "in text markers"),
        ];
        all.into_iter().filter(|(rows, _)| *rows > 0).collect()
    }
}
