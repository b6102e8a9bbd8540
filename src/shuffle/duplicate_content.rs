//! Content that comes more than once: claims with the same content, and amounts that cancel.
//!
//! In the first pass each accepted row leaves 24 bytes: a hash of its case, a hash of its content
//! and half of its claim's token, partitioned by the case. Between the passes the entries are
//! compared, bucket by bucket; in the second pass each row looks up what was found.
//!
//! A case is patient, procedure and date; a content is a case with provider and amount without its
//! sign. Missing values are values, but a row whose amount is zero has none. Hashes begin with the
//! patient's keyed token, so nobody can aim at a collision. Two contents with one hash would give
//! rows a wrong flag or a wrong component, nothing else; for n rows the probability is about
//! n² / 2⁶⁵, for ten million one in 400,000.
//!
//! Rules and score differ in what "another row" is. For the rules it is each row that the first pass
//! accepts, also those that the second pass drops or rejects. For the score it is what leaves: rows
//! that do not leave add an entry with a mark, and the two entries cancel. A repeat of a claim
//! line is under the same claim, so it repeats nobody's content.
//!
//! What was found takes a word for each content and each case that come again: few, and in the worst
//! case, every content twice, eight bytes a row.

use super::content::{BELOW, BELOW_ZERO, BUCKETS, ENTRY, Hashes, REMOVED, bucket};
use super::parallel;
use super::repeats::Repeats;
use super::row::Row;
use super::store::Store;
use crate::error::Result;
use crate::event::Cancellation;
use crate::risk::Twin;
use crate::rule::Rule;

/// Two claims have the content with an amount above zero.
const POSITIVE: u64 = 1;
/// Two claims have the content with an amount below zero.
const NEGATIVE: u64 = 1 << 1;
/// There are rows of the content with both signs.
const CANCELLED: u64 = 1 << 2;
/// Two claims leave with the content and an amount above zero.
const TWINS: u64 = 1 << 3;

/// An entry that was read back: case, content with its marks, claim.
type Entry = (u64, u64, u64);

fn read(entry: &[u8; ENTRY]) -> Entry {
    let mut words = entry.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word));
    let mut next = || words.next().unwrap_or_default();
    (next(), next(), next())
}

/// What was found in a bucket, sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Found {
    /// Contents with facts.
    contents: Vec<u64>,
    /// Cases that two claims leave with.
    cases: Vec<u64>,
}

/// What was found about repeated content.
#[derive(Default)]
pub(super) struct Repeated {
    /// By bucket; empty where there is nothing at all.
    buckets: Vec<Found>,
    /// Whether the score needs twins.
    twins: bool,
}

impl Repeated {
    /// Looks for repeated content, on all cores.
    pub(super) fn find(entries: &Store, twins: bool, cancel: &Cancellation) -> Result<Self> {
        let found = parallel::each(BUCKETS, cancel, Vec::new, |bucket, bytes: &mut Vec<u8>| {
            bytes.clear();
            entries.read(bucket, bytes)?;
            let mut suspects = suspects(bytes.as_chunks().0);
            suspects.sort_unstable();
            Ok(repeated(&suspects, twins))
        })?;
        let none = found.iter().all(|found| *found == Found::default());
        Ok(Self { buckets: if none { Vec::new() } else { found }, twins })
    }

    /// What the row shares with others: bits of `dq_flags`, and its twin.
    pub(super) fn of(&self, row: Row<'_>) -> (i32, Twin) {
        let none = if self.twins { Twin::None } else { Twin::Unknown };
        if self.buckets.is_empty() || row.cents() == 0 {
            return (0, none);
        }
        let Hashes { case, content } = row.content().hashes();
        let found = &self.buckets[bucket(case)];
        let place = found.contents.partition_point(|&found| found < content);
        let facts = found.contents.get(place).map_or(0, |found| found ^ content);
        let facts = if facts >> BELOW == 0 { facts } else { 0 };
        let sign = if row.cents() < 0 { NEGATIVE } else { POSITIVE };
        let bit = |fact: u64, rule: Rule| if facts & fact == 0 { 0 } else { rule.mask() };
        let bits = bit(sign, Rule::ContentRepeated) | bit(CANCELLED, Rule::ReversalPair);
        let twin = if !self.twins || row.cents() < 0 {
            none
        } else if facts & TWINS != 0 {
            Twin::Exact
        } else if found.cases.binary_search(&case).is_ok() {
            Twin::Suspect
        } else {
            Twin::None
        };
        (bits, twin)
    }
}

/// The entries whose case may come again. Few are sorted then, where nearly all cases are different.
fn suspects(entries: &[[u8; ENTRY]]) -> Vec<Entry> {
    let entries = entries.iter().map(read);
    let repeats = Repeats::among(entries.clone().map(|(case, ..)| case));
    entries.filter(|(case, ..)| repeats.may_have(*case)).collect()
}

