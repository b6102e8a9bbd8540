//! A target's name and limits.

use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetInfo {
    /// Name in the report: `provider.name`, or just the provider if it has only one target.
    pub(crate) name: String,
    /// Provider; its targets share a concurrency limit.
    pub provider: &'static str,
    /// Maximum concurrent targets of this provider.
    pub(crate) parallel: usize,
    /// Whether a failure ends the run with exit code 6.
    pub required: bool,
    /// Timeout of a refresh.
    pub deadline: Duration,
    /// Why this target is skipped, if it is.
    pub(crate) skipped: Option<String>,
}

/// Why a target with settings in `table` is skipped, if it is.
pub(super) fn off(enabled: bool, table: &str) -> Option<String> {
    (!enabled).then(|| format!("{table}.enabled is false"))
}
