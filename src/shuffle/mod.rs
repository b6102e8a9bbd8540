//! The shuffle between the two passes: rows of the first, to be read again in the order of their
//! keys.
//!
//! Rows are partitioned by the first bits of their claim token into 512 buckets; a bucket is small
//! enough to be sorted in memory, and the buckets in a row are the input in the order of its key.
//! What follows from that order is worth more than it costs: repeats of a key lie side by side, an
//! index is built without sorting and tables are written in its order, and connections share the
//! work by ranges of the key.
//!
//! Rows that lie far apart in that order can still say the same of one patient, or come from one
//! provider on one day. For that each row leaves a few bytes in smaller stores, partitioned by what
//! they are about, which are looked through between the passes.
//!
//! Rows hold tokens, never raw patient or claim identifiers. They stay in memory up to a limit;
//! beyond it they go to an unnamed file, which nobody else can open and which is gone with the
//! process, however it ends.

pub(crate) mod deduplicate;
pub(crate) mod dropped_rows;
pub(crate) mod duplicate_content;
mod parallel;
mod providers;
mod row;
mod sort;
mod store;
#[cfg(test)]
mod tests;
pub(crate) mod token_collisions;

use std::ops::Range;
use std::path::Path;

use polars::prelude::DataFrame;
use providers::Providers;
pub use providers::{PlaceSums, ProviderDay, Total};
use row::Rows;
use store::{Chunks, Store};
use uuid::Uuid;

use crate::config::OnDuplicate;
use crate::error::Result;
use crate::event::Cancellation;
use crate::key::Token;
use crate::risk::{Kept, Statistics};
use crate::rule::{Rule, Severities};
use crate::schema::TokenRange;
use crate::shuffle::deduplicate::Masks;
pub use crate::shuffle::deduplicate::Resolved;
pub use crate::shuffle::dropped_rows::Counted;
use crate::shuffle::duplicate_content::Repeated;
pub use crate::shuffle::token_collisions::Distinct;
use crate::shuffle::token_collisions::{Identities, Pairs};

/// First bits of a claim token that tell its bucket.
const BUCKET_BITS: u32 = 9;
/// Buckets; 30 million claims make 60,000 rows a bucket.
pub(crate) const BUCKETS: usize = 1 << BUCKET_BITS;
/// The parts of the memory, about as large as what goes with a row: the row itself, its content, what
/// its provider needs, its patient.
const SHARES: [usize; 4] = [76, 24, 28, 4];

/// Rows between the passes.
pub struct Shuffle {
    rows: Store,
    /// What the first pass leaves of contents; none once they are compared, or if nobody asks.
    contents: Option<Store>,
    /// What it leaves for providers; none if nobody asks.
    providers: Option<Providers>,
    /// The patients' tokens, with their checks.
    patients: Identities,
    repeated: Repeated,
    masks: Masks,
    kept: Kept,
}

impl Shuffle {
    /// An empty shuffle that keeps up to `memory` bytes and writes the rest to files in `folder`.
    /// `severities` says what it means when rows break a rule together, `kept` what the score needs
    /// to know.
    #[must_use]
    pub fn new(folder: &Path, memory: usize, severities: &Severities, kept: Kept) -> Self {
        let masks = Masks::of(severities);
        let rules = Rule::ContentRepeated.mask() | Rule::ReversalPair.mask();
        let asked = [
            true,
            masks.on & rules != 0 || kept.twins,
            kept.provider_totals || kept.provider_days,
            true,
        ];
        let whole: usize =
            SHARES.iter().zip(asked).filter(|(_, asked)| *asked).map(|(share, _)| share).sum();
        let share = |part: usize| memory / whole * SHARES[part];
        Self {
            rows: Store::new(folder, share(0), BUCKETS),
            contents: asked[1].then(|| Store::new(folder, share(1), duplicate_content::BUCKETS)),
            providers: asked[2].then(|| Providers::new(folder, share(2), kept)),
            patients: Identities::new(folder, share(3)),
            repeated: Repeated::default(),
            masks,
            kept,
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
        Writer {
            rows: self.rows.writer(),
            contents: self.contents.as_ref().map(Store::writer),
            visits: self.providers.as_ref().map(Providers::writer),
            patients: self.patients.writer(),
        }
    }

    /// Bytes of rows held, in memory and in the file.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.rows.bytes()
    }

