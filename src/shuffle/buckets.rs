//! Rows partitioned by their claim's token, and the stores beside them.

use std::ops::Range;
use std::path::Path;

use polars::prelude::DataFrame;
use uuid::Uuid;

use super::content;
use super::deduplicate::Masks;
use super::duplicate_content::Repeated;
use super::providers::{self, PlaceSums, ProviderDay, Providers, Total};
use super::row::Rows;
use super::store::{Chunks, Store};
use super::token_collisions::{Distinct, Identities, Pairs};
use crate::error::Result;
use crate::event::Cancellation;
use crate::key::Token;
use crate::risk::Kept;
use crate::rule::{Rule, Severities};
use crate::schema::TokenRange;

/// First bits of a claim token that are the number of its bucket.
const BUCKET_BITS: u32 = 9;
/// Buckets; 30 million claims make 60,000 rows a bucket.
pub(crate) const BUCKETS: usize = 1 << BUCKET_BITS;
/// The parts of the memory, about as large as what goes with a row: the row itself, its content, what
/// its provider needs, its patient.
const SHARES: [usize; 4] = [76, 24, 28, 4];

/// Rows between the passes.
pub(crate) struct Shuffle {
    pub(super) rows: Store,
    /// What the first pass leaves of contents; none once they are compared, or where they are not needed.
    pub(super) contents: Option<Store>,
    /// What it leaves for providers; none where it is not needed.
    pub(super) providers: Option<Providers>,
    /// The patients' tokens, with their checks.
    patients: Identities,
    pub(super) repeated: Repeated,
    pub(super) masks: Masks,
    pub(super) kept: Kept,
}

impl Shuffle {
    /// An empty shuffle that keeps up to `memory` bytes and writes the rest to files in `folder`.
    /// `severities` are those of rules that rows break together, `kept` is what the score needs.
    #[must_use]
    pub(crate) fn new(folder: &Path, memory: usize, severities: &Severities, kept: Kept) -> Self {
        let masks = Masks::of(severities);
        let rules = Rule::ContentRepeated.mask() | Rule::ReversalPair.mask();
        let needed = [
            true,
            masks.on & rules != 0 || kept.twins,
            kept.provider_totals || kept.provider_days,
            true,
        ];
        let whole: usize =
            SHARES.iter().zip(needed).filter(|(_, needed)| *needed).map(|(share, _)| share).sum();
        let share = |part: usize| memory / whole * SHARES[part];
        Self {
            rows: Store::new(folder, share(0), BUCKETS),
            contents: needed[1].then(|| Store::new(folder, share(1), content::BUCKETS)),
            providers: needed[2].then(|| Providers::new(folder, share(2), kept)),
            patients: Identities::new(folder, share(3)),
            repeated: Repeated::default(),
            masks,
            kept,
        }
    }

    /// All buckets, in the order of their keys.
    #[must_use]
    pub(crate) fn buckets() -> Range<usize> {
        0..BUCKETS
    }

