//! Settings of the HTML dashboard page.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A static HTML page generated from the warehouse.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dashboard {
    /// Whether the page is written.
    pub enabled: bool,
    /// Path; by default `dashboard.html` in the data directory.
    pub path: Option<PathBuf>,
    /// Whether a failure ends the run with exit code 6.
    pub required: bool,
    /// Timeout in seconds; `refresh.deadline_secs` by default.
    pub(crate) deadline_secs: Option<u64>,
}

impl Default for Dashboard {
    fn default() -> Self {
        Self { enabled: true, path: None, required: false, deadline_secs: None }
    }
}
