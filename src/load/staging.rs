//! The one full execution of the plan: batches stream into COPY, rejects into the quarantine.
//!
//! A file of its own because this is where Polars' push meets Postgres' pull: the engine calls
//! back with a batch, a bounded channel hands it to whichever connection is free, and a full
//! channel is the back-pressure that keeps memory flat.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use adbc_core::options::IngestMode;
use adbc_core::sync::Connection;
use arrow::array::{RecordBatch, RecordBatchReader};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use polars::prelude::{
    ChunkedArray, Column, DataFrame, Engine, Int32Type as PolarsInt32, LazyFrame, PlanCallback,
    PolarsError, PolarsResult,
};

use super::quarantine::Quarantine;
use super::tally::Tally;
use crate::account::Cents;
use crate::error::{Error, Result};
use crate::event::Cancellation;
use crate::interchange::record_batch;
use crate::rule::RejectReason;
use crate::schema::{INTERNAL, ORIGIN, REJECT, ROW_FINGERPRINT, staged_schema};
use crate::sql;

/// Batches that may wait for a connection; each of them is held in memory.
const WAITING_BATCHES: usize = 2;

/// How often progress is told.
const TICK: Duration = Duration::from_millis(200);

/// Where the batches go and who is told.
pub struct Staging<'a> {
    /// Table in the internal schema; its columns are the staged schema's.
    pub table: &'a str,
    /// Rows per batch; none for the engine's own morsels.
    pub batch_rows: Option<u32>,
    /// Told the rows handled so far.
    pub progress: &'a (dyn Fn(u64) + Sync),
    /// Stops the plan.
    pub cancel: &'a Cancellation,
}

impl Staging<'_> {
    /// Runs the plan: accepted rows go over all `connections` at once into the table, rejected
    /// ones into the quarantine. Without a connection rows are counted and dropped (dry run).
    ///
    /// # Errors
    /// `Source` when a file cannot be parsed, `Warehouse` when COPY fails, `Interrupted` on
    /// cancellation. What was staged so far stays in the table, which is this run's alone.
    pub fn run<C: Connection + Send>(
        &self,
        plan: LazyFrame,
        connections: &mut [C],
        quarantine: Quarantine,
    ) -> Result<(Tally, Quarantine)> {
        let (sender, receiver) = sync_channel(WAITING_BATCHES);
        let receiver = Arc::new(Mutex::new(receiver));
        let rows = Arc::new(AtomicU64::new(0));
        let sink = Arc::new(Sink {
            schema: staged_schema(),
            books: Mutex::new(Books { tally: Tally::default(), quarantine, failure: None }),
            rows: Arc::clone(&rows),
            cancel: self.cancel.clone(),
        });
        let sender = if connections.is_empty() { None } else { Some(sender) };
        let finished = AtomicBool::new(false);

        let (streamed, copied) = thread::scope(|scope| {
            let loaders: Vec<_> = connections
                .iter_mut()
                .map(|connection| {
                    let reader =
                        Batches { receiver: Arc::clone(&receiver), schema: staged_schema() };
                    scope.spawn(move || copy(connection, self.table, reader))
                })
                .collect();
            // The loaders hold the only receivers: when all of them have failed, sending fails.
            drop(receiver);
            scope.spawn(|| {
                while !finished.load(Ordering::Relaxed) {
                    thread::sleep(TICK);
                    (self.progress)(rows.load(Ordering::Relaxed));
                }
            });
            let streamed = stream(plan, &sink, sender, self.batch_rows);
            finished.store(true, Ordering::Relaxed);
            let copied: Vec<Result<u64>> = loaders
                .into_iter()
                .map(|loader| {
                    loader.join().unwrap_or_else(|_| Err(Error::internal("a COPY thread panicked")))
                })
                .collect();
            (streamed, copied)
        });

        self.cancel.check()?;
        let mut books = sink.books();
        // A failed COPY ends the plan too, so its reason comes first.
        let copied = copied.into_iter().sum::<Result<u64>>()?;
        if let Some(failure) = books.failure.take() {
            return Err(failure);
        }
        streamed?;
        if !connections.is_empty() && copied != books.tally.accepted {
            return Err(Error::quality(format!(
                "{} rows were sent to COPY, but Postgres took {copied}",
                books.tally.accepted
            )));
        }
        let quarantine = std::mem::replace(&mut books.quarantine, Quarantine::nowhere());
        Ok((std::mem::take(&mut books.tally), quarantine))
    }
}

