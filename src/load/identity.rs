//! What identifies a run's work: which key, settings and layout of the data.

use crate::config::Mode;
use crate::event::RunId;
use crate::key::CheckValue;
use crate::risk::settings::Risk;
use crate::warehouse::keys::KeyName;
use crate::warehouse::layout::TableLayout;

/// What identifies a run's work.
#[derive(Debug, Clone)]
pub struct Identity {
    pub run: RunId,
    pub key_id: String,
    /// What identifies the key.
    pub key_check: CheckValue,
    /// Digest of the settings that change the result.
    pub config_digest: String,
    /// What happens to published rows.
    pub mode: Mode,
    /// Name and version of the score.
    pub risk_model: &'static str,
    /// The privacy profile, and what is done to the columns.
    pub layout: TableLayout,
    /// The bits of `dq_flags` that the run stores: those of the rules that flag.
    pub flags_stored: i32,
    /// Weights and thresholds of the score.
    pub risk: Risk,
    /// What an orchestrator calls the run, where its id was made from that.
    pub named: Option<String>,
    /// The day with which dates are compared, in days since 1970-01-01; none where the run's id
    /// tells it.
    pub run_date: Option<i32>,
    /// The task that is called alone: the run is `open` then, as long as it has not published.
    pub only: Option<&'static str>,
}

impl Identity {
    /// What is public of the key.
    #[must_use]
    pub fn key(&self) -> KeyName {
        KeyName { id: self.key_id.clone(), check: self.key_check }
    }
}
