//! `refresh --list`: all targets and the run each one shows.

use serde::Serialize;

use crate::config::Settings;
use crate::error::Result;
use crate::event::Observer;
use crate::load::outbox;
use crate::refresh;
use crate::warehouse::location::Warehouse;

/// Configuration and state of a refresh target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct TargetState {
    /// Target name.
    pub(crate) target: String,
    /// Whether it is refreshed.
    pub(crate) enabled: bool,
    /// Whether a failure ends the run with exit code 6.
    pub(crate) required: bool,
    /// Whether it shows anything but the latest published data.
    pub(crate) due: bool,
    /// Id of the run it shows.
    pub(crate) refreshed_run_id: Option<String>,
    /// Outcome of its last refresh.
    pub(crate) outcome: Option<String>,
    /// Location of the result, or the reason for its absence; contains no cell values.
    pub(crate) detail: Option<String>,
    /// The provider's id of that refresh.
    pub(crate) remote_id: Option<String>,
    /// Refreshes started since, and including, the last successful one.
    pub(crate) attempts: u32,
    /// Start of the last one, RFC 3339 in UTC.
    pub(crate) started_at: Option<String>,
    /// End of the last one; null if running or interrupted.
    pub(crate) finished_at: Option<String>,
}

/// All targets, including disabled ones; starts nothing.
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
