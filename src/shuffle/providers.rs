//! Figures of providers: their totals by procedure, and the patients of their days.
//!
//! Between the passes each bucket is summed up on its own: a day lies in one bucket whole, so its
//! patients are counted there; the totals of a procedure do not, so they are summed up again,
//! partitioned by provider. Days with few patients are counted and forgotten: no fence lies below
//! two and a half.

use std::collections::BTreeMap;
use std::path::Path;

use polars::prelude::PlHashMap;

use super::parallel;
use super::store::{Chunks, Store};
use crate::error::Result;
use crate::event::Cancellation;
use crate::risk::{Kept, NO_CODE, UNCOUNTED};

/// Buckets; 30 million claims make 7 MiB a bucket.
const BUCKETS: usize = 128;
/// Bytes of a row: place, day, half of the patient's token, number of the procedure, cents.
const ROW: usize = 28;
/// Bytes of a total: place, number of the procedure, claims, cents.
const TOTAL: usize = 24;
/// Bytes of a busy day: place, day, patients.
const DAY: usize = 12;
/// Patients of a day that may lie beyond a fence: `Q3 + 1.5 · max(IQR, 1)` is at least 2.5.
const BUSY: u32 = 3;

/// Of the store's memory, the part of totals and that of busy days.
const TOTALS_SHARE: usize = 3;
const DAYS_SHARE: usize = 8;

/// A priced row of a provider that counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Visit {
    pub(super) place: u32,
    pub(super) day: i32,
    pub(super) patient: u64,
    /// The procedure's number, or [`NO_CODE`].
    pub(super) code: u32,
    /// Below zero: a row that does not leave, and its amount.
    pub(super) cents: i64,
}

/// Priced claims of a provider with a procedure, and their sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Total {
    /// The provider's place in the directory.
    pub(crate) place: u32,
    /// The procedure's number.
    pub(crate) code: u32,
    pub(crate) claims: i64,
    /// Their sum in cents.
    pub(crate) cents: i64,
}

/// What a provider was paid and what was expected, over claims whose procedure has peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct PlaceSums {
    pub(crate) claims: i64,
    /// Their sum in cents.
    pub(crate) cents: i128,
    /// What they were expected to cost, in millionths of a dollar.
    pub(crate) expected_micros: i128,
}

/// A day of a provider: its place in the directory, the day, its patients.
pub(crate) type ProviderDay = (u32, i32, u32);

/// By number of a specialty and patients: provider-days.
pub(super) type DayCounts = BTreeMap<(u32, u32), i64>;

/// The rows of providers, then what they add up to.
pub(super) struct Providers {
    rows: Store,
    totals: Store,
    days: Store,
    kept: Kept,
}

fn word<const N: usize>(bytes: &[u8], from: usize) -> [u8; N] {
    let mut word = [0; N];
    word.copy_from_slice(&bytes[from..from + N]);
    word
}

impl Visit {
    fn bucket(self) -> usize {
        let key = u64::from(self.place) << u32::BITS | u64::from(self.day.cast_unsigned());
        usize::try_from(key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 57).unwrap_or_default()
    }

    /// Appends the row to its bucket.
    pub(super) fn write(self, rows: &mut Chunks<'_>) -> Result<()> {
        let mut bytes = [0; ROW];
        bytes[..4].copy_from_slice(&self.place.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.day.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.patient.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.code.to_le_bytes());
        bytes[20..].copy_from_slice(&self.cents.to_le_bytes());
        rows.append(self.bucket(), |chunk| chunk.extend_from_slice(&bytes))
    }

    fn read(bytes: &[u8; ROW]) -> Self {
        Self {
            place: u32::from_le_bytes(word(bytes, 0)),
            day: i32::from_le_bytes(word(bytes, 4)),
            patient: u64::from_le_bytes(word(bytes, 8)),
            code: u32::from_le_bytes(word(bytes, 16)),
            cents: i64::from_le_bytes(word(bytes, 20)),
        }
    }
}

