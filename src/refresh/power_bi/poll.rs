//! Polls a refresh until it ends; cancels it at the deadline or on cancellation.

use std::time::{Duration, Instant};

use super::errors::{Kind, Refusal};
use super::model::Model;
use super::report::{Report, State};
use super::start::{Start, Started};
use crate::config::{PowerBiMode, PowerBiTarget};
use crate::http::{Answer, Backoff, Request};
use crate::refresh::job::Job;
use crate::refresh::outcome::{Done, Failure, Outcome};

pub(super) struct Refresh<'a> {
    model: &'a Model,
    target: &'a PowerBiTarget,
    start: Start,
    /// Id of the running refresh.
    id: Option<String>,
    /// An unknown service status.
    note: Option<String>,
}

impl<'a> Refresh<'a> {
    pub(super) fn new(model: &'a Model, target: &'a PowerBiTarget) -> Self {
        Self { model, target, start: Start::default(), id: None, note: None }
    }

    /// Refreshes the model; at the deadline or on cancellation, cancels the refresh it started.
    pub(super) fn run(&mut self, job: &mut Job<'_>) -> Result<Done, Failure> {
        let failure = match self.refresh(job) {
            Ok(done) => return Ok(done),
            Err(failure) => failure,
        };
        let stopped = matches!(failure.outcome, Outcome::TimedOut | Outcome::Cancelled);
        if job.check().is_err() && (stopped || self.id.is_some() || self.start.in_doubt) {
            return self.give_up(job, failure);
        }
        let more = match (&self.id, self.start.in_doubt) {
            (Some(_), _) => "the refresh itself may still be running",
            (None, true) => "a refresh may have started all the same",
            (None, false) => return Err(failure),
        };
        Err(failure.and(more))
    }

    fn refresh(&mut self, job: &mut Job<'_>) -> Result<Done, Failure> {
        let mut again = true;
        loop {
            self.start = Start::default();
            let id = match self.start.run(job, self.model, self.target)? {
                Started::Refresh(id) => id,
                Started::LeftAlone => {
                    return Ok(Done {
                        outcome: Outcome::AlreadyRunning,
                        detail: "another refresh of this model is running and was left alone"
                            .into(),
                    });
                }
            };
            job.note_remote_id(&id);
            self.id = Some(id.clone());
            let (report, outcome) = self.follow(job, &id)?;
            self.id = None;
            match outcome {
                Outcome::Succeeded => {
                    return Ok(Done::succeeded(format!("refresh {id}: {}", report.success())));
                }
                Outcome::Failed if again && report.was_evicted() => again = false,
                _ => return Err(report.failure(&id, outcome)),
            }
        }
    }

    /// Polls until the refresh ends.
    fn follow(&mut self, job: &mut Job<'_>, id: &str) -> Result<(Report, Outcome), Failure> {
        let appears = Duration::from_secs(self.target.appear_secs);
        let (mut seen, mut backoff) = (Instant::now(), Backoff::default());
        loop {
            job.pause(backoff.wait())?;
            match self.fetch_report(job, id)? {
                Some((http, report)) => {
                    seen = Instant::now();
                    match report.state(http) {
                        State::Ended(outcome) => return Ok((report, outcome)),
                        State::Running(note) => self.note = note,
                    }
                }
                None if seen.elapsed() >= appears => {
                    self.id = None;
                    return Err(Failure::failed(format!(
                        "refresh {id}: the service accepted it and did not show it in {} s: it \
                         was dropped, as happens to all but one of many requests; refresh again",
                        appears.as_secs()
                    )));
                }
                None => {}
            }
        }
    }

    /// Its report and the HTTP status, which is also significant; `None` if the service does not
    /// show it.
    fn fetch_report(&self, job: &mut Job<'_>, id: &str) -> Result<Option<(u16, Report)>, Failure> {
        if self.target.mode == PowerBiMode::Standard {
            let history = self.model.history(job, u32::MAX)?;
            let ours = |report: &Report| {
                report.id.as_ref().is_some_and(|known| known.eq_ignore_ascii_case(id))
            };
            return Ok(history.into_iter().find(ours).map(|report| (200, report)));
        }
        let what = format!("refresh {id}");
        let request = Request::get(self.model.refresh(id));
        let answer = self.model.read(job, &request, &what, u32::MAX)?;
        if answer.is_success() {
            let report = Report::of(&answer.json().unwrap_or_default());
            return Ok(Some((answer.status(), report)));
        }
        let refusal = Refusal::of(&answer);
        match refusal.kind {
            Kind::NotFound => Ok(None),
            _ => Err(refusal.failure(&what)),
        }
    }

    /// Cancels the running refresh after the deadline or cancellation.
    fn give_up(&mut self, job: &mut Job<'_>, failure: Failure) -> Result<Done, Failure> {
        let why = match job.check() {
            Err(end) => Failure { message: end.message, outcome: end.outcome, ..failure },
            Ok(()) => failure,
        };
        let end = |what: String| Err(Failure { message: what, ..why.clone() });
        if self.id.is_none() && self.start.in_doubt {
            let history = self.model.last_history(job);
            self.id = self.start.ours(&history, self.target.mode);
            if let Some(id) = &self.id {
                job.note_remote_id(id);
            }
        }
        let Some(id) = self.id.take() else {
            return match (self.start.in_doubt, self.start.waits_for) {
                (true, _) => {
                    end(format!("{}; a refresh may have started all the same", why.message))
                }
                (false, Some(what)) => end(format!("{}: {what}", why.message)),
                (false, None) => end(why.message.clone()),
            };
        };
        let note = self.note.take().map(|note| format!("; {note}")).unwrap_or_default();
        let message = format!("refresh {id}: {}{note}", why.message);
        if self.target.mode == PowerBiMode::Standard {
            return end(format!(
                "{message}; a standard refresh cannot be cancelled and is still running"
            ));
        }
        let address = self.model.refresh(&id);
        let answer = self.model.undo(job, &Request::delete(&address));
        if answer.as_ref().is_some_and(Answer::is_success) {
            return end(format!("{message}; it was cancelled"));
        }
        // It may just have ended.
        let last = self.model.undo(job, &Request::get(&address)).filter(Answer::is_success);
        if let Some(last) = last {
            let report = Report::of(&last.json().unwrap_or_default());
            if report.state(last.status()) == State::Ended(Outcome::Succeeded) {
                return Ok(Done::succeeded(format!("refresh {id}: {}", report.success())));
            }
        }
        let name = answer.map_or_else(|| "no answer".into(), |answer| Refusal::of(&answer).name());
        end(format!("{message}; it could not be cancelled ({name}) and is still running"))
    }
}
