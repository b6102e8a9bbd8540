//! Sources of a secret: a variable or a file, never the configuration itself.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::value::Secret;
use crate::error::{Error, ErrorKind, Result};

/// Maximum length of a secret in bytes: enough for a certificate chain, too short for most wrong
/// files.
const MAX_BYTES: u64 = 64 * 1024;

/// A reference to a secret: exactly one of the two is set.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SecretSource {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) env: Option<String>,
    /// A file with only the secret; not world-readable. A trailing line ending is ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<PathBuf>,
    /// The variable's value when the settings were read.
    #[serde(skip)]
    value: Option<Secret>,
}

impl SecretSource {
    /// A secret from a variable, already read.
    #[must_use]
    pub fn from_variable(name: &str, value: &str) -> Self {
        Self { env: Some(name.into()), file: None, value: Some(Secret::new(value)) }
    }

    /// A secret in a file.
    #[must_use]
    pub fn from_file(path: impl Into<PathBuf>) -> Self {
        Self { env: None, file: Some(path.into()), value: None }
    }

    /// Whether a source is configured.
    #[must_use]
    pub(crate) fn is_named(&self) -> bool {
        self.env.is_some() || self.file.is_some()
    }

    /// Reads the value from the environment, if configured so.
    pub(crate) fn resolve(&mut self, variable: &impl Fn(&str) -> Option<String>) {
        if let Some(name) = &self.env {
            self.value = variable(name).map(Secret::new);
        }
    }

    /// The secret. A file is read each time, to pick up rotated secrets. `what` names the setting.
    ///
    /// # Errors
    /// `Config` when neither or both sources are configured, the variable is not set, or the file
    /// is missing, empty or world-readable.
    pub fn read(&self, what: &str) -> Result<Secret> {
        match (&self.env, &self.file) {
            (Some(name), None) => self.value.clone().ok_or_else(|| {
                Error::config(format!("{what}: the variable {name} is not set"))
                    .hint("export it, or name a file: { file = \"path\" }")
            }),
            (None, Some(path)) => read(path).map_err(|error| error.context(what)),
            (None, None) => Err(Error::config(format!("{what} is missing"))
                .hint("{ env = \"NAME\" } or { file = \"path\" } names it")),
            (Some(_), Some(_)) => {
                Err(Error::config(format!("{what}: env and file exclude one another")))
            }
        }
    }
}

/// The content of a file that is not world-readable.
fn read(path: &Path) -> Result<Secret> {
    let io = |error: std::io::Error| Error::io(ErrorKind::Config, path, &error);
    let file = File::open(path).map_err(io)?;
    let mode = file.metadata().map_err(io)?.permissions().mode() & 0o777;
    if mode & 0o007 != 0 {
        return Err(Error::config(format!(
            "{}: mode {mode:04o} lets every user read it",
            path.display()
        ))
        .hint(format!("chmod o= {}", path.display())));
    }
    let mut text = String::new();
    file.take(MAX_BYTES).read_to_string(&mut text).map_err(io)?;
    let text = text.trim_end_matches(['\n', '\r']);
    if text.is_empty() {
        return Err(Error::config(format!("{}: it is empty", path.display())));
    }
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_secret_comes_from_a_variable_or_a_private_file() {
        let mut variable: SecretSource = toml::from_str("env = \"TOKEN\"").expect("TOML");
        assert!(variable.read("token").is_err());
        variable.resolve(&|name| (name == "TOKEN").then(|| "hunter2".into()));
        assert_eq!(variable.read("token").expect("set").expose(), "hunter2");
        assert!(!format!("{variable:?}").contains("hunter2"));

        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        fs::write(&path, "hunter2\n").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("a mode");
        let file = SecretSource::from_file(&path);
        assert_eq!(file.read("token").expect("there").expose(), "hunter2");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("a mode");
        let error = file.read("token").expect_err("open to all");
        assert!(error.message().contains("lets every user read it"), "{error}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a mode");
        fs::write(&path, "\n").expect("written");
        assert!(file.read("token").is_err(), "empty");
    }

    #[derive(Debug, Deserialize)]
    struct Holder {
        #[expect(dead_code, reason = "only read")]
        token: SecretSource,
    }

    #[test]
    fn a_secret_is_not_written_into_the_configuration() {
        let error = toml::from_str::<Holder>("token = \"hunter2\"").expect_err("refused");
        assert!(error.message().contains("expected struct SecretSource"), "{error}");
        assert!(SecretSource::default().read("token").is_err());
        let both = SecretSource { env: Some("A".into()), file: Some("b".into()), value: None };
        assert!(both.read("token").is_err());
    }
}
