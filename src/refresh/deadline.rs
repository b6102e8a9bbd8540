//! The part of a job that several threads share: its deadline, the request to stop, and the web.

use std::time::{Duration, Instant};

use super::outcome::{Failure, Outcome};
use crate::event::{Cancellation, rest};
use crate::http::{Answer, Client, Request, SendError};

/// A job's time.
#[derive(Debug, Clone, Copy)]
pub struct Waiter<'a> {
    until: Instant,
    cancel: &'a Cancellation,
}

impl<'a> Waiter<'a> {
    /// Waits until `until` or a signal.
    #[must_use]
    pub fn new(until: Instant, cancel: &'a Cancellation) -> Self {
        Self { until, cancel }
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
        let client = Client::shared().map_err(|_| SendError::NotSent)?;
        let until = Instant::now().checked_add(limit).map_or(self.until, |end| end.min(self.until));
        client.send(request, until, self.cancel)
    }

    /// Waits; not beyond the deadline or a signal.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn pause(&self, wait: Duration) -> Result<(), Failure> {
        rest(wait.min(self.left()), || self.check())
    }

    /// The time that is left.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Fails when the deadline has come or somebody asked to stop.
    ///
    /// # Errors
    /// `TimedOut` or `Cancelled`.
    pub fn check(&self) -> Result<(), Failure> {
        if self.cancel.is_cancelled() {
            return Err(Failure::new(Outcome::Cancelled, "stopped by a signal"));
        }
        if self.left().is_zero() {
            return Err(Failure::new(Outcome::TimedOut, "the deadline came first"));
        }
        Ok(())
    }
}
