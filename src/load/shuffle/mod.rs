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
//! Rows that lie far apart in that order can still say the same of one patient. For that each row
//! leaves a hash of its content in a second, smaller store, which is looked through between the
//! passes.
//!
//! Rows hold tokens, never raw patient or claim identifiers. They stay in memory up to a limit;
//! beyond it they go to an unnamed file, which nobody else can open and which is gone with the
//! process, however it ends.

mod content;
mod resolve;
mod row;
mod sort;
mod store;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::path::Path;

use polars::prelude::DataFrame;
use uuid::Uuid;

pub use resolve::Resolved;

use crate::config::OnDuplicate;
use crate::error::Result;
use crate::event::Cancellation;
use crate::key::Token;
use crate::rule::{Rule, Severities};
use crate::schema::TokenRange;
use content::Repeated;
use resolve::Masks;
use row::Rows;
use store::{Chunks, Store};

/// First bits of a claim token that tell its bucket.
const BUCKET_BITS: u32 = 9;
/// Buckets; 30 million claims make 60,000 rows a bucket.
pub(super) const BUCKETS: usize = 1 << BUCKET_BITS;
/// The part of the memory that contents get: 16 bytes go with a row of some 70.
const CONTENT_SHARE: usize = 5;

/// Rows between the passes.
pub struct Shuffle {
    rows: Store,
    /// What the first pass leaves of contents; none once they are compared, or if nobody asks.
    contents: Option<Store>,
    repeated: Repeated,
    masks: Masks,
}

impl Shuffle {
    /// An empty shuffle that keeps up to `memory` bytes and writes the rest to files in `folder`.
    /// `severities` says what it means when rows break a rule together.
    #[must_use]
    pub fn new(folder: &Path, memory: usize, severities: &Severities) -> Self {
        let masks = Masks::of(severities);
        let compared = masks.on & (Rule::ContentRepeated.mask() | Rule::ReversalPair.mask()) != 0;
        let share = if compared { memory / CONTENT_SHARE } else { 0 };
        Self {
            rows: Store::new(folder, memory - share, BUCKETS),
            contents: compared.then(|| Store::new(folder, share, content::BUCKETS)),
            repeated: Repeated::default(),
            masks,
        }
    }

    /// All buckets, in the order of their keys.
    #[must_use]
    pub fn buckets() -> Range<usize> {
        0..BUCKETS
    }

    /// A writer for one thread.
    #[must_use]
    pub fn writer(&self) -> Writer<'_> {
        Writer { rows: self.rows.writer(), contents: self.contents.as_ref().map(Store::writer) }
    }

    /// Bytes of rows held, in memory and in the file.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.rows.bytes()
    }

    /// Between the passes, when all writers have finished: compares the contents of all rows.
    ///
    /// # Errors
    /// `Config` when the file cannot be read, `Interrupted` on cancellation.
    pub fn compared(mut self, cancel: &Cancellation) -> Result<Self> {
        if let Some(contents) = self.contents.take() {
            self.repeated = Repeated::find(&contents, cancel)?;
        }
        Ok(self)
    }

    /// The next rows of `buckets` in the order of their keys, and `buckets` without those that were
    /// read: at least `rows` as long as there are as many, none at the end. What the rows of a claim
    /// break together and which of them leave is counted in `resolved`; repeats of a key are
    /// resolved by `policy`.
    ///
    /// # Errors
    /// `Config` when the file cannot be read.
    pub fn next_rows(
        &self,
        buckets: &mut Range<usize>,
        rows: usize,
        policy: OnDuplicate,
        resolved: &mut Resolved,
    ) -> Result<Option<DataFrame>> {
        sort::next_rows(self, buckets, rows, policy, resolved)
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
    rows: Chunks<'a>,
    contents: Option<Chunks<'a>>,
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
            let token = rows.token(row);
            self.rows.append(bucket(&token), |bytes| rows.write(row, bytes))?;
            if let Some(contents) = &mut self.contents
                && let Some((bucket, entry)) = rows.said(row).entry(&token)
            {
                contents.append(bucket, |bytes| bytes.extend_from_slice(&entry))?;
            }
        }
        Ok(())
    }

    /// Hands on what is left.
    ///
    /// # Errors
    /// `Config` when the file cannot be written.
    pub fn finish(self) -> Result<()> {
        self.rows.finish()?;
        self.contents.map_or(Ok(()), Chunks::finish)
    }
}
