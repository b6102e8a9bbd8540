//! What the rows of the first pass add up to, counted on this side of the wire.

use std::collections::{BTreeMap, BTreeSet};

use polars::prelude::{Column, DataFrame, PolarsError};

use crate::error::{Error, Result};
use crate::rule::Rule;
use crate::schema::{CENTS, GENERALIZED, PROVIDER_ROW};
use crate::totals::Cents;

/// Records that are named of each reason for a reject.
const EXAMPLES: usize = 5;

/// Rows and money of an input, accepted and rejected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FirstPassTotals {
    /// Rows of the sources that are no claims; in no other count.
    pub(crate) filtered: u64,
    /// Rows accepted.
    pub(crate) accepted: u64,
    /// Money of the rows accepted, as it is released.
    pub(crate) accepted_amount: Cents,
    /// What was taken of the amounts of the rows accepted before they were released.
    pub(crate) generalized: Cents,
    /// Rows rejected, by reason.
    pub(crate) rejected: BTreeMap<Rule, u64>,
    /// Origins of the first rejected rows, by reason.
    pub(crate) examples: BTreeMap<Rule, Vec<i64>>,
    /// Money of the rejected rows whose amount could be read.
    pub(crate) rejected_amount: Cents,
    /// Rejected rows whose amount could not be read.
    pub(crate) unparsed_rows: u64,
    /// Accepted rows by finding, in the order of [`Rule::FLAGS`].
    pub(crate) flags: [u64; Rule::FLAGS.len()],
    /// Provider ids that only claims name.
    pub(crate) orphans: BTreeSet<String>,
}

impl FirstPassTotals {
    /// Rows read: accepted and rejected.
    #[must_use]
    pub(crate) fn read(&self) -> u64 {
        self.accepted + self.rejected_rows()
    }

    /// Rows rejected, for whatever reason.
    #[must_use]
    pub(crate) fn rejected_rows(&self) -> u64 {
        self.rejected.values().sum()
    }

    /// Counts accepted rows of the first pass.
    ///
    /// # Errors
    /// `Internal` when the frame lacks a column.
    pub(crate) fn accept(&mut self, rows: &DataFrame) -> Result<()> {
        let missing_column =
            |_: PolarsError| Error::internal("the rows of the first pass have no such column");
        let cents = rows.column(CENTS).and_then(Column::i64).map_err(missing_column)?;
        let flags = rows.column("dq_flags").and_then(Column::i32).map_err(missing_column)?;
        let providers = rows.column("provider_id").and_then(Column::str).map_err(missing_column)?;
        let places = rows.column(PROVIDER_ROW).and_then(Column::u32).map_err(missing_column)?;
        self.accepted += rows.height() as u64;
        let whole = |_: PolarsError| Error::internal("a null in a column of accepted rows");
        let (cents, flags) =
            (cents.cont_slice().map_err(whole)?, flags.cont_slice().map_err(whole)?);
        let sum = |cents: &[i64]| Cents(cents.iter().map(|&cents| i128::from(cents)).sum());
        self.accepted_amount += sum(cents);
        // Only there where amounts are made coarser.
        if let Ok(taken) = rows.column(GENERALIZED) {
            self.generalized +=
                sum(taken.i64().and_then(|taken| taken.cont_slice()).map_err(whole)?);
        }
        for &bits in flags {
            let mut left = bits;
            while left != 0 {
                if let Some(count) = self.flags.get_mut(left.trailing_zeros() as usize) {
                    *count += 1;
                }
                left &= left - 1;
            }
        }
        if places.null_count() > 0 {
            let unknown = places.iter().zip(providers.iter()).filter(|(place, _)| place.is_none());
            for id in unknown.filter_map(|(_, id)| id) {
                if !self.orphans.contains(id) {
                    self.orphans.insert(id.to_owned());
                }
            }
        }
        Ok(())
    }

    /// Adds what another thread has counted.
    pub(crate) fn merge(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.accepted_amount += other.accepted_amount;
        self.generalized += other.generalized;
        for (reason, rows) in other.rejected {
            *self.rejected.entry(reason).or_default() += rows;
        }
        for (reason, origins) in other.examples {
            add_examples(self.examples.entry(reason).or_default(), origins);
        }
        self.rejected_amount += other.rejected_amount;
        self.unparsed_rows += other.unparsed_rows;
        for (count, more) in self.flags.iter_mut().zip(other.flags) {
            *count += more;
        }
        self.orphans.extend(other.orphans);
    }

    /// Counts one rejected row; `amount` is null where it could not be read.
    pub(crate) fn reject(&mut self, reason: Rule, origin: i64, amount: Option<Cents>) {
        *self.rejected.entry(reason).or_default() += 1;
        add_examples(self.examples.entry(reason).or_default(), [origin]);
        match amount {
            Some(cents) => self.rejected_amount += cents,
            None => self.unparsed_rows += 1,
        }
    }
}

/// Adds origins to examples and keeps the first of all, whatever order they come in.
pub(crate) fn add_examples(examples: &mut Vec<i64>, origins: impl IntoIterator<Item = i64>) {
    for origin in origins {
        let place = examples.partition_point(|&known| known < origin);
        if place < EXAMPLES {
            examples.insert(place, origin);
            examples.truncate(EXAMPLES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rejected_row_is_in_a_reason_and_in_a_sum_or_unparsed() {
        let mut tally = FirstPassTotals::default();
        tally.reject(Rule::DateMissing, 3, Some(Cents(150)));
        tally.reject(Rule::AmountUnparseable, 2, None);
        tally.reject(Rule::DateMissing, 1, Some(Cents(-50)));
        assert_eq!((tally.read(), tally.rejected_rows(), tally.unparsed_rows), (3, 3, 1));
        assert_eq!(tally.rejected_amount, Cents(100));
        assert_eq!(tally.examples[&Rule::DateMissing], [1, 3]);
    }

    #[test]
    fn the_first_examples_are_kept_in_whatever_order_they_come() {
        let (mut upwards, mut downwards) = (FirstPassTotals::default(), FirstPassTotals::default());
        for origin in 1..=9 {
            upwards.reject(Rule::DateMissing, origin, None);
            downwards.reject(Rule::DateMissing, 10 - origin, None);
        }
        upwards.merge(downwards);
        assert_eq!(upwards.examples[&Rule::DateMissing], [1, 1, 2, 2, 3]);
    }
}
