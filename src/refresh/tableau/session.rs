//! The session shared by all targets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout;

use super::answer::Reply;
use super::call::repeat;
use super::sign_in::{Ticket, sign_in};
use crate::config::Tableau;
use crate::http::runtime;
use crate::refresh::job::Job;
use crate::refresh::outcome::{Failure, Outcome};

/// Timeout for signing out, and for waiting on another target's sign-in after the deadline.
const SIGN_OUT_TIMEOUT: Duration = Duration::from_secs(5);
/// A renewed session that is lost sooner was ended by another sign-in; renewing it would end that
/// one.
const MIN_SESSION: Duration = Duration::from_mins(30);

pub(super) struct Session {
    settings: Tableau,
    /// Locked during sign-in.
    state: Mutex<State>,
    /// Number of running checks.
    checks: AtomicU32,
}

#[derive(Default)]
struct State {
    phase: Phase,
    sign_ins: u32,
}

#[derive(Default)]
enum Phase {
    #[default]
    Closed,
    Open(Arc<Ticket>),
    /// Sign-in must not be retried.
    Refused(Failure),
}

impl Session {
    /// A session that is not open yet.
    pub(super) fn new(settings: Tableau) -> Self {
        Self { settings, state: Mutex::default(), checks: AtomicU32::new(0) }
    }

    /// The session; signs in if needed.
    ///
    /// # Errors
    /// The failure of the first sign-in.
    pub(super) fn open(&self, job: &Job<'_>) -> Result<Arc<Ticket>, Failure> {
        let mut state = job.wait(self.state.lock())?;
        match &state.phase {
            Phase::Open(ticket) => return Ok(Arc::clone(ticket)),
            Phase::Refused(failure) => return Err(failure.clone()),
            Phase::Closed => {}
        }
        state.sign_ins += 1;
        let signed_in = sign_in(&self.settings, job, state.sign_ins).map(Arc::new);
        state.phase = match &signed_in {
            Ok(ticket) => Phase::Open(Arc::clone(ticket)),
            // Another target may have more time.
            Err(failure) if matches!(failure.outcome, Outcome::TimedOut | Outcome::Cancelled) => {
                Phase::Closed
            }
            Err(failure) => Phase::Refused(failure.clone()),
        };
        signed_in
    }

    /// Renews the session, unless another target has already done so.
    ///
    /// # Errors
    /// If it has just been renewed, or cannot be.
    pub(super) fn renew(&self, spent: &Ticket, job: &Job<'_>) -> Result<(), Failure> {
        let mut state = job.wait(self.state.lock())?;
        if matches!(&state.phase, Phase::Open(ticket) if ticket.number == spent.number) {
            state.phase = if spent.number > 1 && spent.since.elapsed() < MIN_SESSION {
                Phase::Refused(Failure::failed(
                    "Tableau ended the session, and the renewed one, too: does another run sign in \
                     with this token? Two runs at the same time need two tokens",
                ))
            } else {
                Phase::Closed
            };
        }
        drop(state);
        self.open(job).map(|_| ())
    }

    /// The session if open; also after the deadline or cancellation.
    pub(super) fn current(&self) -> Option<Arc<Ticket>> {
        match &self.lock_late()?.phase {
            Phase::Open(ticket) => Some(Arc::clone(ticket)),
            _ => None,
        }
    }

    /// Reads a path of the site.
    ///
    /// # Errors
    /// After `tries` failed attempts; those of [`Self::open`] and [`Self::renew`].
    pub(super) fn get(&self, job: &Job<'_>, path: &str, tries: u32) -> Result<Reply, Failure> {
        loop {
            let ticket = self.open(job)?;
            let reply = repeat(job, &ticket.get(path), tries)?;
            if !reply.is_session_gone() {
                return Ok(reply);
            }
            self.renew(&ticket, job)?;
        }
    }

    /// Signs out if signed in.
    pub(super) fn close(&self) {
        let Some(mut state) = self.lock_late() else { return };
        let State { phase, .. } = std::mem::take(&mut *state);
        drop(state);
        if let Phase::Open(ticket) = phase {
            // An unclosed session expires.
            let _ = Job::send_late(&ticket.sign_out(), SIGN_OUT_TIMEOUT);
        }
    }

    /// Runs a check; the last of the concurrent checks signs out.
    pub(super) fn check<T>(&self, check: impl FnOnce() -> T) -> T {
        self.checks.fetch_add(1, Ordering::SeqCst);
        let done = check();
        if self.checks.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.close();
        }
        done
    }

    fn lock_late(&self) -> Option<MutexGuard<'_, State>> {
        runtime().ok()?.block_on(async { timeout(SIGN_OUT_TIMEOUT, self.state.lock()).await }).ok()
    }
}
