//! Requests that may be repeated.

use std::time::Duration;

use super::answer::Reply;
use crate::http::{Backoff, Request};
use crate::refresh::job::Job;
use crate::refresh::outcome::Failure;

/// How long one answer may take.
pub(super) const ANSWER: Duration = Duration::from_mins(1);
/// How often a request is sent while no job is running.
pub(super) const TRIES: u32 = 4;
/// How often a request is sent while a job is running: its end is worth waiting for.
pub(super) const ALWAYS: u32 = u32::MAX;

/// Sends a request until there is an answer that a repetition would not change.
///
/// # Errors
/// After `tries` failed tries, the deadline or a signal.
pub(super) fn repeat(job: &Job<'_>, request: &Request, tries: u32) -> Result<Reply, Failure> {
    let mut backoff = Backoff::default();
    let mut left = tries;
    loop {
        let failure = match job.send(request, ANSWER) {
            Ok(answer) => {
                let reply = Reply::new(&answer);
                if reply.is_throttled() {
                    reply.wait_out(job, backoff.wait())?;
                    continue;
                }
                if !reply.is_transient() {
                    return Ok(reply);
                }
                reply.failure("")
            }
            Err(lost) => {
                job.check()?;
                Failure::failed(format!("Tableau does not answer: {lost}"))
            }
        };
        left = left.saturating_sub(1);
        if left == 0 {
            return Err(failure);
        }
        job.pause(backoff.wait())?;
    }
}
