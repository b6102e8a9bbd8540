//! REST access to one semantic model: authenticated requests, retried reads.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::errors::{Kind, Refusal, is_page};
use super::report::Report;
use super::token::{Session, When, send};
use crate::config::{PowerBi, PowerBiTarget};
use crate::http::{Answer, Backoff, Request, SendError, escape};
use crate::refresh::job::Job;
use crate::refresh::outcome::Failure;

/// Timeout of one request.
const LIMIT: Duration = Duration::from_mins(1);
/// Maximum attempts while the service fails and nothing is started yet.
pub(super) const TRIES: u32 = 8;
/// Maximum HTML pages accepted instead of JSON before giving up.
const PAGES: u32 = 4;
/// Delay after "too many requests" without `Retry-After`.
pub(super) const USUAL_WAIT: Duration = Duration::from_secs(30);

pub(crate) struct Model {
    session: Arc<Session>,
    address: String,
}

impl Model {
    pub(super) fn new(settings: &PowerBi, target: &PowerBiTarget, session: Arc<Session>) -> Self {
        let address = format!(
            "{}/v1.0/myorg/groups/{}/datasets/{}",
            settings.api_url.trim_end_matches('/'),
            escape(&target.workspace),
            escape(&target.dataset)
        );
        Self { session, address }
    }

    /// URL of the model plus a relative path.
    pub(super) fn at(&self, below: &str) -> String {
        format!("{}{below}", self.address)
    }

    /// URL of one refresh.
    pub(super) fn refresh(&self, id: &str) -> String {
        self.at(&format!("/refreshes/{}", escape(id)))
    }

    /// Sends a request that starts a refresh; each send counts as an attempt.
    pub(super) fn start(
        &self,
        job: &mut Job<'_>,
        request: &Request,
    ) -> Result<Result<Answer, SendError>, Failure> {
        self.exchange(job, request, When::InTime, true)
    }

    /// Sends a cleanup request, also after the deadline or cancellation.
    pub(super) fn undo(&self, job: &mut Job<'_>, request: &Request) -> Option<Answer> {
        self.exchange(job, request, When::Late, false).ok()?.ok()
    }

    /// Sends a read-only request up to `tries` times, until the response is final: JSON, a 202, or
    /// an error.
    pub(super) fn read(
        &self,
        job: &mut Job<'_>,
        request: &Request,
        what: &str,
        tries: u32,
    ) -> Result<Answer, Failure> {
        let (mut backoff, mut pages) = (Backoff::default(), 0);
        for attempt in 1..=tries {
            let mut wait = backoff.wait();
            let failure = match self.exchange(job, request, When::InTime, false)? {
                Ok(answer) if answer.is_success() => {
                    if answer.status() == 202 || answer.json().is_some() {
                        return Ok(answer);
                    }
                    pages += 1;
                    no_json(&answer, what)
                }
                Ok(answer) => {
                    let refusal = Refusal::of(&answer);
                    if !matches!(refusal.kind, Kind::Transient | Kind::RateLimited) {
                        return Ok(answer);
                    }
                    if refusal.kind == Kind::RateLimited {
                        wait = wait.max(refusal.wait.unwrap_or(USUAL_WAIT));
                        if wait > job.left() {
                            return Err(refusal.failure(what));
                        }
                    }
                    wait = wait.max(refusal.wait.unwrap_or_default());
                    refusal.failure(what)
                }
                Err(lost) => {
                    job.check()?;
                    Failure::failed(format!(
                        "{what}: {lost}; is refresh.power_bi.api_url right, is the network up?"
                    ))
                }
            };
            if attempt == tries || pages == PAGES {
                return Err(failure);
            }
            job.pause(wait)?;
        }
        Err(Failure::failed(format!("{what}: no answer")))
    }

    /// JSON of a read-only request; every error response is a failure.
    pub(super) fn json(
        &self,
        job: &mut Job<'_>,
        request: &Request,
        what: &str,
        tries: u32,
    ) -> Result<Value, Failure> {
        let answer = self.read(job, request, what, tries)?;
        if !answer.is_success() {
            return Err(Refusal::of(&answer).failure(what));
        }
        answer.json().ok_or_else(|| no_json(&answer, what))
    }

    /// Latest refreshes, newest first.
    pub(super) fn history(&self, job: &mut Job<'_>, tries: u32) -> Result<Vec<Report>, Failure> {
        let request = self.history_request();
        self.json(job, &request, "the model's refresh history", tries).map(|list| reports(&list))
    }

    /// Latest refreshes, also after the deadline or cancellation; empty without an answer.
    pub(super) fn last_history(&self, job: &mut Job<'_>) -> Vec<Report> {
        let request = self.history_request();
        let answer = self.undo(job, &request).filter(Answer::is_success);
        answer.and_then(|answer| answer.json()).map(|list| reports(&list)).unwrap_or_default()
    }

    fn history_request(&self) -> Request {
        Request::get(self.at("/refreshes?$top=10"))
    }

    /// Sends a request with the token, and once more with a new token if it is rejected.
    fn exchange(
        &self,
        job: &mut Job<'_>,
        request: &Request,
        when: When,
        starts: bool,
    ) -> Result<Result<Answer, SendError>, Failure> {
        let request = request.clone().header("Accept", "application/json");
        let mut renewed = false;
        loop {
            let token = self.session.token(job, when)?;
            if starts {
                job.count_attempt();
            }
            let answer = send(job, when, &request.clone().bearer(token.expose()), LIMIT);
            match &answer {
                Ok(refused) if !renewed && !refused.is_success() => {
                    if Refusal::of(refused).kind != Kind::TokenExpired {
                        return Ok(answer);
                    }
                }
                _ => return Ok(answer),
            }
            self.session.forget(&token, job, when)?;
            renewed = true;
        }
    }
}

fn reports(list: &Value) -> Vec<Report> {
    list["value"].as_array().map(|list| list.iter().map(Report::of).collect()).unwrap_or_default()
}

fn no_json(answer: &Answer, what: &str) -> Failure {
    let found = if is_page(answer) { "a page" } else { "something else" };
    Failure::failed(format!(
        "{what}: {found} came instead of JSON; is refresh.power_bi.api_url right, is \
         there a proxy in between?"
    ))
}
