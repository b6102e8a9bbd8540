//! Reading buckets back: sorted by key, repeats of a key resolved.
//!
//! A file of its own because the policy for repeats is decided here, where rows of one key lie side
//! by side whatever order they came in. Nothing is dropped without being counted.

use std::ops::Range;

use polars::prelude::DataFrame;

use super::row::{self, Row};
use super::store::Store;
use crate::account::Cents;
use crate::config::OnDuplicate;
use crate::error::Result;
use crate::rule::Flag;

/// What became of the repeats.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repeats {
    /// Rows dropped because another row of the same key counts.
    pub duplicates: u64,
    /// Money of the dropped rows.
    pub duplicates_amount: Cents,
    /// Rows of a key with other content than the row that counts (or than each other).
    pub conflicts: u64,
    /// Rows rejected under the policy `reject`: their origins.
    pub rejected: Vec<i64>,
    /// Money of the rejected rows.
    pub rejected_amount: Cents,
    /// Removed rows (dropped and rejected) by flag, in the order of [`Flag::ALL`].
    pub flags: [u64; Flag::ALL.len()],
}

impl Repeats {
    /// Adds what became of other keys.
    pub fn merge(&mut self, other: Self) {
        self.duplicates += other.duplicates;
        self.duplicates_amount += other.duplicates_amount;
        self.conflicts += other.conflicts;
        self.rejected.extend(other.rejected);
        self.rejected_amount += other.rejected_amount;
        for (count, more) in self.flags.iter_mut().zip(other.flags) {
            *count += more;
        }
    }

    fn remove(&mut self, row: Row<'_>, refused: bool) {
        let cents = Cents(row.cents().into());
        if refused {
            self.rejected.push(row.origin());
            self.rejected_amount += cents;
        } else {
            self.duplicates += 1;
            self.duplicates_amount += cents;
        }
        for (count, flag) in self.flags.iter_mut().zip(Flag::ALL) {
            *count += u64::from(row.flags() & flag.bit() != 0);
        }
    }
}

/// A row's key and its place.
#[derive(Clone, Copy)]
struct Entry {
    token: u128,
    line: i16,
    start: usize,
}

impl Entry {
    fn same_key(&self, other: &Self) -> bool {
        self.token == other.token && self.line == other.line
    }
}

/// The next rows of `buckets` in the order of their keys, as [`super::Shuffle::next_rows`] says.
pub(super) fn next_rows(
    store: &Store,
    buckets: &mut Range<usize>,
    rows: usize,
    policy: OnDuplicate,
    repeats: &mut Repeats,
) -> Result<Option<DataFrame>> {
    let mut bytes = Vec::new();
    let mut entries: Vec<Entry> = Vec::new();
    while entries.len() < rows
        && let Some(bucket) = buckets.next()
    {
        let (mut start, before) = (bytes.len(), entries.len());
        bytes.reserve(store.length(bucket));
        store.read(bucket, &mut bytes)?;
        while start < bytes.len() {
            let row = Row::at(&bytes, start);
            let (token, line) = row.key();
            entries.push(Entry { token, line, start });
            start += row.length();
        }
        // Buckets come in the order of their keys.
        entries[before..].sort_unstable_by_key(|entry| (entry.token, entry.line));
    }
    if entries.is_empty() {
        return Ok(None);
    }
    if entries.windows(2).any(|pair| pair[0].same_key(&pair[1])) {
        entries = resolved(entries, &bytes, policy, repeats);
    }
    row::frame(entries.iter().map(|entry| Row::at(&bytes, entry.start))).map(Some)
}

/// One row a key, or none.
fn resolved(
    mut entries: Vec<Entry>,
    bytes: &[u8],
    policy: OnDuplicate,
    repeats: &mut Repeats,
) -> Vec<Entry> {
    let row = |entry: &Entry| Row::at(bytes, entry.start);
    let mut kept = Vec::with_capacity(entries.len());
    for group in entries.chunk_by_mut(Entry::same_key) {
        if let [only] = group {
            kept.push(*only);
            continue;
        }
        group.sort_unstable_by_key(|entry| row(entry).origin());
        if policy == OnDuplicate::Last {
            group.reverse();
        }
        // The first one counts. Under `reject` a key whose rows differ has none that counts.
        let content = row(&group[0]).content();
        let conflicts = group.iter().filter(|entry| row(entry).content() != content).count();
        repeats.conflicts += conflicts as u64;
        let refused = policy == OnDuplicate::Reject && conflicts > 0;
        if !refused {
            kept.push(group[0]);
        }
        for removed in &group[usize::from(!refused)..] {
            repeats.remove(row(removed), refused);
        }
    }
    kept
}
