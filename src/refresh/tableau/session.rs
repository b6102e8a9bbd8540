//! The one session that all targets share.

use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::answer::Reply;
use super::call::repeat;
use super::sign_in::{Ticket, sign_in};
use crate::config::Tableau;
use crate::refresh::{Failure, Job, Outcome};

/// How often a wait looks for the deadline and for a signal.
const STEP: Duration = Duration::from_millis(20);
/// How long ending the session may take.
const SIGN_OUT: Duration = Duration::from_secs(5);
/// A renewed session that is lost sooner than this was ended by somebody: renewing it again would
/// end theirs.
const SHORT: Duration = Duration::from_mins(30);

/// The session of a site.
pub(super) struct Session {
    settings: Tableau,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    phase: Phase,
    /// Sign-ins so far.
    sign_ins: u32,
    /// Checks at work.
    visitors: u32,
}

enum Phase {
    Closed,
    /// Somebody is signing in.
    Opening,
    Open(Arc<Ticket>),
    /// Nobody needs to try again.
    Refused(Failure),
}

impl Session {
    /// A session that is not open yet.
    pub(super) fn new(settings: Tableau) -> Self {
        let state = State { phase: Phase::Closed, sign_ins: 0, visitors: 0 };
        Self { settings, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// The session; signs in where nobody has.
    ///
    /// # Errors
    /// What kept whoever was first from signing in.
    pub(super) fn open(&self, job: &Job<'_>) -> Result<Arc<Ticket>, Failure> {
        let mut state = self.lock();
        loop {
            match &state.phase {
                Phase::Open(ticket) => return Ok(Arc::clone(ticket)),
                Phase::Refused(failure) => return Err(failure.clone()),
                Phase::Closed => break,
                Phase::Opening => job.check()?,
            }
            let waited = self.changed.wait_timeout(state, STEP);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.phase = Phase::Opening;
        state.sign_ins += 1;
        let number = state.sign_ins;
        drop(state);
        let mut opening = Opening { session: self, becomes: Phase::Closed };
        let signed_in = sign_in(&self.settings, job, number).map(Arc::new);
        opening.becomes = match &signed_in {
            Ok(ticket) => Phase::Open(Arc::clone(ticket)),
            // This target's time was over; another may have more.
            Err(failure) if matches!(failure.outcome, Outcome::TimedOut | Outcome::Cancelled) => {
                Phase::Closed
            }
            Err(failure) => Phase::Refused(failure.clone()),
        };
        drop(opening);
        signed_in
    }

    /// Has the session renewed, unless somebody has done it already.
    ///
    /// # Errors
    /// When it has just been renewed; whatever keeps it from being renewed.
    pub(super) fn renew(&self, spent: &Ticket, job: &Job<'_>) -> Result<(), Failure> {
        let mut state = self.lock();
        if matches!(&state.phase, Phase::Open(ticket) if ticket.number == spent.number) {
            state.phase = if spent.number > 1 && spent.since.elapsed() < SHORT {
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

    /// The session, where it is open.
    pub(super) fn current(&self) -> Option<Arc<Ticket>> {
        match &self.lock().phase {
            Phase::Open(ticket) => Some(Arc::clone(ticket)),
            _ => None,
        }
    }

    /// Reads something of the site.
    ///
    /// # Errors
    /// After so many tries without an answer; those of [`Self::open`] and [`Self::renew`].
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

    /// Signs out, where somebody has signed in.
    pub(super) fn close(&self, job: &Job<'_>) {
        let mut state = self.lock();
        state.sign_ins = 0;
        let phase = mem::replace(&mut state.phase, Phase::Closed);
        drop(state);
        if let Phase::Open(ticket) = phase {
            // A session that cannot be ended ends by itself.
            let _ = job.send_anyway(&ticket.sign_out(), SIGN_OUT);
        }
    }

    /// Does something that nothing follows: signs out behind the last who does.
    pub(super) fn visit<T>(&self, job: &Job<'_>, work: impl FnOnce() -> T) -> T {
        self.lock().visitors += 1;
        let done = work();
        let mut state = self.lock();
        state.visitors = state.visitors.saturating_sub(1);
        let was_last = state.visitors == 0;
        drop(state);
        if was_last {
            self.close(job);
        }
        done
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody signs in; when that ends, be it by a panic, those who wait are told.
struct Opening<'a> {
    session: &'a Session,
    becomes: Phase,
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        let becomes = mem::replace(&mut self.becomes, Phase::Closed);
        self.session.lock().phase = becomes;
        self.session.changed.notify_all();
    }
}
