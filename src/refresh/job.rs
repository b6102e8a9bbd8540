//! One target's refresh: its deadline, its access to the warehouse and to the network, and what it
//! records for the report.

use std::future::Future;
use std::time::{Duration, Instant};

use arrow::record_batch::RecordBatch;

use super::deadline::Deadline;
use super::outcome::{Failure, Outcome, TargetResult};
use crate::error::Result;
use crate::event::Cancellation;
use crate::http::{Answer, Client, Request, SendError, runtime};
use crate::totals::ControlTotals;

/// What has been published, and by which run.
#[derive(Debug, Clone, Default)]
pub struct PublishedRun {
    /// The run that published last what the targets are to show; none where nothing is published.
    pub run_id: Option<String>,
    /// What it read and loaded.
    pub account: Option<ControlTotals>,
    /// Whether that run has migrated the warehouse: columns may be new.
    pub schema_changed: bool,
}

/// Access to the warehouse.
pub trait Statements {
    /// The whole result of `sql`, in the one snapshot that all queries of this refresh see.
    ///
    /// # Errors
    /// `Warehouse` when there is no connection or the query fails.
    fn query(&mut self, context: &str, sql: &str) -> Result<RecordBatch>;

    /// Runs `sql` outside of the snapshot; cancels it at `until` or at a signal.
    ///
    /// # Errors
    /// `Warehouse` when there is no connection or the statement fails.
    fn execute(&mut self, context: &str, sql: &str, until: Instant) -> Result<u64>;
}

pub struct Job<'a> {
    /// What is to be shown.
    pub(crate) published: &'a PublishedRun,
    /// The results of the targets of earlier waves.
    pub(crate) earlier: &'a [TargetResult],
    deadline: Deadline,
    warehouse: &'a mut dyn Statements,
    remote_id: Option<String>,
    attempts: u32,
}

impl<'a> Job<'a> {
    /// A job that ends at `until` at the latest.
    pub fn new(
        published: &'a PublishedRun,
        earlier: &'a [TargetResult],
        warehouse: &'a mut dyn Statements,
        until: Instant,
        cancel: &Cancellation,
    ) -> Self {
        let deadline = Deadline::new(until, cancel);
        Self { published, earlier, deadline, warehouse, remote_id: None, attempts: 0 }
    }

    /// The whole result of `sql`; `context` names it in errors.
    ///
    /// # Errors
    /// `Warehouse` when there is no connection or the query fails.
    pub(crate) fn query(&mut self, context: &str, sql: &str) -> Result<RecordBatch> {
        self.warehouse.query(context, sql)
    }

    /// Runs a statement that changes something, outside of the queries' snapshot.
    ///
    /// # Errors
    /// `Warehouse` when there is no connection or the statement fails.
    pub(crate) fn execute(&mut self, context: &str, sql: &str) -> Result<u64> {
        self.warehouse.execute(context, sql, self.deadline.at())
    }

    /// Sends a request once and waits for its answer no longer than `limit`.
    ///
    /// # Errors
    /// [`SendError`] where there is no answer before the limit, the deadline or a signal.
    pub(super) fn send(&self, request: &Request, limit: Duration) -> Result<Answer, SendError> {
        let runtime = runtime().map_err(|_| SendError::NotSent)?;
        runtime.block_on(self.deadline.send(request, limit))
    }

    /// Sends a request that undoes something, such as a cancelled refresh or a session: also after
    /// the deadline or a signal, but for `limit` at most.
    ///
    /// # Errors
    /// [`SendError`] where there is no answer in that time.
    pub(super) fn send_late(request: &Request, limit: Duration) -> Result<Answer, SendError> {
        let client = Client::shared().map_err(|_| SendError::NotSent)?;
        client.send_blocking(request, Instant::now() + limit, &Cancellation::default())
    }

    /// Does `work` up to the deadline or a signal.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub(super) fn wait<T>(&self, work: impl Future<Output = T>) -> Result<T, Failure> {
        runtime()?.block_on(self.deadline.wait(work))
    }

    /// # Errors
    /// As [`Self::check`].
    pub(crate) fn pause(&self, pause: Duration) -> Result<(), Failure> {
        runtime()?.block_on(self.deadline.pause(pause))
    }

    /// The time that is left.
    pub(super) fn left(&self) -> Duration {
        self.deadline.left()
    }

    /// # Errors
    /// `TimedOut` after the deadline, `Cancelled` after a signal.
    pub(super) fn check(&self) -> Result<(), Failure> {
        self.deadline.check()
    }

    pub(super) fn deadline(&self) -> &Deadline {
        &self.deadline
    }

    /// The same refresh for another published run; what `work` records is recorded here.
    pub(crate) fn for_run<T>(
        &mut self,
        published: &PublishedRun,
        work: impl FnOnce(&mut Job<'_>) -> T,
    ) -> T {
        let mut job = Job {
            published,
            earlier: self.earlier,
            deadline: self.deadline.clone(),
            warehouse: &mut *self.warehouse,
            remote_id: self.remote_id.take(),
            attempts: self.attempts,
        };
        let done = work(&mut job);
        (self.remote_id, self.attempts) = (job.remote_id, job.attempts);
        done
    }

    /// Puts the deadline or the signal before a failure that it caused: work that is cut off fails
    /// in many ways.
    pub(crate) fn reason(&self, failure: Failure) -> Failure {
        match self.check() {
            Err(reason) if failure.outcome == Outcome::Failed => {
                Failure { message: format!("{}: {}", reason.message, failure.message), ..reason }
            }
            _ => failure,
        }
    }

    /// Records the provider's id of this refresh.
    pub(crate) fn note_remote_id(&mut self, id: impl Into<String>) {
        self.remote_id = Some(id.into());
    }

    /// Counts a request that starts a refresh; to be called before it is sent.
    pub(crate) fn count_attempt(&mut self) {
        self.count_attempts(1);
    }

    pub(super) fn count_attempts(&mut self, attempts: u32) {
        self.attempts += attempts;
    }

    /// The provider's id and the attempts.
    pub(crate) fn noted(&self) -> (Option<String>, u32) {
        (self.remote_id.clone(), self.attempts)
    }
}
