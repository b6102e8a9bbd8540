//! What the plan's batches add up to, counted on this side of the wire.
//!
//! A file of its own because it is one side of the control totals: Postgres counts the other side,
//! and both must agree to the row and the cent before anything is published.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Decimal128Type, Int32Type};

use crate::account::Cents;
use crate::error::{Error, Result};
use crate::rule::{Flag, RejectReason};

/// Rows and money of a plan, accepted and rejected.
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

    /// Counts a batch of accepted rows, in the schema of [`crate::schema::staged_schema`].
    ///
    /// # Errors
    /// `Internal` when the batch lacks a column.
    pub fn accept(&mut self, batch: &RecordBatch) -> Result<()> {
        let column = |name: &str| {
            batch
                .column_by_name(name)
                .ok_or_else(|| Error::internal(format!("a batch without column {name}")))
        };
        let amounts = column("amount")?.as_primitive::<Decimal128Type>();
        let flags = column("dq_flags")?.as_primitive::<Int32Type>();
        let providers = column("provider_id")?.as_string_view();
        self.accepted += batch.num_rows() as u64;
        self.accepted_amount += Cents(amounts.values().iter().sum());
        for (row, &bits) in flags.values().iter().enumerate() {
            if bits == 0 {
                continue;
            }
            for (count, flag) in self.flags.iter_mut().zip(Flag::ALL) {
                *count += u64::from(bits & flag.bit() != 0);
            }
            if bits & Flag::ProviderNotInDirectory.bit() != 0 {
                let id = providers.value(row);
                if !self.orphans.contains(id) {
                    self.orphans.insert(id.to_owned());
                }
            }
        }
        Ok(())
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
