//! One target's refresh: deadline, warehouse and network access, and report data.

use std::future::Future;
use std::time::{Duration, Instant};

use arrow::record_batch::RecordBatch;

use super::deadline::Deadline;
use super::outcome::{Failure, Outcome, TargetResult};
use crate::error::Result;
use crate::event::Cancellation;
use crate::http::{Answer, Client, Request, SendError, runtime};
use crate::totals::ControlTotals;

/// The published data and its run.
#[derive(Debug, Clone, Default)]
pub struct PublishedRun {
    /// The last run that published; `None` if nothing is published.
    pub run_id: Option<String>,
    /// Its control totals.
    pub account: Option<ControlTotals>,
    /// Whether that run migrated the warehouse, so that columns may be new.
    pub schema_changed: bool,
}

pub trait Statements {
    /// The full result of `sql`, in the snapshot shared by all queries of this refresh.
    ///
    /// # Errors
    /// `Warehouse` when there is no connection or the query fails.
    fn query(&mut self, context: &str, sql: &str) -> Result<RecordBatch>;

    /// Runs `sql` outside the snapshot; cancels it at `until` or on cancellation.
    ///
    /// # Errors
    /// `Warehouse` when there is no connection or the statement fails.
    fn execute(&mut self, context: &str, sql: &str, until: Instant) -> Result<u64>;
}

pub struct Job<'a> {
    /// The data to show.
    pub(crate) published: &'a PublishedRun,
    /// Results of the targets in earlier waves.
    pub(crate) earlier: &'a [TargetResult],
    deadline: Deadline,
    warehouse: &'a mut dyn Statements,
    remote_id: Option<String>,
    attempts: u32,
}

impl<'a> Job<'a> {
    /// A job with a deadline.
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

    /// The full result of `sql`; `context` names it in errors.
    ///
    /// # Errors
    /// `Warehouse` when there is no connection or the query fails.
    pub(crate) fn query(&mut self, context: &str, sql: &str) -> Result<RecordBatch> {
        self.warehouse.query(context, sql)
    }

    /// Runs a modifying statement, outside the queries' snapshot.
    ///
    /// # Errors
    /// `Warehouse` when there is no connection or the statement fails.
    pub(crate) fn execute(&mut self, context: &str, sql: &str) -> Result<u64> {
        self.warehouse.execute(context, sql, self.deadline.at())
    }

    /// Sends a request once, with a timeout of at most `limit`.
    ///
    /// # Errors [`SendError`] without an answer before the limit, the deadline or cancellation.
    pub(super) fn send(&self, request: &Request, limit: Duration) -> Result<Answer, SendError> {
        let runtime = runtime().map_err(|_| SendError::NotSent)?;
        runtime.block_on(self.deadline.send(request, limit))
    }

    /// Sends a cleanup request, such as cancelling a refresh or closing a session; allowed after
    /// the deadline or cancellation, for at most `limit`.
    ///
    /// # Errors
    /// [`SendError`] without an answer in that time.
    pub(super) fn send_late(request: &Request, limit: Duration) -> Result<Answer, SendError> {
        let client = Client::shared().map_err(|_| SendError::NotSent)?;
        client.send_blocking(request, Instant::now() + limit, &Cancellation::default())
    }

    /// Runs `work` until the deadline or cancellation.
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

    /// Remaining time.
    pub(super) fn left(&self) -> Duration {
        self.deadline.left()
    }

    /// # Errors `TimedOut` after the deadline, `Cancelled` on cancellation.
    pub(super) fn check(&self) -> Result<(), Failure> {
        self.deadline.check()
    }

    pub(super) fn deadline(&self) -> &Deadline {
        &self.deadline
    }

    /// Runs `work` with this job for another published run; what it records stays here.
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

    /// Replaces a failure by the deadline or cancellation that caused it: interrupted work fails in
    /// many ways.
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

    /// Counts a request that starts a refresh; call before sending it.
    pub(crate) fn count_attempt(&mut self) {
        self.count_attempts(1);
    }

    pub(super) fn count_attempts(&mut self, attempts: u32) {
        self.attempts += attempts;
    }

    /// The provider's id and the number of attempts.
    pub(crate) fn noted(&self) -> (Option<String>, u32) {
        (self.remote_id.clone(), self.attempts)
    }
}
