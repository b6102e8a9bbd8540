//! The first pass over the claims: validates, counts and shuffles rows.
//!
//! Each thread validates, joins and hashes its blocks, collects the statistics for scoring, and
//! writes its rows to the shuffle.

use std::sync::{Mutex, PoisonError};

use polars::prelude::{Column, DataFrame, PolarsError};

use super::all_blocks::AllBlocks;
use super::query_plan::plan_error;
use super::scoring::Counting;
use crate::error::{Error, Result};
use crate::event::Cancellation;
use crate::extract::{Block, Blocks};
use crate::failpoint;
use crate::load::FirstPassTotals;
use crate::quarantine::{Quarantine, Rejected};
use crate::risk::Statistics;
use crate::rule::Rule;
use crate::schema::{
    AMOUNT_MAX_CENTS, CENTS, CLAIM_CHECK, GENERALIZED, ORIGIN, PATIENT_CHECK, PROVIDER_ROW, REJECT,
    ROW_FINGERPRINT, SOURCE_LINE,
};
use crate::shuffle::{Shuffle, Writer};
use crate::totals::Cents;
use crate::transform::{Claims, Counter, Directory};

/// Columns of accepted rows used for statistics and the shuffle.
pub(crate) const SHUFFLED: [&str; 12] = [
    "claim_token",
    "line_number",
    "patient_token",
    PROVIDER_ROW,
    "provider_id",
    "procedure_code",
    CENTS,
    "date_of_service",
    "dq_flags",
    ORIGIN,
    CLAIM_CHECK,
    PATIENT_CHECK,
];

/// Inputs of the pass.
pub(super) struct FirstPass<'a> {
    pub(super) blocks: &'a Blocks<'a>,
    pub(super) claims: &'a Claims,
    pub(super) directory: &'a Directory,
    pub(super) shuffle: &'a Shuffle,
    pub(super) counting: &'a Counting,
    pub(super) quarantine: &'a Mutex<Quarantine>,
    pub(super) cancel: &'a Cancellation,
    /// Called with the number of rows processed so far.
    pub(super) progress: &'a (dyn Fn(u64) + Sync),
}

/// One thread's counts.
struct ThreadCounts {
    tally: FirstPassTotals,
    counter: Counter,
}

impl FirstPass<'_> {
    /// Runs the pass with one thread per core.
    ///
    /// # Errors
    /// `Source` when a file cannot be read or is malformed, `Config` when the shuffle or the
    /// quarantine cannot be written, `Interrupted` on cancellation, `Quality` when rows are missing.
    pub(super) fn run(&self) -> Result<(FirstPassTotals, Statistics)> {
        let Self { blocks, cancel, progress, .. } = *self;
        let Counting { kept, exact, codes } = self.counting;
        let counts = || ThreadCounts {
            tally: FirstPassTotals::default(),
            counter: Counter::new(*kept, *exact, codes),
        };
        let start = || (counts(), self.shuffle.writer());
        let threads = AllBlocks { blocks, cancel, progress }
            .each(start, |block, (counts, writer)| self.block(block, counts, writer));
        cancel.check()?;
        let (mut all, mut statistics) = (FirstPassTotals::default(), Statistics::default());
        for ((counts, writer), end) in threads {
            end?;
            writer.finish()?;
            counts.counter.add_to(&mut statistics, self.directory);
            all.merge(counts.tally);
        }
        // The reader counts record boundaries, independently of field parsing.
        all.filtered = blocks.filtered();
        let (records, read) = (blocks.records(), all.read());
        if records != read + all.filtered {
            return Err(Error::quality(format!(
                "{records} records are in the sources, but {read} claims and {} other rows came of them; nothing was published",
                all.filtered
            )));
        }
        progress(read);
        Ok((all, statistics))
    }

    /// Processes one block; returns its row count.
    fn block(
        &self,
        block: Block<'_>,
        counts: &mut ThreadCounts,
        writer: &mut Writer<'_>,
    ) -> Result<u64> {
        failpoint::hit("first_pass.block")?;
        let frame = self.claims.rows(block.frame()?).collect();
        let frame = frame.map_err(|error| plan_error(&error))?;
        self.sort_out(&frame, counts, writer)?;
        Ok(frame.height() as u64)
    }

    /// Sends accepted rows to the shuffle and rejected ones to the quarantine, and counts both.
    fn sort_out(
        &self,
        frame: &DataFrame,
        counts: &mut ThreadCounts,
        writer: &mut Writer<'_>,
    ) -> Result<()> {
        let reject = frame.column(REJECT).and_then(Column::i32).map_err(missing_column)?;
        let generalized = frame.column(GENERALIZED).is_ok().then_some(GENERALIZED);
        let mut accepted =
            frame.select(SHUFFLED.into_iter().chain(generalized)).map_err(missing_column)?;
        if reject.null_count() < frame.height() {
            self.quarantine(frame, &mut counts.tally)?;
            accepted = accepted.filter(&reject.is_null()).map_err(missing_column)?;
        }
        accepted.rechunk_mut();
        counts.tally.accept(&accepted)?;
        let codes = counts.counter.observe(&accepted, self.directory)?;
        writer.push(&accepted, codes)
    }

    /// Counts and writes the rejected rows of a block.
    fn quarantine(&self, frame: &DataFrame, tally: &mut FirstPassTotals) -> Result<()> {
        let reasons = frame.column(REJECT).and_then(Column::i32).map_err(missing_column)?;
        let origins = frame.column(ORIGIN).and_then(Column::i64).map_err(missing_column)?;
        let lines = frame.column(SOURCE_LINE).and_then(Column::i64).map_err(missing_column)?;
        let prints =
            frame.column(ROW_FINGERPRINT).and_then(Column::i128).map_err(missing_column)?;
        let cents = frame.column(CENTS).and_then(Column::i64).map_err(missing_column)?;
        let generalized = frame.column(GENERALIZED).and_then(Column::i64).ok();
        let raw = |row: usize| {
            let taken = generalized.and_then(|taken| taken.get(row)).unwrap_or(0);
            Some(cents.get(row)? + taken)
        };
        let fits = |cents: &i64| cents.unsigned_abs() <= AMOUNT_MAX_CENTS.unsigned_abs();
        let mut rows = Vec::with_capacity(frame.height() - reasons.null_count());
        for (row, code) in reasons.iter().enumerate() {
            let Some(code) = code else { continue };
            let rule = Rule::from_code(code)
                .ok_or_else(|| Error::internal("a reject without a known reason"))?;
            let amount = raw(row).filter(fits).map(|cents| Cents(cents.into()));
            let origin = origins.get(row).unwrap_or(0);
            tally.reject(rule, origin, amount);
            let fingerprint = prints.get(row).map(i128::to_ne_bytes);
            let line = lines.get(row).and_then(|line| u64::try_from(line).ok());
            rows.push(Rejected { origin, line, rule, fingerprint });
        }
        self.quarantine.lock().unwrap_or_else(PoisonError::into_inner).append(&rows)
    }
}

fn missing_column(_: PolarsError) -> Error {
    Error::internal("a column is missing from the rows of the first pass")
}
