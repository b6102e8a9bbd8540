//!
//! A connection pulls: it takes the next buckets of its range, sorts, scores and encodes them, and
//! sends them, so there is no point where all rows are handed over, and a slow server slows its own
//! connection only. Table, COPY, key and totals are one transaction: COPY FREEZE then writes rows
//! that need no later visit, a server without replicas writes no log for them, a crash leaves
//! nothing, and keys are built side by side from rows that are in their order already. Rows that
//! are only compared lie in a temporary table, for which no server writes a log. No table is
//! UNLOGGED: where a transaction that has made one is rolled back and the server crashes before its
//! next write of the log, PostgreSQL does not start.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use adbc_core::options::IngestMode;
use adbc_core::sync::Connection;

use crate::error::{Error, Result};
use crate::event::{Cancellation, with_ticker};
use crate::failpoint;
use crate::load::aggregates::LineTotals;
use crate::load::copy_source::{CopyTotals, Reader, STOPPED, Score, open};
use crate::load::merge_diff::{changes, totals};
use crate::load::part::{Changes, Part};
use crate::load::staging_tables::{TEMPORARY, claims_stage, stage_columns};
use crate::rule::OnDuplicate;
use crate::schema::{INTERNAL, Shape, TokenRange, staged_schema};
use crate::shuffle::{BUCKETS, Resolved, Shuffle, token_range};
use crate::warehouse::load_strategy::LoadStrategy;
use crate::warehouse::{sql, table_lock};
use crate::worker::Worker;

/// What the threads are named by.
const THREAD: &str = "the second pass";
/// How often progress is reported.
const TICK: Duration = Duration::from_millis(200);
/// Rows sorted, scored and encoded at once: their columns fit in the cache.
const BATCH_ROWS: usize = 32_768;
/// Memory that the server may take for building a key, for each connection; its own setting where
/// that is larger. Keys that fit are sorted without temporary files.
const KEY_MEMORY: &str = "512MB";

/// The second pass.
pub(crate) struct Staging<'a> {
    /// The run's number in the ledger.
    pub(crate) run_no: i64,
    /// How the tables will be published.
    pub(crate) strategy: LoadStrategy,
    /// Which columns they have.
    pub(crate) shape: Shape,
    /// Whether these are the published ones.
    pub(crate) alike: bool,
    /// The rows of the first pass.
    pub(crate) shuffle: &'a Arc<Shuffle>,
    /// What happens to repeats of a key.
    pub(crate) policy: OnDuplicate,
    pub(crate) score: &'a Score,
    /// Counts the rows, where they become the whole content; empty.
    pub(crate) lines: Option<&'a LineTotals>,
    /// Rows per batch; none for a default.
    pub(crate) batch_rows: Option<u32>,
    /// Told the rows handled so far.
    pub(crate) progress: &'a (dyn Fn(u64) + Sync),
    /// Stops the pass.
    pub(crate) cancel: &'a Cancellation,
}

/// What the second pass has done.
#[derive(Default)]
pub(crate) struct Staged {
    /// The tables, in the order of their ranges.
    pub(crate) parts: Vec<Part>,
    /// What happened to duplicate rows.
    pub(crate) resolved: Resolved,
    /// The longest COPY of a connection.
    pub(crate) copying: Duration,
    /// The longest time from a connection's last row to its commit.
    pub(crate) finishing: Duration,
    /// The sums of all rows, where they become the whole content.
    pub(crate) lines: Option<LineTotals>,
}

/// What one thread has staged.
struct StagedRange {
    part: Option<Part>,
    lines: Option<LineTotals>,
    resolved: Resolved,
    copying: Duration,
    finishing: Duration,
}

