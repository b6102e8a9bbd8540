//! What the first pass remembers of the claims: counts by procedure, specialty and log-bucket, and
//! of weekends by specialty.
//!
//! A file of its own because it is the pass' whole memory: it grows with the number of groups and
//! of buckets in them, never with the number of claims, and counts can be added in any order.

use polars::prelude::{Column, DataFrame, PlHashMap, PolarsError};

use super::histogram::Histogram;
use crate::error::{Error, Result};

/// Counts of accepted claims with a positive amount.
#[derive(Debug, Clone, Default)]
pub struct PeerCounts {
    procedures: PlHashMap<String, PlHashMap<u32, Histogram>>,
    weekends: PlHashMap<u32, (u64, u64)>,
}

impl PeerCounts {
    /// Counts the rows of a batch of [`crate::transform::Claims::observations`].
    ///
    /// # Errors
    /// `Internal` when the batch is not one of [`crate::transform::Claims::observations`].
    pub fn observe(&mut self, batch: &DataFrame) -> Result<()> {
        let broken = |_: PolarsError| Error::internal("the observations lack a column");
        let procedures = batch.column("procedure_code").and_then(Column::str).map_err(broken)?;
        let specialties = batch.column("specialty_no").and_then(Column::u32).map_err(broken)?;
        let buckets = batch.column("bucket").and_then(Column::i32).map_err(broken)?;
        let weekends = batch.column("weekend").and_then(Column::bool).map_err(broken)?;
        let rows = procedures.iter().zip(specialties.iter());
        let rows = rows.zip(buckets.iter().zip(weekends.iter()));
        for ((procedure, specialty), (bucket, weekend)) in rows {
            // Number 0 is a directory member without a specialty.
            let specialty = specialty.unwrap_or(0);
            if specialty != 0 {
                let habit = self.weekends.entry(specialty).or_default();
                habit.0 += 1;
                habit.1 += u64::from(weekend == Some(true));
            }
            if let (Some(procedure), Some(bucket)) = (procedure, bucket) {
                let groups = match self.procedures.get_mut(procedure) {
                    Some(groups) => groups,
                    None => self.procedures.entry(procedure.to_owned()).or_default(),
                };
                groups.entry(specialty).or_default().add(bucket, 1);
            }
        }
        Ok(())
    }

    /// Each procedure with its histograms by specialty number, 0 where there is none.
    pub(super) fn by_procedure(&self) -> &PlHashMap<String, PlHashMap<u32, Histogram>> {
        &self.procedures
    }

    /// By specialty number: claims, and those of them on weekends.
    pub(super) fn weekends(&self) -> &PlHashMap<u32, (u64, u64)> {
        &self.weekends
    }
}
