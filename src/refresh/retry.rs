//! Retries of requests that were not processed, or that are harmless to repeat (reading, signing
//! in, warming a cache).

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::deadline::Deadline;
use super::outcome::Failure;
use crate::http::{Answer, Backoff, Request};

/// Maximum attempts while the server fails.
const TRIES: u32 = 3;

/// A server, and until when it rejects requests.
pub(super) struct Server {
    name: &'static str,
    quiet_until: Mutex<Option<Instant>>,
}

#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) request: &'a Request,
    /// Timeout of one response.
    pub(super) limit: Duration,
    /// Whether it may be resent although it may have taken effect.
    pub(super) is_idempotent: bool,
    /// Counts the requests sent.
    pub(super) sent: &'a AtomicU32,
}

impl Server {
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, quiet_until: Mutex::default() }
    }

    /// Returns the response whatever its status, except 429 and retryable server errors.
    ///
    /// # Errors
    /// Without an answer before the deadline or cancellation, or if the server rejects requests for
    /// longer than that.
    pub(super) async fn send(
        &self,
        deadline: &Deadline,
        call: Call<'_>,
    ) -> Result<Answer, Failure> {
        let mut backoff = Backoff::default();
        let mut failed = 0;
        loop {
            self.wait_for_quiet(deadline).await?;
            call.sent.fetch_add(1, Ordering::Relaxed);
            let wait = backoff.wait();
            let (end, wait, may_repeat) = match deadline.send(call.request, call.limit).await {
                Ok(answer) => {
                    let wait = wait.max(answer.retry_after().unwrap_or_default());
                    match answer.status() {
                        429 => {
                            self.be_quiet(wait);
                            continue;
                        }
                        500.. => (Ok(answer), wait, call.is_idempotent),
                        _ => return Ok(answer),
                    }
                }
                Err(lost) => {
                    deadline.check()?;
                    let end = Err(Failure::failed(format!("{}: {lost}", self.name)));
                    (end, wait, call.is_idempotent || !lost.may_have_arrived())
                }
            };
            failed += 1;
            if !may_repeat || failed >= TRIES || wait >= deadline.left() {
                return end;
            }
            deadline.pause(wait).await?;
        }
    }

    fn be_quiet(&self, wait: Duration) {
        let mut until = self.quiet_until.lock().unwrap_or_else(PoisonError::into_inner);
        *until = Instant::now().checked_add(wait).max(*until);
    }

    async fn wait_for_quiet(&self, deadline: &Deadline) -> Result<(), Failure> {
        loop {
            deadline.check()?;
            let until = *self.quiet_until.lock().unwrap_or_else(PoisonError::into_inner);
            let wait = until.map(|until| until.saturating_duration_since(Instant::now()));
            let Some(wait) = wait.filter(|wait| !wait.is_zero()) else { return Ok(()) };
            if wait >= deadline.left() {
                let message = format!("{} takes no more requests before the deadline", self.name);
                return Err(Failure::rate_limited(message, wait));
            }
            deadline.pause(wait).await?;
        }
    }
}

/// Failure for an unexpected status.
pub(super) fn status(name: &str, answer: &Answer) -> Failure {
    let status = answer.status();
    let hint = match status {
        500.. => "; its own log says why",
        _ => "",
    };
    Failure::failed(format!("{name} answers with status {status}{hint}"))
}
