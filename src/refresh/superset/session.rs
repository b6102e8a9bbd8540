//! A Superset session shared by all targets: sign-in, renewal, requests.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::Mutex;

use super::answer::{self, Refused};
use crate::config::Superset;
use crate::http::{Answer, Request};
use crate::refresh::deadline::Deadline;
use crate::refresh::outcome::Failure;
use crate::refresh::retry::{self, Call};
use crate::secret::value::Secret;

/// Tokens are valid for 15 minutes by default; renew earlier.
const RENEW_AFTER: Duration = Duration::from_mins(12);
/// Timeout of requests other than chart queries.
pub(super) const LIMIT: Duration = Duration::from_mins(1);

/// A session, opened on first use.
pub(super) struct Session {
    settings: Superset,
    url: String,
    http: retry::Server,
    /// Locked during sign-in.
    tokens: Mutex<Option<Arc<Tokens>>>,
    /// Set when sign-in must not be retried: repeated wrong passwords lock the account.
    denied: StdMutex<Option<Failure>>,
}

struct Tokens {
    number: u64,
    access: Secret,
    renew: Option<Secret>,
    csrf: Secret,
    cookies: Secret,
    since: Instant,
}

impl Session {
    pub(super) fn new(settings: &Superset) -> Self {
        Self {
            settings: settings.clone(),
            url: settings.url.trim_end_matches('/').to_owned(),
            http: retry::Server::new("Superset"),
            tokens: Mutex::default(),
            denied: StdMutex::default(),
        }
    }

