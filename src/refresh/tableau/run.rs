//! One refresh: it is started once, followed to its end, and cancelled where nobody can wait any
//! longer.

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
use crate::refresh::{Done, Failure, Job, Outcome};

/// How long the answer to a request that starts a refresh may take.
const START: Duration = Duration::from_mins(2);
/// How often a job is looked for whose request got no answer.
const LOOKS: u32 = 4;
/// How often a job may not be shown before it counts as lost.
const HIDDEN: u32 = 4;
/// After how many looks without a job at work a refresh is asked for again.
const QUIET: u32 = 3;
/// How long one answer may take when time is over already, and all of them together.
const LAST_ANSWER: Duration = Duration::from_secs(5);
const LAST_LOOK: Duration = Duration::from_secs(10);

/// A refresh at work.
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
    /// Whatever keeps it from showing the new data.
    pub(super) fn refresh(&mut self) -> Result<Done, Failure> {
        let clock = Instant::now();
        let Some(started) = self.start()? else {
            let detail = format!("another refresh of {} is at work", self.object.noun());
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
                "job {ended} failed; Tableau shows why in its list of jobs (not repeated here: it can \
                 quote rows)"
            ))),
            Finish::Pending | Finish::Unknown => Err(Failure::failed(format!(
                "job {ended} ended, and Tableau does not say how; look into its list of jobs"
            ))),
        }
    }

    /// Starts the refresh; none where another one is at work and is to be left alone.
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
            let reply = match self.job.send_within(&request, START) {
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
                match self.on_conflict {
                    OnConflict::Skip => return Ok(None),
                    OnConflict::Wait => {
                        let waited = self.wait_for_other(&mut conflict);
                        waited.map_err(|failure| self.in_the_way(failure))?;
                    }
                    OnConflict::Fail => {
                        let (noun, told) = (self.object.noun(), reply.told());
                        return Err(Failure::failed(format!(
                            "another refresh of {noun} is at work ({told})"
                        )));
                    }
                }
            } else if reply.is_trouble() || reply.is_done() {
                return self.adopt(since, &format!("no usable answer, {}", reply.told())).map(Some);
            } else {
                return Err(reply.failure(self.object.noun()));
            }
        }
    }

    /// Finds the job that a request has started whose answer is lost. The request is not sent again.
    fn adopt(&mut self, since: DateTime<Utc>, why: &str) -> Result<BackgroundJob, Failure> {
        let failure = match self.look_for_ours(since) {
            Ok(Some(job)) => return Ok(job),
            Ok(None) => Failure::failed("no job of it is to be found"),
            Err(failure) => failure,
        };
        if !is_over(self.job) {
            let message = format!(
                "{why}; the refresh may be running all the same, so it was not asked for again: {}",
                failure.message
            );
            return Err(Failure { message, ..failure });
        }
        // Time is over: one last look, so that nothing is left running that nobody waits for.
        let found = self.last_look(since);
        Err(match (self.job.check(), found) {
            (Err(over), Some(job)) => self.cancel(&job, &over),
            (Err(over), None) => {
                let message = format!("{}; the refresh may be running", over.message);
                Failure { message, ..over }
            }
            (Ok(()), _) => failure,
        })
    }

    fn look_for_ours(&mut self, since: DateTime<Utc>) -> Result<Option<BackgroundJob>, Failure> {
        let mut search = Search::new(&self.shown(TRIES)?.id);
        let mut backoff = Backoff::default();
        for look in 0..LOOKS {
            if look > 0 {
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
            Ok(Reply::new(&self.job.send_anyway(&ticket.get(path), left)?))
        };
        let object = if self.object.is_task() {
            self.object.shown(read(&self.object.path()).ok()?.document()?)?.id
        } else {
            self.object.id.clone()
        };
        Search::new(&object).since(&mut read, since).ok()?
    }

    /// The data source or workbook that is refreshed.
    fn shown(&self, tries: u32) -> Result<Object, Failure> {
        if !self.object.is_task() {
            return Ok(self.object.clone());
        }
        let reply = self.session.get(self.job, &self.object.path(), tries)?;
        self.object.found(&reply)
    }

    /// Waits for the end of the refresh that is in the way: it may have read older data.
    fn wait_for_other(&mut self, conflict: &mut Conflict) -> Result<(), Failure> {
        let (session, job) = (self.session, &*self.job);
        let object = match &conflict.object {
            Some(object) => object,
            None => conflict.object.insert(self.shown(ALWAYS)?),
        };
        let mut search = Search::new(&object.id);
        let before = updated(session, job, object)?;
        let mut quiet = 0;
        loop {
            match search.at_work(&mut |path| session.get(job, path, ALWAYS)) {
                Ok(Some(other)) => {
                    return match self.follow(&other, false) {
                        Err(failure) if failure.outcome != Outcome::Failed => Err(failure),
                        _ => Ok(()),
                    };
                }
                Ok(None) => quiet += 1,
                // Not every user may list jobs; the object tells of its end, too.
                Err(failure) if failure.outcome == Outcome::Failed => {}
                Err(failure) => return Err(failure),
            }
            job.pause(conflict.backoff.wait())?;
            if quiet == QUIET || updated(session, job, object)? != before {
                return Ok(());
            }
        }
    }

    /// Why a refresh that is in the way is not waited for any longer.
    fn in_the_way(&self, Failure { outcome, message, until }: Failure) -> Failure {
        let noun = self.object.noun();
        let message = format!("{message}; another refresh of {noun} was waited for");
        Failure { outcome, message, until }
    }

    /// Follows a job to its end; cancels it where it is ours and time is over.
    fn follow(&self, started: &BackgroundJob, ours: bool) -> Result<BackgroundJob, Failure> {
        let path = format!("jobs/{}", started.id);
        let mut backoff = Backoff::default();
        let mut hidden = 0;
        loop {
            let asked = self.job.pause(backoff.wait());
            let asked = asked.and_then(|()| self.session.get(self.job, &path, ALWAYS));
            let reply = match asked {
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
                        let told = reply.told();
                        return Err(Failure::failed(format!(
                            "Tableau does not show job {started} ({told}); how it ends is unknown"
                        )));
                    }
                }
                None => return Err(left_alone(started, reply.failure("the job"))),
            }
        }
    }

    /// Cancels a job of ours; the failure then tells so.
    fn cancel(&self, job: &BackgroundJob, over: &Failure) -> Failure {
        let path = format!("jobs/{}", job.id);
        let is_cancelled = (0..2).any(|_| {
            self.session.current().is_some_and(|ticket| {
                let answer = self.job.send_anyway(&ticket.put(&path), LAST_ANSWER);
                answer.is_ok_and(|answer| Reply::new(&answer).is_done())
            })
        });
        let message = if is_cancelled {
            format!("{}; job {job} was cancelled", over.message)
        } else {
            format!("{}; job {job} could not be cancelled and may be running", over.message)
        };
        Failure { message, ..over.clone() }
    }
}

/// What is known of a refresh that is in the way.
#[derive(Default)]
struct Conflict {
    object: Option<Object>,
    backoff: Backoff,
}

/// When the data of an object changed last, where Tableau says so.
fn updated(session: &Session, job: &Job<'_>, object: &Object) -> Result<Option<String>, Failure> {
    let reply = session.get(job, &object.path(), ALWAYS)?;
    Ok(reply.document().and_then(|root| object.updated(root)))
}

/// Why a job is not followed any longer.
fn left_alone(job: &BackgroundJob, Failure { outcome, message, until }: Failure) -> Failure {
    Failure { outcome, message: format!("{message}; job {job} may be running"), until }
}

fn is_over(job: &Job<'_>) -> bool {
    job.check().is_err()
}