impl Total {
    fn write(self, totals: &mut Chunks<'_>) -> Result<()> {
        let mut bytes = [0; TOTAL];
        bytes[..4].copy_from_slice(&self.place.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.code.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.claims.to_le_bytes());
        bytes[16..].copy_from_slice(&self.cents.to_le_bytes());
        totals.append(self.place as usize % BUCKETS, |chunk| chunk.extend_from_slice(&bytes))
    }
}

/// Totals that can be added to.
#[derive(Default)]
struct Sums(PlHashMap<u64, (i64, i64)>);

impl Sums {
    fn add(&mut self, place: u32, code: u32, claims: i64, cents: i64) {
        let sum = self.0.entry(u64::from(place) << u32::BITS | u64::from(code)).or_default();
        sum.0 += claims;
        sum.1 += cents;
    }

    /// The totals, in any order, and none after that.
    fn drain(&mut self) -> impl Iterator<Item = Total> {
        self.0.drain().filter(|&(_, (claims, _))| claims != 0).map(|(key, (claims, cents))| Total {
            place: u32::try_from(key >> u32::BITS).unwrap_or_default(),
            code: u32::try_from(key & u64::from(u32::MAX)).unwrap_or_default(),
            claims,
            cents,
        })
    }
}

impl Providers {
    pub(super) fn new(folder: &Path, memory: usize, kept: Kept) -> Self {
        let (totals, days) = (memory / TOTALS_SHARE, memory / DAYS_SHARE);
        Self {
            rows: Store::new(folder, memory - totals - days, BUCKETS),
            totals: Store::new(folder, totals, BUCKETS),
            days: Store::new(folder, days, BUCKETS),
            kept,
        }
    }

