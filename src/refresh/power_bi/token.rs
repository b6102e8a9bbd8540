//! Access token of the service principal: fetched once, shared by all models, renewed before it
//! expires.
//!
//! See "Microsoft identity platform and the OAuth 2.0 client credentials flow".

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use chrono::Utc;
use serde_json::Value;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout;

use super::assertion::assertion;
use super::errors::{clean, is_page};
use crate::config::PowerBi;
use crate::error::{Error, ErrorKind};
use crate::http::{Answer, Backoff, Request, SendError, escape, runtime};
use crate::refresh::job::Job;
use crate::refresh::outcome::{Failure, Outcome};
use crate::secret::source::SecretSource;
use crate::secret::value::Secret;

/// Timeout of one request.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Timeout of one request after the deadline or cancellation.
const LAST_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum attempts while the server does not answer.
const TRIES: u32 = 8;
/// A token is renewed this long before it expires.
const MARGIN: Duration = Duration::from_mins(5);
/// How long a rejection applies to all models.
const REFUSED_FOR: Duration = Duration::from_secs(30);

pub(super) struct Session {
    url: String,
    scope: String,
    client: String,
    proof: Proof,
    /// Locked while a token is fetched.
    state: Mutex<State>,
}

/// Authentication method.
enum Proof {
    Secret(SecretSource),
    Certificate { certificate: PathBuf, key: SecretSource },
    Federated(SecretSource),
}

#[derive(Default)]
struct State {
    token: Option<(Secret, Instant)>,
    refused: Option<(Failure, Instant)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// Until the deadline or cancellation.
    InTime,
    /// Shortly after it, for cleanup.
    Late,
}

impl Session {
    pub(super) fn new(settings: &PowerBi) -> Self {
        let login = settings.login_url.trim_end_matches('/');
        let proof = match &settings.certificate {
            Some(certificate) => Proof::Certificate {
                certificate: certificate.clone(),
                key: settings.private_key.clone(),
            },
            None if settings.federated_token.is_named() => {
                Proof::Federated(settings.federated_token.clone())
            }
            None => Proof::Secret(settings.client_secret.clone()),
        };
        Self {
            url: format!("{login}/{}/oauth2/v2.0/token", escape(&settings.tenant)),
            scope: settings.scope.clone(),
            client: settings.client_id.clone(),
            proof,
            state: Mutex::default(),
        }
    }

    /// A valid token, fetched if necessary.
    pub(super) fn token(&self, job: &Job<'_>, when: When) -> Result<Secret, Failure> {
        let mut state = self.lock(job, when)?;
        if let Some((token, until)) = &state.token
            && Instant::now() < *until
        {
            return Ok(token.clone());
        }
        if let Some((failure, until)) = &state.refused
            && Instant::now() < *until
        {
            return Err(failure.clone());
        }
        let answer = self.fetch(job, when)?;
        if !answer.is_success() {
            let failure = refusal(&answer);
            state.refused = Some((failure.clone(), Instant::now() + REFUSED_FOR));
            return Err(failure);
        }
        let (token, valid_for) = read(&answer).ok_or_else(|| {
            let what = if is_page(&answer) { "a page" } else { "something" };
            Failure::failed(format!(
                "the token endpoint answered with {what} without a token; is \
                 refresh.power_bi.login_url right, is there a proxy in between?"
            ))
        })?;
        let until = Instant::now() + valid_for.saturating_sub(MARGIN);
        *state = State { token: Some((token.clone(), until)), refused: None };
        Ok(token)
    }

    /// Discards a rejected token, unless it has already been replaced.
    pub(super) fn forget(&self, token: &Secret, job: &Job<'_>, when: When) -> Result<(), Failure> {
        let mut state = self.lock(job, when)?;
        if state.token.as_ref().is_some_and(|(held, _)| held == token) {
            state.token = None;
        }
        Ok(())
    }

