//! What the first pass remembers of the claims: counts by procedure, specialty and log-bucket, and
//! of weekends by specialty.
//!
//! A file of its own because it is the pass' whole memory: it grows with the number of groups and
//! of buckets in them, never with the number of claims, and counts can be added in any order.

use polars::prelude::{Column, DataFrame, PlHashMap, PolarsError};

use super::histogram::{Histogram, bucket};
use crate::error::{Error, Result};
use crate::schema::{CENTS, PROVIDER_ROW};
use crate::transform::date::is_weekend;
use crate::transform::directory::Directory;

/// Counts of accepted claims with a positive amount.
#[derive(Debug, Clone, Default)]
pub struct PeerCounts {
    procedures: PlHashMap<String, PlHashMap<u32, Histogram>>,
    weekends: PlHashMap<u32, (u64, u64)>,
}

impl PeerCounts {
    /// Counts the accepted rows of [`crate::transform::Claims::rows`].
    ///
    /// # Errors
    /// `Internal` when the frame is not one of them.
    pub fn observe(&mut self, rows: &DataFrame, directory: &Directory) -> Result<()> {
        let broken = |_: PolarsError| Error::internal("the observed rows lack a column");
        let procedures = rows.column("procedure_code").and_then(Column::str).map_err(broken)?;
        let places = rows.column(PROVIDER_ROW).and_then(Column::u32).map_err(broken)?;
        let cents = rows.column(CENTS).and_then(Column::i64).map_err(broken)?;
        let days = rows.column("date_of_service").map_err(broken)?.to_physical_repr();
        let days = days.i32().map_err(broken)?;
        let observed = procedures.iter().zip(places.iter()).zip(cents.iter().zip(days.iter()));
        for ((procedure, place), (cents, day)) in observed {
            let Some(cents) = cents.filter(|&cents| cents > 0) else { continue };
            // Number 0 is a directory member without a specialty.
            let specialty = place.and_then(|place| directory.number(place)).unwrap_or(0);
            if specialty != 0 {
                let habit = self.weekends.entry(specialty).or_default();
                habit.0 += 1;
                habit.1 += u64::from(day.is_some_and(is_weekend));
            }
            if let Some(procedure) = procedure {
                let groups = match self.procedures.get_mut(procedure) {
                    Some(groups) => groups,
                    None => self.procedures.entry(procedure.to_owned()).or_default(),
                };
                groups.entry(specialty).or_default().add(bucket(cents), 1);
            }
        }
        Ok(())
    }

    /// Adds what another thread has counted.
    pub fn merge(&mut self, other: Self) {
        for (procedure, groups) in other.procedures {
            let own = self.procedures.entry(procedure).or_default();
            for (specialty, histogram) in groups {
                own.entry(specialty).or_default().merge(&histogram);
            }
        }
        for (specialty, (claims, on_weekends)) in other.weekends {
            let habit = self.weekends.entry(specialty).or_default();
            habit.0 += claims;
            habit.1 += on_weekends;
        }
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
