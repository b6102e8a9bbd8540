//! Reading buckets back, sorted by key.

use std::ops::Range;

use polars::prelude::DataFrame;

use super::buckets::{BUCKETS, Shuffle};
use super::deduplicate::{Claims, Entry, Resolved};
use super::parallel;
use super::row::{self, Row};
use crate::error::Result;
use crate::event::Cancellation;
use crate::rule::OnDuplicate;

impl Shuffle {
    /// The next rows of `buckets` in the order of their keys, and `buckets` without those that were
    /// read: at least `rows` as long as there are as many, none at the end. What the rows of a claim
    /// break together and which of them leave is counted in `resolved`; repeats of a key are
    /// resolved by `policy`.
    ///
    /// # Errors
    /// `Config` when the file cannot be read.
    pub(crate) fn next_rows(
        &self,
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
            bytes.reserve(self.rows.length(bucket));
            self.rows.read(bucket, &mut bytes)?;
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
        let masks = self.masks;
        // Where each claim is one row there is nothing to resolve.
        if entries.windows(2).any(|pair| pair[0].same_claim(&pair[1])) {
            let bytes = &bytes;
            entries = Claims { bytes, policy, masks, resolved: &mut *resolved }.resolve(entries);
        }
        let rows = entries.iter().map(|entry| {
            let row = Row::at(&bytes, entry.start);
            let (bits, twin) = self.repeated.of(row);
            let found = entry.found | bits & masks.on;
            resolved.count_found(found);
            (row, row.flags() | found, twin)
        });
        row::frame(rows).map(Some)
    }

    /// Which rows would leave, be dropped and be rejected, where none is to leave.
    ///
    /// # Errors
    /// `Config` when the file cannot be read, `Interrupted` on cancellation.
    pub(crate) fn resolve(&self, policy: OnDuplicate, cancel: &Cancellation) -> Result<Resolved> {
        let parts = parallel::each(
            BUCKETS,
            cancel,
            || (),
            |bucket, ()| {
                let (mut buckets, mut resolved) = (bucket..bucket + 1, Resolved::default());
                while self.next_rows(&mut buckets, usize::MAX, policy, &mut resolved)?.is_some() {}
                Ok(resolved)
            },
        )?;
        let mut all = Resolved::default();
        for part in parts {
            all.merge(part);
        }
        all.rejected.sort_unstable();
        Ok(all)
    }
}

/// A frame of the rows that [`Shuffle::next_rows`] gives, without any, to show a plan with.
///
/// # Errors
/// Never: the columns fit.
pub(crate) fn no_rows() -> Result<DataFrame> {
    row::frame(std::iter::empty())
}
