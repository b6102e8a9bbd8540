//! One refresh: started once, polled until it ends, cancelled at the deadline or on cancellation.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::answer::{QUEUED_ALREADY, Reply};
use super::background_job::{BackgroundJob, Finish};
use super::call::{ALWAYS, TRIES};
use super::object::Object;
use super::search::Search;
use super::session::Session;
use crate::config::OnConflict;
use crate::http::{Backoff, SendError};
use crate::refresh::job::Job;
use crate::refresh::outcome::{Done, Failure, Outcome};

/// Timeout of the start request.
const START: Duration = Duration::from_mins(2);
/// Number of job list searches after an unanswered request.
const SEARCHES: u32 = 4;
/// Number of consecutive hidden responses before a job counts as lost.
const HIDDEN: u32 = 4;
/// Number of polls without a running job before restarting the refresh.
const QUIET: u32 = 3;
/// Timeout of a response after the deadline or cancellation, and of all of them together.
const LAST_ANSWER: Duration = Duration::from_secs(5);
const LAST_LOOK: Duration = Duration::from_secs(10);

pub(super) struct Run<'a, 'j> {
    pub(super) session: &'a Session,
    pub(super) object: &'a Object,
    pub(super) incremental: bool,
    pub(super) on_conflict: OnConflict,
    pub(super) job: &'a mut Job<'j>,
}

impl Run<'_, '_> {
    /// Refreshes the object.
    ///
    /// # Errors
    /// Anything that prevents it from showing the new data.
    pub(super) fn refresh(&mut self) -> Result<Done, Failure> {
        let clock = Instant::now();
        let Some(started) = self.start()? else {
            let detail = format!("another refresh of {} is running", self.object.noun());
            return Ok(Done { outcome: Outcome::AlreadyRunning, detail });
        };
        self.job.note_remote_id(started.id.as_str());
        let ended = match started.finish {
            Finish::Pending => self.follow(&started, true)?,
            _ => started,
        };
        let seconds = ended.seconds().map(i64::unsigned_abs);
        let seconds = seconds.unwrap_or_else(|| clock.elapsed().as_secs());
        match ended.finish {
            Finish::Success => {
                Ok(Done::succeeded(format!("job {ended}: completed in {seconds} s")))
            }
            Finish::Cancelled => {
                let message = format!("job {ended} was cancelled in Tableau");
                Err(Failure::new(Outcome::Cancelled, message))
            }
            Finish::Error => Err(Failure::failed(format!(
                "job {ended} failed; see Tableau's list of jobs for the reason (not repeated here: it \
                 can quote rows)"
            ))),
            Finish::Pending | Finish::Unknown => Err(Failure::failed(format!(
                "job {ended} ended with an unknown result; see Tableau's list of jobs"
            ))),
        }
    }

    /// Starts the refresh; `None` if another one is running and is to be left alone.
    fn start(&mut self) -> Result<Option<BackgroundJob>, Failure> {
        let mut backoff = Backoff::default();
        let mut conflict = Conflict::default();
        let mut unsent = 0;
        loop {
            let ticket = self.session.open(self.job)?;
            let body = self.object.start_body(self.incremental, ticket.version)?;
            let request = ticket.post(&self.object.start_path(), body);
            let since = ticket.now();
            self.job.check()?;
            self.job.count_attempt();
            let reply = match self.job.send(&request, START) {
                Ok(answer) => Reply::new(&answer),
                Err(SendError::NotSent) => {
                    self.job.check()?;
                    unsent += 1;
                    if unsent == TRIES {
                        return Err(Failure::failed("no connection to Tableau could be made"));
                    }
                    self.job.pause(backoff.wait())?;
                    continue;
                }
                Err(lost) => return self.adopt(since, &lost.to_string()).map(Some),
            };
            if let Some(started) = reply.document().and_then(BackgroundJob::read) {
                return Ok(Some(started));
            }
            if reply.is_session_gone() {
                self.session.renew(&ticket, self.job)?;
            } else if reply.is_throttled() {
                reply.wait_out(self.job, backoff.wait())?;
            } else if reply.is(QUEUED_ALREADY) {
                if self.on_conflict == OnConflict::Skip {
                    return Ok(None);
                }
                self.resolve(&mut conflict, &reply)?;
            } else if reply.is_transient() || reply.is_done() {
                let why = format!("no usable answer, {}", reply.status_and_code());
                return self.adopt(since, &why).map(Some);
            } else {
                return Err(reply.failure(self.object.noun()));
            }
        }
    }

    /// Waits for another refresh, or fails because of it.
    fn resolve(&self, conflict: &mut Conflict, reply: &Reply) -> Result<(), Failure> {
        let noun = self.object.noun();
        if self.on_conflict == OnConflict::Wait {
            let more = format!("another refresh of {noun} was waited for");
            return self.wait_for_other(conflict).map_err(|failure| failure.and(&more));
        }
        let status = reply.status_and_code();
        Err(Failure::failed(format!("another refresh of {noun} is running ({status})")))
    }

    /// Finds the job of an unanswered request, which is not repeated.
    fn adopt(&mut self, since: DateTime<Utc>, why: &str) -> Result<BackgroundJob, Failure> {
        let failure = match self.look_for_ours(since) {
            Ok(Some(job)) => return Ok(job),
            Ok(None) => Failure::failed("no job of it was found"),
            Err(failure) => failure,
        };
        if !is_over(self.job) {
            let message = format!(
                "{why}; the refresh may be running all the same, so it was not started again: {}",
                failure.message
            );
            return Err(Failure { message, ..failure });
        }
        // One last search, so that no job is left running unattended.
        let found = self.last_look(since);
        Err(match (self.job.check(), found) {
            (Err(over), Some(job)) => self.cancel(&job, &over),
            (Err(over), None) => over.and("the refresh may be running"),
            (Ok(()), _) => failure,
        })
    }

