//! Statistics of the first pass: claims by procedure, specialty and log-bucket, and weekends by
//! specialty.

use std::sync::Arc;

use polars::prelude::{Column, DataFrame, PlHashMap, PolarsError};

use crate::error::{Error, Result};
use crate::risk::{
    Codes, Exactness, Histogram, Kept, NO_CODE, Statistics, UNCOUNTED, bucket, is_weekend,
};
use crate::schema::{CENTS, PROVIDER_ROW};
use crate::transform::directory::Directory;

/// Amounts of one procedure by specialty number, and the procedure's own number.
struct Procedure {
    number: u32,
    groups: PlHashMap<u32, Histogram>,
}

impl Procedure {
    /// Counts an amount; returns the procedure's number.
    fn add(&mut self, specialty: u32, cents: i64) -> u32 {
        self.groups.entry(specialty).or_default().add(bucket(cents), 1);
        self.number
    }
}

/// One thread's counts of accepted claims with a positive amount.
pub struct Counter {
    kept: Kept,
    exact: Exactness,
    codes: Arc<Codes>,
    procedures: PlHashMap<String, Procedure>,
    weekends: PlHashMap<u32, (i64, i64)>,
    numbers: Vec<u32>,
}

impl Counter {
    /// A counter for the statistics in `kept`; `codes` numbers procedures across threads.
    #[must_use]
    pub fn new(kept: Kept, exact: Exactness, codes: &Arc<Codes>) -> Self {
        Self {
            kept,
            exact,
            codes: Arc::clone(codes),
            procedures: PlHashMap::default(),
            weekends: PlHashMap::default(),
            numbers: Vec::new(),
        }
    }

    /// Counts the accepted rows of [`crate::transform::Claims::rows`]. Returns each row's procedure
    /// number, [`NO_CODE`], or [`UNCOUNTED`] if the row counts for no provider; empty if no
    /// provider statistics are collected.
    ///
    /// # Errors
    /// `Internal` for any other frame.
    pub fn observe(&mut self, rows: &DataFrame, directory: &Directory) -> Result<&[u32]> {
        self.numbers.clear();
        let providers = self.kept.provider_totals || self.kept.provider_days;
        if !(providers || self.kept.amounts || self.kept.weekends) {
            return Ok(&[]);
        }
        let broken = |_: PolarsError| Error::internal("the observed rows lack a column");
        let procedures = rows.column("procedure_code").and_then(Column::str).map_err(broken)?;
        let places = rows.column(PROVIDER_ROW).and_then(Column::u32).map_err(broken)?;
        let cents = rows.column(CENTS).and_then(Column::i64).map_err(broken)?;
        let days = rows.column("date_of_service").map_err(broken)?.to_physical_repr();
        let days = days.i32().map_err(broken)?;
        let observed = procedures.iter().zip(places.iter()).zip(cents.iter().zip(days.iter()));
        for ((procedure, place), (cents, day)) in observed {
            // Number 0: a provider without a specialty.
            let specialty = place.and_then(|place| directory.number(place)).unwrap_or(0);
            let counted = cents.filter(|&cents| cents > 0);
            let number = counted.map(|cents| {
                if self.kept.weekends && specialty != 0 {
                    let habit = self.weekends.entry(specialty).or_default();
                    habit.0 += 1;
                    habit.1 += i64::from(day.is_some_and(is_weekend));
                }
                self.amount(procedure, specialty, cents)
            });
            if providers {
                self.numbers.push(number.filter(|_| specialty != 0).unwrap_or(UNCOUNTED));
            }
        }
        Ok(&self.numbers)
    }

    /// Counts an amount; returns the procedure's number.
    fn amount(&mut self, procedure: Option<&str>, specialty: u32, cents: i64) -> u32 {
        let Some(code) = procedure.filter(|_| self.kept.amounts && self.exact.procedure) else {
            return NO_CODE;
        };
        if let Some(procedure) = self.procedures.get_mut(code) {
            return procedure.add(specialty, cents);
        }
        let groups = PlHashMap::default();
        let mut procedure = Procedure { number: self.codes.number(code), groups };
        let number = procedure.add(specialty, cents);
        self.procedures.insert(code.to_owned(), procedure);
        number
    }

    /// Adds the counts to the statistics.
    pub fn add_to(&self, statistics: &mut Statistics, directory: &Directory) {
        for (code, procedure) in &self.procedures {
            for (&specialty, histogram) in &procedure.groups {
                statistics.add_group(code, directory.specialty(specialty), histogram);
            }
        }
        for (&specialty, &(claims, on_weekends)) in &self.weekends {
            statistics.set_weekend(directory.specialty(specialty), claims, on_weekends);
        }
    }
}
