//! What is said twice: contents that come again under another claim, and amounts that cancel.
//!
//! A file of its own because this is the one question about rows that are far apart in the order of
//! the key. In the first pass each accepted row leaves 16 bytes, a hash of its content and half of
//! its claim's token, partitioned by the hash; between the passes the entries are compared, bucket by
//! bucket; in the second pass a row asks whether its content was found.
//!
//! A content is patient, provider, procedure, date and amount without its sign; missing values are
//! values, but a row whose amount is zero has none. The hash has 61 bits and begins with the
//! patient's keyed token, so nobody can aim at a collision. Two contents with one hash would give
//! rows a wrong flag, nothing else; for n rows the probability is n² / 2⁶², for ten million one in
//! 46,000.
//!
//! All rows that the first pass accepts count as "another row", also those that the second pass drops
//! or rejects. A repeat of a claim line is under the same claim, so it repeats nobody's content.
//! What was found takes one word for each content that repeats or cancels: few, and in the worst
//! case, every content twice, four bytes a row.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::row::Row;
use super::store::Store;
use crate::error::{Error, Result};
use crate::event::Cancellation;
use crate::key::Token;
use crate::rule::Rule;

/// First bits of a hash that tell its bucket.
const BUCKET_BITS: u32 = 7;
/// Buckets; 30 million claims make less than 4 MiB a bucket.
pub(super) const BUCKETS: usize = 1 << BUCKET_BITS;
/// Bytes of an entry.
const ENTRY: usize = size_of::<u128>();

/// Bits of a table in which hashes are looked for that come again, for each of them.
const BITS_PER_ENTRY: usize = 16;

/// Bits of a word below the hash: the sign in an entry, in what was found the facts.
const BELOW: u32 = 3;
/// Two claims have the content with an amount above zero.
const POSITIVE: u64 = 1;
/// Two claims have the content with an amount below zero.
const NEGATIVE: u64 = 1 << 1;
/// There are rows of the content with both signs.
const CANCELLED: u64 = 1 << 2;

/// An odd number without a pattern: the fraction of the golden ratio.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// What a row says: who did what for whom, when, and for how much.
pub(super) struct Content<'a> {
    pub(super) patient: Token,
    pub(super) day: i32,
    /// The provider's place in the directory; its id counts where it has none.
    pub(super) place: u32,
    pub(super) provider: Option<&'a [u8]>,
    pub(super) code: Option<&'a [u8]>,
    pub(super) cents: i64,
}

impl Content<'_> {
    /// The hash of all but the sign in the upper bits, zeros below.
    fn hash(&self) -> u64 {
        let length = |text: Option<&[u8]>| text.map_or(0, |text| text.len() as u64 + 1);
        // Amounts have 40 bits, lengths 8: no two contents begin alike and go on differently.
        let lengths = length(self.provider) << 48 | length(self.code) << 56;
        let mut hash = self.cents.unsigned_abs() | lengths;
        let mut mix = |word: u64| {
            let (low, high) = (hash ^ word).carrying_mul(FACTOR, 0);
            hash = low ^ high;
        };
        for half in self.patient.as_chunks().0 {
            mix(u64::from_le_bytes(*half));
        }
        mix(u64::from(self.day.cast_unsigned()) << u32::BITS | u64::from(self.place));
        for text in [self.provider, self.code].into_iter().flatten() {
            let (words, rest) = text.as_chunks();
            for word in words {
                mix(u64::from_le_bytes(*word));
            }
            if !rest.is_empty() {
                mix(end(text));
            }
        }
        hash >> BELOW << BELOW
    }

    /// What the row leaves in the first pass: its bucket and its entry. None where the amount is
    /// zero.
    pub(super) fn entry(&self, claim: &Token) -> Option<(usize, [u8; ENTRY])> {
        if self.cents == 0 {
            return None;
        }
        let hash = self.hash();
        let word = hash | u64::from(self.cents < 0);
        let claim = u128::from_le_bytes(*claim) >> u64::BITS;
        Some((bucket(hash), (u128::from(word) << u64::BITS | claim).to_le_bytes()))
    }
}

/// The last bytes of a text, at most eight; a word of its own for each text of a length up to eight.
fn end(text: &[u8]) -> u64 {
    if let Some(word) = text.last_chunk() {
        u64::from_le_bytes(*word)
    } else if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
        u64::from(u32::from_le_bytes(*first)) << u32::BITS | u64::from(u32::from_le_bytes(*last))
    } else {
        text.iter().fold(0, |word, &byte| word << u8::BITS | u64::from(byte))
    }
}

fn bucket(hash: u64) -> usize {
    usize::try_from(hash >> (u64::BITS - BUCKET_BITS)).unwrap_or_default()
}

/// A bucket, and what was found in it.
type Found = (usize, Vec<u64>);

/// What was found about all contents that come again.
#[derive(Default)]
pub(super) struct Repeated {
    /// Hashes with facts, sorted, by bucket; empty where there are none at all.
    buckets: Vec<Vec<u64>>,
}

