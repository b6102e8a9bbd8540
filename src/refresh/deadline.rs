//! The end of a refresh: its deadline or cancellation, whichever comes first.

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

    /// Remaining time.
    pub(super) fn left(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    /// Runs `work` until the deadline or cancellation.
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

    /// Sends a request once, with a timeout of at most `limit`.
    ///
    /// # Errors [`SendError`] without an answer before the limit, the deadline or cancellation.
    pub(super) async fn send(
        &self,
        request: &Request,
        limit: Duration,
    ) -> Result<Answer, SendError> {
        let client = Client::shared().map_err(|_| SendError::NotSent)?;
        let until = Instant::now().checked_add(limit).map_or(self.at, |end| end.min(self.at));
        client.send(request, until, &self.cancel).await
    }

    /// # Errors `TimedOut` after the deadline, `Cancelled` on cancellation.
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