    /// URL of `path`.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Reads `path`; `subject` names it in failures.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub(super) async fn read(
        &self,
        deadline: &Deadline,
        subject: &str,
        path: &str,
    ) -> Result<Answer, Failure> {
        let request = Request::get(self.url(path));
        self.send(deadline, subject, &request, LIMIT, &AtomicU32::new(0)).await
    }

    /// Sends an idempotent request, and once more with a new session if this one is rejected.
    ///
    /// # Errors
    /// Without an answer or a session.
    pub(super) async fn send(
        &self,
        deadline: &Deadline,
        subject: &str,
        request: &Request,
        limit: Duration,
        sent: &AtomicU32,
    ) -> Result<Answer, Failure> {
        let mut refused = None;
        for _ in 0..2 {
            let tokens = self.tokens(deadline, refused).await?;
            let signed = self
                .refer(request.clone())
                .bearer(tokens.access.expose())
                .header("X-CSRFToken", tokens.csrf.expose())
                .header("Cookie", tokens.cookies.expose());
            let answer = self.exchange(deadline, &signed, limit, sent).await;
            let answer = answer.map_err(|failure| failure.about(subject))?;
            match Refused::of(&answer) {
                None => return Ok(answer),
                Some(why) => refused = Some((tokens.number, why)),
            }
        }
        Err(self.deny(
            "Superset does not accept the session that it has just given: does a proxy drop \
             cookies or headers, and is refresh.superset.url the address that browsers use?",
        ))
    }

    /// Adds the referer that Superset requires for changes over https.
    fn refer(&self, request: Request) -> Request {
        request.header("Referer", self.url("/")).header("Accept", "application/json")
    }

    async fn exchange(
        &self,
        deadline: &Deadline,
        request: &Request,
        limit: Duration,
        sent: &AtomicU32,
    ) -> Result<Answer, Failure> {
        self.http.send(deadline, Call { request, limit, is_idempotent: true, sent }).await
    }

    /// Prevents further sign-in attempts after a permanent failure.
    fn deny(&self, message: &str) -> Failure {
        let failure = Failure::failed(message);
        let mut denied = self.denied.lock().unwrap_or_else(PoisonError::into_inner);
        *denied = Some(failure.clone());
        failure
    }

    /// Valid tokens other than the rejected ones; the first caller fetches them, the others wait.
    async fn tokens(
        &self,
        deadline: &Deadline,
        refused: Option<(u64, Refused)>,
    ) -> Result<Arc<Tokens>, Failure> {
        let mut held = deadline.wait(self.tokens.lock()).await?;
        if let Some(denied) = &*self.denied.lock().unwrap_or_else(PoisonError::into_inner) {
            return Err(denied.clone());
        }
        let is_valid = |tokens: &&Arc<Tokens>| {
            tokens.since.elapsed() < RENEW_AFTER
                && refused.is_none_or(|(number, _)| number != tokens.number)
        };
        if let Some(tokens) = held.as_ref().filter(is_valid) {
            return Ok(Arc::clone(tokens));
        }
        let number = held.as_ref().map_or(1, |before| before.number + 1);
        let can_renew = refused.is_none_or(|(_, refused)| refused == Refused::Token);
        let renewed = match held.as_ref().filter(|_| can_renew) {
            Some(before) => self.renew(deadline, before, number).await?,
            None => None,
        };
        let tokens = match renewed {
            Some(tokens) => tokens,
            None => self.sign_in(deadline, number).await?,
        };
        Ok(Arc::clone(held.insert(Arc::new(tokens))))
    }

    /// The same session with a new access token; `None` if Superset does not issue one.
    async fn renew(
        &self,
        deadline: &Deadline,
        before: &Tokens,
        number: u64,
    ) -> Result<Option<Tokens>, Failure> {
        let Some(renew) = &before.renew else { return Ok(None) };
        let request = Request::post(self.url("/api/v1/security/refresh"));
        let request = self.refer(request).bearer(renew.expose());
        let answer = self.exchange(deadline, &request, LIMIT, &AtomicU32::new(0)).await?;
        Ok(answer::text(&answer, "access_token").map(|access| Tokens {
            number,
            access,
            renew: before.renew.clone(),
            csrf: before.csrf.clone(),
            cookies: before.cookies.clone(),
            since: Instant::now(),
        }))
    }

    async fn sign_in(&self, deadline: &Deadline, number: u64) -> Result<Tokens, Failure> {
        let password = self.settings.password.read("refresh.superset.password")?;
        let body = json!({
            "username": self.settings.username,
            "password": password.expose(),
            "provider": self.settings.provider,
            "refresh": true,
        });
        let since = Instant::now();
        let request = self.refer(Request::post(self.url("/api/v1/security/login"))).json(&body);
        let answer = self.exchange(deadline, &request, LIMIT, &AtomicU32::new(0)).await?;
        let Some(access) = answer::text(&answer, "access_token") else {
            return Err(self.sign_in_refused(&answer));
        };
        let mut cookies = BTreeMap::new();
        take_cookies(&mut cookies, &answer);
        let renew = answer::text(&answer, "refresh_token");

        let request = self.refer(Request::get(self.url("/api/v1/security/csrf_token/")));
        let mut request = request.bearer(access.expose());
        if !cookies.is_empty() {
            request = request.header("Cookie", joined(&cookies));
        }
        let answer = self.exchange(deadline, &request, LIMIT, &AtomicU32::new(0)).await?;
        let Some(csrf) = answer::text(&answer, "result") else {
            return Err(self.no_csrf_token(&answer));
        };
        take_cookies(&mut cookies, &answer);
        let cookies = Secret::new(joined(&cookies));
        Ok(Tokens { number, access, renew, csrf, cookies, since })
    }

    fn no_csrf_token(&self, answer: &Answer) -> Failure {
        match answer.status() {
            403 => self.deny("the account has no permission `can read on SecurityRestApi`"),
            500.. => answer::unexpected("the CSRF token", answer),
            _ => self.deny("Superset gives no CSRF token: is it version 2 or later?"),
        }
    }

    fn sign_in_refused(&self, answer: &Answer) -> Failure {
        match answer.status() {
            401 => self.deny(
                "Superset refuses the sign-in: check refresh.superset.username, password and \
                 provider (db or ldap)",
            ),
            300..=399 => self.deny(
                "Superset redirects to another address: set refresh.superset.url to that one, with \
                 https where it has it",
            ),
            500.. => answer::unexpected("signing in", answer),
            status => self.deny(&format!(
                "there is no sign-in of Superset at refresh.superset.url (status {status}): it is \
                 the address of the start page without /login or /superset",
            )),
        }
    }
}

/// Applies a response's cookies; the last of a name wins, an empty one deletes it.
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
