//! `refresh --list`: every target and what it shows.

use serde::Serialize;

use crate::config::Settings;
use crate::error::Result;
use crate::event::Observer;
use crate::load::outbox;
use crate::refresh;
use crate::warehouse::location::Warehouse;

/// A refresh target: how it is configured, and what it shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct TargetState {
    /// The target's name.
    pub(crate) target: String,
    /// Whether it is refreshed.
    pub(crate) enabled: bool,
    /// Whether a failure ends the run with exit code 6.
    pub(crate) required: bool,
    /// Whether it shows something else than what is published.
    pub(crate) due: bool,
    /// The id of the run that it shows.
    pub(crate) refreshed_run_id: Option<String>,
    /// How its last refresh ended.
    pub(crate) outcome: Option<String>,
    /// Where the result is, or why there is none; free of cell values.
    pub(crate) detail: Option<String>,
    /// What the provider calls that refresh.
    pub(crate) remote_id: Option<String>,
    /// Refreshes begun since one has succeeded, that one included.
    pub(crate) attempts: u32,
    /// When the last one began, RFC 3339 in UTC.
    pub(crate) started_at: Option<String>,
    /// When it ended; null while it is at work, and where it was cut off.
    pub(crate) finished_at: Option<String>,
}

/// Every target, also those that are switched off; starts nothing.
///
/// # Errors
/// `Warehouse` when it cannot be read.
pub(crate) fn refresh_list(
    settings: &Settings,
    observer: &dyn Observer,
) -> Result<Vec<TargetState>> {
    let mut connection = Warehouse::open(settings, observer)?.connect()?;
    let (mut entries, mut published) = (Vec::new(), None);
    if outbox::is_there(&mut connection)? {
        entries = outbox::entries(&mut connection)?;
        published = outbox::last_change(&mut connection)?;
    }
    let targets = refresh::targets(settings);
    let states = targets.iter().map(|target| {
        let entry = entries.iter().find(|entry| entry.target == target.name()).cloned();
        let shown = entry.as_ref().and_then(|entry| entry.refreshed_run_no);
        let enabled = target.info().skipped.is_none();
        let entry = entry.unwrap_or_default();
        TargetState {
            target: target.name().to_owned(),
            enabled,
            required: target.info().required,
            due: enabled && published.is_some() && published != shown,
            refreshed_run_id: entry.refreshed_run_id,
            outcome: entry.outcome,
            detail: entry.detail,
            remote_id: entry.remote_id,
            attempts: entry.attempts,
            started_at: entry.started_at,
            finished_at: entry.finished_at,
        }
    });
    Ok(states.collect())
}
