//! Settings of Apache Superset: one account and the dashboards whose chart cache is warmed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{check_deadline, check_name, check_url};
use crate::error::{Error, Result};
use crate::secret::source::SecretSource;

/// Connection to Superset and its targets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Superset {
    /// Base URL.
    pub url: String,
    pub username: String,
    pub password: SecretSource,
    /// Authentication provider: `db` or `ldap`.
    pub(crate) provider: String,
    /// Maximum concurrent charts; `refresh.parallel` by default.
    pub parallel: Option<u16>,
    /// Dashboards by name.
    pub targets: BTreeMap<String, SupersetTarget>,
}

impl Default for Superset {
    fn default() -> Self {
        Self {
            url: String::new(),
            username: String::new(),
            password: SecretSource::default(),
            provider: "db".into(),
            parallel: None,
            targets: BTreeMap::new(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SupersetTarget {
    /// Whether it is refreshed.
    pub enabled: bool,
    /// Whether a failure ends the run with exit code 6.
    pub required: bool,
    /// Timeout in seconds; `refresh.deadline_secs` by default.
    pub deadline_secs: Option<u64>,
    /// Dashboard id or slug.
    pub dashboard: String,
    /// Ids of datasets whose columns are refreshed after a change of the warehouse schema.
    pub datasets: Vec<u64>,
}

impl Default for SupersetTarget {
    fn default() -> Self {
        Self {
            enabled: true,
            required: false,
            deadline_secs: None,
            dashboard: String::new(),
            datasets: Vec::new(),
        }
    }
}

impl Superset {
    pub(super) fn secrets_mut(&mut self) -> Vec<&mut SecretSource> {
        vec![&mut self.password]
    }

    pub(super) fn validate(&self) -> Result<()> {
        if self.targets.is_empty() {
            return Ok(());
        }
        check_url("refresh.superset.url", &self.url)?;
        if self.username.is_empty() {
            return Err(Error::config("refresh.superset.username is missing"));
        }
        if !matches!(self.provider.as_str(), "db" | "ldap") {
            return Err(Error::config("refresh.superset.provider must be \"db\" or \"ldap\""));
        }
        if !self.password.is_named() {
            return Err(Error::config("refresh.superset.password is missing")
                .hint("{ env = \"NAME\" } or { file = \"path\" } names it"));
        }
        if self.parallel.is_some_and(|parallel| !(1..=64).contains(&parallel)) {
            return Err(Error::config("refresh.superset.parallel must be from 1 to 64"));
        }
        for (name, target) in &self.targets {
            check_name("refresh.superset.targets", name)?;
            let setting = format!("refresh.superset.targets.{name}");
            check_deadline(&setting, target.deadline_secs)?;
            if target.dashboard.is_empty() {
                return Err(Error::config(format!("{setting} needs a dashboard")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn validated(change: &str) -> Result<()> {
        let text = format!("url = \"https://superset.example\"\n{change}");
        toml::from_str::<Superset>(&text).expect("TOML").validate()
    }

    #[test]
    fn what_could_not_work_is_refused() {
        let account = "username = \"etl\"\npassword = { env = \"P\" }\n";
        let target = "targets.a.dashboard = \"1\"";
        assert!(validated(&format!("{account}{target}")).is_ok());
        assert!(validated("").is_ok(), "without a target nothing is needed");
        for (change, expected) in [
            (target.to_owned(), "username is missing"),
            (format!("username = \"etl\"\n{target}"), "password is missing"),
            (format!("{account}provider = \"oauth\"\n{target}"), "\"db\" or \"ldap\""),
            (format!("{account}parallel = 0\n{target}"), "1 to 64"),
            (format!("{account}targets.a.required = true"), "needs a dashboard"),
            (format!("{account}{target}\ntargets.a.deadline_secs = 0"), "deadline_secs"),
            (format!("{account}targets.\"a b\".dashboard = \"1\""), "a target's name"),
        ] {
            let error = validated(&change).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