impl Repeated {
    /// Looks for contents that come again, on all cores.
    pub(super) fn find(entries: &Store, cancel: &Cancellation) -> Result<Self> {
        let next = AtomicUsize::new(0);
        let work = || {
            let (mut found, mut bytes) = (Vec::new(), Vec::new());
            loop {
                let bucket = next.fetch_add(1, Ordering::Relaxed);
                if bucket >= BUCKETS {
                    return Ok(found);
                }
                cancel.check()?;
                bytes.clear();
                entries.read(bucket, &mut bytes)?;
                let mut suspects = suspects(bytes.as_chunks().0);
                suspects.sort_unstable();
                found.push((bucket, repeated(&suspects)));
            }
        };
        let panicked = || Err(Error::internal("a thread that compares contents panicked"));
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let found: Vec<Result<Vec<Found>>> = thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let join = workers.into_iter().map(thread::ScopedJoinHandle::join);
            join.map(|found| found.unwrap_or_else(|_| panicked())).collect()
        });
        let mut buckets = vec![Vec::new(); BUCKETS];
        for found in found {
            for (bucket, hashes) in found? {
                buckets[bucket] = hashes;
            }
        }
        let none = buckets.iter().all(Vec::is_empty);
        Ok(if none { Self::default() } else { Self { buckets } })
    }

    /// What the row's content shares with others, as bits of `dq_flags`.
    pub(super) fn bits(&self, row: Row<'_>) -> i32 {
        if self.buckets.is_empty() || row.cents() == 0 {
            return 0;
        }
        let hash = row.said().hash();
        let bucket = &self.buckets[bucket(hash)];
        let place = bucket.partition_point(|&found| found < hash);
        let facts = bucket.get(place).map_or(0, |found| found ^ hash);
        if facts >> BELOW != 0 {
            return 0;
        }
        let sign = if row.cents() < 0 { NEGATIVE } else { POSITIVE };
        let bit = |fact: u64, rule: Rule| if facts & fact == 0 { 0 } else { rule.mask() };
        bit(sign, Rule::ContentRepeated) | bit(CANCELLED, Rule::ReversalPair)
    }
}

/// The entries whose hash may come again: its last bits do. Few are sorted then, where nearly all
/// contents are different.
fn suspects(entries: &[[u8; ENTRY]]) -> Vec<u128> {
    let entries = entries.iter().copied().map(u128::from_le_bytes);
    let bits = (entries.len() * BITS_PER_ENTRY).next_multiple_of(64).next_power_of_two();
    let words = bits / 64;
    let place = |entry: u128| {
        let hash = word(entry) >> BELOW;
        (usize::try_from(hash >> 6).unwrap_or_default() & (words - 1), 1_u64 << (hash & 63))
    };
    let (mut seen, mut again) = (vec![0; words], vec![0; words]);
    for (word, bit) in entries.clone().map(place) {
        again[word] |= seen[word] & bit;
        seen[word] |= bit;
    }
    let suspicious = |&entry: &u128| {
        let (word, bit) = place(entry);
        again[word] & bit != 0
    };
    entries.filter(suspicious).collect()
}

fn word(entry: u128) -> u64 {
    u64::try_from(entry >> u64::BITS).unwrap_or_default()
}

/// The contents that come again, of sorted entries.
fn repeated(entries: &[u128]) -> Vec<u64> {
    let mut found = Vec::new();
    for rows in entries.chunk_by(|one, other| word(*one) >> BELOW == word(*other) >> BELOW) {
        let [first, .., last] = rows else { continue };
        let mut facts = if word(*first) == word(*last) { 0 } else { CANCELLED };
        for claims in rows.chunk_by(|one, other| word(*one) == word(*other)) {
            // Sorted by their claims: there are two of them where the ends differ.
            if claims.first() != claims.last() {
                facts |= if word(claims[0]) & 1 == 0 { POSITIVE } else { NEGATIVE };
            }
        }
        if facts != 0 {
            found.push(word(*first) >> BELOW << BELOW | facts);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(hash: u64, negative: bool, claim: u64) -> u128 {
        u128::from(hash << BELOW | u64::from(negative)) << u64::BITS | u128::from(claim)
    }

    #[test]
    fn facts_are_of_one_content_and_one_sign() {
        let mut entries = [
            entry(9, false, 1),
            entry(9, false, 1),
            entry(10, false, 1),
            entry(11, false, 1),
            entry(11, false, 2),
            entry(12, true, 3),
            entry(12, true, 3),
            entry(12, true, 4),
            entry(13, false, 5),
            entry(13, true, 5),
            entry(14, true, u64::MAX),
            entry(14, false, 0),
            entry(14, true, 0),
            entry(u64::MAX >> BELOW, false, 0),
            entry(u64::MAX >> BELOW, false, 1),
        ];
        // Their last bits differ, but for 10 and 10 + 2^40.
        let more = [entry(10 + (1 << 40), false, 1), entry(15, true, 1)];
        let bytes: Vec<_> = entries.iter().chain(&more).map(|entry| entry.to_le_bytes()).collect();
        let mut suspects = suspects(&bytes);
        suspects.sort_unstable();
        entries.sort_unstable();
        let last_bits = suspects.iter().filter(|entry| !entries.contains(entry));
        assert_eq!(last_bits.collect::<Vec<_>>(), [&more[0]]);
        assert_eq!(repeated(&suspects), repeated(&entries));
        let found: Vec<_> = repeated(&entries).iter().map(|f| (f >> BELOW, f & 7)).collect();
        let expected = [
            (11, POSITIVE),
            (12, NEGATIVE),
            (13, CANCELLED),
            (14, NEGATIVE | CANCELLED),
            (u64::MAX >> BELOW, POSITIVE),
        ];
        assert_eq!(found, expected);
    }
}
