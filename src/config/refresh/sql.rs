//! Settings of one group of materialized views.

use serde::{Deserialize, Serialize};

use super::{check_deadline, check_name};
use crate::error::{Error, Result};

/// Materialized views in the warehouse, refreshed sequentially.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SqlViews {
    /// Whether they are refreshed.
    pub enabled: bool,
    /// Whether a failure ends the run with exit code 6.
    pub required: bool,
    /// Timeout in seconds; `refresh.deadline_secs` by default.
    pub deadline_secs: Option<u64>,
    /// Views as unquoted `schema.view`, in dependency order.
    pub views: Vec<String>,
    /// Whether to refresh `CONCURRENTLY`, without blocking readers; needs a unique index on each
    /// view.
    pub concurrently: bool,
}

impl Default for SqlViews {
    fn default() -> Self {
        Self {
            enabled: true,
            required: false,
            deadline_secs: None,
            views: Vec::new(),
            concurrently: true,
        }
    }
}

impl SqlViews {
    pub(super) fn validate(&self, name: &str) -> Result<()> {
        check_name("refresh.sql", name)?;
        check_deadline(&format!("refresh.sql.{name}"), self.deadline_secs)?;
        if self.views.is_empty() {
            return Err(Error::config(format!("refresh.sql.{name} names no view")));
        }
        let is_named = |view: &String| {
            let parts: Vec<&str> = view.split('.').collect();
            parts.len() == 2 && parts.iter().all(|part| !part.is_empty() && part.len() <= 63)
        };
        if !self.views.iter().all(is_named) {
            return Err(Error::config(format!("refresh.sql.{name}.views: a view is schema.view"))
                .hint(
                    "as the server lists it, without quotes: healthcare_analytics.daily_amounts",
                ));
        }
        Ok(())
    }
}
