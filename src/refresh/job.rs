//! One target's refresh at work: its time, its way to the warehouse and to the web, what it notes.

use std::time::{Duration, Instant};

use arrow::record_batch::RecordBatch;

use super::outcome::{Failure, Outcome, TargetResult};
use crate::error::Result;
use crate::event::Cancellation;
use crate::http::{Answer, Client, Request, SendError};
use crate::refresh::deadline::Waiter;
use crate::totals::ControlTotals;

/// What has been published, and by which run.
#[derive(Debug, Clone, Default)]
pub struct PublishedRun {
    /// The run that published last what the targets are to show; none where nothing is published.
    pub run_id: Option<String>,
    /// Its number.
    pub run_no: Option<i64>,
    /// What it read and loaded.
    pub account: Option<ControlTotals>,
    /// Whether that run has migrated the warehouse: columns may be new.
    pub schema_changed: bool,
}

/// The way to the warehouse.
pub trait Ask {
    /// The whole result of `sql`, in the one snapshot that all queries of this refresh see.
    ///
    /// # Errors
    /// `Warehouse` when there is no connection to be had or the query is refused.
    fn query(&mut self, context: &str, sql: &str) -> Result<RecordBatch>;

    /// Runs `sql` by itself, outside of the snapshot; ends it where `until` or a signal comes first.
    ///
    /// # Errors
    /// `Warehouse` when there is no connection to be had or the statement is refused.
    fn execute(&mut self, context: &str, sql: &str, until: Instant) -> Result<u64>;
}

/// One target's refresh at work.
pub struct Job<'a> {
    /// What is to be shown.
    pub occasion: &'a PublishedRun,
    /// How the targets ended that were refreshed before this one; all others where this one is
    /// told last.
    pub earlier: &'a [TargetResult],
    cancel: &'a Cancellation,
    until: Instant,
    warehouse: &'a mut dyn Ask,
    remote_id: Option<String>,
    attempts: u32,
}

impl<'a> Job<'a> {
    /// A job that ends at `until` at the latest.
    pub fn new(
        occasion: &'a PublishedRun,
        earlier: &'a [TargetResult],
        warehouse: &'a mut dyn Ask,
        until: Instant,
        cancel: &'a Cancellation,
    ) -> Self {
        Self { occasion, earlier, cancel, until, warehouse, remote_id: None, attempts: 0 }
    }

    /// The whole result of `sql`; `context` names it in errors.
    ///
    /// # Errors
    /// `Warehouse` when there is no connection to be had or the query is refused.
    pub fn query(&mut self, context: &str, sql: &str) -> Result<RecordBatch> {
        self.warehouse.query(context, sql)
    }

    /// Runs a statement that changes something, outside of the queries' snapshot.
    ///
    /// # Errors
    /// `Warehouse` when there is no connection to be had or the statement is refused.
    pub fn execute(&mut self, context: &str, sql: &str) -> Result<u64> {
        self.warehouse.execute(context, sql, self.until)
    }

    /// Sends a request once.
    ///
    /// # Errors
    /// [`SendError`] where there is no answer before the deadline or a signal.
    pub fn send(&self, request: &Request) -> Result<Answer, SendError> {
        self.send_within(request, Duration::MAX)
    }

    /// Sends a request once and waits for its answer no longer than `limit`.
    ///
    /// # Errors
    /// [`SendError`] where there is no answer before the limit, the deadline or a signal.
    pub fn send_within(&self, request: &Request, limit: Duration) -> Result<Answer, SendError> {
        self.waiter().send_within(request, limit)
    }

    /// Sends a request that undoes something, such as a cancelled refresh or a session: also after
    /// the deadline or a signal, but for `limit` at most.
    ///
    /// # Errors
    /// [`SendError`] where there is no answer in that time.
    pub fn send_anyway(&self, request: &Request, limit: Duration) -> Result<Answer, SendError> {
        let client = Client::shared().map_err(|_| SendError::NotSent)?;
        client.send(request, Instant::now() + limit, &Cancellation::default())
    }

    /// Waits; not beyond the deadline or a signal.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn pause(&self, wait: Duration) -> Result<(), Failure> {
        self.waiter().pause(wait)
    }

    /// The time that is left.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.waiter().left()
    }

    /// Fails when the deadline has come or somebody asked to stop.
    ///
    /// # Errors
    /// `TimedOut` or `Cancelled`.
    pub fn check(&self) -> Result<(), Failure> {
        self.waiter().check()
    }

    /// The job's time and its way to the web, for the threads that work for it.
    #[must_use]
    pub fn waiter(&self) -> Waiter<'a> {
        Waiter::new(self.until, self.cancel)
    }

    /// The same refresh for an occasion of its own: what `work` notes and counts is noted here.
    pub fn about<T>(&mut self, occasion: &PublishedRun, work: impl FnOnce(&mut Job<'_>) -> T) -> T {
        let mut job = Job {
            occasion,
            earlier: self.earlier,
            cancel: self.cancel,
            until: self.until,
            warehouse: &mut *self.warehouse,
            remote_id: self.remote_id.take(),
            attempts: self.attempts,
        };
        let done = work(&mut job);
        let (remote_id, attempts) = job.noted();
        (self.remote_id, self.attempts) = (remote_id, attempts);
        done
    }

    /// Why a failure really came: what is cut off by the deadline or a signal fails in many ways.
    #[must_use]
    pub fn reason(&self, failure: Failure) -> Failure {
        match self.check() {
            Err(reason) if failure.outcome == Outcome::Failed => {
                Failure { message: format!("{}: {}", reason.message, failure.message), ..reason }
            }
            _ => failure,
        }
    }

    /// The request to stop.
    #[must_use]
    pub fn cancel(&self) -> &Cancellation {
        self.cancel
    }

    /// When its time is over.
    #[must_use]
    pub fn until(&self) -> Instant {
        self.until
    }

    /// Notes what the provider calls this refresh.
    pub fn note_remote_id(&mut self, id: impl Into<String>) {
        self.remote_id = Some(id.into());
    }

    /// Counts a request that starts a refresh; to be called before it is sent.
    pub fn count_attempt(&mut self) {
        self.attempts += 1;
    }

    /// What was noted and counted.
    #[must_use]
    pub fn noted(&self) -> (Option<String>, u32) {
        (self.remote_id.clone(), self.attempts)
    }
}
