//! Merges the settings, lowest priority first: defaults, preset, TOML file, options.
//!
//! An option's environment variable counts as the option. Variables without an option are read
//! here: `DATABASE_URL`, `CLAIMS_ETL_KEY` (never allowed on a command line), and those of
//! PostgreSQL, OpenLineage and Airflow. Relative paths, including those in the file, start from the
//! current directory.

use std::path::Path;

use toml::{Table, Value};

use super::file::ConfigFile;
use super::postgres_environment::PostgresEnvironment;
use super::preset::preset;
use super::settings::Settings;
use super::validate::validate;
use crate::error::{Error, Result};
use crate::secret::value::Secret;

/// Default file in the current directory.
pub const DEFAULT_FILE: &str = "claims-etl.toml";

/// The effective settings: `options`, over `file` or an existing [`DEFAULT_FILE`], over its preset.
/// `options` has the keys and types of the file.
///
/// # Errors
/// `Config` when the named file cannot be read, has an unknown key or a value of the wrong type
/// (with the line), or when a value is out of range.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn load(file: Option<&Path>, options: Table) -> Result<Settings> {
    resolve(file, options, |name| std::env::var(name).ok())
}

fn resolve(
    file: Option<&Path>,
    options: Table,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Settings> {
    let variable = |name: &str| variable(name).filter(|text| !text.trim().is_empty());
    let default_file = Path::new(DEFAULT_FILE);
    let file = file.or_else(|| default_file.exists().then_some(default_file));
    let mut settings = layered(file, options)?;
    if settings.warehouse.url.is_none() {
        settings.warehouse.url = variable("DATABASE_URL").map(Secret::new);
    }
    // Set by Airflow.
    settings.run.orchestrator_try =
        variable("AIRFLOW_CTX_TRY_NUMBER").and_then(|text| text.trim().parse().ok());
    settings.privacy.key = variable("CLAIMS_ETL_KEY").map(Secret::new);
    settings.lineage.fill(&variable);
    for secret in settings.secrets_mut() {
        secret.resolve(&variable);
    }
    settings.warehouse.environment = PostgresEnvironment::read(variable);
    validate(&settings)?;
    Ok(settings)
}

/// The options over the configuration file over the selected preset.
fn layered(file: Option<&Path>, options: Table) -> Result<Settings> {
    let read = file.map(ConfigFile::read).transpose()?.unwrap_or_default();
    let text = &read.text;
    let refusal = |error| refusal(file.unwrap_or(Path::new(DEFAULT_FILE)), text, &error);
    // Parse the file alone first, because only then errors have line numbers.
    let alone: Settings = toml::from_str(text).map_err(refusal)?;
    read.check()?;
    let named = options.get("preset").and_then(Value::as_str).map(ToOwned::to_owned);
    let mut layers = match named.or(alone.preset) {
        Some(name) => preset(&name)?.table().map_err(refusal)?,
        None => Table::new(),
    };
    overlay(&mut layers, text.parse().map_err(refusal)?);
    overlay(&mut layers, options);
    layers.try_into().map_err(refusal)
}

/// Merges `above` into `below`, key by key; lists are replaced.
fn overlay(below: &mut Table, above: Table) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => overlay(below, above),
            (_, value) => drop(below.insert(key, value)),
        }
    }
}

/// The parser's message without the quoted line, which may contain a password.
fn refusal(path: &Path, text: &str, error: &toml::de::Error) -> Error {
    let line = error
        .span()
        .and_then(|span| text.get(..span.start))
        .map_or_else(String::new, |before| format!(", line {}", before.matches('\n').count() + 1));
    let reason = without_value(error.message());
    Error::config(format!("configuration file {}{line}: {reason}", path.display()))
        .hint("`claims-etl config show` lists all keys")
}

