//! The report of a verification.

use serde::Serialize;

use crate::commands::verify::checksum::Checksum;
use crate::commands::verify::tables::{Example, RowCounts};
use crate::error::ErrorKind;

/// How a part of the verification ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As the run had it.
    Equal,
    /// Not as the run had it.
    Differs,
    /// There was nothing to compare with.
    NotCompared,
}

/// One thing that was compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Compared {
    /// What: `input`, `account`, `claims` or `providers`.
    pub what: &'static str,
    /// How it ended.
    pub verdict: Verdict,
    /// The same for people.
    pub(crate) detail: String,
    /// What differs: files, or counts of the ledger.
    pub differences: Vec<String>,
}

/// Checksums of the claims, see [`crate::commands::verify::claims::Claims::checksums`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Checksums {
    /// Of the rows that the sources give.
    pub sources: Checksum,
    /// Of what is published at their keys.
    pub table: Checksum,
}

/// A run, verified.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verification {
    /// The run whose rows were verified.
    pub run_id: String,
    /// The run that was named, where that had found its input loaded already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested: Option<String>,
    /// Whether everything is as the run had it.
    pub equal: bool,
    pub compared: Vec<Compared>,
    /// The claims' rows; null where they were not compared.
    pub claims: Option<RowCounts>,
    /// The providers' rows; null where they were not compared.
    pub providers: Option<RowCounts>,
    /// The claims' checksums; null where they were not compared.
    pub checksums: Option<Checksums>,
    /// The first rows that differ, at most 20 a table.
    pub examples: Vec<Example>,
    /// What may be why something differs.
    pub notes: Vec<String>,
    /// Wall time.
    pub(crate) seconds: f64,
    /// The process' exit code.
    #[serde(skip)]
    pub exit_code: u8,
}

impl Verification {
    /// A verification in which nothing was compared yet.
    pub(crate) fn new(run_id: &str) -> Self {
        Self {
            run_id: run_id.to_owned(),
            requested: None,
            equal: true,
            compared: Vec::new(),
            claims: None,
            providers: None,
            checksums: None,
            examples: Vec::new(),
            notes: Vec::new(),
            seconds: 0.0,
            exit_code: 0,
        }
    }

    /// Adds a thing that was compared.
    pub(crate) fn add(&mut self, what: &'static str, detail: String, differences: Vec<String>) {
        let verdict = if differences.is_empty() { Verdict::Equal } else { Verdict::Differs };
        self.push(Compared { what, verdict, detail, differences });
    }

    /// Adds what could not be compared, and why.
    pub(crate) fn skip(&mut self, what: &'static str, why: String) {
        let verdict = Verdict::NotCompared;
        self.push(Compared { what, verdict, detail: why, differences: Vec::new() });
    }

    /// Adds the rows of a table.
    pub(crate) fn add_rows(&mut self, what: &'static str, counts: RowCounts) {
        let verdict = if counts.agree() { Verdict::Equal } else { Verdict::Differs };
        let detail = match (counts.superseded, counts.agree()) {
            (0, true) => "every row is published as the sources give it".to_owned(),
            (_, true) => "every row that no later run has written is as the sources give it".into(),
            (_, false) => "rows differ from what the sources give".into(),
        };
        self.push(Compared { what, verdict, detail, differences: Vec::new() });
    }

    fn push(&mut self, compared: Compared) {
        if compared.verdict != Verdict::Equal {
            self.equal = false;
            self.exit_code = ErrorKind::Quality.exit_code();
        }
        self.compared.push(compared);
    }
}