impl Staging<'_> {
    /// Runs the pass: each connection stages its range. Without a connection rows are scored and
    /// dropped (dry run).
    ///
    /// # Errors
    /// `Warehouse` when a statement fails, `Interrupted` on cancellation, `Quality` when Postgres
    /// counts other rows than were sent. Tables of connections that had finished stay.
    pub(crate) fn run<C: Connection + Send>(&self, connections: &mut [C]) -> Result<Staged> {
        let rows = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let ranges = ranges(connections.len().max(1));
        let reader = |buckets: &Range<usize>| Reader {
            copy_totals: Arc::new(Mutex::new(CopyTotals {
                lines: self.lines.cloned(),
                ..CopyTotals::default()
            })),
            schema: staged_schema(self.shape),
            source: Arc::clone(self.shuffle),
            buckets: buckets.clone(),
            policy: self.policy,
            score: Arc::clone(self.score),
            batch_rows: self.batch_rows.map_or(BATCH_ROWS, |rows| rows as usize),
            waiting: Vec::new(),
            rows: Arc::clone(&rows),
            stop: Arc::clone(&stop),
            cancel: self.cancel.clone(),
        };
        let tell = || (self.progress)(rows.load(Ordering::Relaxed));
        let second_pass = || {
            thread::scope(|scope| {
                let workers: Vec<_> = if connections.is_empty() {
                    // As many threads as there would be connections on this machine.
                    let threads = thread::available_parallelism().map_or(1, usize::from);
                    let readers: Vec<_> = self::ranges(threads).iter().map(reader).collect();
                    readers
                        .into_iter()
                        .map(|reader| {
                            Worker::start(scope, THREAD, move || {
                                let started = Instant::now();
                                let resolved = reader.drain()?;
                                let copying = started.elapsed();
                                Ok(StagedRange {
                                    part: None,
                                    lines: None,
                                    resolved,
                                    copying,
                                    finishing: Duration::ZERO,
                                })
                            })
                        })
                        .collect()
                } else {
                    connections
                        .iter_mut()
                        .zip(&ranges)
                        .enumerate()
                        .map(|(place, (connection, range))| {
                            let (reader, stop) = (reader(range), Arc::clone(&stop));
                            let shared = ranges.len() > 1;
                            Worker::start(scope, THREAD, move || {
                                let staged = self.part(connection, place, range, shared, reader);
                                if staged.is_err() {
                                    // The others' rows will not be needed.
                                    stop.store(true, Ordering::Relaxed);
                                }
                                staged
                            })
                        })
                        .collect()
                };
                if workers.iter().any(Result::is_err) {
                    stop.store(true, Ordering::Relaxed);
                }
                workers.into_iter().map(|worker| worker.and_then(Worker::end)).collect()
            })
        };
        let done: Vec<Result<StagedRange>> = with_ticker(TICK, tell, second_pass)?;
        self.cancel.check()?;
        let mut staged = Staged::default();
        // Of several failures the first real one is reported, not "the others were stopped".
        let (failures, done): (Vec<_>, Vec<_>) = done.into_iter().partition(Result::is_err);
        let mut failures: Vec<Error> = failures.into_iter().filter_map(Result::err).collect();
        failures.sort_by_key(|failure| failure.message() == STOPPED);
        if let Some(failure) = failures.into_iter().next() {
            return Err(failure);
        }
        for StagedRange { part, lines, resolved, copying, finishing } in done.into_iter().flatten()
        {
            staged.parts.extend(part);
            match (&mut staged.lines, lines) {
                (Some(all), Some(lines)) => all.merge(lines),
                (all, Some(lines)) => *all = Some(lines),
                (_, None) => {}
            }
            staged.resolved.merge(resolved);
            staged.copying = staged.copying.max(copying);
            staged.finishing = staged.finishing.max(finishing);
        }
        staged.resolved.rejected.sort_unstable();
        Ok(staged)
    }

    /// One connection's table, from nothing to its totals.
    fn part<C: Connection>(
        &self,
        connection: &mut C,
        place: usize,
        buckets: &Range<usize>,
        shared: bool,
        reader: Reader,
    ) -> Result<StagedRange> {
        let range = token_range(buckets);
        let table = claims_stage(self.run_no, place);
        let copy_totals = Arc::clone(&reader.copy_totals);
        let started = Instant::now();
        let mut copied = started;
        let staged = sql::in_transaction(connection, "staging", |connection| {
            self.create(connection, &table, range, shared)?;
            failpoint::hit("stage.created")?;
            let sent = sql::ingest(
                connection,
                (self.schema(), &table),
                IngestMode::Append,
                &[(FREEZE, "true")],
                Box::new(reader),
            );
            // Why the rows ended comes before COPY's own error.
            let mut copy_totals = open(&copy_totals);
            if let Some(failure) = copy_totals.failure.take() {
                return Err(failure);
            }
            let taken = sent?;
            if taken != copy_totals.rows {
                let sent = copy_totals.rows;
                return Err(Error::quality(format!(
                    "{sent} rows were sent to COPY, but Postgres took {taken}"
                )));
            }
            failpoint::hit("copy.done")?;
            copied = Instant::now();
            let part = self.finish(connection, table, range)?;
            failpoint::hit("stage.commit").map(|()| part)
        });
        let finished = Instant::now();
        let mut totals = open(&copy_totals);
        let (resolved, lines) = (std::mem::take(&mut totals.resolved), totals.lines.take());
        Ok(StagedRange {
            lines,
            part: Some(staged?),
            resolved,
            copying: copied - started,
            finishing: finished - copied,
        })
    }

    /// Where the tables lie: among the run's where they will be published as they are.
    fn schema(&self) -> &'static str {
        if self.strategy == LoadStrategy::Attach { INTERNAL } else { TEMPORARY }
    }

    /// The empty table. Where it will be published as it is, its CHECK is the partition's bound, so
    /// that attaching it reads nothing.
    fn create(
        &self,
        connection: &mut impl Connection,
        table: &str,
        range: TokenRange,
        shared: bool,
    ) -> Result<()> {
        let schema = self.schema();
        let check = if self.strategy == LoadStrategy::Attach {
            format!(
                "ALTER TABLE {schema}.{table} ADD CONSTRAINT {table}_range CHECK ({});",
                range.condition("claim_token")
            )
        } else {
            String::new()
        };
        // Where several keys are built at once, each by one process.
        let workers = if shared { "SET LOCAL max_parallel_maintenance_workers = 0;" } else { "" };
        sql::execute(
            connection,
            "creating a staging table",
            &format!(
                "SELECT set_config('maintenance_work_mem', '{KEY_MEMORY}', true)
                 WHERE pg_size_bytes(current_setting('maintenance_work_mem')) < pg_size_bytes('{KEY_MEMORY}');
                 {workers}
                 SET LOCAL lock_timeout = '{}';
                 CREATE TABLE {schema}.{table} ({});
                 ALTER TABLE {schema}.{table} ALTER run_no SET DEFAULT {};
                 {check}",
                table_lock::STATEMENT,
                stage_columns(self.shape, self.alike),
                self.run_no
            ),
        )
        .map(drop)
    }

    /// Key and totals; and what differs from what is published, where that stays.
    fn finish(
        &self,
        connection: &mut impl Connection,
        table: String,
        range: TokenRange,
    ) -> Result<Part> {
        let schema = self.schema();
        sql::execute(
            connection,
            "primary key of the staged claims",
            &format!(
                "ALTER TABLE {schema}.{table} ADD CONSTRAINT {table}_pkey PRIMARY KEY (claim_token, line_number)"
            ),
        )?;
        failpoint::hit("key.built")?;
        let (rows, amount) = totals(connection, &format!("{schema}.{table}"))?;
        let changes = match self.strategy {
            LoadStrategy::Attach => Changes { new: rows, ..Changes::default() },
            LoadStrategy::Merge | LoadStrategy::Append => {
                changes(connection, &table, range, self.shape, self.run_no)?
            }
        };
        Ok(Part { table, range, rows, amount, changes })
    }
}

/// The option of the driver that makes COPY write rows that are visible to all once committed.
const FREEZE: &str = "adbc.postgresql.ingest.freeze";

/// The buckets of each of `parts` connections.
fn ranges(parts: usize) -> Vec<Range<usize>> {
    let parts = parts.min(BUCKETS);
    (0..parts).map(|part| part * BUCKETS / parts..(part + 1) * BUCKETS / parts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_all_buckets_once() {
        for parts in [1, 2, 3, 7, 256, 1000] {
            let ranges = ranges(parts);
            assert_eq!(ranges.len(), parts.min(BUCKETS));
            let all: Vec<usize> = ranges.into_iter().flatten().collect();
            assert_eq!(all, (0..BUCKETS).collect::<Vec<_>>());
        }
    }
}
