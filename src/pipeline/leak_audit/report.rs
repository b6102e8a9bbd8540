//! What the audit has looked at and what it found.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use super::search::Hit;

/// The result of an audit.
#[derive(Debug, Clone, Serialize)]
pub struct LeakReport {
    /// Whether nothing was found, and everything ended as it was to end.
    pub clean: bool,
    /// Wall time.
    pub seconds: f64,
    /// How often the program was run.
    pub runs: u64,
    /// Spellings that were looked for.
    pub spellings: u64,
    /// Places, and what was looked at there.
    pub places: Vec<PlaceReport>,
    /// Places that may hold identifiers and do: the search works.
    pub controls: Vec<PlaceReport>,
    /// Identifiers in places that may hold none.
    pub findings: Vec<LeakFinding>,
    /// Runs that did not end as they were to end: what they would have shown is not known.
    pub unexpected: Vec<String>,
    /// What could not be tried here.
    pub not_tried: Vec<String>,
    /// The folder with all that was left, where it was to be kept.
    pub kept: Option<PathBuf>,
    /// The exit code that goes with it.
    pub exit_code: u8,
}

/// A place and what was looked at there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PlaceReport {
    /// Its name.
    pub place: &'static str,
    /// Files, tables or streams.
    pub items: u64,
    pub rows: u64,
    pub bytes: u64,
    /// Identifiers in it.
    pub found: u64,
}

/// An identifier that got out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct LeakFinding {
    pub place: &'static str,
    /// Where in it: the file, or the table and its column, or the run whose output it is.
    pub at: String,
    /// What it identifies.
    pub kind: &'static str,
    pub spelling: String,
    /// The first byte of the first one.
    pub offset: u64,
    /// How many there are.
    pub times: u64,
}

/// Where identifiers may be.
pub(super) const CONTROLS: [&str; 2] = ["inputs", "quarantine --source"];

/// Places in the order in which they are reported; others follow.
const ORDER: [&str; 14] = [
    "standard output",
    "standard error",
    "command lines",
    "tables",
    "sessions",
    "dump",
    "heap and index files",
    "write-ahead log",
    "other server files",
    "server log",
    "quarantine rows",
    "data directory",
    "temporary files",
    "unnamed files",
];

/// What is known so far, from all threads.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    runs: u64,
    places: BTreeMap<&'static str, PlaceReport>,
    findings: Vec<LeakFinding>,
    unexpected: Vec<String>,
    not_tried: Vec<String>,
}

impl Tally {
    /// Notes what was looked at.
    pub(super) fn looked(
        &self,
        place: &'static str,
        at: &str,
        (rows, bytes): (u64, u64),
        hits: &[Hit],
    ) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let report = known.places.entry(place).or_default();
        report.place = place;
        report.items += 1;
        report.rows += rows;
        report.bytes += bytes;
        report.found += hits.iter().map(|hit| hit.times).sum::<u64>();
        if CONTROLS.contains(&place) {
            return;
        }
        for hit in hits {
            let (kind, spelling) = (hit.kind.name(), hit.form.clone());
            let same = known.findings.iter_mut().find(|known| {
                known.place == place
                    && known.at == at
                    && known.kind == kind
                    && known.spelling == spelling
            });
            if let Some(same) = same {
                same.times += hit.times;
                continue;
            }
            let (offset, times, at) = (hit.offset, hit.times, at.to_owned());
            known.findings.push(LeakFinding { place, at, kind, spelling, offset, times });
        }
    }

    /// Notes a run of the program.
    pub(super) fn ran(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).runs += 1;
    }

    /// Notes a run that did not end as it was to end.
    pub(super) fn unexpected(&self, what: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).unexpected.push(what);
    }

    /// Notes what could not be tried.
    pub(super) fn not_tried(&self, what: String) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.not_tried.contains(&what) {
            known.not_tried.push(what);
        }
    }

    /// Everything, as a report.
    pub(super) fn report(self, seconds: f64, spellings: u64, kept: Option<PathBuf>) -> LeakReport {
        let mut known = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        let controls = CONTROLS.iter().filter_map(|place| known.places.remove(place)).collect();
        let mut places: Vec<PlaceReport> = known.places.into_values().collect();
        let order = |report: &PlaceReport| ORDER.iter().position(|place| *place == report.place);
        places.sort_by_key(|report| order(report).unwrap_or(ORDER.len()));
        known.findings.sort();
        known.unexpected.sort();
        known.not_tried.sort();
        let exit_code = match (known.findings.is_empty(), known.unexpected.is_empty()) {
            (true, true) => 0,
            (true, false) => 1,
            (false, _) => 4,
        };
        LeakReport {
            clean: exit_code == 0,
            seconds,
            runs: known.runs,
            spellings,
            places,
            controls,
            findings: known.findings,
            unexpected: known.unexpected,
            not_tried: known.not_tried,
            kept,
            exit_code,
        }
    }
}
