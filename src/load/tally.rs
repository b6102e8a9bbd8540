//! What the rows of the first pass add up to, counted on this side of the wire.
//!
//! A file of its own because it is one side of the control totals: Postgres counts the other side,
//! and both must agree to the row and the cent before anything is published.

use std::collections::{BTreeMap, BTreeSet};

use polars::prelude::{Column, DataFrame, PolarsError};

use crate::account::Cents;
use crate::error::{Error, Result};
use crate::rule::{Flag, RejectReason};
use crate::schema::CENTS;

/// Rows and money of an input, accepted and rejected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Rows accepted.
    pub accepted: u64,
    /// Money of the rows accepted.
    pub accepted_amount: Cents,
    /// Rows rejected, by reason.
    pub rejected: BTreeMap<RejectReason, u64>,
    /// Money of the rejected rows whose amount could be read.
    pub rejected_amount: Cents,
    /// Rejected rows whose amount could not be read.
    pub unparsed_rows: u64,
    /// Accepted rows by flag, in the order of [`Flag::ALL`].
    pub flags: [u64; Flag::ALL.len()],
    /// Provider ids that only claims name.
    pub orphans: BTreeSet<String>,
}

impl Tally {
    /// Rows read: accepted and rejected.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.accepted + self.rejected_rows()
    }

    /// Rows rejected, for whatever reason.
    #[must_use]
    pub fn rejected_rows(&self) -> u64 {
        self.rejected.values().sum()
    }

    /// Counts accepted rows of the first pass.
    ///
    /// # Errors
    /// `Internal` when the frame lacks a column.
    pub fn accept(&mut self, rows: &DataFrame) -> Result<()> {
        let lacks = |_: PolarsError| Error::internal("the rows of the first pass lack a column");
        let cents = rows.column(CENTS).and_then(Column::i64).map_err(lacks)?;
        let flags = rows.column("dq_flags").and_then(Column::i32).map_err(lacks)?;
        let providers = rows.column("provider_id").and_then(Column::str).map_err(lacks)?;
        self.accepted += rows.height() as u64;
        self.accepted_amount += Cents(cents.iter().flatten().map(i128::from).sum());
        for (row, bits) in flags.iter().flatten().enumerate().filter(|&(_, bits)| bits != 0) {
            for (count, flag) in self.flags.iter_mut().zip(Flag::ALL) {
                *count += u64::from(bits & flag.bit() != 0);
            }
            if bits & Flag::ProviderNotInDirectory.bit() != 0
                && let Some(id) = providers.get(row)
                && !self.orphans.contains(id)
            {
                self.orphans.insert(id.to_owned());
            }
        }
        Ok(())
    }

    /// Adds what another thread has counted.
    pub fn merge(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.accepted_amount += other.accepted_amount;
        for (reason, rows) in other.rejected {
            *self.rejected.entry(reason).or_default() += rows;
        }
        self.rejected_amount += other.rejected_amount;
        self.unparsed_rows += other.unparsed_rows;
        for (count, more) in self.flags.iter_mut().zip(other.flags) {
            *count += more;
        }
        self.orphans.extend(other.orphans);
    }

    /// Counts one rejected row; `amount` is null where it could not be read.
    pub fn reject(&mut self, reason: RejectReason, amount: Option<Cents>) {
        *self.rejected.entry(reason).or_default() += 1;
        match amount {
            Some(cents) => self.rejected_amount += cents,
            None => self.unparsed_rows += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rejected_row_is_in_a_reason_and_in_a_sum_or_unparsed() {
        let mut tally = Tally::default();
        tally.reject(RejectReason::DateMissing, Some(Cents(150)));
        tally.reject(RejectReason::AmountUnparseable, None);
        tally.reject(RejectReason::DateMissing, Some(Cents(-50)));
        assert_eq!((tally.read(), tally.rejected_rows(), tally.unparsed_rows), (3, 3, 1));
        assert_eq!(tally.rejected_amount, Cents(100));
    }
}
