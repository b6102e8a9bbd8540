//! One session with Superset, shared by all of its targets: signing in, renewing, sending.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;

use super::answer::{self, Refused};
use crate::config::Superset;
use crate::http::{Answer, Request};
use crate::refresh::concurrency_limit::Gates;
use crate::refresh::deadline::Waiter;
use crate::refresh::outcome::{Failure, Outcome};
use crate::refresh::retry::{Patient, Question};
use crate::secret::value::Secret;

/// The turn of the one who signs in.
const SIGN_IN: &str = "sign in";
/// The turns of those who warm a chart.
const PIECE: &str = "piece";
/// A token is good for 15 minutes by default; it is renewed before it ends.
const RENEW_AFTER: Duration = Duration::from_mins(12);
/// How long an answer to anything but a chart's query may take.
const LIMIT: Duration = Duration::from_mins(1);

/// A session, opened when it is first needed.
pub(super) struct Session {
    settings: Superset,
    url: String,
    patient: Patient,
    gates: Gates,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    signed: Option<Arc<Signed>>,
    /// Why nobody needs to try again: a wrong password tried often locks the account.
    denied: Option<Failure>,
}

/// What proves who we are.
struct Signed {
    number: u64,
    access: Secret,
    renew: Option<Secret>,
    csrf: Secret,
    cookies: Secret,
    since: Instant,
}

/// A request that needs a session.
#[derive(Clone, Copy)]
pub(super) struct Sending<'a> {
    /// What it is about, in failures.
    pub(super) subject: &'a str,
    /// The request, not signed.
    pub(super) request: &'a Request,
    /// How long an answer may take.
    pub(super) limit: Duration,
    /// Called before each sending.
    pub(super) sent: &'a (dyn Fn() + Sync),
}

impl Session {
    /// A session with these settings, `parallel` charts at the same time.
    pub(super) fn new(settings: &Superset, parallel: usize) -> Self {
        Self {
            settings: settings.clone(),
            url: settings.url.trim_end_matches('/').to_owned(),
            patient: Patient::new("Superset"),
            gates: Gates::new([(SIGN_IN, 1), (PIECE, parallel)].into_iter()),
            state: Mutex::default(),
        }
    }

    /// The address of `path`.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Does a piece of work when its turn has come.
    ///
    /// # Errors
    /// `TimedOut` or `Cancelled` where that comes first, else as `work`.
    pub(super) fn in_turn<T>(
        &self,
        waiter: Waiter<'_>,
        work: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let turn = self.gates.enter_unless(PIECE, || waiter.check().is_err());
        waiter.check()?;
        let done = work();
        drop(turn);
        done
    }