/// What comes again, of sorted entries.
fn repeated(entries: &[Entry], twins: bool) -> Found {
    let mut found = Found::default();
    for case in entries.chunk_by(|one, other| one.0 == other.0) {
        if case.len() < 2 {
            continue;
        }
        for content in case.chunk_by(|one, other| one.1 >> BELOW == other.1 >> BELOW) {
            let facts = facts(content, twins);
            if facts != 0 {
                found.contents.push(content[0].1 >> BELOW << BELOW | facts);
            }
        }
        if twins && two_leave(case.iter().filter(|entry| entry.1 & BELOW_ZERO == 0)) {
            found.cases.push(case[0].0);
        }
    }
    found.contents.sort_unstable();
    found
}

/// The facts about the entries of one content.
fn facts(content: &[Entry], twins: bool) -> u64 {
    if content.len() < 2 {
        return 0;
    }
    let of_sign =
        |sign: u64| content.iter().filter(move |entry| entry.1 & (BELOW_ZERO | REMOVED) == sign);
    // Sorted by marks and then by claims: there are two of them where the ends differ.
    let repeats = |sign: u64| {
        let (first, last) = (of_sign(sign).next(), of_sign(sign).next_back());
        (first.is_some(), first.map(|entry| entry.2) != last.map(|entry| entry.2))
    };
    let ((positive, twice), (negative, twice_below)) = (repeats(0), repeats(BELOW_ZERO));
    let mut facts = if twice { POSITIVE } else { 0 } | if twice_below { NEGATIVE } else { 0 };
    if positive && negative {
        facts |= CANCELLED;
    }
    if twins && twice && two_leave(content.iter().filter(|entry| entry.1 & BELOW_ZERO == 0)) {
        facts |= TWINS;
    }
    facts
}

/// Whether two claims leave, of entries above zero: those whose rows are not all removed.
fn two_leave<'e>(entries: impl Iterator<Item = &'e Entry>) -> bool {
    let mut claims: Vec<(u64, u64)> = entries.map(|entry| (entry.2, entry.1 & REMOVED)).collect();
    claims.sort_unstable();
    let leaves = |claim: &&[(u64, u64)]| {
        let removed = claim.iter().filter(|entry| entry.1 != 0).count();
        claim.len() > 2 * removed
    };
    claims.chunk_by(|one, other| one.0 == other.0).filter(leaves).take(2).count() == 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(case: u64, content: u64, marks: u64, claim: u64) -> Entry {
        (case, content << BELOW | marks, claim)
    }

    fn bytes(entry: &Entry) -> [u8; ENTRY] {
        let mut bytes = [0; ENTRY];
        for (place, word) in bytes.as_chunks_mut().0.iter_mut().zip([entry.0, entry.1, entry.2]) {
            *place = word.to_le_bytes();
        }
        bytes
    }

    #[test]
    fn facts_are_of_one_content_and_one_sign() {
        let mut entries = [
            entry(9, 9, 0, 1),
            entry(9, 9, 0, 1),
            entry(10, 10, 0, 1),
            entry(11, 11, 0, 1),
            entry(11, 11, 0, 2),
            entry(12, 12, BELOW_ZERO, 3),
            entry(12, 12, BELOW_ZERO, 3),
            entry(12, 12, BELOW_ZERO, 4),
            entry(13, 13, 0, 5),
            entry(13, 13, BELOW_ZERO, 5),
            entry(14, 14, BELOW_ZERO, u64::MAX),
            entry(14, 14, 0, 0),
            entry(14, 14, BELOW_ZERO, 0),
            // Two claims of which one does not leave, and two of one case.
            entry(16, 16, 0, 1),
            entry(16, 16, 0, 2),
            entry(16, 16, REMOVED, 2),
            entry(17, 17, 0, 1),
            entry(17, 18, 0, 2),
            entry(19, 19, 0, 1),
            entry(19, 19, BELOW_ZERO, 2),
            entry(20, 20, 0, 1),
            entry(20, 21, 0, 1),
        ];
        // Their last bits differ, but for 10 and 10 + 2^40.
        let more = [entry(10 + (1 << 40), 10, 0, 1), entry(15, 15, BELOW_ZERO, 1)];
        let bytes: Vec<_> = entries.iter().chain(&more).map(bytes).collect();
        let mut suspects = suspects(&bytes);
        suspects.sort_unstable();
        entries.sort_unstable();
        let last_bits = suspects.iter().filter(|entry| !entries.contains(entry));
        assert_eq!(last_bits.collect::<Vec<_>>(), [&more[0]]);
        assert_eq!(repeated(&suspects, true), repeated(&entries, true));
        let found = repeated(&entries, true);
        let facts: Vec<_> = found.contents.iter().map(|f| (f >> BELOW, f & 15)).collect();
        let expected = [
            (11, POSITIVE | TWINS),
            (12, NEGATIVE),
            (13, CANCELLED),
            (14, NEGATIVE | CANCELLED),
            (16, POSITIVE),
            (19, CANCELLED),
        ];
        assert_eq!(facts, expected);
        assert_eq!(found.cases, [11, 17]);
        assert!(repeated(&entries, false).cases.is_empty(), "not needed");
    }
}
