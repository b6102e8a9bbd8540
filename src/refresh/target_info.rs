//! A target's name and limits.

use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetInfo {
    /// The name in the report: `provider.name`, or the provider's where there is only one target.
    pub(crate) name: String,
    /// Who shows it: the targets of one provider share a concurrency limit.
    pub provider: &'static str,
    /// How many targets of this provider are refreshed at the same time.
    pub(crate) parallel: usize,
    /// Whether a failure ends the run with exit code 6.
    pub required: bool,
    /// How long a refresh may take.
    pub deadline: Duration,
    /// Why this target is left out, where it is.
    pub(crate) skipped: Option<String>,
}

/// Why a target is left out whose settings are in `table`, if it is.
pub(super) fn off(enabled: bool, table: &str) -> Option<String> {
    (!enabled).then(|| format!("{table}.enabled is false"))
}
