//! Repeatable requests.

use std::time::Duration;

use super::answer::Reply;
use crate::http::{Backoff, Request};
use crate::refresh::job::Job;
use crate::refresh::outcome::Failure;

/// Timeout of one response.
pub(super) const ANSWER: Duration = Duration::from_mins(1);
/// Maximum attempts while no job is running.
pub(super) const TRIES: u32 = 4;
/// Attempts while a job is running: unlimited until the deadline.
pub(super) const ALWAYS: u32 = u32::MAX;

/// Sends a request until the response is final.
///
/// # Errors
/// After `tries` failed attempts, the deadline or cancellation.
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
