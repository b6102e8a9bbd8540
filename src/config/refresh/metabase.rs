//! Settings of Metabase: one API key and its refresh targets.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{check_deadline, check_name, check_url};
use crate::error::{Error, Result};
use crate::secret::source::SecretSource;

/// Connection to Metabase and its targets.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metabase {
    /// Base URL.
    pub url: String,
    pub api_key: SecretSource,
    /// Maximum concurrent questions; `refresh.parallel` by default.
    pub(crate) parallel: Option<u16>,
    /// Targets by name.
    pub targets: BTreeMap<String, MetabaseTarget>,
}

/// One dashboard, question or database: exactly one id is set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetabaseTarget {
    /// Whether it is refreshed.
    pub enabled: bool,
    /// Whether a failure ends the run with exit code 6.
    pub required: bool,
    /// Timeout in seconds; `refresh.deadline_secs` by default.
    pub deadline_secs: Option<u64>,
    /// Dashboard id; all its questions are run.
    pub dashboard: Option<u64>,
    /// Question id.
    pub card: Option<u64>,
    /// Id of a database whose schema is synchronised.
    pub database: Option<u64>,
}

impl Default for MetabaseTarget {
    fn default() -> Self {
        Self {
            enabled: true,
            required: false,
            deadline_secs: None,
            dashboard: None,
            card: None,
            database: None,
        }
    }
}

impl Metabase {
    pub(super) fn secrets_mut(&mut self) -> Vec<&mut SecretSource> {
        vec![&mut self.api_key]
    }

    pub(super) fn validate(&self) -> Result<()> {
        if self.targets.is_empty() {
            return Ok(());
        }
        check_url("refresh.metabase.url", &self.url)?;
        if !self.api_key.is_named() {
            return Err(Error::config("refresh.metabase.api_key is missing")
                .hint("{ env = \"NAME\" } or { file = \"path\" } names it"));
        }
        if self.parallel.is_some_and(|parallel| !(1..=64).contains(&parallel)) {
            return Err(Error::config("refresh.metabase.parallel must be from 1 to 64"));
        }
        for (name, target) in &self.targets {
            check_name("refresh.metabase.targets", name)?;
            let setting = format!("refresh.metabase.targets.{name}");
            check_deadline(&setting, target.deadline_secs)?;
            let ids = [target.dashboard, target.card, target.database];
            if ids.iter().filter(|id| id.is_some()).count() != 1 {
                return Err(Error::config(format!(
                    "{setting} needs one of dashboard, card and database"
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn validated(change: &str) -> Result<()> {
        let text = format!("url = \"https://metabase.example\"\n{change}");
        toml::from_str::<Metabase>(&text).expect("TOML").validate()
    }

    #[test]
    fn what_could_not_work_is_refused() {
        let key = "api_key = { env = \"K\" }\n";
        assert!(validated(&format!("{key}targets.a.card = 1")).is_ok());
        assert!(validated("").is_ok(), "without a target nothing is needed");
        for (change, expected) in [
            ("targets.a.card = 1".to_owned(), "api_key is missing"),
            (format!("{key}parallel = 65\ntargets.a.card = 1"), "1 to 64"),
            (format!("{key}targets.a.required = true"), "one of dashboard, card and database"),
            (format!("{key}targets.a = {{ card = 1, database = 2 }}"), "one of dashboard"),
            (format!("{key}targets.a = {{ card = 1, deadline_secs = 0 }}"), "deadline_secs"),
        ] {
            let error = validated(&change).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
