//! The queries that fetch the figures of the page.

mod column;
mod facts;
mod provider_months;
mod run_log;

use super::released;
use super::snapshot::Snapshot;
use crate::error::Result;
use crate::refresh::job::Job;
use crate::rule::Severities;

/// Reads everything that the page shows.
pub(super) fn snapshot(job: &mut Job<'_>, severities: Severities) -> Result<Snapshot> {
    let mut snapshot = Snapshot { severities, ..Snapshot::default() };
    run_log::read(job, &mut snapshot)?;
    snapshot.released = released::read(job)?;
    facts::read(job, &mut snapshot)?;
    snapshot.provider_months = provider_months::read(job)?;
    Ok(snapshot)
}
