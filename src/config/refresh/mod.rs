//! Refresh targets after the load, and their connections.

mod dashboard;
mod metabase;
mod power_bi;
mod provider_month;
mod sql;
mod superset;
mod tableau;
mod webhook;

use std::collections::BTreeMap;
use std::time::Duration;

pub(super) use dashboard::Dashboard;
pub use metabase::{Metabase, MetabaseTarget};
pub use power_bi::{
    PowerBi, PowerBiCommit, PowerBiMode, PowerBiObject, PowerBiTarget, PowerBiType,
};
pub(super) use provider_month::ProviderMonth;
use serde::{Deserialize, Serialize};
pub use sql::SqlViews;
pub use superset::{Superset, SupersetTarget};
pub use tableau::{Tableau, TableauTarget};
pub use webhook::{Webhook, WebhookStyle};

use crate::error::{Error, Result};
use crate::secret::source::SecretSource;

/// Targets refreshed after the load has committed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Refresh {
    /// Default timeout of a target in seconds.
    pub deadline_secs: u64,
    /// Maximum concurrent targets per provider, 1 to 64.
    pub(crate) parallel: u16,
    /// The provider-month materialized view.
    pub provider_month: ProviderMonth,
    /// The static HTML page.
    pub dashboard: Dashboard,
    /// Power BI semantic models.
    pub power_bi: PowerBi,
    /// Tableau data sources, workbooks and tasks.
    pub tableau: Tableau,
    /// Apache Superset dashboards.
    pub superset: Superset,
    /// Metabase dashboards, questions and databases.
    pub metabase: Metabase,
    /// Webhooks by name.
    pub webhook: BTreeMap<String, Webhook>,
    /// Materialized views, by name.
    pub sql: BTreeMap<String, SqlViews>,
}

impl Default for Refresh {
    fn default() -> Self {
        Self {
            deadline_secs: 3600,
            parallel: 4,
            provider_month: ProviderMonth::default(),
            dashboard: Dashboard::default(),
            power_bi: PowerBi::default(),
            tableau: Tableau::default(),
            superset: Superset::default(),
            metabase: Metabase::default(),
            webhook: BTreeMap::new(),
            sql: BTreeMap::new(),
        }
    }
}

/// What to do when another client is already refreshing the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnConflict {
    /// Wait for that refresh, then start another: it may have read older data.
    #[default]
    Wait,
    /// Skip; the target stays due.
    Skip,
    /// Fail.
    Fail,
}

impl Refresh {
    /// Timeout of a target with its own setting `own`.
    #[must_use]
    pub(crate) fn deadline(&self, own: Option<u64>) -> Duration {
        Duration::from_secs(own.unwrap_or(self.deadline_secs))
    }

    /// Concurrency limit of a provider with its own setting `own`.
    #[must_use]
    pub(crate) fn parallel(&self, own: Option<u16>) -> usize {
        usize::from(own.unwrap_or(self.parallel))
    }

    /// All secrets in these settings.
    pub(super) fn secrets_mut(&mut self) -> Vec<&mut SecretSource> {
        let mut secrets = self.power_bi.secrets_mut();
        secrets.extend(self.tableau.secrets_mut());
        secrets.extend(self.superset.secrets_mut());
        secrets.extend(self.metabase.secrets_mut());
        secrets.extend(self.webhook.values_mut().flat_map(Webhook::secrets_mut));
        secrets
    }

    /// Validates constraints that the types do not enforce.
    ///
    /// # Errors
    /// `Config`, naming the first invalid setting.
    pub(super) fn validate(&self) -> Result<()> {
        if !(1..=86_400).contains(&self.deadline_secs) {
            return Err(Error::config("refresh.deadline_secs must be from 1 to 86,400"));
        }
        if !(1..=64).contains(&self.parallel) {
            return Err(Error::config("refresh.parallel must be from 1 to 64"));
        }
        self.power_bi.validate()?;
        self.tableau.validate()?;
        self.superset.validate()?;
        self.metabase.validate()?;
        self.webhook.iter().try_for_each(|(name, webhook)| webhook.validate(name))?;
        self.sql.iter().try_for_each(|(name, views)| views.validate(name))
    }
}

/// Checks a target name, which is used in reports, locks and metric labels.
pub(super) fn check_name(table: &str, name: &str) -> Result<()> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !name.is_empty() && name.len() <= 64 && name.chars().all(fine) {
        return Ok(());
    }
    Err(Error::config(format!("{table}: a target's name is of letters, digits, _ and -")))
}

/// Checks a base URL: `https://…`, or `http://…` in a trusted network.
pub(super) fn check_url(setting: &str, url: &str) -> Result<()> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    match rest {
        Some(rest) if !rest.is_empty() && !rest.contains(['@', '?', '#', ' ']) => Ok(()),
        _ => Err(Error::config(format!("{setting} must be a web address"))
            .hint("for example https://host/path, without user, password or query")),
    }
}

/// Checks a target's own timeout.
pub(super) fn check_deadline(target: &str, seconds: Option<u64>) -> Result<()> {
    if seconds.is_some_and(|seconds| !(1..=86_400).contains(&seconds)) {
        return Err(Error::config(format!("{target}.deadline_secs must be from 1 to 86,400")));
    }
    Ok(())
}