    fn look_for_ours(&mut self, since: DateTime<Utc>) -> Result<Option<BackgroundJob>, Failure> {
        let mut search = Search::new(&self.refreshed(TRIES)?.id);
        let mut backoff = Backoff::default();
        for attempt in 0..SEARCHES {
            if attempt > 0 {
                self.job.pause(backoff.wait())?;
            }
            let (session, job) = (self.session, &*self.job);
            let found = search.since(&mut |path| session.get(job, path, TRIES), since)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn last_look(&self, since: DateTime<Utc>) -> Option<BackgroundJob> {
        let ticket = self.session.current()?;
        let until = Instant::now() + LAST_LOOK;
        let mut read = |path: &str| {
            let left = until.saturating_duration_since(Instant::now()).min(LAST_ANSWER);
            Ok(Reply::new(&Job::send_late(&ticket.get(path), left)?))
        };
        let object = if self.object.is_task() {
            self.object.refreshed(read(&self.object.path()).ok()?.document()?)?.id
        } else {
            self.object.id.clone()
        };
        Search::new(&object).since(&mut read, since).ok()?
    }

    /// The data source or workbook being refreshed.
    fn refreshed(&self, tries: u32) -> Result<Object, Failure> {
        if !self.object.is_task() {
            return Ok(self.object.clone());
        }
        let reply = self.session.get(self.job, &self.object.path(), tries)?;
        self.object.found(&reply)
    }

    /// Waits until another refresh ends, which may have read older data.
    fn wait_for_other(&self, conflict: &mut Conflict) -> Result<(), Failure> {
        let (session, job) = (self.session, &*self.job);
        let object = match &conflict.object {
            Some(object) => object,
            None => conflict.object.insert(self.refreshed(ALWAYS)?),
        };
        let mut search = Search::new(&object.id);
        let before = updated(session, job, object)?;
        let mut quiet = 0;
        loop {
            match search.running(&mut |path| session.get(job, path, ALWAYS)) {
                Ok(Some(other)) => {
                    return match self.follow(&other, false) {
                        Err(failure) if failure.outcome != Outcome::Failed => Err(failure),
                        _ => Ok(()),
                    };
                }
                Ok(None) => quiet += 1,
                // Not every user may list jobs; the object's update time also shows the end.
                Err(failure) if failure.outcome == Outcome::Failed => {}
                Err(failure) => return Err(failure),
            }
            job.pause(conflict.backoff.wait())?;
            if quiet == QUIET || updated(session, job, object)? != before {
                return Ok(());
            }
        }
    }

    /// Polls a job until it ends; if it is ours, cancels it at the deadline or on cancellation.
    fn follow(&self, started: &BackgroundJob, ours: bool) -> Result<BackgroundJob, Failure> {
        let path = format!("jobs/{}", started.id);
        let mut backoff = Backoff::default();
        let mut hidden = 0;
        loop {
            let answer = self.job.pause(backoff.wait());
            let answer = answer.and_then(|()| self.session.get(self.job, &path, ALWAYS));
            let reply = match answer {
                Ok(reply) => reply,
                Err(failure) if ours && is_over(self.job) => {
                    return Err(self.cancel(started, &failure));
                }
                Err(failure) if ours => return Err(left_alone(started, failure)),
                Err(failure) => return Err(failure),
            };
            match reply.document().and_then(BackgroundJob::read) {
                Some(job) if job.finish != Finish::Pending => return Ok(job),
                Some(_) => hidden = 0,
                None if reply.is_hidden() => {
                    hidden += 1;
                    if hidden == HIDDEN {
                        let status = reply.status_and_code();
                        return Err(Failure::failed(format!(
                            "Tableau does not show job {started} ({status}); its result is unknown"
                        )));
                    }
                }
                None => return Err(left_alone(started, reply.failure("the job"))),
            }
        }
    }

    /// Cancels our job; adds the result to the failure.
    fn cancel(&self, job: &BackgroundJob, over: &Failure) -> Failure {
        let path = format!("jobs/{}", job.id);
        let is_cancelled = (0..2).any(|_| {
            self.session.current().is_some_and(|ticket| {
                let answer = Job::send_late(&ticket.put(&path), LAST_ANSWER);
                answer.is_ok_and(|answer| Reply::new(&answer).is_done())
            })
        });
        over.clone().and(&if is_cancelled {
            format!("job {job} was cancelled")
        } else {
            format!("job {job} could not be cancelled and may be running")
        })
    }
}

/// Another refresh of the same object.
#[derive(Default)]
struct Conflict {
    object: Option<Object>,
    backoff: Backoff,
}

/// Time of an object's last data update.
fn updated(session: &Session, job: &Job<'_>, object: &Object) -> Result<Option<String>, Failure> {
    let reply = session.get(job, &object.path(), ALWAYS)?;
    Ok(reply.document().and_then(|root| object.updated(root)))
}

/// Why a job is no longer polled.
fn left_alone(job: &BackgroundJob, failure: Failure) -> Failure {
    failure.and(&format!("job {job} may be running"))
}

/// Whether the deadline has passed or the job was cancelled.
fn is_over(job: &Job<'_>) -> bool {
    job.check().is_err()
}