/// Removes the value from serde's `invalid type: string "…", expected a number`.
fn without_value(message: &str) -> String {
    let wrong = ["invalid type: ", "invalid value: ", "unknown variant "]
        .iter()
        .find(|start| message.starts_with(**start));
    match (wrong, message.rfind(", expected ")) {
        (Some(start), Some(expected)) => {
            format!("{}{}", start.trim_end_matches([':', ' ']), &message[expected..])
        }
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::{Mapping, Mode};
    use crate::error::ErrorKind;

    fn resolve_with(toml: &str, options: &str, variables: &[(&str, &str)]) -> Result<Settings> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("settings.toml");
        fs::write(&path, toml).expect("written");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("chmod");
        resolve(Some(&path), options.parse().expect("TOML"), |name| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    fn refused(toml: &str) -> String {
        resolve_with(toml, "", &[]).expect_err("must be refused").to_string()
    }

    fn url(settings: &Settings) -> Option<&str> {
        settings.warehouse.url.as_ref().map(Secret::expose)
    }

    #[test]
    fn the_command_line_wins_over_the_file_and_the_file_over_defaults() {
        let toml = "[warehouse]\nmode = \"append\"\nconnections = 3\n[run]\nretries = 7";
        let settings = resolve_with(toml, "warehouse.mode = 'replace'", &[]).expect("valid");
        assert_eq!(settings.warehouse.mode, Mode::Replace);
        assert_eq!(settings.warehouse.connections, Some(3));
        assert_eq!(settings.run.retries, 7);
        assert_eq!(settings.run.retry_delay_secs, 300);
    }

    #[test]
    fn sources_are_replaced_not_added() {
        let options = "claims.sources = ['b.csv']";
        let toml = "[claims]\nsources = [\"a.csv\"]\n[providers]\nsources = [\"p.csv\"]";
        let settings = resolve_with(toml, options, &[]).expect("valid");
        assert_eq!(settings.claims.sources, ["b.csv"]);
        assert_eq!(settings.providers.sources, ["p.csv"]);
    }

    #[test]
    fn a_preset_lies_beneath_the_file_and_an_option_names_another() {
        let toml = "preset = \"synthea\"\n[claims.columns]\namount = \"PAYMENTS\"";
        let settings = resolve_with(toml, "", &[]).expect("valid");
        assert_eq!(settings.preset.as_deref(), Some("synthea"));
        assert_eq!(settings.claims.columns["amount"], "PAYMENTS".into());
        assert_eq!(settings.claims.columns["patient_id"], "PATIENTID".into());
        let settings = resolve_with(toml, "preset = 'desynpuf'", &[]).expect("valid");
        assert_eq!(settings.preset.as_deref(), Some("desynpuf"));
        assert_eq!(settings.claims.columns["patient_id"], "DESYNPUF_ID".into());
        assert_eq!(settings.claims.columns["amount"], "PAYMENTS".into());
        let message = refused("preset = \"hunter2\"");
        assert!(message.contains("no preset") && !message.contains("hunter2"), "{message}");
    }

    #[test]
    fn a_configuration_lies_over_a_preset_column_by_column() {
        let over = "preset = \"desynpuf\"\n[claims]\ndelimiter = \"|\"\n[claims.columns]\namount = \"PAID\"\n\
                    [providers.columns]\nspecialty = \"\"";
        let settings = resolve_with(over, "", &[]).expect("a configuration");
        assert_eq!(settings.claims.delimiter, "|");
        assert_eq!(settings.claims.date_formats, ["%Y%m%d"]);
        assert_eq!(settings.claims.columns["amount"], Mapping::from("PAID"));
        assert_eq!(settings.claims.columns["claim_id"], Mapping::from("CLM_ID"));
        assert_eq!(settings.providers.columns["specialty"], Mapping::Absent);
        assert!(resolve_with("preset = \"synpuf\"", "", &[]).is_err());
    }

    #[test]
    fn database_url_counts_only_when_nothing_else_names_a_warehouse() {
        let variables = [("DATABASE_URL", "postgres://variable/db")];
        let alone = resolve_with("", "", &variables).expect("valid");
        assert_eq!(url(&alone), Some("postgres://variable/db"));
        let toml = "[warehouse]\nurl = \"postgres://file/db\"";
        let file = resolve_with(toml, "", &variables).expect("valid");
        assert_eq!(url(&file), Some("postgres://file/db"));
        let option = "warehouse.url = 'postgres://flag/db'";
        let named = resolve_with(toml, option, &variables).expect("valid");
        assert_eq!(url(&named), Some("postgres://flag/db"));
        let blank = resolve_with("", "", &[("DATABASE_URL", " ")]).expect("valid");
        assert_eq!(url(&blank), None, "a blank variable counts as not set");
    }

    #[test]
    fn the_key_comes_from_the_environment_only() {
        let settings = resolve_with("", "", &[("CLAIMS_ETL_KEY", "00ff")]);
        let key = settings.expect("valid").privacy.key.expect("a key");
        assert_eq!(key.expose(), "00ff");
        let message = refused("[privacy]\nkey = \"00ff\"");
        assert!(message.contains("unknown field `key`"), "{message}");
    }

    #[test]
    fn postgres_variables_are_kept_apart() {
        let variables = [
            ("PGPASSWORD", "hunter2"),
            ("PGSSLMODE", "require"),
            ("PGSSLCERT", " "),
            ("HOME", "/h"),
        ];
        let settings = resolve_with("", "", &variables).expect("valid");
        let environment = &settings.warehouse.environment;
        assert_eq!(environment.parameters, [("sslmode", "require".to_owned())]);
        assert_eq!(environment.password.as_ref().map(Secret::expose), Some("hunter2"));
        assert_eq!(environment.home.as_deref(), Some(Path::new("/h")));
        assert_eq!(settings.warehouse.url, None, "they name no warehouse");
        let shown = toml::to_string(&settings).expect("TOML");
        assert!(!shown.contains("hunter2") && !format!("{settings:?}").contains("hunter2"));
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let message = refused("[warehouse]\nmode = \"merge\"\nmod = \"merge\"\n");
        assert!(message.contains("settings.toml, line 3: unknown field `mod`"), "{message}");
    }

    #[test]
    fn a_refusal_never_quotes_a_value() {
        for toml in [
            "[warehouse]\nconnections = \"postgres://me:hunter2@db, expected ./x\"",
            "[warehouse]\nmode = \"hunter2\"",
            "[warehouse]\nurl = \"postgres://me:hunter2@db",
            "[warehouse]\nurl = postgres://me:hunter2@db",
            "[warehouse]\nurl = [\"hunter2\"]",
        ] {
            let message = refused(toml);
            assert!(!message.contains("hunter2"), "{message}");
            assert!(message.contains("line 2"), "{message}");
        }
    }

    #[test]
    fn a_named_file_must_exist() {
        let missing = resolve(Some(Path::new("/nowhere/x.toml")), Table::new(), |_| None);
        let message = missing.expect_err("no such file").to_string();
        assert_eq!(message, "configuration file: /nowhere/x.toml: no such file or directory");
    }

    #[test]
    fn ranges_are_checked_after_merging() {
        let error =
            resolve_with("", "quality.max_reject_ratio = 1.5", &[]).expect_err("out of range");
        assert_eq!(error.kind(), ErrorKind::Config);
    }
}
