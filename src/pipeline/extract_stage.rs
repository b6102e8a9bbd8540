//! `extract.extract_claims` and `extract.extract_providers`: locates, checks and fingerprints the
//! sources.

use super::run_context::RunContext;
use super::task_runner::Outcome;
use crate::error::{Error, Result};
use crate::extract::{self, Extracted};
use crate::failpoint;
use crate::schema::Dataset;

/// The inputs of a run.
pub(crate) struct Inputs {
    pub(crate) claims: Extracted,
    pub(crate) providers: Extracted,
}

impl Inputs {
    pub(crate) fn fingerprint(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.claims.fingerprint.as_bytes());
        hasher.update(self.providers.fingerprint.as_bytes());
        hasher.finalize().to_hex().to_string()
    }
}

/// Runs one of the two extract tasks.
pub(crate) fn extract(context: &RunContext<'_>, dataset: Dataset) -> Result<Outcome<Extracted>> {
    let extracted = extract::extract(dataset, context.settings, context.cancel)?;
    for warning in &extracted.warnings {
        context.warn(warning.clone());
    }
    if let Some(ignored) = extracted.not_loaded() {
        context.note(format!("{dataset}: {ignored}"));
    }
    if let Some(name) = &extracted.line_column {
        context.note(format!(
            "{dataset}: line_number is read from column \"{name}\", which numbers the lines of each claim \
             (line_number = \"\" in [claims.columns] reads it from nowhere)"
        ));
    }
    if let Some(note) = extracted.left_out.note() {
        context.note(format!("{dataset}: {note}"));
    }
    failpoint::hit("extract.done")?;
    let result = json(&extracted)?;
    Ok(Outcome::Done { value: extracted, result })
}

/// An input as stored in the ledger.
pub(super) fn json(input: &Extracted) -> Result<serde_json::Value> {
    serde_json::to_value(input).map_err(|_| Error::internal("an input cannot be written as JSON"))
}
