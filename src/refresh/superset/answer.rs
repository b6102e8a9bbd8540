//! Interprets Superset's responses. Its messages are not passed on: they quote queries and rows.

use serde_json::Value;

use crate::http::Answer;
use crate::refresh::outcome::Failure;
use crate::refresh::retry;
use crate::secret::value::Secret;

pub(super) const NO_PERMISSION: &str = "the account has no permission `can warm up cache on Chart`";

/// Why a new sign-in is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// The token has expired or is unknown.
    Token,
    /// Invalid cookie or CSRF token, or an HTML page.
    Session,
}

impl Refused {
    pub(super) fn of(answer: &Answer) -> Option<Self> {
        let json = answer.json();
        match answer.status() {
            401 => Some(Self::Token),
            // Superset's own errors have `message`, token errors `msg`.
            422 if json.as_ref().is_some_and(|body| body.get("msg").is_some()) => Some(Self::Token),
            300..=399 => Some(Self::Session),
            200..=299 if json.is_none() => Some(Self::Session),
            400 if answer.text().contains("CSRF") => Some(Self::Session),
            _ => None,
        }
    }
}

/// A secret field of a success response.
pub(super) fn text(answer: &Answer, field: &str) -> Option<Secret> {
    let body = answer.json().filter(|_| answer.is_success())?;
    let text = body.get(field)?.as_str().filter(|text| !text.is_empty())?;
    // Used in a header.
    text.bytes().all(|byte| (0x21..0x7f).contains(&byte)).then(|| Secret::new(text))
}

/// The `result` of a success response.
pub(super) fn result(answer: &Answer) -> Option<Value> {
    answer.json().filter(|_| answer.is_success())?.get_mut("result").map(Value::take)
}

/// Checks that a warmed chart shows the new data; `subject` names it in the failure.
pub(super) fn warmed(subject: &str, chart: u64, answer: &Answer) -> Result<(), Failure> {
    match answer.status() {
        200..=299 => {}
        404 => {
            return Err(Failure::failed(format!("{subject}: Superset has no such chart any more")));
        }
        403 => {
            return Err(Failure::failed(NO_PERMISSION).about(subject));
        }
        _ => return Err(unexpected(subject, answer)),
    }
    let items = result(answer);
    let item = items.as_ref().and_then(Value::as_array).and_then(|items| {
        items.iter().find(|item| item.get("chart_id").and_then(Value::as_u64) == Some(chart))
    });
    let Some(error) = item.and_then(|item| item.get("viz_error")) else {
        return Err(Failure::failed(format!("{subject}: Superset does not report a result")));
    };
    let status = item.and_then(|item| item.get("viz_status")).unwrap_or(&Value::Null);
    // Multi-layer charts have neither.
    let went_well = status.is_null() || status.as_str() == Some("success");
    match error {
        Value::Null if went_well => Ok(()),
        // A fixed Superset message: matched, but not passed on.
        Value::String(text) if text.contains("query context does not exist") => {
            Err(Failure::failed(format!(
                "{subject} has no saved query: open it in Superset and save it once"
            )))
        }
        _ => Err(Failure::failed(format!(
            "{subject}: its query fails; open it in Superset to see why"
        ))),
    }
}

/// Checks that a dataset's columns were refreshed.
pub(super) fn reread(subject: &str, answer: &Answer) -> Result<(), Failure> {
    let message = match answer.status() {
        200..=299 => return Ok(()),
        403 => "only its owners may have its columns read again: make the account one of them",
        404 => "Superset has no such dataset, or the account may not see it",
        422 => "its columns cannot be read: is its table gone, or its database not reachable?",
        _ => return Err(unexpected(subject, answer)),
    };
    Err(Failure::failed(format!("{subject}: {message}")))
}

/// The `result` of a read; `right` names the required permission.
pub(super) fn found(subject: &str, right: &str, answer: &Answer) -> Result<Value, Failure> {
    match answer.status() {
        403 => Err(Failure::failed(format!(
            "{subject}: the account may not see it (`can read on {right}`, and the dashboard's \
             roles or datasets)"
        ))),
        404 => Err(Failure::failed(format!(
            "{subject}: Superset has none, or the account may not see it (a draft is shown to its \
             owners only)"
        ))),
        _ => result(answer).ok_or_else(|| unexpected(subject, answer)),
    }
}

/// Failure for an unexpected response, without its text.
pub(super) fn unexpected(subject: &str, answer: &Answer) -> Failure {
    retry::status("Superset", answer).about(subject)
}
