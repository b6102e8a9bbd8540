//! What identifies a run's work: which key, settings and layout of the data.

use crate::config::Mode;
use crate::event::RunId;
use crate::key::CheckValue;
use crate::risk::settings::Risk;
use crate::warehouse::keys::KeyName;
use crate::warehouse::layout::TableLayout;

/// What identifies a run's work.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) run: RunId,
    pub(crate) key_id: String,
    /// What identifies the key.
    pub(crate) key_check: CheckValue,
    /// Digest of the settings that change the result.
    pub(crate) config_digest: String,
    /// What happens to published rows.
    pub(crate) mode: Mode,
    /// Name and version of the score.
    pub(crate) risk_model: &'static str,
    /// The privacy profile, and what is done to the columns.
    pub(crate) layout: TableLayout,
    /// The bits of `dq_flags` that the run stores: those of the rules that flag.
    pub(crate) flags_stored: i32,
    /// Weights and thresholds of the score.
    pub(crate) risk: Risk,
    /// What an orchestrator calls the run, where its id was made from that.
    pub(crate) named: Option<String>,
    /// The day with which dates are compared, in days since 1970-01-01; none where the run's id
    /// tells it.
    pub(crate) run_date: Option<i32>,
    /// The task that is called alone: the run is `open` then, as long as it has not published.
    pub(crate) only: Option<&'static str>,
}

impl Identity {
    /// What is public of the key.
    #[must_use]
    pub(crate) fn key(&self) -> KeyName {
        KeyName { id: self.key_id.clone(), check: self.key_check }
    }
}
