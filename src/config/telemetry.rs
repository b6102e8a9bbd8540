//! Settings of metrics (Prometheus) and lineage (OpenLineage).

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::refresh::check_url;
use crate::error::{Error, Result};
use crate::secret::source::SecretSource;

/// Metrics.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// File for node_exporter's textfile collector, written at the end of each run; must end in
    /// `.prom`.
    pub textfile: Option<PathBuf>,
    /// Address where `schedule` serves `/metrics` and `/healthz`, for example `127.0.0.1:9464`;
    /// none by default.
    pub(crate) listen: Option<String>,
}

/// Lineage events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lineage {
    /// Disables events; also `OPENLINEAGE_DISABLED=true`.
    pub(crate) disabled: bool,
    /// File to append events to, one JSON object per line.
    pub file: Option<PathBuf>,
    /// Server URL; `OPENLINEAGE_URL` by default.
    pub url: Option<String>,
    /// URL path; `OPENLINEAGE_ENDPOINT`, else `api/v1/lineage`.
    pub(crate) endpoint: Option<String>,
    /// API key; `OPENLINEAGE_API_KEY` by default.
    pub api_key: SecretSource,
    /// Job namespace; `OPENLINEAGE_NAMESPACE`, else `claims-etl`.
    pub(crate) namespace: Option<String>,
    /// Job owners.
    pub(crate) owners: Vec<String>,
    /// Seconds to wait for pending events at the end of a run, 0 to 60.
    pub flush_secs: u64,
    /// The orchestrator's parent run; only from the environment.
    #[serde(skip)]
    pub(crate) caller: LineageCaller,
    /// Environment variables that were ignored as invalid.
    #[serde(skip)]
    pub(crate) passed_over: Vec<&'static str>,
}

/// The orchestrator's parent run, in serialised form.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct LineageCaller {
    /// `OPENLINEAGE_CONTEXT`: JSON with the parent and the root.
    pub(crate) context: Option<String>,
    /// `OPENLINEAGE_PARENT_ID`: namespace/job/run.
    pub(crate) parent: Option<String>,
    /// `OPENLINEAGE_ROOT_PARENT_ID`: namespace/job/run of the root run.
    pub(crate) root: Option<String>,
}

impl Default for Lineage {
    fn default() -> Self {
        Self {
            disabled: false,
            file: None,
            url: None,
            endpoint: None,
            api_key: SecretSource::default(),
            namespace: None,
            owners: vec!["healthcare_analytics".into()],
            flush_secs: 5,
            caller: LineageCaller::default(),
            passed_over: Vec::new(),
        }
    }
}

impl Metrics {
    /// The address to listen on, if configured.
    ///
    /// # Errors
    /// `Config` when it is not an address with a port.
    pub(crate) fn address(&self) -> Result<Option<SocketAddr>> {
        let Some(text) = &self.listen else { return Ok(None) };
        text.trim().parse().map(Some).map_err(|_| {
            Error::config("metrics.listen is no address with a port")
                .hint("for example 127.0.0.1:9464, or 0.0.0.0:9464 in a container")
        })
    }

    pub(super) fn validate(&self) -> Result<()> {
        let named = |path: &PathBuf| path.extension().is_some_and(|name| name == "prom");
        if self.textfile.as_ref().is_some_and(|path| !named(path)) {
            return Err(Error::config("metrics.textfile must end in .prom")
                .hint("node_exporter reads no other files"));
        }
        self.address().map(|_| ())
    }
}

impl Lineage {
    pub(super) fn secrets_mut(&mut self) -> Vec<&mut SecretSource> {
        vec![&mut self.api_key]
    }

