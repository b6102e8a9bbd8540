//! The rows that will not leave, found before anything is compared with them.
//!
//! Most claims come once, so few rows are looked at: those whose claim may come again.

use super::buckets::{BUCKETS, Shuffle};
use super::deduplicate::{Claims, Entry, Resolved};
use super::parallel;
use super::providers::{Visit, counts};
use super::repeats::Repeats;
use super::row::{Row, half};
use super::store::{Chunks, Store};
use crate::error::Result;
use crate::event::Cancellation;
use crate::risk::{Codes, Exactness, Kept, NO_CODE, Statistics, UNCOUNTED, is_weekend};
use crate::rule::OnDuplicate;

/// How rows were counted in the first pass.
pub(crate) struct Counted<'a> {
    pub(crate) kept: Kept,
    /// Which values are exact.
    pub(crate) exact: Exactness,
    /// The numbers of procedures.
    pub(crate) codes: &'a Codes,
    /// The number of the specialty by the provider's place; 0 where it has none.
    pub(crate) specialties: &'a [u32],
    /// Specialties in canonical case by number.
    pub(crate) names: &'a [String],
}

impl Counted<'_> {
    /// The specialty of the provider at a place.
    fn specialty(&self, place: u32) -> &str {
        let number = self.specialties.get(place as usize).copied().unwrap_or(0);
        self.names.get(number as usize).map_or("", String::as_str)
    }

    /// Takes a row out of what was counted.
    fn take_out(&self, row: Row<'_>, statistics: &mut Statistics) -> Option<Visit> {
        let content = row.content();
        if content.cents <= 0 {
            return None;
        }
        let specialty = self.specialty(content.place);
        let code = content.code.and_then(|code| std::str::from_utf8(code).ok());
        let code = code.filter(|_| self.kept.amounts && self.exact.procedure);
        let weekend = self.kept.weekends.then(|| is_weekend(content.day));
        statistics.claim(-1, code, specialty, content.cents, weekend);
        let number = code.map_or(NO_CODE, |code| self.codes.number(code));
        let number = if specialty.is_empty() { UNCOUNTED } else { number };
        counts(number).then(|| Visit {
            place: content.place,
            day: content.day,
            patient: half(content.patient),
            code: number,
            cents: -content.cents,
        })
    }
}

impl Shuffle {
    /// Between the passes, when all writers have finished: takes the rows that will not leave under
    /// `policy` out of what was counted for the score. What comes of it is to be added to the
    /// statistics of the first pass: counts below zero, and the provider-days.
    ///
    /// # Errors
    /// `Config` when a file cannot be read or written, `Interrupted` on cancellation.
    pub(crate) fn settle(
        &mut self,
        counted: &Counted<'_>,
        policy: OnDuplicate,
        cancel: &Cancellation,
    ) -> Result<Statistics> {
        if self.kept == Kept::default() {
            return Ok(Statistics::default());
        }
        let mut statistics = take_out(self, counted, policy, cancel)?;
        if let Some(providers) = &mut self.providers {
            for ((number, patients), days) in providers.summed_up(counted.specialties, cancel)? {
                let name = counted.names.get(number as usize).map_or("", String::as_str);
                statistics.set_provider_days(name, patients, days);
            }
        }
        Ok(statistics)
    }
}

/// Takes the rows that will not leave out of the stores; what was counted of them, with counts below
/// zero.
fn take_out(
    shuffle: &Shuffle,
    counted: &Counted<'_>,
    policy: OnDuplicate,
    cancel: &Cancellation,
) -> Result<Statistics> {
    let taken = parallel::each(BUCKETS, cancel, Vec::new, |bucket, bytes: &mut Vec<u8>| {
        bytes.clear();
        bytes.reserve(shuffle.rows.length(bucket));
        shuffle.rows.read(bucket, bytes)?;
        let mut entries = suspects(bytes);
        entries.sort_unstable_by_key(|entry| (entry.token, entry.line));
        let mut statistics = Statistics::default();
        let mut removed: Vec<usize> = entries.iter().map(|entry| entry.start).collect();
        let (masks, mut resolved) = (shuffle.masks, Resolved::default());
        let mut claims = Claims { bytes: &*bytes, policy, masks, resolved: &mut resolved };
        let mut kept = claims.resolve(entries);
        if kept.len() < removed.len() {
            removed.sort_unstable();
            kept.sort_unstable_by_key(|entry| entry.start);
            let mut kept = kept.iter().map(|entry| entry.start).peekable();
            removed.retain(|start| kept.next_if_eq(start).is_none());
            let mut contents = shuffle.contents.as_ref().map(Store::writer);
            let mut visits = shuffle.providers.as_ref().map(|providers| providers.writer());
            for start in removed {
                let row = Row::at(bytes, start);
                let visit = counted.take_out(row, &mut statistics);
                if let Some((visits, visit)) = visits.as_mut().zip(visit) {
                    visit.write(visits)?;
                }
                if let Some(contents) = &mut contents
                    && let Some((bucket, entry)) = row.content().entry(&row.token(), true)
                {
                    contents.append(bucket, |chunk| chunk.extend_from_slice(&entry))?;
                }
            }
            contents.map_or(Ok(()), Chunks::finish)?;
            visits.map_or(Ok(()), Chunks::finish)?;
        }
        Ok(statistics)
    })?;
    let mut all = Statistics::default();
    for statistics in &taken {
        all.merge(statistics);
    }
    Ok(all)
}

/// The rows of a bucket whose token may come again: bits of it do.
fn suspects(bytes: &[u8]) -> Vec<Entry> {
    let rows = || {
        let mut start = 0;
        std::iter::from_fn(move || {
            let row = (start < bytes.len()).then(|| Row::at(bytes, start))?;
            let place = start;
            start += row.length();
            Some((place, row))
        })
    };
    // The last bits of a token: the first ones are the bucket's.
    let hash =
        |row: Row<'_>| row.token()[8..].iter().fold(0, |hash, byte| hash << 8 | u64::from(*byte));
    let repeats = Repeats::among(rows().map(|(_, row)| hash(row)));
    let suspicious = rows().filter(|&(_, row)| repeats.may_have(hash(row)));
    let entry = |(start, row): (usize, Row<'_>)| {
        let (token, line) = row.key();
        Entry { token, line, found: 0, start }
    };
    suspicious.map(entry).collect()
}
