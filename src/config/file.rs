//! The configuration file: its text and permissions. It must be private if it contains a password.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use toml::Value;

use crate::error::{Error, ErrorKind, Result};
use crate::secret::file_permissions::is_private;

/// A configuration file; empty if there is none.
#[derive(Default)]
pub(super) struct ConfigFile {
    pub(super) text: String,
    path: PathBuf,
    mode: u32,
    is_private: bool,
}

impl ConfigFile {
    /// Reads the file.
    ///
    /// # Errors
    /// `Config` when it cannot be read.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let io = |error: std::io::Error| {
            Error::io(ErrorKind::Config, path, &error).context("configuration file")
        };
        let mut file = File::open(path).map_err(io)?;
        let metadata = file.metadata().map_err(io)?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(io)?;
        let mode = metadata.permissions().mode() & 0o777;
        Ok(Self { text, path: path.into(), mode, is_private: is_private(&metadata) })
    }

    /// Rejects a file that contains a password and is readable by others.
    ///
    /// # Errors
    /// `Config` when others can read a password in the file.
    pub(super) fn check(&self) -> Result<()> {
        if self.is_private {
            return Ok(());
        }
        // Invalid TOML is rejected elsewhere, with its line.
        let Ok(table) = self.text.parse() else { return Ok(()) };
        let mut found = Vec::new();
        collect("", &Value::Table(table), &mut found);
        if found.is_empty() {
            return Ok(());
        }
        let path = self.path.display();
        Err(Error::config(format!(
            "configuration file {path}: mode {:04o} lets others read it, and there is a password in {}",
            self.mode,
            found.join(", ")
        ))
        .hint(format!(
            "chmod 600 {path}; or keep the password elsewhere: that of the warehouse in \
             warehouse.password_file, PGPASSWORD or ~/.pgpass, a whole address in CLAIMS_ETL_WAREHOUSE, \
             CLAIMS_ETL_CLAIMS or CLAIMS_ETL_PROVIDERS"
        )))
    }
}

/// Collects keys whose values contain a secret.
fn collect(key: &str, value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) if holds_secret(text) => found.push(key.to_owned()),
        Value::Array(values) => {
            let before = found.len();
            for value in values {
                collect(key, value, found);
            }
            found.truncate(found.len().min(before + 1));
        }
        Value::Table(table) => {
            let dot = if key.is_empty() { "" } else { "." };
            for (name, value) in table {
                collect(&format!("{key}{dot}{name}"), value, found);
            }
        }
        _ => {}
    }
}

/// Whether a text is an address with a password, or an address that is itself a credential.
fn holds_secret(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let assigned = lower
        .match_indices("password")
        .any(|(at, word)| lower[at + word.len()..].trim_start().starts_with('='));
    let Some((scheme, rest)) = lower.split_once("://") else {
        // libpq keyword/value connection string.
        return assigned && (lower.contains("host") || lower.contains("dbname"));
    };
    if matches!(scheme, "postgres" | "postgresql") {
        // The last @: a password may contain unescaped special characters.
        let login = rest.rsplit_once('@').map(|(login, _)| login);
        return assigned || login.is_some_and(|login| login.contains(':'));
    }
    let (host, query) = match rest.split_once(['/', '?', '#']) {
        Some((host, _)) => (host, rest.split_once('?').map_or("", |(_, query)| query)),
        None => (rest, ""),
    };
    let signed = query.split('&').filter_map(|option| option.split_once('=')).any(|(name, _)| {
        ["sig", "token", "key", "password", "secret"].iter().any(|word| name.contains(word))
    });
    signed || host.rsplit_once('@').is_some_and(|(login, _)| login.contains(':'))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    #[test]
    fn addresses_with_secrets_are_recognised() {
        for text in [
            "postgres://me:hunter2@db/x",
            "postgresql://me:a@b/c?d@db/x",
            "postgresql://db/x?user=me&password=hunter2",
            "host=db user=me password = 'hunter2'",
            "https://me:hunter2@host/claims.csv",
            "https://blob.example/claims.csv?sv=2024&sig=abc",
            "https://s3.example/c.csv?X-Amz-Signature=abc",
        ] {
            assert!(holds_secret(text), "{text}");
        }
        for text in [
            "postgres://me@db/x",
            "postgres://db:5432/x",
            "claims/*.csv",
            "s3://bucket/a:b@c.csv",
            "https://h/a:b@c",
            "https://h:8443/claims.csv?version=2",
            "SELECT * FROM logins WHERE password = $1",
            "{CLM_ID}-{SEGMENT}",
        ] {
            assert!(!holds_secret(text), "{text}");
        }
    }

    #[test]
    fn a_file_with_a_password_is_private() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("claims-etl.toml");
        let check = |text: &str, mode: u32| {
            fs::write(&path, text).expect("written");
            fs::set_permissions(&path, Permissions::from_mode(mode)).expect("chmod");
            ConfigFile::read(&path).expect("readable").check()
        };
        let both = "[warehouse]\nurl = \"postgres://me:hunter2@db/x\"\n[claims]\n\
                    sources = [\"postgres://a:hunter2@db\", \"postgres://b:hunter2@db\"]";
        for mode in [0o644, 0o640, 0o604] {
            let error = check(both, mode).expect_err("others can read it");
            assert_eq!(error.kind(), ErrorKind::Config);
            let expected = format!(
                "mode {mode:04o} lets others read it, and there is a password in claims.sources, warehouse.url"
            );
            assert!(error.message().contains(&expected), "{error}");
            assert!(error.way_out().is_some_and(|hint| hint.contains("chmod 600 ")), "{error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        assert_eq!(check(both, 0o600), Ok(()));
        assert_eq!(check("[warehouse]\nurl = \"postgres://me@db/x\"", 0o644), Ok(()));
        assert_eq!(check("no = toml = at = all", 0o644), Ok(()));
    }
}
