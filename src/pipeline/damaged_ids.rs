//! Counts placeholder and damaged identifiers per column, without recording their values.

use polars::prelude::StringChunked;
use serde::Serialize;

use crate::identifier::Damage;
use crate::transform::{CheckedIdentifier, RuleSet};

/// Row counts by kind of damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(crate) struct DamagedIds {
    pub(crate) placeholders: u64,
    /// Scientific notation, or lost digits.
    pub(crate) scientific: u64,
    /// Ends with `.0`.
    pub(crate) decimal: u64,
    /// Invisible characters or unusual white space.
    pub(crate) invisible: u64,
    /// Wrapped in spreadsheet text markers.
    pub(crate) wrapped: u64,
}

impl DamagedIds {
    /// Counts a column of a block; `None` when all identifiers are intact.
    pub(crate) fn of(column: &str, texts: &StringChunked, checks: &RuleSet) -> Option<Self> {
        let mut counts = Self::default();
        for text in texts.iter().flatten() {
            if let Some(checked) = checks.check(column, text).filter(|checked| !checked.is_sound())
            {
                counts.add(&checked);
            }
        }
        (counts != Self::default()).then_some(counts)
    }

    fn add(&mut self, checked: &CheckedIdentifier<'_>) {
        let of = |damage| u64::from(checked.damage.has(damage));
        self.placeholders += u64::from(checked.is_placeholder);
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

    /// Non-zero counts with their names.
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
