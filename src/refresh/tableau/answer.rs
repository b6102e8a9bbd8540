//! What an answer means: done, refused with a code, slowed down, or nothing of Tableau's at all.
//!
//! The one number that is taken out of a text is how long to wait: Tableau Cloud says it nowhere
//! else.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::xml::{self, Element};
use crate::http::Answer;
use crate::refresh::{Failure, Job, Outcome};

/// An extract refresh of the same object is queued or at work.
pub(super) const QUEUED_ALREADY: &str = "409093";
/// The object has no extract.
const NO_EXTRACT: &str = "409090";
/// The token is wrong, expired or revoked.
const BAD_TOKEN: &str = "401001";
/// A job that cannot be shown.
const HIDDEN: &str = "400031";

/// An answer, read.
pub(super) struct Reply {
    status: u16,
    root: Option<Element>,
    code: Option<String>,
    wait: Option<Duration>,
    /// Where it sends the caller to.
    pub(super) location: Option<String>,
    /// The server's time.
    pub(super) date: Option<DateTime<Utc>>,
}

impl Reply {
    /// Reads an answer.
    pub(super) fn new(answer: &Answer) -> Self {
        let root = xml::parse(answer.body()).filter(|root| root.name == "tsResponse");
        let error = root.as_ref().and_then(|root| root.child("error"));
        let code = error.and_then(|error| word(error.attribute("code")?));
        let throttled = code.as_deref().is_some_and(|code| code.starts_with("429"));
        let said = error.filter(|_| throttled).and_then(minutes);
        let date = answer.header("date").and_then(|date| DateTime::parse_from_rfc2822(date).ok());
        Self {
            status: answer.status(),
            wait: said.or_else(|| answer.retry_after()),
            location: answer.header("location").map(str::to_owned),
            date: date.map(|date| date.with_timezone(&Utc)),
            code,
            root,
        }
    }

    /// Whether the status is 200 to 299 and no error is told.
    pub(super) fn is_done(&self) -> bool {
        (200..300).contains(&self.status) && self.code.is_none()
    }

    /// The document of an answer that tells no error.
    pub(super) fn document(&self) -> Option<&Element> {
        self.root.as_ref().filter(|_| self.is_done())
    }

    /// Whether it is refused with this code.
    pub(super) fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }

    /// Whether it passes by itself, perhaps: a server in trouble, or somebody before it who answers
    /// with a page.
    pub(super) fn is_trouble(&self) -> bool {
        self.status >= 500 || self.status == 408 || (self.is_done() && self.root.is_none())
    }

    /// Whether too many requests have come.
    pub(super) fn is_throttled(&self) -> bool {
        self.status == 429 || self.code.as_deref().is_some_and(|code| code.starts_with("429"))
    }

    /// Whether the session has ended.
    pub(super) fn is_session_gone(&self) -> bool {
        match self.code.as_deref() {
            Some(code) => matches!(code, "401000" | "401002"),
            None => self.status == 401,
        }
    }

    /// Whether a job cannot be shown, though it was there.
    pub(super) fn is_hidden(&self) -> bool {
        self.is(HIDDEN) || self.status == 404 || self.document().is_some()
    }

    /// Whether it sends the caller elsewhere for good.
    pub(super) fn is_moved(&self) -> bool {
        matches!(self.status, 301 | 308)
    }

    /// Whether there is nothing of this name.
    pub(super) fn is_missing(&self) -> bool {
        self.status == 404
    }

    /// Waits as long as the server wants, at least `least`; fails at once where the time that is
    /// left is shorter.
    ///
    /// # Errors
    /// `RateLimited`, or the deadline's or a signal's.
    pub(super) fn wait_out(&self, job: &Job<'_>, least: Duration) -> Result<(), Failure> {
        let told = self.told();
        let message = format!("Tableau takes no more requests ({told})");
        match self.wait {
            Some(wait) if wait < job.left() => job.pause(wait.max(least)),
            Some(wait) => Err(Failure::rate_limited(message, wait)),
            None => Err(Failure::new(Outcome::RateLimited, message)),
        }
    }

    /// Status and code.
    pub(super) fn told(&self) -> String {
        match &self.code {
            Some(code) => format!("HTTP {}, code {code}", self.status),
            None => format!("HTTP {}", self.status),
        }
    }

    /// The refusal as a failure; `what` is what was asked for.
    pub(super) fn failure(&self, what: &str) -> Failure {
        let told = self.told();
        let code = self.code.as_deref();
        Failure::failed(match self.status {
            _ if code == Some(BAD_TOKEN) => format!(
                "Tableau refused the personal access token ({told}); it may have expired, which \
                 15 days without use are enough for, or belong to another site"
            ),
            _ if code == Some(NO_EXTRACT) => {
                format!("{what} has no extract that could be refreshed ({told})")
            }
            _ if self.is_trouble() && self.status < 300 => format!(
                "what answered is not Tableau's REST interface ({told}, but not its XML); is \
                 refresh.tableau.server right?"
            ),
            _ if self.is_trouble() => format!("Tableau is in trouble ({told})"),
            401 | 403 => format!("the token's user may not do that: {what} ({told})"),
            404 => format!("Tableau does not know {what} ({told}); are id and site right?"),
            300..=399 => format!(
                "Tableau sends the caller elsewhere ({told}); is refresh.tableau.server right?"
            ),
            _ => format!("Tableau refused it: {what} ({told})"),
        })
    }
}

/// A text that can be shown and sent back: an id or a code.
pub(super) fn word(text: &str) -> Option<String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let is_word = (1..=100).contains(&text.len()) && text.chars().all(fine);
    is_word.then(|| text.to_owned())
}

/// How many minutes a text of 429000 names: "Please retry after 29 minutes."
fn minutes(error: &Element) -> Option<Duration> {
    error.all().find_map(|part| {
        let words: Vec<&str> = part.text().split_whitespace().collect();
        words.windows(2).find_map(|pair| {
            let is_unit = pair[1].to_ascii_lowercase().starts_with("minut");
            let count = pair[0].parse::<u64>().ok().filter(|_| is_unit)?;
            Some(Duration::from_secs(count.checked_mul(60)?))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(detail: &str) -> Element {
        let text = format!("<error><summary>Zu viele</summary><detail>{detail}</detail></error>");
        xml::parse(text.as_bytes()).expect("XML")
    }

    #[test]
    fn the_minutes_are_read_out_of_the_text() {
        let said = |detail| minutes(&error(detail)).map(|wait| wait.as_secs());
        let english =
            "Too many requests for 'api.rest.refresh_extracts'. Please retry after 29 minutes.";
        assert_eq!(said(english), Some(29 * 60));
        assert_eq!(said("Retry after 1 minute"), Some(60));
        assert_eq!(said("Versuchen Sie es in 3 Minuten erneut."), Some(180));
        assert_eq!(said("29 分後に再試行"), None);
        assert_eq!(said("after 29 requests of 5 users"), None);
        assert_eq!(said("99999999999999999999 minutes"), None);
        assert_eq!(said(&format!("{} minutes", u64::MAX)), None);
    }

    #[test]
    fn only_plain_words_are_ids() {
        assert_eq!(word("2eef4225-aa0c").as_deref(), Some("2eef4225-aa0c"));
        for odd in ["", "../x", "a b", "ä", "a\r\nb", &"a".repeat(101)] {
            assert_eq!(word(odd), None, "{odd}");
        }
    }
}
