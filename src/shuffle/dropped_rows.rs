//! The rows that will not leave, found before anything is compared with them.
//!
//! Most claims come once, so few rows are looked at: those whose claim may come again.

use super::providers::{Visit, counts};
use super::row::Row;
use super::{BUCKETS, Shuffle, parallel};
use crate::config::OnDuplicate;
use crate::error::Result;
use crate::event::Cancellation;
use crate::risk::{Codes, Exactness, Kept, NO_CODE, Statistics, UNCOUNTED, is_weekend};
use crate::shuffle::deduplicate::{Claims, Entry, Resolved};

/// Bits of a table in which tokens are looked for that come again, for each row.
const BITS_PER_ROW: usize = 16;

/// How rows were counted in the first pass.
pub struct Counted<'a> {
    pub kept: Kept,
    /// Which values are exact.
    pub exact: Exactness,
    /// The numbers of procedures.
    pub codes: &'a Codes,
    /// The number of the specialty by the provider's place; 0 where it has none.
    pub specialties: &'a [u32],
    /// Specialties in canonical case by number.
    pub names: &'a [String],
}

impl Counted<'_> {
    /// The specialty of the provider at a place.
    fn specialty(&self, place: u32) -> &str {
        let number = self.specialties.get(place as usize).copied().unwrap_or(0);
        self.names.get(number as usize).map_or("", String::as_str)
    }

    /// Takes a row out of what was counted.
    fn take_out(&self, row: Row<'_>, statistics: &mut Statistics) -> Option<Visit> {
        let said = row.content();
        if said.cents <= 0 {
            return None;
        }
        let specialty = self.specialty(said.place);
        let code = said.code.and_then(|code| std::str::from_utf8(code).ok());
        let code = code.filter(|_| self.kept.amounts && self.exact.procedure);
        let weekend = self.kept.weekends.then(|| is_weekend(said.day));
        statistics.claim(-1, code, specialty, said.cents, weekend);
        let number = code.map_or(NO_CODE, |code| self.codes.number(code));
        let number = if specialty.is_empty() { UNCOUNTED } else { number };
        counts(number).then(|| Visit {
            place: said.place,
            day: said.day,
            patient: half(said.patient),
            code: number,
            cents: -said.cents,
        })
    }
}

pub(crate) fn half(token: crate::key::Token) -> u64 {
    u64::from_le_bytes([
        token[0], token[1], token[2], token[3], token[4], token[5], token[6], token[7],
    ])
}

/// Takes the rows that will not leave out of the stores; what was counted of them, with counts below
/// zero.
pub(crate) fn take_out(
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
            let mut contents = shuffle.contents.as_ref().map(super::Store::writer);
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
            contents.map_or(Ok(()), super::Chunks::finish)?;
            visits.map_or(Ok(()), super::Chunks::finish)?;
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
    let bits = (rows().count() * BITS_PER_ROW).next_multiple_of(64).next_power_of_two();
    let words = bits / 64;
    // The last bits of a token: the first ones are the bucket's.
    let place = |row: Row<'_>| {
        let token = row.key().0;
        let word = usize::try_from(token >> 6 & u128::from(u32::MAX)).unwrap_or_default();
        (word & (words - 1), 1_u64 << (token & 63))
    };
    let (mut seen, mut again) = (vec![0; words], vec![0; words]);
    for (_, row) in rows() {
        let (word, bit) = place(row);
        again[word] |= seen[word] & bit;
        seen[word] |= bit;
    }
    let suspicious = rows().filter(|&(_, row)| {
        let (word, bit) = place(row);
        again[word] & bit != 0
    });
    let entry = |(start, row): (usize, Row<'_>)| {
        let (token, line) = row.key();
        Entry { token, line, found: 0, start }
    };
    suspicious.map(entry).collect()
}
