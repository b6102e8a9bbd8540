//! A request that may be sent again without harm, and how often it is.

use std::time::Duration;

use super::answer::Reply;
use crate::http::{Backoff, Request};
use crate::refresh::{Failure, Job};

/// How long one answer may take.
pub(super) const ANSWER: Duration = Duration::from_mins(1);
/// How often a request is sent while nothing is at work.
pub(super) const TRIES: u32 = 4;
/// How often a request is sent while a job is at work: its end is worth waiting for.
pub(super) const ALWAYS: u32 = u32::MAX;

/// Sends a request until there is an answer that will stay the same.
///
/// # Errors
/// After so many tries without one; the deadline's and a signal's.
pub(super) fn repeat(job: &Job<'_>, request: &Request, tries: u32) -> Result<Reply, Failure> {
    let mut backoff = Backoff::default();
    let mut left = tries;
    loop {
        let trouble = match job.send_within(request, ANSWER) {
            Ok(answer) => {
                let reply = Reply::new(&answer);
                if reply.is_throttled() {
                    reply.wait_out(job, backoff.wait())?;
                    continue;
                }
                if !reply.is_trouble() {
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
            return Err(trouble);
        }
        job.pause(backoff.wait())?;
    }
}
