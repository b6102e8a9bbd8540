//! Settings of the provider-month view.

use serde::{Deserialize, Serialize};

/// The materialized view `mv_provider_month`, refreshed before all other targets, because they may
/// read it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProviderMonth {
    /// Whether it is kept up to date: off unless it is set, because its time grows with the number of claims.
    pub enabled: bool,
    /// Whether a failure ends the run with exit code 6.
    pub(crate) required: bool,
    /// Timeout in seconds; `refresh.deadline_secs` by default.
    pub(crate) deadline_secs: Option<u64>,
}
