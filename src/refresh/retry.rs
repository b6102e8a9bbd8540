//! Requests that do no harm when they are sent again: reading, signing in, filling a cache.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::outcome::{Failure, Outcome};
use crate::http::{Answer, Backoff, Request, SendError};
use crate::refresh::deadline::Waiter;

/// How often a request is sent to a server that fails, in all.
const TRIES: u32 = 3;

/// Whoever is asked.
pub(crate) struct Patient {
    name: &'static str,
    quiet_until: Mutex<Option<Instant>>,
}

/// A request, and what may be done with it.
#[derive(Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) request: &'a Request,
    /// How long one answer may take.
    pub(crate) limit: Duration,
    /// Whether it may be sent again where it may have had its effect.
    pub(crate) harmless: bool,
    /// Called before each sending.
    pub(crate) sent: &'a (dyn Fn() + Sync),
}

impl Patient {
    /// Somebody of this name.
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, quiet_until: Mutex::default() }
    }

    /// The answer, whatever its status, but neither 429 nor a failure of the server that another
    /// try mends.
    ///
    /// # Errors
    /// Where there is no answer, the time is over, or the server wants to be left alone for longer.
    pub(crate) fn ask(
        &self,
        waiter: Waiter<'_>,
        question: Question<'_>,
    ) -> Result<Answer, Failure> {
        let mut backoff = Backoff::default();
        let mut tries = 0;
        loop {
            self.keep_quiet(waiter)?;
            (question.sent)();
            let wait = backoff.wait();
            match waiter.send_within(question.request, question.limit) {
                // It has surely not been worked on.
                Ok(answer) if answer.status() == 429 => {
                    self.leave_alone(wait.max(answer.retry_after().unwrap_or_default()));
                }
                Ok(answer) if answer.status() >= 500 => {
                    tries += 1;
                    let wait = wait.max(answer.retry_after().unwrap_or_default());
                    if !question.harmless || tries >= TRIES || wait >= waiter.left() {
                        return Ok(answer);
                    }
                    waiter.pause(wait)?;
                }
                Ok(answer) => return Ok(answer),
                Err(lost) => {
                    tries += 1;
                    waiter.check()?;
                    let again = question.harmless || !lost.may_have_arrived();
                    if !again || tries >= TRIES || wait >= waiter.left() {
                        return Err(self.lost(lost));
                    }
                    waiter.pause(wait)?;
                }
            }
        }
    }

    fn lost(&self, lost: SendError) -> Failure {
        let told = match lost {
            SendError::Cancelled(_) => return lost.into(),
            // The deadline itself is for later: this is one answer's limit.
            SendError::TimedOut | SendError::NoAnswer | SendError::NotSent => {
                format!("{}: {lost}", self.name)
            }
        };
        Failure::failed(told)
    }

    fn leave_alone(&self, wait: Duration) {
        let mut until = self.quiet_until.lock().unwrap_or_else(PoisonError::into_inner);
        *until = Instant::now().checked_add(wait).max(*until);
    }

    fn keep_quiet(&self, waiter: Waiter<'_>) -> Result<(), Failure> {
        loop {
            waiter.check()?;
            let until = *self.quiet_until.lock().unwrap_or_else(PoisonError::into_inner);
            let wait = until.map(|until| until.saturating_duration_since(Instant::now()));
            let Some(wait) = wait.filter(|wait| !wait.is_zero()) else { return Ok(()) };
            if wait >= waiter.left() {
                let told = format!("{} takes no more requests before the deadline", self.name);
                return Err(Failure::rate_limited(told, wait));
            }
            waiter.pause(wait)?;
        }
    }
}

/// What a status says that is no success, where nothing better is known.
pub(crate) fn status(name: &str, answer: &Answer) -> Failure {
    let status = answer.status();
    let hint = match status {
        500.. => "; its own log says why",
        _ => "",
    };
    Failure::new(Outcome::Failed, format!("{name} answers with status {status}{hint}"))
}
