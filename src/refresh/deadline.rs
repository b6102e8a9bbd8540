//! When a refresh must end: at its deadline or at a signal, whichever comes first.

use std::future::Future;
use std::time::{Duration, Instant};

use tokio::select;
use tokio::time::{sleep, sleep_until};

use super::outcome::{Failure, Outcome};
use crate::event::Cancellation;
use crate::http::{Answer, Client, Request, SendError};

#[derive(Debug, Clone)]
pub(super) struct Deadline {
    at: Instant,
    cancel: Cancellation,
}

impl Deadline {
    pub(super) fn new(at: Instant, cancel: &Cancellation) -> Self {
        Self { at, cancel: cancel.clone() }
    }

    pub(super) fn at(&self) -> Instant {
        self.at
    }

    /// The time that is left.
    pub(super) fn left(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    /// Does `work` up to the deadline or a signal.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub(super) async fn wait<T>(&self, work: impl Future<Output = T>) -> Result<T, Failure> {
        select! {
            biased;
            _ = self.cancel.cancelled() => Err(stopped()),
            () = sleep_until(self.at.into()) => Err(over()),
            done = work => Ok(done),
        }
    }

    /// # Errors
    /// As [`Self::check`].
    pub(super) async fn pause(&self, pause: Duration) -> Result<(), Failure> {
        self.wait(sleep(pause)).await
    }

    /// Sends a request once and waits for its answer no longer than `limit`.
    ///
    /// # Errors
    /// [`SendError`] where there is no answer before the limit, the deadline or a signal.
    pub(super) async fn send(
        &self,
        request: &Request,
        limit: Duration,
    ) -> Result<Answer, SendError> {
        let client = Client::shared().map_err(|_| SendError::NotSent)?;
        let until = Instant::now().checked_add(limit).map_or(self.at, |end| end.min(self.at));
        client.send(request, until, &self.cancel).await
    }

    /// # Errors
    /// `TimedOut` after the deadline, `Cancelled` after a signal.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.cancel.is_cancelled() {
            return Err(stopped());
        }
        if self.left().is_zero() {
            return Err(over());
        }
        Ok(())
    }
}

fn stopped() -> Failure {
    Failure::new(Outcome::Cancelled, "stopped by a signal")
}

fn over() -> Failure {
    Failure::new(Outcome::TimedOut, "the deadline came first")
}
