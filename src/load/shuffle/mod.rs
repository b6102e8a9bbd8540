//! The shuffle between the two passes: rows of the first, to be read again in the order of their
//! keys.
//!
//! A module of its own because a score needs all claims before the first row can leave, and reading
//! and hashing the input twice would cost more than keeping it. Rows are partitioned by the first
//! bits of their claim token into 512 buckets; a bucket is small enough to be sorted in memory, and
//! the buckets in a row are the input in the order of its key. What follows from that order is
//! worth more than it costs: repeats of a key lie side by side, an index is built without sorting
//! and tables are written in its order, and connections share the work by ranges of the key.
//!
//! Rows hold tokens, never raw patient or claim identifiers. They stay in memory up to a limit;
//! beyond it they go to an unnamed file, which nobody else can open and which is gone with the
//! process, however it ends.

mod row;
mod sort;
mod store;

use std::ops::Range;
use std::path::Path;

use polars::prelude::DataFrame;
use uuid::Uuid;

pub use sort::Repeats;

use crate::config::OnDuplicate;
use crate::error::Result;
use crate::key::Token;
use crate::schema::TokenRange;
use row::Rows;
use store::Store;

/// First bits of a claim token that tell its bucket.
const BUCKET_BITS: u32 = 9;
/// Buckets; 30 million claims make 60,000 rows a bucket.
pub(super) const BUCKETS: usize = 1 << BUCKET_BITS;
/// Bytes that a writer collects for a bucket before the store takes them.
const CHUNK_BYTES: usize = 16 << 10;

/// Rows between the passes.
pub struct Shuffle {
    store: Store,
}

impl Shuffle {
    /// An empty shuffle that keeps up to `memory` bytes and writes the rest to a file in `folder`.
    #[must_use]
    pub fn new(folder: &Path, memory: usize) -> Self {
        Self { store: Store::new(folder, memory) }
    }

    /// All buckets, in the order of their keys.
    #[must_use]
    pub fn buckets() -> Range<usize> {
        0..BUCKETS
    }

    /// A writer for one thread.
    #[must_use]
    pub fn writer(&self) -> Writer<'_> {
        Writer { store: &self.store, chunks: vec![Vec::new(); BUCKETS] }
    }

    /// Bytes held, in memory and in the file.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.store.bytes()
    }

    /// The next rows of `buckets` in the order of their keys, and `buckets` without those that were
    /// read: at least `rows` as long as there are as many, none at the end. Repeats of a key are
    /// resolved by `policy` and counted in `repeats`.
    ///
    /// # Errors
    /// `Config` when the file cannot be read.
    pub fn next_rows(
        &self,
        buckets: &mut Range<usize>,
        rows: usize,
        policy: OnDuplicate,
        repeats: &mut Repeats,
    ) -> Result<Option<DataFrame>> {
        sort::next_rows(&self.store, buckets, rows, policy, repeats)
    }
}

/// A frame of the rows that [`Shuffle::next_rows`] gives, without any, to show a plan with.
///
/// # Errors
/// Never: the columns fit.
pub fn no_rows() -> Result<DataFrame> {
    row::frame(std::iter::empty())
}

/// The tokens of some buckets in a row.
#[must_use]
pub fn token_range(buckets: &Range<usize>) -> TokenRange {
    // The lowest token of a bucket; the ends are open.
    let bound = |bucket: usize| {
        let first = u128::try_from(bucket).ok().filter(|_| (1..BUCKETS).contains(&bucket))?;
        Some(Uuid::from_u128(first << (u128::BITS - BUCKET_BITS)))
    };
    TokenRange { from: bound(buckets.start), to: bound(buckets.end) }
}

/// The bucket of a token.
fn bucket(token: &Token) -> usize {
    usize::from(u16::from_be_bytes([token[0], token[1]]) >> (u16::BITS - BUCKET_BITS))
}

/// Writes rows of one thread.
pub struct Writer<'a> {
    store: &'a Store,
    chunks: Vec<Vec<u8>>,
}

impl Writer<'_> {
    /// Takes accepted rows of the first pass.
    ///
    /// # Errors
    /// `Internal` when the frame is not one of the first pass, `Config` when the file cannot be
    /// written.
    pub fn push(&mut self, accepted: &DataFrame) -> Result<()> {
        let rows = Rows::of(accepted)?;
        for row in 0..accepted.height() {
            let bucket = bucket(&rows.token(row));
            let chunk = &mut self.chunks[bucket];
            rows.write(row, chunk);
            if chunk.len() >= CHUNK_BYTES {
                self.store.take(bucket, chunk)?;
            }
        }
        Ok(())
    }

    /// Hands on what is left.
    ///
    /// # Errors
    /// `Config` when the file cannot be written.
    pub fn finish(mut self) -> Result<()> {
        for (bucket, chunk) in self.chunks.iter_mut().enumerate() {
            if !chunk.is_empty() {
                self.store.take(bucket, chunk)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_the_lowest_token_of_its_bucket() {
        assert_eq!(token_range(&(0..BUCKETS)), TokenRange { from: None, to: None });
        let TokenRange { from, to } = token_range(&(BUCKETS / 2..BUCKETS));
        let half = from.map(|bound| bound.to_string());
        assert_eq!(half.as_deref(), Some("80000000-0000-0000-0000-000000000000"));
        assert_eq!(to, None);
    }
}
