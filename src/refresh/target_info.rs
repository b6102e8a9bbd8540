//! What every target says of itself.

use std::time::Duration;

/// A target's facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// The name in the report: `provider.name`, or the provider's where there is only one.
    pub name: String,
    /// Who shows it: targets of one provider share a limit.
    pub provider: &'static str,
    /// How many targets of this provider are refreshed at the same time.
    pub parallel: usize,
    /// Whether a failure ends the run with exit code 6.
    pub required: bool,
    /// How long a refresh may take.
    pub deadline: Duration,
    /// Why this target is left out, where it is.
    pub skipped: Option<String>,
}

/// Why a target is left out whose settings lie in `table`, if it is.
pub(crate) fn off(enabled: bool, table: &str) -> Option<String> {
    (!enabled).then(|| format!("{table}.enabled is false"))
}