    /// A writer of rows for one thread.
    pub(super) fn writer(&self) -> Chunks<'_> {
        self.rows.writer()
    }

    /// Between the passes: sums up the rows, which are given up. `specialties` has the number of the
    /// specialty by place. Returns the provider-days by specialty and patients.
    pub(super) fn summed_up(
        &mut self,
        specialties: &[u32],
        cancel: &Cancellation,
    ) -> Result<DayCounts> {
        let start = || (Vec::new(), Sums::default());
        let counted = parallel::each(BUCKETS, cancel, start, |bucket, (bytes, sums)| {
            bytes.clear();
            self.rows.read(bucket, bytes)?;
            let (mut totals, mut busy) = (self.totals.writer(), self.days.writer());
            let mut counts = DayCounts::new();
            let rows = bytes.as_chunks().0.iter().map(Visit::read);
            if self.kept.provider_days {
                for (place, day, patients) in days(rows.clone()) {
                    let specialty = specialties.get(place as usize).copied().unwrap_or(0);
                    *counts.entry((specialty, patients)).or_default() += 1;
                    if patients >= BUSY {
                        busy.append(bucket, |chunk| {
                            chunk.extend_from_slice(&place.to_le_bytes());
                            chunk.extend_from_slice(&day.to_le_bytes());
                            chunk.extend_from_slice(&patients.to_le_bytes());
                        })?;
                    }
                }
            }
            if self.kept.provider_totals {
                for row in rows.filter(|row| row.code != NO_CODE) {
                    sums.add(row.place, row.code, row.cents.signum(), row.cents);
                }
                for total in sums.drain() {
                    total.write(&mut totals)?;
                }
            }
            totals.finish()?;
            busy.finish()?;
            Ok(counts)
        })?;
        self.rows = Store::new(Path::new(""), 0, 0);
        let mut all = DayCounts::new();
        for (key, days) in counted.into_iter().flatten() {
            *all.entry(key).or_default() += days;
        }
        Ok(all)
    }

    /// The totals of some providers: those of one bucket, in the order of places and numbers.
    pub(super) fn totals(&self, bucket: usize) -> Result<Vec<Total>> {
        let (mut bytes, mut sums) = (Vec::new(), Sums::default());
        self.totals.read(bucket, &mut bytes)?;
        for total in bytes.as_chunks::<TOTAL>().0 {
            sums.add(
                u32::from_le_bytes(word(total, 0)),
                u32::from_le_bytes(word(total, 4)),
                i64::from_le_bytes(word(total, 8)),
                i64::from_le_bytes(word(total, 16)),
            );
        }
        let mut totals: Vec<Total> = sums.drain().collect();
        totals.sort_unstable_by_key(|total| (total.place, total.code));
        Ok(totals)
    }

    /// What each provider was paid and what was expected, by place; `expected` is what a claim of a
    /// provider with a procedure is expected to cost, in millionths of a dollar.
    pub(super) fn sums(
        &self,
        expected: &(dyn Fn(u32, u32) -> Option<i64> + Sync),
        cancel: &Cancellation,
    ) -> Result<Vec<(u32, PlaceSums)>> {
        let sums = parallel::each(
            BUCKETS,
            cancel,
            || (),
            |bucket, ()| {
                let mut sums: Vec<(u32, PlaceSums)> = Vec::new();
                for total in self.totals(bucket)? {
                    let Some(expected) = expected(total.place, total.code) else { continue };
                    if sums.last().is_none_or(|last| last.0 != total.place) {
                        sums.push((total.place, PlaceSums::default()));
                    }
                    if let Some((_, sums)) = sums.last_mut() {
                        sums.claims += total.claims;
                        sums.cents += i128::from(total.cents);
                        sums.expected_micros += i128::from(total.claims) * i128::from(expected);
                    }
                }
                Ok(sums)
            },
        )?;
        Ok(sums.concat())
    }

    /// The days for which `beyond` holds, of those with at least three patients; all are given up.
    pub(super) fn busy(
        &mut self,
        beyond: &(dyn Fn(u32, u32) -> bool + Sync),
        cancel: &Cancellation,
    ) -> Result<Vec<ProviderDay>> {
        let days = parallel::each(BUCKETS, cancel, Vec::new, |bucket, bytes: &mut Vec<u8>| {
            bytes.clear();
            self.days.read(bucket, bytes)?;
            let days = bytes.as_chunks::<DAY>().0.iter().map(|day| {
                let (place, patients) = (word(day, 0), word(day, 8));
                (
                    u32::from_le_bytes(place),
                    i32::from_le_bytes(word(day, 4)),
                    u32::from_le_bytes(patients),
                )
            });
            Ok(days.filter(|&(place, _, patients)| beyond(place, patients)).collect::<Vec<_>>())
        })?;
        self.days = Store::new(Path::new(""), 0, 0);
        Ok(days.concat())
    }

    /// All buckets of totals.
    pub(super) fn buckets() -> usize {
        BUCKETS
    }
}

/// Whether a row counts for its provider.
pub(super) fn counts(number: u32) -> bool {
    number != UNCOUNTED
}

/// The provider-days of rows, each with its patients: those of whom a row leaves.
fn days(rows: impl Iterator<Item = Visit>) -> Vec<ProviderDay> {
    let mut visits: Vec<(u128, bool)> = rows
        .map(|row| {
            let day = row.day.cast_unsigned();
            let key = u128::from(row.place) << 96 | u128::from(day) << 64 | u128::from(row.patient);
            (key, row.cents < 0)
        })
        .collect();
    visits.sort_unstable();
    let leaves = |visit: &&[(u128, bool)]| {
        visit.len() > 2 * visit.iter().filter(|(_, removed)| *removed).count()
    };
    let mut days: Vec<ProviderDay> = Vec::new();
    for visit in visits.chunk_by(|one, other| one.0 == other.0).filter(leaves) {
        let key = visit[0].0;
        let place = u32::try_from(key >> 96).unwrap_or_default();
        let day = u32::try_from(key >> 64 & u128::from(u32::MAX)).unwrap_or_default();
        match days.last_mut() {
            Some(last) if (last.0, last.1) == (place, day.cast_signed()) => last.2 += 1,
            _ => days.push((place, day.cast_signed(), 1)),
        }
    }
    days
}
