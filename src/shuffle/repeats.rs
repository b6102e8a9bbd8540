//! Which hashes may come more than once, found without sorting.

/// Bits of the table for each hash.
const BITS_PER_HASH: usize = 16;

/// A table of bits, chosen by the last bits of a hash: it names all hashes that come again, and few others.
pub(super) struct Repeats(Vec<u64>);

impl Repeats {
    pub(super) fn among(hashes: impl Iterator<Item = u64> + Clone) -> Self {
        let bits =
            (hashes.clone().count() * BITS_PER_HASH).next_multiple_of(64).next_power_of_two();
        let (mut seen, mut again) = (vec![0; bits / 64], vec![0; bits / 64]);
        for hash in hashes {
            let (word, bit) = place(hash, seen.len());
            again[word] |= seen[word] & bit;
            seen[word] |= bit;
        }
        Self(again)
    }

    pub(super) fn may_have(&self, hash: u64) -> bool {
        let (word, bit) = place(hash, self.0.len());
        self.0[word] & bit != 0
    }
}

/// The word and the bit of a hash; the number of words is a power of two.
fn place(hash: u64, words: usize) -> (usize, u64) {
    (usize::try_from(hash >> 6).unwrap_or_default() & (words - 1), 1 << (hash & 63))
}