    /// Between the passes, when all writers have finished: takes the rows that will not leave under
    /// `policy` out of what was counted for the score. What comes of it is to be added to the
    /// statistics of the first pass: counts below zero, and the provider-days.
    ///
    /// # Errors
    /// `Config` when a file cannot be read or written, `Interrupted` on cancellation.
    pub fn settle(
        &mut self,
        counted: &Counted<'_>,
        policy: OnDuplicate,
        cancel: &Cancellation,
    ) -> Result<Statistics> {
        if self.kept == Kept::default() {
            return Ok(Statistics::default());
        }
        let mut statistics = dropped_rows::take_out(self, counted, policy, cancel)?;
        if let Some(providers) = &mut self.providers {
            for ((number, patients), days) in providers.summed_up(counted.specialties, cancel)? {
                let name = counted.names.get(number as usize).map_or("", String::as_str);
                statistics.set_provider_days(name, patients, days);
            }
        }
        Ok(statistics)
    }

    /// After that: compares the contents of all rows.
    ///
    /// # Errors
    /// `Config` when the file cannot be read, `Interrupted` on cancellation.
    pub fn compared(mut self, cancel: &Cancellation) -> Result<Self> {
        if let Some(contents) = self.contents.take() {
            self.repeated = Repeated::find(&contents, self.kept.twins, cancel)?;
        }
        Ok(self)
    }

    /// After [`Self::settle`]: what each provider was paid and what was expected, by its place.
    /// `expected` says what a claim of the provider at a place with the procedure of a number is
    /// expected to cost, in millionths of a dollar.
    ///
    /// # Errors
    /// `Config` when a file cannot be read, `Interrupted` on cancellation.
    pub fn provider_sums(
        &self,
        expected: &(dyn Fn(u32, u32) -> Option<i64> + Sync),
        cancel: &Cancellation,
    ) -> Result<Vec<(u32, PlaceSums)>> {
        let providers = self.providers.as_ref();
        providers.map_or(Ok(Vec::new()), |providers| providers.sums(expected, cancel))
    }

    /// After [`Self::settle`], once: the days on which a provider has seen so many patients that
    /// `beyond` says so of its place and their number.
    ///
    /// # Errors
    /// `Config` when a file cannot be read, `Interrupted` on cancellation.
    pub fn busy_days(
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
    pub fn provider_totals(&self, part: usize) -> Result<Option<Vec<Total>>> {
        match &self.providers {
            Some(providers) if part < Providers::buckets() => providers.totals(part).map(Some),
            _ => Ok(None),
        }
    }

    /// How many different patients and tokens of patients there are.
    ///
    /// # Errors
    /// `Config` when a file cannot be read, `Interrupted` on cancellation.
    pub fn patients(&self, cancel: &Cancellation) -> Result<Distinct> {
        self.patients.distinct(cancel)
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

impl Shuffle {
    /// What becomes of all rows, where none is to leave.
    ///
    /// # Errors
    /// `Config` when the file cannot be read, `Interrupted` on cancellation.
    pub fn resolve(&self, policy: OnDuplicate, cancel: &Cancellation) -> Result<Resolved> {
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

fn bucket(token: &Token) -> usize {
    usize::from(u16::from_be_bytes([token[0], token[1]]) >> (u16::BITS - BUCKET_BITS))
}

/// Writes rows of one thread.
pub struct Writer<'a> {
    rows: Chunks<'a>,
    contents: Option<Chunks<'a>>,
    visits: Option<Chunks<'a>>,
    patients: Pairs<'a>,
}

impl Writer<'_> {
    /// Takes accepted rows of the first pass. `codes` has the numbers of their procedures, as they were
    /// counted; it may be empty where nothing is asked about providers.
    ///
    /// # Errors
    /// `Internal` when the frame is not one of the first pass, `Config` when a file cannot be
    /// written.
    pub fn push(&mut self, accepted: &DataFrame, codes: &[u32]) -> Result<()> {
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
    pub fn finish(self) -> Result<()> {
        self.rows.finish()?;
        self.contents.map_or(Ok(()), Chunks::finish)?;
        self.visits.map_or(Ok(()), Chunks::finish)?;
        self.patients.finish()
    }
}
