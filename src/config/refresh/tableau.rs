//! Settings of Tableau: one site, one personal access token and its targets.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{OnConflict, check_deadline, check_name, check_url};
use crate::error::{Error, Result};
use crate::secret::source::SecretSource;

/// Connection to Tableau and its targets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tableau {
    /// Server or pod URL, for example `https://10ax.online.tableau.com`.
    pub server: String,
    /// Site name, as after `/site/` in the browser; empty for the default site.
    pub site: String,
    /// Name of the personal access token.
    pub token_name: String,
    /// Personal access token.
    pub token: SecretSource,
    /// REST API version, or `auto` for the server's version.
    pub api_version: String,
    /// Maximum concurrent objects; `refresh.parallel` by default.
    pub parallel: Option<u16>,
    /// Targets by name.
    pub targets: BTreeMap<String, TableauTarget>,
}

impl Default for Tableau {
    fn default() -> Self {
        Self {
            server: String::new(),
            site: String::new(),
            token_name: String::new(),
            token: SecretSource::default(),
            api_version: "auto".into(),
            parallel: None,
            targets: BTreeMap::new(),
        }
    }
}

/// One data source, workbook or task: exactly one id is set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TableauTarget {
    /// Whether it is refreshed.
    pub enabled: bool,
    /// Whether a failure ends the run with exit code 6.
    pub required: bool,
    /// Timeout in seconds; `refresh.deadline_secs` by default.
    pub deadline_secs: Option<u64>,
    /// Data source id.
    pub datasource: Option<String>,
    /// Workbook id.
    pub workbook: Option<String>,
    /// Extract refresh task id.
    pub task: Option<String>,
    /// Whether to refresh incrementally (API 3.25 and later).
    pub incremental: bool,
    /// What to do while another refresh is running.
    pub on_conflict: OnConflict,
}

impl Default for TableauTarget {
    fn default() -> Self {
        Self {
            enabled: true,
            required: false,
            deadline_secs: None,
            datasource: None,
            workbook: None,
            task: None,
            incremental: false,
            on_conflict: OnConflict::default(),
        }
    }
}

impl Tableau {
    pub(super) fn secrets_mut(&mut self) -> Vec<&mut SecretSource> {
        vec![&mut self.token]
    }

    pub(super) fn validate(&self) -> Result<()> {
        if self.targets.is_empty() {
            return Ok(());
        }
        check_url("refresh.tableau.server", &self.server)?;
        if self.token_name.is_empty() {
            return Err(Error::config("refresh.tableau.token_name is missing"));
        }
        if !self.token.is_named() {
            return Err(Error::config("refresh.tableau.token is missing")
                .hint("{ env = \"NAME\" } or { file = \"path\" } names it"));
        }
        let version = version(&self.api_version).filter(|version| *version >= TOKENS);
        if self.api_version != "auto" && version.is_none() {
            return Err(Error::config(
                "refresh.tableau.api_version must be \"auto\" or a version from \"3.6\", the first \
                 that knows personal access tokens",
            ));
        }
        if self.parallel.is_some_and(|parallel| !(1..=64).contains(&parallel)) {
            return Err(Error::config("refresh.tableau.parallel must be from 1 to 64"));
        }
        for (name, target) in &self.targets {
            check_name("refresh.tableau.targets", name)?;
            let setting = format!("refresh.tableau.targets.{name}");
            check_deadline(&setting, target.deadline_secs)?;
            let ids = [&target.datasource, &target.workbook, &target.task];
            if ids.iter().filter(|id| id.is_some()).count() != 1 {
                return Err(Error::config(format!(
                    "{setting} needs one of datasource, workbook and task"
                )));
            }
            if ids.into_iter().flatten().any(String::is_empty) {
                return Err(Error::config(format!("{setting}: its id is empty")));
            }
            if target.incremental && target.task.is_some() {
                return Err(Error::config(format!("{setting}: incremental is not for tasks"))
                    .hint("a task knows by itself whether it is incremental"));
            }
            if target.incremental && version.is_some_and(|version| version < INCREMENTAL) {
                return Err(Error::config(format!(
                    "{setting}: incremental needs refresh.tableau.api_version 3.25 or later"
                )));
            }
        }
        Ok(())
    }
}

/// First API version with personal access tokens.
const TOKENS: (u16, u16) = (3, 6);
/// First API version with incremental refresh on request.
const INCREMENTAL: (u16, u16) = (3, 25);

/// Parses a version into major and minor.
fn version(text: &str) -> Option<(u16, u16)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: &str) -> String {
        let text = format!("server = \"https://tableau.example\"\ntoken_name = \"etl\"\n{change}");
        let settings: Tableau = toml::from_str(&text).expect("TOML");
        settings.validate().expect_err(change).to_string()
    }

    #[test]
    fn what_could_not_work_is_refused() {
        let token = "token = { env = \"T\" }\n";
        let fine = format!("{token}targets.a.workbook = \"1\"");
        assert!(refused("targets.a.workbook = \"1\"").contains("token is missing"));
        for version in ["3.5", "3", "latest", "3.27.1"] {
            let text = format!("api_version = \"{version}\"\n{fine}");
            assert!(refused(&text).contains("from \"3.6\""), "{version}");
        }
        assert!(refused(&format!("parallel = 0\n{fine}")).contains("1 to 64"));
        assert!(refused(&format!("{fine}\ntargets.a.task = \"2\"")).contains("one of"));
        assert!(refused(&format!("{token}targets.a.workbook = \"\"")).contains("empty"));
        let task = format!("{token}targets.a = {{ task = \"1\", incremental = true }}");
        assert!(refused(&task).contains("not for tasks"));
        let old = format!("api_version = \"3.24\"\n{fine}\ntargets.a.incremental = true");
        assert!(refused(&old).contains("3.25"));
    }

    #[test]
    fn a_minimum_is_enough() {
        let text = "server = \"https://tableau.example\"\ntoken_name = \"etl\"\n\
                    token = { env = \"T\" }\ntargets.a.datasource = \"1\"";
        let settings: Tableau = toml::from_str(text).expect("TOML");
        assert_eq!(settings.validate(), Ok(()));
    }
}