    fn lock(&self, job: &Job<'_>, when: When) -> Result<MutexGuard<'_, State>, Failure> {
        match when {
            When::InTime => job.wait(self.state.lock()),
            When::Late => runtime()?
                .block_on(async { timeout(LAST_TIMEOUT, self.state.lock()).await })
                .map_err(|_| Failure::failed("there was no time for a token")),
        }
    }

    /// Sends the request until the response is final, such as a rejection.
    fn fetch(&self, job: &Job<'_>, when: When) -> Result<Answer, Failure> {
        let mut backoff = Backoff::default();
        for attempt in 1.. {
            // Rebuilt each time: the assertion expires, and its file may have been replaced.
            let request = self.request()?;
            let why = match send(job, when, &request, TIMEOUT) {
                Ok(answer) if !matches!(answer.status(), 408 | 500..) => return Ok(answer),
                Ok(answer) => format!("it answered {}", answer.status()),
                Err(lost) => lost.to_string(),
            };
            if when == When::Late || attempt == TRIES {
                return Err(Failure::failed(format!(
                    "the token endpoint cannot be reached: {why}; is refresh.power_bi.login_url \
                     right, is the network up?"
                )));
            }
            job.pause(backoff.wait())?;
        }
        Err(Failure::failed("the token endpoint cannot be reached"))
    }

    fn request(&self) -> Result<Request, Error> {
        let proof = match &self.proof {
            Proof::Secret(secret) => secret.read("refresh.power_bi.client_secret")?,
            Proof::Federated(token) => token.read("refresh.power_bi.federated_token")?,
            Proof::Certificate { certificate, key } => {
                let key = key.read("refresh.power_bi.private_key")?;
                let text = fs::read_to_string(certificate)
                    .map_err(|error| Error::io(ErrorKind::Config, certificate, &error))?;
                assertion(&text, &key, &self.url, &self.client, Utc::now().timestamp())?
            }
        };
        let mut form = vec![
            ("client_id", self.client.as_str()),
            ("scope", self.scope.as_str()),
            ("grant_type", "client_credentials"),
        ];
        match self.proof {
            Proof::Secret(_) => form.push(("client_secret", proof.expose())),
            Proof::Certificate { .. } | Proof::Federated(_) => {
                let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
                form.push(("client_assertion_type", kind));
                form.push(("client_assertion", proof.expose()));
            }
        }
        Ok(Request::post(&self.url).header("Accept", "application/json").form(&form))
    }
}

pub(super) fn send(
    job: &Job<'_>,
    when: When,
    request: &Request,
    limit: Duration,
) -> Result<Answer, SendError> {
    match when {
        When::InTime => job.send(request, limit),
        When::Late => Job::send_late(request, limit.min(LAST_TIMEOUT)),
    }
}

/// The token and its validity.
fn read(answer: &Answer) -> Option<(Secret, Duration)> {
    let body = answer.json()?;
    let token = body["access_token"].as_str().filter(|token| !token.is_empty())?;
    let seconds = &body["expires_in"];
    let seconds = seconds.as_u64().or_else(|| seconds.as_str()?.parse().ok()).unwrap_or(0);
    Some((Secret::new(token), Duration::from_secs(seconds)))
}

/// Failure for a rejected request; not retried, because that could lock the principal.
fn refusal(answer: &Answer) -> Failure {
    let body = answer.json().unwrap_or_default();
    let number = body["error_codes"][0].as_u64().or_else(|| number_in(&body));
    let mut names: Vec<String> = body["error"].as_str().and_then(clean).into_iter().collect();
    names.extend(number.map(|number| format!("AADSTS{number}")));
    let mut message = format!("the token endpoint answered {}", answer.status());
    if !names.is_empty() {
        let _ = write!(message, " ({})", names.join(", "));
    }
    if let Some(hint) = hint(number, answer.status()) {
        message.extend([": ", hint]);
    }
    if let Some(trace) = body["trace_id"].as_str().and_then(clean) {
        message.extend(["; trace id ", &trace]);
    }
    match (answer.status(), answer.retry_after()) {
        (429, Some(wait)) => Failure::rate_limited(message, wait),
        (429, None) => Failure::new(Outcome::RateLimited, message),
        _ => Failure::failed(message),
    }
}

/// The number in "AADSTS7000215: …".
fn number_in(body: &Value) -> Option<u64> {
    let rest = body["error_description"].as_str()?.strip_prefix("AADSTS")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn hint(number: Option<u64>, status: u16) -> Option<&'static str> {
    Some(match number {
        Some(7_000_215) => "the client secret is wrong; use the secret's value, not its id",
        Some(7_000_222) => "the client secret has expired; create a new one in Entra",
        Some(700_016) => {
            "the tenant has no such application; check refresh.power_bi.client_id and tenant"
        }
        Some(90_002 | 900_023 | 90_013) => "there is no such tenant; check refresh.power_bi.tenant",
        Some(70_011 | 1_002_012 | 500_011) => "check refresh.power_bi.scope",
        Some(700_027) => {
            "the certificate is not the application's; upload it in Entra, and see that the \
             private key belongs to it"
        }
        Some(700_024) => "the assertion is not valid at this time; is this machine's clock right?",
        Some(70_021 | 700_211..=700_213) => {
            "the application has no federated credential for this token; compare issuer, subject \
             and audience in Entra"
        }
        Some(53_003) => "a conditional access policy blocks the service principal",
        _ if (300..400).contains(&status) => {
            "a redirect, which is not followed; is refresh.power_bi.login_url right?"
        }
        _ => return None,
    })
}
