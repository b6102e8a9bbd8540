//! Starts a refresh exactly once.
//!
//! Records the refresh history first. A refresh that appears later is ours, or equivalent, because
//! it reads the published data. Avoids comparing clocks of two machines.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::errors::{Kind, Refusal, clean, is_page};
use super::model::{Model, TRIES, USUAL_WAIT};
use super::report::{Report, State};
use super::request::body;
use crate::config::{OnConflict, PowerBiMode, PowerBiTarget};
use crate::http::{Answer, Backoff, Request, SendError};
use crate::refresh::job::Job;
use crate::refresh::outcome::Failure;

/// Maximum start requests if the service itself fails.
const STARTS: u32 = 3;
/// Number of history polls for a refresh the service may have started despite failing.
const GRACE: u32 = 3;

#[derive(Default)]
pub(super) struct Start {
    /// Ids in the history before the start.
    before: Option<BTreeSet<String>>,
    /// Whether an unanswered request may have arrived.
    pub(super) in_doubt: bool,
    /// Current wait reason.
    pub(super) waits_for: Option<&'static str>,
    /// Number of failed start requests.
    failed: u32,
    backoff: Backoff,
}

pub(super) enum Started {
    /// Id of the started refresh.
    Refresh(String),
    /// Another refresh is running and was left alone.
    LeftAlone,
}

impl Start {
    /// Starts a refresh, or finds the one started by an unanswered request.
    pub(super) fn run(
        &mut self,
        job: &mut Job<'_>,
        model: &Model,
        target: &PowerBiTarget,
    ) -> Result<Started, Failure> {
        let history = model.history(job, TRIES)?;
        self.before = Some(history.into_iter().filter_map(|report| report.id).collect());
        let request = Request::post(model.at("/refreshes")).json(&body(target));
        loop {
            match model.start(job, &request)? {
                Ok(answer) if answer.is_success() => {
                    return self.accepted(job, model, target, &answer);
                }
                Ok(answer) => {
                    let refusal = Refusal::of(&answer);
                    if let Some(started) = self.refused(job, model, target, &refusal)? {
                        return Ok(started);
                    }
                }
                Err(SendError::NotSent) => self.not_sent(job)?,
                Err(lost) => {
                    self.in_doubt = true;
                    job.check()?;
                    return self.found(job, model, target, &lost.to_string());
                }
            }
        }
    }

    fn accepted(
        &mut self,
        job: &mut Job<'_>,
        model: &Model,
        target: &PowerBiTarget,
        answer: &Answer,
    ) -> Result<Started, Failure> {
        self.in_doubt = true;
        if answer.status() != 202 && is_page(answer) {
            return self.found(job, model, target, "a page came as the answer");
        }
        match id_in(answer, target.mode) {
            Some(id) => Ok(self.adopted(id)),
            None => self.found(job, model, target, "the answer has no id"),
        }
    }

    /// Waits before the next start request; fails after too many.
    fn not_sent(&mut self, job: &Job<'_>) -> Result<(), Failure> {
        job.check()?;
        self.failed += 1;
        if self.failed == TRIES {
            return Err(Failure::failed(format!(
                "the refresh: {}; is refresh.power_bi.api_url right, is the network up?",
                SendError::NotSent
            )));
        }
        job.pause(self.backoff.wait())
    }

    /// The refresh that was started despite the error; `None` to send the start again.
    fn refused(
        &mut self,
        job: &mut Job<'_>,
        model: &Model,
        target: &PowerBiTarget,
        refusal: &Refusal,
    ) -> Result<Option<Started>, Failure> {
        let failure = || refusal.failure("the refresh");
        match refusal.kind {
            Kind::AlreadyRunning => {
                // It may be the refresh of an earlier request of ours.
                if self.in_doubt
                    && let Some(id) = self.ours(&model.history(job, TRIES)?, target.mode)
                {
                    return Ok(Some(self.adopted(id)));
                }
                match target.on_conflict {
                    OnConflict::Wait => self.wait_for_other(job, model)?,
                    OnConflict::Skip => return Ok(Some(Started::LeftAlone)),
                    OnConflict::Fail => return Err(failure()),
                }
            }
            Kind::RateLimited => {
                let wait = refusal.wait.unwrap_or(USUAL_WAIT);
                if wait > job.left() {
                    return Err(failure());
                }
                self.waits_for = Some("the service took no more requests");
                // Never immediately, even if the service allows it.
                job.pause(wait.max(self.backoff.wait()))?;
                self.waits_for = None;
            }
            Kind::Transient => {
                self.in_doubt = true;
                if let Some(id) =
                    self.find_started(job, model, target.mode, GRACE, Duration::ZERO)?
                {
                    return Ok(Some(self.adopted(id)));
                }
                self.failed += 1;
                if self.failed >= STARTS {
                    return Err(failure());
                }
            }
            _ => return Err(failure()),
        }
        Ok(None)
    }

