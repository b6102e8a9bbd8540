//! What a row is compared with others by, and the entry that it leaves for that.

use crate::key::Token;

/// First bits of a hash that are the number of its bucket.
const BUCKET_BITS: u32 = 7;
/// Buckets; 30 million claims make 6 MiB a bucket.
pub(super) const BUCKETS: usize = 1 << BUCKET_BITS;
/// Bytes of an entry.
pub(super) const ENTRY: usize = 24;

/// Bits of a word below the content's hash: marks in an entry, in what was found the facts.
pub(super) const BELOW: u32 = 4;
/// Mark: the amount is below zero.
pub(super) const BELOW_ZERO: u64 = 1;
/// Mark: a row that does not leave.
pub(super) const REMOVED: u64 = 1 << 1;
/// An odd number without a pattern: the fraction of the golden ratio.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// The content of a row: who did what for whom, when, and for how much.
pub(super) struct Content<'a> {
    pub(super) patient: Token,
    pub(super) day: i32,
    /// The provider's place in the directory; its id counts where it has none.
    pub(super) place: u32,
    pub(super) provider: Option<&'a [u8]>,
    pub(super) code: Option<&'a [u8]>,
    pub(super) cents: i64,
}

/// An entry without its claim.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Hashes {
    pub(super) case: u64,
    /// Zeros in the lowest bits.
    pub(super) content: u64,
}

impl Content<'_> {
    pub(super) fn hashes(&self) -> Hashes {
        let length = |text: Option<&[u8]>| text.map_or(0, |text| text.len() as u64 + 1);
        let mut hash = FACTOR;
        for half in self.patient.as_chunks().0 {
            mix(&mut hash, u64::from_le_bytes(*half));
        }
        // A length comes before what it is of: no two contents begin alike and go on differently.
        let code = length(self.code) << u32::BITS;
        mix(&mut hash, code | u64::from(self.day.cast_unsigned()));
        mix_text(&mut hash, self.code);
        mix(&mut hash, FACTOR);
        let case = hash;
        // Amounts have 40 bits, lengths 8.
        mix(&mut hash, self.cents.unsigned_abs() | length(self.provider) << 48);
        mix(&mut hash, u64::from(self.place));
        mix_text(&mut hash, self.provider);
        Hashes { case, content: hash >> BELOW << BELOW }
    }

    /// What the row leaves: its bucket and its entry. None where the amount is zero.
    pub(super) fn entry(&self, claim: &Token, removed: bool) -> Option<(usize, [u8; ENTRY])> {
        if self.cents == 0 {
            return None;
        }
        let Hashes { case, content } = self.hashes();
        let mark = |is: bool, mark: u64| if is { mark } else { 0 };
        let marks = mark(self.cents < 0, BELOW_ZERO) | mark(removed, REMOVED);
        let mut entry = [0; ENTRY];
        entry[..8].copy_from_slice(&case.to_le_bytes());
        entry[8..16].copy_from_slice(&(content | marks).to_le_bytes());
        entry[16..].copy_from_slice(&claim[8..]);
        Some((bucket(case), entry))
    }
}

fn mix(hash: &mut u64, word: u64) {
    let (low, high) = (*hash ^ word).carrying_mul(FACTOR, 0);
    *hash = low ^ high;
}

fn mix_text(hash: &mut u64, text: Option<&[u8]>) {
    let Some(text) = text else { return };
    let (words, rest) = text.as_chunks();
    for word in words {
        mix(hash, u64::from_le_bytes(*word));
    }
    if !rest.is_empty() {
        mix(hash, end(text));
    }
}

/// The last bytes of a text, at most eight; texts of up to eight bytes have different words.
fn end(text: &[u8]) -> u64 {
    if let Some(word) = text.last_chunk() {
        u64::from_le_bytes(*word)
    } else if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
        u64::from(u32::from_le_bytes(*first)) << u32::BITS | u64::from(u32::from_le_bytes(*last))
    } else {
        text.iter().fold(0, |word, &byte| word << u8::BITS | u64::from(byte))
    }
}

pub(super) fn bucket(case: u64) -> usize {
    usize::try_from(case >> (u64::BITS - BUCKET_BITS)).unwrap_or_default()
}
