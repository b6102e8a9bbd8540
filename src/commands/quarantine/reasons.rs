//! Lists rejects without reading the records: by run, by reason.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::config::Settings;
use crate::error::{Error, Result};
use crate::event::RunId;
use crate::quarantine;
use crate::quarantine::{Reason, Rejects, StoredRejects};
use crate::totals::Example;

/// Maximum example records per reason.
const EXAMPLES: usize = 3;

/// The rejects of a run.
///
/// # Errors
/// `Config` when the run has no quarantine.
pub fn quarantine(settings: &Settings, run: RunId) -> Result<Rejects> {
    quarantine::read(&settings.quarantine_dir(), run)
}

/// Runs with stored rejects, latest first.
///
/// # Errors
/// `Config` when the folder cannot be read.
pub(crate) fn kept_quarantines(settings: &Settings) -> Result<Vec<StoredRejects>> {
    quarantine::list(&settings.quarantine_dir())
}

/// Deletes the rejects of runs that started before a time, and returns them. `dry_run`: deletes
/// nothing.
///
/// # Errors
/// `Config` when the folder cannot be read or a file cannot be deleted.
pub(crate) fn prune(
    settings: &Settings,
    before: DateTime<Utc>,
    dry_run: bool,
) -> Result<Vec<StoredRejects>> {
    quarantine::prune(&settings.quarantine_dir(), before, dry_run)
}

/// The latest run with stored rejects.
///
/// # Errors
/// `Config` when there is none.
pub(crate) fn latest_quarantine(settings: &Settings) -> Result<RunId> {
    let kept = kept_quarantines(settings)?;
    kept.first().map(|kept| kept.run_id).ok_or_else(|| {
        Error::config(format!("no rejects are kept in {}", settings.quarantine_dir().display()))
            .hint("a run without rejects has no file; --data-dir names another data directory")
    })
}

/// Rejects with one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ReasonCount {
    #[serde(flatten)]
    pub(crate) why: Reason,
    pub(crate) records: u64,
    /// First records.
    pub(crate) examples: Vec<Example>,
}

/// Rejects by reason, most frequent first.
#[must_use]
pub(crate) fn by_reason(rejects: &Rejects) -> Vec<ReasonCount> {
    let mut counts: Vec<ReasonCount> = Vec::new();
    for reject in rejects.iter() {
        let index = counts.iter().position(|count| count.why == *reject.why).unwrap_or_else(|| {
            let why = reject.why.clone();
            counts.push(ReasonCount { why, records: 0, examples: Vec::new() });
            counts.len() - 1
        });
        let count = &mut counts[index];
        count.records += 1;
        if count.examples.len() < EXAMPLES {
            let (source, record) = (reject.source.to_owned(), reject.record);
            count.examples.push(Example { source, record });
        }
    }
    counts.sort_by_key(|count| std::cmp::Reverse(count.records));
    counts
}