/// Executes the plan on the streaming engine.
fn stream(
    plan: LazyFrame,
    sink: &Arc<Sink>,
    sender: Option<SyncSender<RecordBatch>>,
    batch_rows: Option<u32>,
) -> Result<()> {
    let taker = Arc::clone(sink);
    let take = move |frame: DataFrame| -> PolarsResult<bool> {
        match taker.take(&frame, sender.as_ref()) {
            Ok(stop) => Ok(stop),
            Err(failure) => {
                taker.books().failure = Some(failure);
                Ok(true)
            }
        }
    };
    let chunk = batch_rows.and_then(|rows| NonZeroUsize::new(rows.try_into().ok()?));
    plan.sink_batches(PlanCallback::new(take), false, chunk)
        .and_then(|plan| plan.collect_with_engine(Engine::Streaming))
        .map(drop)
        .map_err(|error| plan_error(&error))
}

/// A failure of the engine, without its text: that can quote cells.
#[must_use]
pub fn plan_error(error: &PolarsError) -> Error {
    match error {
        PolarsError::IO { error, .. } => Error::source(format!("reading failed: {}", error.kind())),
        PolarsError::ComputeError(_) | PolarsError::SchemaMismatch(_) => {
            Error::source("a source is malformed: a record has more fields than the header, an unclosed quote, or bytes that are not UTF-8")
                .hint("mend the record or take it out, then run again")
        }
        _ => Error::internal("the query plan failed"),
    }
}

/// What the callbacks share.
struct Sink {
    schema: SchemaRef,
    books: Mutex<Books>,
    rows: Arc<AtomicU64>,
    cancel: Cancellation,
}

/// What the callbacks add up.
struct Books {
    tally: Tally,
    quarantine: Quarantine,
    failure: Option<Error>,
}

impl Sink {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one batch of the plan; true stops the plan.
    fn take(&self, frame: &DataFrame, sender: Option<&SyncSender<RecordBatch>>) -> Result<bool> {
        if self.cancel.is_cancelled() {
            return Ok(true);
        }
        let lacks = |_: PolarsError| Error::internal("the plan lacks a column");
        let reject = frame.column(REJECT).and_then(Column::i32).map_err(lacks)?;
        let batch = if reject.null_count() == frame.height() {
            record_batch(frame, &self.schema)?
        } else {
            let accepted = reject.is_null();
            self.quarantine(&frame.filter(&!&accepted).map_err(lacks)?)?;
            record_batch(&frame.filter(&accepted).map_err(lacks)?, &self.schema)?
        };
        self.books().tally.accept(&batch)?;
        self.rows.fetch_add(frame.height() as u64, Ordering::Relaxed);
        if batch.num_rows() == 0 {
            return Ok(false);
        }
        // All loaders are gone when sending fails; their error is the one to tell.
        Ok(sender.is_some_and(|sender| sender.send(batch).is_err()))
    }

    /// Counts and writes rejected rows.
    fn quarantine(&self, rejected: &DataFrame) -> Result<()> {
        let lacks = |_: PolarsError| Error::internal("the plan lacks a column");
        let reasons: &ChunkedArray<PolarsInt32> =
            rejected.column(REJECT).and_then(Column::i32).map_err(lacks)?;
        let origins = rejected.column(ORIGIN).and_then(Column::i64).map_err(lacks)?;
        let prints = rejected.column(ROW_FINGERPRINT).and_then(Column::i128).map_err(lacks)?;
        let amounts = rejected.column("amount").map_err(lacks)?.to_physical_repr();
        let amounts = amounts.i128().map_err(lacks)?;
        let mut rows = Vec::with_capacity(rejected.height());
        let mut books = self.books();
        for row in 0..rejected.height() {
            let reason = reasons
                .get(row)
                .and_then(RejectReason::from_code)
                .ok_or_else(|| Error::internal("a reject without a known reason"))?;
            books.tally.reject(reason, amounts.get(row).map(Cents));
            let print = prints.get(row).map(i128::to_ne_bytes);
            rows.push((origins.get(row).unwrap_or(0), reason, print));
        }
        books.quarantine.append(&rows)
    }
}

/// One connection's share: COPY until the channel is empty and closed.
fn copy(connection: &mut impl Connection, table: &str, reader: Batches) -> Result<u64> {
    let reader: Box<dyn RecordBatchReader + Send> = Box::new(reader);
    sql::ingest(connection, Some(INTERNAL), table, IngestMode::Append, reader)
}

/// The batches that come through the channel, as ADBC wants them.
struct Batches {
    receiver: Arc<Mutex<Receiver<RecordBatch>>>,
    schema: SchemaRef,
}

impl Iterator for Batches {
    type Item = std::result::Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let receiver = self.receiver.lock().unwrap_or_else(PoisonError::into_inner);
            match receiver.recv_timeout(TICK) {
                Ok(batch) => return Some(Ok(batch)),
                Err(RecvTimeoutError::Disconnected) => return None,
                // Lets another connection have a look.
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

impl RecordBatchReader for Batches {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}