    /// Finds the refresh started by an unanswered request; the request is not repeated.
    fn found(
        &mut self,
        job: &mut Job<'_>,
        model: &Model,
        target: &PowerBiTarget,
        why: &str,
    ) -> Result<Started, Failure> {
        let appears = Duration::from_secs(target.appear_secs);
        if let Some(id) = self.find_started(job, model, target.mode, GRACE, appears)? {
            return Ok(self.adopted(id));
        }
        self.in_doubt = false;
        Err(Failure::failed(format!(
            "the refresh was requested ({why}), and none has started in {} s: the request was \
             dropped or never arrived; refresh again",
            appears.as_secs()
        )))
    }

    /// Polls the history until our refresh appears, at least `polls` times and for `time`.
    fn find_started(
        &mut self,
        job: &mut Job<'_>,
        model: &Model,
        mode: PowerBiMode,
        polls: u32,
        time: Duration,
    ) -> Result<Option<String>, Failure> {
        let (began, mut backoff) = (Instant::now(), Backoff::default());
        for poll in 1.. {
            job.pause(backoff.wait())?;
            let history = model.history(job, u32::MAX)?;
            if let Some(id) = self.ours(&history, mode) {
                return Ok(Some(id));
            }
            if poll >= polls && began.elapsed() >= time {
                break;
            }
        }
        Ok(None)
    }

    /// Waits until another refresh ends.
    fn wait_for_other(&mut self, job: &mut Job<'_>, model: &Model) -> Result<(), Failure> {
        self.waits_for = Some("another refresh was still running");
        loop {
            job.pause(self.backoff.wait())?;
            let history = model.history(job, u32::MAX)?;
            if !history.iter().any(|report| matches!(report.state(200), State::Running(_))) {
                self.waits_for = None;
                return Ok(());
            }
        }
    }

    fn adopted(&mut self, id: String) -> Started {
        self.in_doubt = false;
        Started::Refresh(id)
    }

    /// The first refresh of our type that is new in the history.
    pub(super) fn ours(&self, history: &[Report], mode: PowerBiMode) -> Option<String> {
        let before = self.before.as_ref()?;
        let kind = match mode {
            PowerBiMode::Enhanced => "ViaEnhancedApi",
            PowerBiMode::Standard => "ViaApi",
        };
        let ours = |report: &&Report| report.kind.is_empty() || report.kind == kind;
        // Newest first.
        history
            .iter()
            .rev()
            .filter(ours)
            .find_map(|report| report.id.as_ref().filter(|id| !before.contains(*id)).cloned())
    }
}

/// The refresh id in the response.
fn id_in(answer: &Answer, mode: PowerBiMode) -> Option<String> {
    let own = || answer.header("x-ms-request-id").and_then(clean);
    let place = || answer.header("location")?.rsplit('/').next().and_then(clean);
    match mode {
        // In this mode `RequestId` identifies only the HTTP request.
        PowerBiMode::Enhanced => own().or_else(place),
        PowerBiMode::Standard => answer.header("requestid").and_then(clean).or_else(own),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn ours_is_the_first_of_our_kind_that_was_not_there() {
        let history: Vec<Report> = [
            ("6", "ViaEnhancedApi"),
            ("5", "ViaApi"),
            ("4", "ViaEnhancedApi"),
            ("3", "Scheduled"),
            ("2", "ViaEnhancedApi"),
            ("1", ""),
        ]
        .iter()
        .map(|(id, kind)| Report::of(&json!({ "requestId": id, "refreshType": kind })))
        .chain([Report::of(&Value::Null)])
        .collect();
        let before = |ids: &[&str]| Start {
            before: Some(ids.iter().map(|id| (*id).to_owned()).collect()),
            ..Start::default()
        };
        let (enhanced, standard) = (PowerBiMode::Enhanced, PowerBiMode::Standard);
        assert_eq!(before(&["1", "2"]).ours(&history, enhanced).as_deref(), Some("4"));
        assert_eq!(before(&["1", "2"]).ours(&history, standard).as_deref(), Some("5"));
        assert_eq!(before(&["1", "2", "4", "6"]).ours(&history, enhanced), None);
        // A refresh without a type may be ours.
        assert_eq!(before(&[]).ours(&history, standard).as_deref(), Some("1"));
        // Without the prior history, none is ours.
        assert_eq!(Start::default().ours(&history, enhanced), None);
    }
}
