//! The second pass as a reader of batches: what a connection's COPY pulls.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{RecordBatch, RecordBatchReader};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use polars::prelude::DataFrame;

use crate::error::{Error, Result};
use crate::event::Cancellation;
use crate::failpoint;
use crate::load::aggregates::LineTotals;
use crate::rule::OnDuplicate;
use crate::shuffle::{Resolved, Shuffle};

/// What a connection fails with when another one has.
pub(crate) const STOPPED: &str = "staging was stopped";

/// What a connection's rows add up to on this side.
#[derive(Default)]
pub(crate) struct CopyTotals {
    pub(crate) rows: u64,
    pub(crate) resolved: Resolved,
    pub(crate) failure: Option<Error>,
    /// Counted where the rows become the whole content.
    pub(crate) lines: Option<LineTotals>,
}

pub(crate) fn open(copy_totals: &Mutex<CopyTotals>) -> MutexGuard<'_, CopyTotals> {
    copy_totals.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The rows of a range as ADBC wants them.
pub(crate) struct Reader {
    pub(crate) copy_totals: Arc<Mutex<CopyTotals>>,
    pub(crate) schema: SchemaRef,
    pub(crate) source: Arc<Shuffle>,
    pub(crate) buckets: Range<usize>,
    pub(crate) policy: OnDuplicate,
    pub(crate) score: Score,
    pub(crate) batch_rows: usize,
    /// Parts of the last rows that are still to be scored, last one first.
    pub(crate) waiting: Vec<DataFrame>,
    pub(crate) rows: Arc<AtomicU64>,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) cancel: Cancellation,
}

impl Reader {
    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(rows) = self.waiting.pop() {
                failpoint::hit("copy.batch")?;
                let batch = (self.score)(rows.clone())?;
                let count = batch.num_rows() as u64;
                let mut totals = open(&self.copy_totals);
                totals.rows += count;
                if let Some(lines) = &mut totals.lines {
                    lines.add(&rows, &batch)?;
                }
                drop(totals);
                self.rows.fetch_add(count, Ordering::Relaxed);
                return Ok(Some(batch));
            }
            self.cancel.check()?;
            if self.stop.load(Ordering::Relaxed) {
                return Err(Error::internal(STOPPED));
            }
            let mut resolved = Resolved::default();
            let rows = self.source.next_rows(
                &mut self.buckets,
                self.batch_rows,
                self.policy,
                &mut resolved,
            )?;
            open(&self.copy_totals).resolved.merge(resolved);
            let Some(rows) = rows else {
                failpoint::hit("copy.end")?;
                return Ok(None);
            };
            // A bucket of a large input is scored part by part, so that memory does not grow with it.
            let starts = (0..rows.height()).step_by(self.batch_rows).rev();
            let part = |start: usize| {
                rows.slice(i64::try_from(start).unwrap_or(i64::MAX), self.batch_rows)
            };
            self.waiting = starts.map(part).collect();
        }
    }

    /// Scores all rows and keeps none.
    pub(crate) fn drain(mut self) -> Result<Resolved> {
        while self.next_batch()?.is_some() {}
        Ok(std::mem::take(&mut open(&self.copy_totals).resolved))
    }
}

impl Iterator for Reader {
    type Item = std::result::Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.next_batch() {
            Ok(batch) => batch.map(Ok),
            Err(failure) => {
                let text = failure.message().to_owned();
                open(&self.copy_totals).failure = Some(failure);
                Some(Err(ArrowError::ExternalError(text.into())))
            }
        }
    }
}

impl RecordBatchReader for Reader {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

/// Gives rows their score and the fact's columns.
pub(crate) type Score = Arc<dyn Fn(DataFrame) -> Result<RecordBatch> + Send + Sync>;