    /// Fills unset fields from OpenLineage's environment variables.
    pub(super) fn fill(&mut self, variable: &impl Fn(&str) -> Option<String>) {
        const URL: &str = "OPENLINEAGE_URL";
        const ENDPOINT: &str = "OPENLINEAGE_ENDPOINT";
        const KEY: &str = "OPENLINEAGE_API_KEY";
        self.disabled |= variable("OPENLINEAGE_DISABLED")
            .is_some_and(|text| matches!(text.trim().to_lowercase().as_str(), "true" | "1"));
        if self.url.is_none() {
            self.url = variable(URL);
            if self.url.as_ref().is_some_and(|url| check_url("", url).is_err()) {
                self.url = None;
                self.passed_over.push(URL);
            }
        }
        if self.endpoint.is_none() {
            self.endpoint = variable(ENDPOINT);
            if self.endpoint.as_ref().is_some_and(|path| !is_path(path)) {
                self.endpoint = None;
                self.passed_over.push(ENDPOINT);
            }
        }
        if !self.api_key.is_named() && variable(KEY).is_some() {
            self.api_key.env = Some(KEY.into());
        }
        if self.namespace.is_none() {
            self.namespace = variable("OPENLINEAGE_NAMESPACE");
        }
        self.caller = LineageCaller {
            context: variable("OPENLINEAGE_CONTEXT"),
            parent: variable("OPENLINEAGE_PARENT_ID"),
            root: variable("OPENLINEAGE_ROOT_PARENT_ID"),
        };
    }

    /// Validates constraints that the types do not enforce.
    pub(super) fn validate(&self) -> Result<()> {
        if let Some(url) = &self.url {
            check_url("lineage.url", url)?;
        }
        if self.endpoint.as_ref().is_some_and(|path| !is_path(path)) {
            return Err(Error::config("lineage.endpoint must be a path, like api/v1/lineage"));
        }
        if self.flush_secs > 60 {
            return Err(Error::config("lineage.flush_secs must be from 0 to 60"));
        }
        Ok(())
    }
}

/// Whether a text can be appended to a URL as a path.
fn is_path(text: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    !text.is_empty() && text.bytes().all(fine)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(mut lineage: Lineage, variables: &[(&str, &str)]) -> Lineage {
        lineage.fill(&|name: &str| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        });
        lineage
    }

    #[test]
    fn variables_lie_beneath_the_configuration() {
        let variables = [
            ("OPENLINEAGE_URL", "http://elsewhere:5000"),
            ("OPENLINEAGE_NAMESPACE", "elsewhere"),
            ("OPENLINEAGE_API_KEY", "hunter2"),
        ];
        let alone = filled(Lineage::default(), &variables);
        assert_eq!(alone.url.as_deref(), Some("http://elsewhere:5000"));
        assert_eq!(alone.api_key.env.as_deref(), Some("OPENLINEAGE_API_KEY"));
        let mut configured = Lineage { url: Some("http://here".into()), ..Lineage::default() };
        configured.namespace = Some("here".into());
        let configured = filled(configured, &variables);
        assert_eq!(
            (configured.url.as_deref(), configured.namespace.as_deref()),
            (Some("http://here"), Some("here"))
        );
        let off = filled(Lineage::default(), &[("OPENLINEAGE_DISABLED", "True")]);
        assert!(off.disabled && !alone.disabled);
    }

    #[test]
    fn a_variable_that_cannot_be_used_refuses_nothing() {
        let variables =
            [("OPENLINEAGE_URL", "http://me:hunter2@h"), ("OPENLINEAGE_ENDPOINT", "a?key=hunter2")];
        let lineage = filled(Lineage::default(), &variables);
        lineage.validate().expect("passed over");
        assert_eq!((&lineage.url, &lineage.endpoint), (&None, &None));
        assert_eq!(lineage.passed_over, ["OPENLINEAGE_URL", "OPENLINEAGE_ENDPOINT"]);
    }

    #[test]
    fn what_the_configuration_says_must_be_usable() {
        let lineage = |url: &str| Lineage { url: Some(url.into()), ..Lineage::default() };
        assert!(lineage("https://lineage.example.org/base").validate().is_ok());
        assert!(lineage("ftp://h").validate().is_err());
        let metrics = |file: &str, listen: &str| Metrics {
            textfile: Some(file.into()),
            listen: Some(listen.into()),
        };
        assert!(metrics("/m/claims.prom", "127.0.0.1:9464").validate().is_ok());
        assert!(metrics("/m/claims.prom", "localhost").validate().is_err());
        assert!(metrics("/m/claims.txt", "127.0.0.1:9464").validate().is_err());
    }
}