    /// A writer for one thread.
    #[must_use]
    pub(crate) fn writer(&self) -> Writer<'_> {
        Writer {
            rows: self.rows.writer(),
            contents: self.contents.as_ref().map(Store::writer),
            visits: self.providers.as_ref().map(Providers::writer),
            patients: self.patients.writer(),
        }
    }

    /// Bytes of rows held, in memory and in the file.
    #[must_use]
    pub(crate) fn bytes(&self) -> u64 {
        self.rows.bytes()
    }

    /// After [`Self::settle`]: compares the contents of all rows.
    ///
    /// # Errors
    /// `Config` when the file cannot be read, `Interrupted` on cancellation.
    pub(crate) fn compared(mut self, cancel: &Cancellation) -> Result<Self> {
        if let Some(contents) = self.contents.take() {
            self.repeated = Repeated::find(&contents, self.kept.twins, cancel)?;
        }
        Ok(self)
    }

    /// After [`Self::settle`]: what each provider was paid and what was expected, by its place.
    /// `expected` is what a claim of the provider at a place with the procedure of a number is
    /// expected to cost, in millionths of a dollar.
    ///
    /// # Errors
    /// `Config` when a file cannot be read, `Interrupted` on cancellation.
    pub(crate) fn provider_sums(
        &self,
        expected: &(dyn Fn(u32, u32) -> Option<i64> + Sync),
        cancel: &Cancellation,
    ) -> Result<Vec<(u32, PlaceSums)>> {
        let providers = self.providers.as_ref();
        providers.map_or(Ok(Vec::new()), |providers| providers.sums(expected, cancel))
    }

    /// After [`Self::settle`], once: the days on which a provider has seen so many patients that
    /// `beyond` holds for its place and their number.
    ///
    /// # Errors
    /// `Config` when a file cannot be read, `Interrupted` on cancellation.
    pub(crate) fn busy_days(
        &mut self,
        beyond: &(dyn Fn(u32, u32) -> bool + Sync),
        cancel: &Cancellation,
    ) -> Result<Vec<ProviderDay>> {
        let providers = self.providers.as_mut();
        providers.map_or(Ok(Vec::new()), |providers| providers.busy(beyond, cancel))
    }

    /// After [`Self::settle`]: the totals of providers by procedure, in parts that together are
    /// all of them; none after the last part.
    ///
    /// # Errors
    /// `Config` when a file cannot be read.
    pub(crate) fn provider_totals(&self, part: usize) -> Result<Option<Vec<Total>>> {
        match &self.providers {
            Some(providers) if part < Providers::buckets() => providers.totals(part).map(Some),
            _ => Ok(None),
        }
    }

    /// How many different patients and tokens of patients there are.
    ///
    /// # Errors
    /// `Config` when a file cannot be read, `Interrupted` on cancellation.
    pub(crate) fn patients(&self, cancel: &Cancellation) -> Result<Distinct> {
        self.patients.distinct(cancel)
    }
}

/// The tokens of some buckets in a row.
#[must_use]
pub(crate) fn token_range(buckets: &Range<usize>) -> TokenRange {
    // The lowest token of a bucket; the ends are open.
    let bound = |bucket: usize| {
        let first = u128::try_from(bucket).ok().filter(|_| (1..BUCKETS).contains(&bucket))?;
        Some(Uuid::from_u128(first << (u128::BITS - BUCKET_BITS)))
    };
    TokenRange { from: bound(buckets.start), to: bound(buckets.end) }
}

fn bucket(token: &Token) -> usize {
    usize::from(u16::from_be_bytes([token[0], token[1]]) >> (u16::BITS - BUCKET_BITS))
}

/// Writes rows of one thread.
pub(crate) struct Writer<'a> {
    rows: Chunks<'a>,
    contents: Option<Chunks<'a>>,
    visits: Option<Chunks<'a>>,
    patients: Pairs<'a>,
}

impl Writer<'_> {
    /// Takes accepted rows of the first pass. `codes` has the numbers of their procedures, as they were
    /// counted; it may be empty where nothing is needed about providers.
    ///
    /// # Errors
    /// `Internal` when the frame is not one of the first pass, `Config` when a file cannot be
    /// written.
    pub(crate) fn push(&mut self, accepted: &DataFrame, codes: &[u32]) -> Result<()> {
        let rows = Rows::of(accepted)?;
        for row in 0..accepted.height() {
            let token = rows.token(row);
            self.rows.append(bucket(&token), |bytes| rows.write(row, bytes))?;
            if let Some(contents) = &mut self.contents
                && let Some((bucket, entry)) = rows.content(row).entry(&token, false)
            {
                contents.append(bucket, |bytes| bytes.extend_from_slice(&entry))?;
            }
            if let Some(visits) = &mut self.visits
                && let Some(&code) = codes.get(row)
                && providers::counts(code)
            {
                rows.visit(row, code).write(visits)?;
            }
            let (patient, check) = rows.patient(row);
            self.patients.push(patient, check)?;
        }
        Ok(())
    }

    /// Hands on what is left.
    ///
    /// # Errors
    /// `Config` when a file cannot be written.
    pub(crate) fn finish(self) -> Result<()> {
        self.rows.finish()?;
        self.contents.map_or(Ok(()), Chunks::finish)?;
        self.visits.map_or(Ok(()), Chunks::finish)?;
        self.patients.finish()
    }
}
