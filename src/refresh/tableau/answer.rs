//! Interprets responses: success, error code, throttled, or not from Tableau.
//!
//! The only text parsed is the retry delay, which Tableau Cloud gives nowhere else.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::document::{self, Response};
use crate::http::Answer;
use crate::refresh::job::Job;
use crate::refresh::outcome::{Failure, Outcome};

/// An extract refresh of the same object is queued or running.
pub(super) const QUEUED_ALREADY: &str = "409093";
/// The object has no extract.
const NO_EXTRACT: &str = "409090";
/// The token is invalid, expired or revoked.
const BAD_TOKEN: &str = "401001";
/// The job cannot be shown.
const HIDDEN: &str = "400031";

/// A parsed response.
pub(super) struct Reply {
    status: u16,
    root: Option<Response>,
    code: Option<String>,
    wait: Option<Duration>,
    /// Redirect target.
    pub(super) location: Option<String>,
    /// Server time.
    pub(super) date: Option<DateTime<Utc>>,
}

impl Reply {
    pub(super) fn new(answer: &Answer) -> Self {
        let root = document::parse(answer.body());
        let error = root.as_ref().and_then(|root| root.error.as_ref());
        let code = error.and_then(|error| word(error.code.as_deref()?));
        let is_throttled = code.as_deref().is_some_and(|code| code.starts_with("429"));
        let minutes = error.filter(|_| is_throttled).and_then(|error| {
            [&error.summary, &error.detail].into_iter().flatten().find_map(|text| minutes(text))
        });
        let date = answer.header("date").and_then(|date| DateTime::parse_from_rfc2822(date).ok());
        Self {
            status: answer.status(),
            wait: minutes.or_else(|| answer.retry_after()),
            location: answer.header("location").map(str::to_owned),
            date: date.map(|date| date.with_timezone(&Utc)),
            code,
            root,
        }
    }

    /// Whether the status is 2xx and there is no error code.
    pub(super) fn is_done(&self) -> bool {
        (200..300).contains(&self.status) && self.code.is_none()
    }

    /// The document of a success response.
    pub(super) fn document(&self) -> Option<&Response> {
        self.root.as_ref().filter(|_| self.is_done())
    }

    /// Whether the error has this code.
    pub(super) fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }

    /// Whether a retry may succeed: a server error, or an HTML page from a proxy.
    pub(super) fn is_transient(&self) -> bool {
        self.status >= 500 || self.status == 408 || (self.is_done() && self.root.is_none())
    }

    pub(super) fn is_throttled(&self) -> bool {
        self.status == 429 || self.code.as_deref().is_some_and(|code| code.starts_with("429"))
    }

    pub(super) fn is_session_gone(&self) -> bool {
        match self.code.as_deref() {
            Some(code) => matches!(code, "401000" | "401002"),
            None => self.status == 401,
        }
    }

    /// Whether a known job cannot be shown.
    pub(super) fn is_hidden(&self) -> bool {
        self.is(HIDDEN) || self.status == 404 || self.document().is_some()
    }

    pub(super) fn is_moved(&self) -> bool {
        matches!(self.status, 301 | 308)
    }

    pub(super) fn is_missing(&self) -> bool {
        self.status == 404
    }

    /// Waits as long as the server asks, at least `least`; fails immediately if that exceeds the
    /// remaining time.
    ///
    /// # Errors
    /// `RateLimited`, `TimedOut` or `Cancelled`.
    pub(super) fn wait_out(&self, job: &Job<'_>, least: Duration) -> Result<(), Failure> {
        let message = format!("Tableau takes no more requests ({})", self.status_and_code());
        match self.wait {
            Some(wait) if wait < job.left() => job.pause(wait.max(least)),
            Some(wait) => Err(Failure::rate_limited(message, wait)),
            None => Err(Failure::new(Outcome::RateLimited, message)),
        }
    }

    pub(super) fn status_and_code(&self) -> String {
        match &self.code {
            Some(code) => format!("HTTP {}, code {code}", self.status),
            None => format!("HTTP {}", self.status),
        }
    }

    /// Converts the error to a failure; `what` names the request.
    pub(super) fn failure(&self, what: &str) -> Failure {
        let status = self.status_and_code();
        let code = self.code.as_deref();
        Failure::failed(match self.status {
            _ if code == Some(BAD_TOKEN) => format!(
                "Tableau refused the personal access token ({status}); it may have expired (15 days \
                 without use are enough), or belong to another site"
            ),
            _ if code == Some(NO_EXTRACT) => {
                format!("{what} has no extract that could be refreshed ({status})")
            }
            _ if self.is_transient() && self.status < 300 => format!(
                "what answered is not Tableau's REST interface ({status}, but not its XML); is \
                 refresh.tableau.server right?"
            ),
            _ if self.is_transient() => format!("Tableau has a server error ({status})"),
            401 | 403 => format!("the token's user may not do that: {what} ({status})"),
            404 => format!("Tableau does not know {what} ({status}); are id and site right?"),
            300..=399 => format!(
                "Tableau redirects to another address ({status}); is refresh.tableau.server right?"
            ),
            _ => format!("Tableau refused {what} ({status})"),
        })
    }
}

/// The text if it is safe to show and send: an id or a code.
pub(super) fn word(text: &str) -> Option<String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let is_word = (1..=100).contains(&text.len()) && text.chars().all(fine);
    is_word.then(|| text.to_owned())
}

/// The delay in the text of error 429000: "Please retry after 29 minutes."
fn minutes(text: &str) -> Option<Duration> {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.windows(2).find_map(|pair| {
        let is_unit = pair[1].to_ascii_lowercase().starts_with("minut");
        let count = pair[0].parse::<u64>().ok().filter(|_| is_unit)?;
        Some(Duration::from_secs(count.checked_mul(60)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minutes_are_read_out_of_the_text() {
        let seconds = |detail: &str| minutes(detail).map(|wait| wait.as_secs());
        let english =
            "Too many requests for 'api.rest.refresh_extracts'. Please retry after 29 minutes.";
        assert_eq!(seconds(english), Some(29 * 60));
        assert_eq!(seconds("Retry after 1 minute"), Some(60));
        assert_eq!(seconds("Versuchen Sie es in 3 Minuten erneut."), Some(180));
        assert_eq!(seconds("29 分後に再試行"), None);
        assert_eq!(seconds("after 29 requests of 5 users"), None);
        assert_eq!(seconds("99999999999999999999 minutes"), None);
        assert_eq!(seconds(&format!("{} minutes", u64::MAX)), None);
    }

    #[test]
    fn only_plain_words_are_ids() {
        assert_eq!(word("2eef4225-aa0c").as_deref(), Some("2eef4225-aa0c"));
        for odd in ["", "../x", "a b", "ä", "a\r\nb", &"a".repeat(101)] {
            assert_eq!(word(odd), None, "{odd}");
        }
    }
}
