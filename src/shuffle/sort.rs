//! Reading buckets back, sorted by key.

use std::ops::Range;

use polars::prelude::DataFrame;

use super::Shuffle;
use super::row::{self, Row};
use crate::config::OnDuplicate;
use crate::error::Result;
use crate::shuffle::deduplicate::{Claims, Entry, Resolved};

/// The next rows of `buckets` in the order of their keys, as [`Shuffle::next_rows`] says.
pub(crate) fn next_rows(
    shuffle: &Shuffle,
    buckets: &mut Range<usize>,
    rows: usize,
    policy: OnDuplicate,
    resolved: &mut Resolved,
) -> Result<Option<DataFrame>> {
    let mut bytes = Vec::new();
    let mut entries: Vec<Entry> = Vec::new();
    while entries.len() < rows
        && let Some(bucket) = buckets.next()
    {
        let (mut start, before) = (bytes.len(), entries.len());
        bytes.reserve(shuffle.rows.length(bucket));
        shuffle.rows.read(bucket, &mut bytes)?;
        while start < bytes.len() {
            let row = Row::at(&bytes, start);
            let (token, line) = row.key();
            entries.push(Entry { token, line, found: 0, start });
            start += row.length();
        }
        // Buckets come in the order of their keys.
        entries[before..].sort_unstable_by_key(|entry| (entry.token, entry.line));
    }
    if entries.is_empty() {
        return Ok(None);
    }
    for claim in entries.chunk_by(Entry::same_claim) {
        resolved.claims.tokens += 1;
        let check = |entry: &Entry| Row::at(&bytes, entry.start).check();
        let mut checks = match claim {
            [_] => Vec::new(),
            rows => rows.iter().map(check).collect(),
        };
        checks.sort_unstable();
        checks.dedup();
        resolved.claims.ids += checks.len().max(1) as u64;
    }
    let masks = shuffle.masks;
    // Where each claim is one row there is nothing to resolve.
    if entries.windows(2).any(|pair| pair[0].same_claim(&pair[1])) {
        let bytes = &bytes;
        entries = Claims { bytes, policy, masks, resolved: &mut *resolved }.resolve(entries);
    }
    let rows = entries.iter().map(|entry| {
        let row = Row::at(&bytes, entry.start);
        let (bits, twin) = shuffle.repeated.of(row);
        let found = entry.found | bits & masks.on;
        resolved.count_found(found);
        (row, row.flags() | found, twin)
    });
    row::frame(rows).map(Some)
}
