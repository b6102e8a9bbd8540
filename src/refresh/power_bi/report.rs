//! The service's report on one refresh.

use std::fmt::Write as _;

use chrono::{DateTime, NaiveDateTime, Utc};
use serde_json::Value;

use super::errors::{clean, hint};
use crate::refresh::outcome::{Failure, Outcome};

/// The model was evicted from memory: worth one retry.
const EVICTED: &str = "0xC11C0020";
/// Maximum number of codes in a message.
const CODES: usize = 3;

#[derive(Debug, Clone, Default)]
pub(super) struct Report {
    /// Id in the refresh history.
    pub(super) id: Option<String>,
    /// Trigger: `ViaApi`, `ViaEnhancedApi`, `Scheduled` …
    pub(super) kind: String,
    status: String,
    extended: String,
    started: Option<DateTime<Utc>>,
    ended: Option<DateTime<Utc>>,
    has_end: bool,
    objects: Option<(usize, usize)>,
    codes: Vec<String>,
    evicted: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// With a note if the status is unknown.
    Running(Option<String>),
    Ended(Outcome),
}

/// Meaning of a status.
#[derive(Clone, Copy, PartialEq, Eq)]
enum StatusKind {
    Going,
    Ended(Outcome),
    New,
}

impl Report {
    /// Parses refresh details or a history item.
    pub(super) fn of(value: &Value) -> Self {
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let time = |name: &str| value[name].as_str().and_then(moment);
        let list = |name: &str| value[name].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut codes = Vec::new();
        let mut evicted = false;
        for message in list("messages") {
            let of_error = message["type"].as_str().is_none_or(|kind| kind != "Warning");
            if let Some(code) = message["code"].as_str().filter(|_| of_error) {
                evicted |= code.eq_ignore_ascii_case(EVICTED);
                codes.extend(clean(code));
            }
        }
        for place in std::iter::once(value).chain(list("refreshAttempts")) {
            // JSON embedded in JSON.
            let Some(inner) = place["serviceExceptionJson"].as_str() else { continue };
            evicted |= inner.to_ascii_lowercase().contains(&EVICTED.to_ascii_lowercase());
            let inner: Value = serde_json::from_str(inner).unwrap_or_default();
            codes.extend(inner["errorCode"].as_str().and_then(clean));
        }
        let mut known = std::collections::BTreeSet::new();
        codes.retain(|code| known.insert(code.clone()));
        codes.truncate(CODES);
        let objects = value["objects"].as_array().map(|objects| {
            let done = |one: &&Value| word(one["status"].as_str().unwrap_or_default()) == COMPLETED;
            (objects.iter().filter(done).count(), objects.len())
        });
        Self {
            id: value["requestId"].as_str().and_then(clean),
            kind: text("refreshType"),
            status: text("status"),
            extended: text("extendedStatus"),
            started: time("startTime"),
            ended: time("endTime"),
            has_end: value["endTime"].as_str().is_some_and(|end| !end.is_empty()),
            objects,
            codes,
            evicted,
        }
    }

    /// State from the report and the HTTP status of its response.
    pub(super) fn state(&self, http: u16) -> State {
        let words = [word(&self.extended), word(&self.status)];
        let new = [&self.extended, &self.status]
            .into_iter()
            .find(|text| word(text) == StatusKind::New)
            .map(|text| clean(text).unwrap_or_else(|| "without a name".into()));
        let note = new.map(|name| format!("its status {name} is not known here"));
        if http == 202 {
            return State::Running(note);
        }
        let ends = words.into_iter().filter_map(|word| match word {
            StatusKind::Ended(outcome) => Some(outcome),
            StatusKind::Going | StatusKind::New => None,
        });
        // A failure in either place counts.
        let end =
            ends.clone().find(|end| *end != Outcome::Succeeded).or_else(|| ends.clone().next());
        match end {
            Some(end) => State::Ended(end),
            None if self.has_end => State::Ended(Outcome::Failed),
            None => State::Running(note),
        }
    }

    /// Whether the model was evicted from memory.
    pub(super) fn was_evicted(&self) -> bool {
        self.evicted
    }

    /// "completed in 12 s, 2 of 2 objects"
    pub(super) fn success(&self) -> String {
        let mut message = "completed".to_owned();
        if let (Some(started), Some(ended)) = (self.started, self.ended) {
            let _ = write!(message, " in {} s", (ended - started).num_seconds().max(0));
        }
        if let Some((done, all)) = self.objects {
            let _ = write!(message, ", {done} of {all} objects");
        }
        message
    }

    /// Failure for an unsuccessful end.
    pub(super) fn failure(&self, id: &str, outcome: Outcome) -> Failure {
        let end = match outcome {
            Outcome::TimedOut => "it exceeded its time limit at the service",
            Outcome::Disabled => {
                "Power BI has switched refreshes of this model off; see its settings there"
            }
            Outcome::Cancelled => "it was cancelled in Power BI",
            _ if word(&self.status) == StatusKind::Going
                || word(&self.status) == StatusKind::New =>
            {
                "it ended with an unknown result"
            }
            _ => "failed",
        };
        let mut message = format!("refresh {id}: {end}");
        if !self.codes.is_empty() {
            let _ = write!(message, " ({})", self.codes.join(", "));
        }
        match self.codes.iter().find_map(|code| hint(code)) {
            Some(hint) => message.extend([": ", hint]),
            None if outcome == Outcome::Failed => {
                message += ": the model's refresh history in Power BI has the reason";
            }
            None => {}
        }
        Failure::new(outcome, message)
    }
}

const COMPLETED: StatusKind = StatusKind::Ended(Outcome::Succeeded);

/// Parses a status, case-insensitively, including the spellings of older API versions.
fn word(status: &str) -> StatusKind {
    match status.to_ascii_lowercase().as_str() {
        "completed" | "succeeded" => COMPLETED,
        "failed" => StatusKind::Ended(Outcome::Failed),
        "timedout" => StatusKind::Ended(Outcome::TimedOut),
        "disabled" => StatusKind::Ended(Outcome::Disabled),
        "cancelled" | "canceled" => StatusKind::Ended(Outcome::Cancelled),
        "" | "unknown" | "notstarted" | "inprogress" => StatusKind::Going,
        _ => StatusKind::New,
    }
}

/// Parses a timestamp: with a zone in the history, in UTC without a zone in the details.
fn moment(text: &str) -> Option<DateTime<Utc>> {
    let with_zone = DateTime::parse_from_rfc3339(text).map(|time| time.to_utc());
    let without = || NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f");
    with_zone.or_else(|_| without().map(|time| time.and_utc())).ok()
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