    /// Reads `path`; `subject` names it in failures.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub(super) fn read(
        &self,
        waiter: Waiter<'_>,
        subject: &str,
        path: &str,
    ) -> Result<Answer, Failure> {
        let request = Request::get(self.url(path));
        self.send(waiter, Sending { subject, request: &request, limit: LIMIT, sent: &|| () })
    }

    /// Sends a request of which a repetition does no harm, signed in; where the session is not
    /// accepted any more, once more with a new one.
    ///
    /// # Errors
    /// Where there is no answer or no session.
    pub(super) fn send(&self, waiter: Waiter<'_>, sending: Sending<'_>) -> Result<Answer, Failure> {
        let signed = self.signed(waiter, None)?;
        let answer = self.send_as(waiter, &signed, sending)?;
        let Some(refused) = Refused::of(&answer) else { return Ok(answer) };
        let signed = self.signed(waiter, Some((signed.number, refused)))?;
        let answer = self.send_as(waiter, &signed, sending)?;
        match Refused::of(&answer) {
            None => Ok(answer),
            Some(_) => Err(self.deny(
                "Superset does not accept the session that it has just given: does a proxy drop \
                 cookies or headers, and is refresh.superset.url the address that browsers use?",
            )),
        }
    }

    fn send_as(
        &self,
        waiter: Waiter<'_>,
        signed: &Signed,
        sending: Sending<'_>,
    ) -> Result<Answer, Failure> {
        let request = self
            .refer(sending.request.clone())
            .bearer(signed.access.expose())
            .header("X-CSRFToken", signed.csrf.expose())
            .header("Cookie", signed.cookies.expose());
        self.ask(waiter, &request, sending.limit, sending.sent).map_err(|failure| Failure {
            message: format!("{}: {}", sending.subject, failure.message),
            ..failure
        })
    }

    /// Over https a change must come from Superset's own pages.
    fn refer(&self, request: Request) -> Request {
        request.header("Referer", self.url("/")).header("Accept", "application/json")
    }

    fn ask(
        &self,
        waiter: Waiter<'_>,
        request: &Request,
        limit: Duration,
        sent: &(dyn Fn() + Sync),
    ) -> Result<Answer, Failure> {
        self.patient.ask(waiter, Question { request, limit, harmless: true, sent })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps everybody else from trying what has failed for good.
    fn deny(&self, message: &str) -> Failure {
        let failure = Failure::new(Outcome::Failed, message);
        self.state().denied = Some(failure.clone());
        failure
    }

    /// What is good now and not the one that was refused; whoever comes first makes it.
    fn signed(
        &self,
        waiter: Waiter<'_>,
        refused: Option<(u64, Refused)>,
    ) -> Result<Arc<Signed>, Failure> {
        if let Some(signed) = self.good(refused)? {
            return Ok(signed);
        }
        let _turn = self.gates.enter_unless(SIGN_IN, || waiter.check().is_err());
        waiter.check()?;
        if let Some(signed) = self.good(refused)? {
            return Ok(signed);
        }
        let before = self.state().signed.clone();
        let number = before.as_ref().map_or(1, |before| before.number + 1);
        let stale = refused.is_none_or(|(_, refused)| refused == Refused::Token);
        let renewed = match before.filter(|_| stale) {
            Some(before) => self.renew(waiter, &before, number)?,
            None => None,
        };
        let signed = match renewed {
            Some(signed) => signed,
            None => self.sign_in(waiter, number)?,
        };
        let signed = Arc::new(signed);
        self.state().signed = Some(Arc::clone(&signed));
        Ok(signed)
    }

    fn good(&self, refused: Option<(u64, Refused)>) -> Result<Option<Arc<Signed>>, Failure> {
        let state = self.state();
        if let Some(denied) = &state.denied {
            return Err(denied.clone());
        }
        let good = |signed: &&Arc<Signed>| {
            signed.since.elapsed() < RENEW_AFTER
                && refused.is_none_or(|(number, _)| number != signed.number)
        };
        Ok(state.signed.as_ref().filter(good).cloned())
    }

    /// The same session with a new token; none where Superset gives none.
    fn renew(
        &self,
        waiter: Waiter<'_>,
        before: &Signed,
        number: u64,
    ) -> Result<Option<Signed>, Failure> {
        let Some(renew) = &before.renew else { return Ok(None) };
        let request = Request::post(self.url("/api/v1/security/refresh"));
        let request = self.refer(request).bearer(renew.expose());
        let answer = self.ask(waiter, &request, LIMIT, &|| ())?;
        Ok(answer::text(&answer, "access_token").map(|access| Signed {
            number,
            access,
            renew: before.renew.clone(),
            csrf: before.csrf.clone(),
            cookies: before.cookies.clone(),
            since: Instant::now(),
        }))
    }

    fn sign_in(&self, waiter: Waiter<'_>, number: u64) -> Result<Signed, Failure> {
        let password = self.settings.password.read("refresh.superset.password")?;
        let body = json!({
            "username": self.settings.username,
            "password": password.expose(),
            "provider": self.settings.provider,
            "refresh": true,
        });
        let since = Instant::now();
        let request = self.refer(Request::post(self.url("/api/v1/security/login"))).json(&body);
        let answer = self.ask(waiter, &request, LIMIT, &|| ())?;
        let Some(access) = answer::text(&answer, "access_token") else {
            return Err(self.not_let_in(&answer));
        };
        let mut cookies = BTreeMap::new();
        take_cookies(&mut cookies, &answer);
        let renew = answer::text(&answer, "refresh_token");

        let request = self.refer(Request::get(self.url("/api/v1/security/csrf_token/")));
        let mut request = request.bearer(access.expose());
        if !cookies.is_empty() {
            request = request.header("Cookie", joined(&cookies));
        }
        let answer = self.ask(waiter, &request, LIMIT, &|| ())?;
        let Some(csrf) = answer::text(&answer, "result") else {
            return Err(self.no_forgery_token(&answer));
        };
        take_cookies(&mut cookies, &answer);
        let cookies = Secret::new(joined(&cookies));
        Ok(Signed { number, access, renew, csrf, cookies, since })
    }

    fn no_forgery_token(&self, answer: &Answer) -> Failure {
        match answer.status() {
            403 => self.deny("the account lacks the right `can read on SecurityRestApi`"),
            500.. => answer::unexpected("the token against forged requests", answer),
            _ => self
                .deny("Superset gives no token against forged requests: is it version 2 or later?"),
        }
    }

    fn not_let_in(&self, answer: &Answer) -> Failure {
        match answer.status() {
            401 => self.deny(
                "Superset does not let the account in: check refresh.superset.username, password \
                 and provider (db or ldap)",
            ),
            300..=399 => self.deny(
                "Superset's address leads to another one: write that one, with https where it has \
                 it, into refresh.superset.url",
            ),
            500.. => answer::unexpected("signing in", answer),
            status => self.deny(&format!(
                "no Superset lets anybody in at refresh.superset.url (status {status}): it is the \
                 address of the start page without /login or /superset",
            )),
        }
    }
}

/// Adds the cookies that an answer sets; the newest of a name counts, one without value ends it.
fn take_cookies(cookies: &mut BTreeMap<String, String>, answer: &Answer) {
    for line in answer.headers("set-cookie") {
        let pair = line.split(';').next().unwrap_or_default();
        let Some((name, value)) = pair.split_once('=') else { continue };
        let (name, value) = (name.trim(), value.trim());
        if value.is_empty() {
            cookies.remove(name);
        } else {
            cookies.insert(name.to_owned(), value.to_owned());
        }
    }
}

fn joined(cookies: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> =
        cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("; ")
}
