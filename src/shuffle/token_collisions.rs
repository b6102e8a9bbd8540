//! Whether two patients have one token.
//!
//! As many different pairs as tokens means as many identifiers as tokens. Pairs that a thread has
//! just seen are left out, so most rows leave nothing.

use std::path::Path;

use super::parallel;
use super::row::half;
use super::store::{Chunks, Store};
use crate::error::Result;
use crate::event::Cancellation;
use crate::key::Token;

/// First bits of a token that are the number of its bucket.
const BUCKET_BITS: u32 = 7;
const BUCKETS: usize = 1 << BUCKET_BITS;
/// Bytes of an entry: half of a token, and the check.
const ENTRY: usize = 12;
/// Pairs that a thread keeps.
const REMEMBERED: usize = 1 << 15;

/// Identifiers and tokens of one domain, each counted once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub(crate) struct Distinct {
    /// Different identifiers.
    pub(crate) ids: u64,
    /// Different tokens.
    pub(crate) tokens: u64,
}

impl Distinct {
    /// Adds what was counted of other tokens.
    pub(crate) fn merge(&mut self, other: Self) {
        self.ids += other.ids;
        self.tokens += other.tokens;
    }

    /// Counts sorted pairs of a token and its check.
    pub(super) fn count<T: Eq + Copy>(&mut self, pairs: &[(T, u32)]) {
        for token in pairs.chunk_by(|one, other| one.0 == other.0) {
            self.tokens += 1;
            self.ids += token.chunk_by(|one, other| one.1 == other.1).count() as u64;
        }
    }
}

/// The pairs of a run.
pub(super) struct Identities(Store);

impl Identities {
    pub(super) fn new(folder: &Path, memory: usize) -> Self {
        Self(Store::new(folder, memory, BUCKETS))
    }

    /// A writer for one thread.
    pub(super) fn writer(&self) -> Pairs<'_> {
        Pairs { chunks: self.0.writer(), seen: vec![None; REMEMBERED] }
    }

    /// How many different identifiers and tokens there are.
    pub(super) fn distinct(&self, cancel: &Cancellation) -> Result<Distinct> {
        let counted = parallel::each(BUCKETS, cancel, Vec::new, |bucket, bytes: &mut Vec<u8>| {
            bytes.clear();
            self.0.read(bucket, bytes)?;
            let pair = |entry: &[u8; ENTRY]| {
                let (token, check) = (entry.first_chunk(), entry.last_chunk());
                let token = token.map_or(0, |token| u64::from_le_bytes(*token));
                (token, check.map_or(0, |check| u32::from_le_bytes(*check)))
            };
            let mut pairs: Vec<(u64, u32)> = bytes.as_chunks().0.iter().map(pair).collect();
            pairs.sort_unstable();
            let mut distinct = Distinct::default();
            distinct.count(&pairs);
            Ok(distinct)
        })?;
        let mut all = Distinct::default();
        for distinct in counted {
            all.merge(distinct);
        }
        Ok(all)
    }
}

/// Writes the pairs of one thread.
pub(super) struct Pairs<'a> {
    chunks: Chunks<'a>,
    seen: Vec<Option<(u64, u32)>>,
}

impl Pairs<'_> {
    /// Takes a token and its check.
    pub(super) fn push(&mut self, token: Token, check: u32) -> Result<()> {
        let pair = (half(token), check);
        let place = &mut self.seen[usize::try_from(pair.0).unwrap_or_default() % REMEMBERED];
        if *place == Some(pair) {
            return Ok(());
        }
        *place = Some(pair);
        let bucket = usize::try_from(pair.0 >> (u64::BITS - BUCKET_BITS)).unwrap_or_default();
        self.chunks.append(bucket, |chunk| {
            chunk.extend_from_slice(&pair.0.to_le_bytes());
            chunk.extend_from_slice(&pair.1.to_le_bytes());
        })
    }

    /// Hands on what is left.
    pub(super) fn finish(self) -> Result<()> {
        self.chunks.finish()
    }
}
