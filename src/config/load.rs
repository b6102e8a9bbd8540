//! Merging the settings: defaults, a preset, the TOML file, the environment, the command line.
//!
//! Options and their variables arrive merged, as [`Overrides`]; variables without an option are
//! read here: `DATABASE_URL`, `CLAIMS_ETL_KEY`, which must never be typed on a command line, the
//! run date, the limits against the previous run, and those of PostgreSQL itself. Relative paths,
//! in the file too, count from the current directory.

use std::path::{Path, PathBuf};

use super::file::ConfigFile;
use super::interval::Moment;
use super::postgres_environment::PostgresEnvironment;
use super::preset::preset;
use super::schedule::ScheduleOverrides;
use super::settings::{Mode, OnDuplicate, Quality, Settings};
use super::validate::validate;
use crate::config::lock_wait::Wait;
use crate::error::{Error, Result};
use crate::secret::value::Secret;

/// Read from the current directory when no other file is named.
pub const DEFAULT_FILE: &str = "claims-etl.toml";

/// What the command line and the variables of its options say; nothing where they are silent.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `preset`
    pub preset: Option<String>,
    /// `claims.sources`; empty: silent.
    pub claims: Vec<String>,
    /// `providers.sources`; empty: silent.
    pub providers: Vec<String>,
    /// `warehouse.url`; blank: silent.
    pub warehouse: Option<Secret>,
    /// `warehouse.password_file`
    pub password_file: Option<PathBuf>,
    /// `warehouse.mode`
    pub mode: Option<Mode>,
    /// `warehouse.on_duplicate`
    pub on_duplicate: Option<OnDuplicate>,
    /// `warehouse.on_provider_conflict`
    pub on_provider_conflict: Option<OnDuplicate>,
    /// `warehouse.connections`
    pub connections: Option<u16>,
    /// `privacy.key_file`
    pub key_file: Option<PathBuf>,
    /// `privacy.key_fd`
    pub key_fd: Option<i32>,
    /// `privacy.next_key_file`
    pub next_key_file: Option<PathBuf>,
    /// `quality.max_reject_ratio`
    pub max_reject_ratio: Option<f64>,
    /// `quality.max_reject_rows`
    pub max_reject_rows: Option<u64>,
    /// `quality.max_conflict_ratio`
    pub max_conflict_ratio: Option<f64>,
    /// `run.data_dir`
    pub data_dir: Option<PathBuf>,
    /// `run.interval_start`
    pub interval_start: Option<Moment>,
    /// `run.interval_end`
    pub interval_end: Option<Moment>,
    /// `run.retries`
    pub retries: Option<u32>,
    /// `run.retry_delay_secs`
    pub retry_delay_secs: Option<u64>,
    /// `run.wait`
    pub wait: Option<Wait>,
    /// `run.already_loaded_exit_code`
    pub already_loaded_exit_code: Option<u8>,
    /// `schedule`
    pub schedule: ScheduleOverrides,
}

/// The settings of this invocation: `file`, or [`DEFAULT_FILE`] where that exists, under what the
/// environment and `overrides` say.
///
/// # Errors
/// `Config` when the named file cannot be read, holds a key that does not exist or a value of the
/// wrong type (with the line), or when a value is out of its range.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn load(file: Option<&Path>, overrides: Overrides) -> Result<Settings> {
    resolve(file, overrides, |name| std::env::var(name).ok())
}

fn resolve(
    file: Option<&Path>,
    overrides: Overrides,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Settings> {
    let variable = |name: &str| variable(name).filter(|text| !text.trim().is_empty());
    let default_file = Path::new(DEFAULT_FILE);
    let file = file.or_else(|| default_file.exists().then_some(default_file));
    let mut settings = layered(file, overrides.preset.as_deref())?;
    overrides.apply(&mut settings);
    if settings.warehouse.url.is_none() {
        settings.warehouse.url = variable("DATABASE_URL").map(Secret::new);
    }
    set_some(&mut settings.rules.run_date, variable("CLAIMS_ETL_RUN_DATE"));
    limits(&mut settings.quality, &variable)?;
    // Airflow's name for it.
    settings.run.orchestrator_try =
        variable("AIRFLOW_CTX_TRY_NUMBER").and_then(|text| text.trim().parse().ok());
    settings.privacy.key = variable("CLAIMS_ETL_KEY").map(Secret::new);
    settings.metrics.fill(&variable);
    settings.lineage.fill(&variable);
    for secret in settings.secrets_mut() {
        secret.resolve(&variable);
    }
    settings.warehouse.environment = PostgresEnvironment::read(variable);
    validate(&settings)?;
    Ok(settings)
}

/// The limits against the previous run, from the environment.
fn limits(quality: &mut Quality, variable: &impl Fn(&str) -> Option<String>) -> Result<()> {
    for (name, limit) in [
        ("CLAIMS_ETL_MAX_ROW_CHANGE", &mut quality.max_row_change),
        ("CLAIMS_ETL_MAX_AMOUNT_CHANGE", &mut quality.max_amount_change),
        ("CLAIMS_ETL_MAX_ORPHAN_CHANGE", &mut quality.max_orphan_change),
        ("CLAIMS_ETL_MAX_NULL_CHANGE", &mut quality.max_null_change),
    ] {
        if let Some(text) = variable(name) {
            let number = text.trim().parse();
            *limit = Some(number.map_err(|_| {
                Error::config(format!("{name} is no number")).hint("a share is meant: 0.5 is 50 %")
            })?);
        }
    }
    Ok(())
}

impl Overrides {
    fn apply(self, settings: &mut Settings) {
        if !self.claims.is_empty() {
            settings.claims.sources = self.claims;
        }
        if !self.providers.is_empty() {
            settings.providers.sources = self.providers;
        }
        let warehouse = &mut settings.warehouse;
        set_some(&mut warehouse.url, self.warehouse.filter(|url| !url.expose().trim().is_empty()));
        set_some(&mut warehouse.password_file, self.password_file);
        set(&mut warehouse.mode, self.mode);
        set_some(&mut warehouse.on_duplicate, self.on_duplicate);
        set(&mut warehouse.on_provider_conflict, self.on_provider_conflict);
        set_some(&mut warehouse.connections, self.connections);
        set_some(&mut settings.privacy.key_file, self.key_file);
        set_some(&mut settings.privacy.key_fd, self.key_fd);
        set_some(&mut settings.privacy.next_key_file, self.next_key_file);
        set(&mut settings.quality.max_reject_ratio, self.max_reject_ratio);
        set_some(&mut settings.quality.max_reject_rows, self.max_reject_rows);
        set(&mut settings.quality.max_conflict_ratio, self.max_conflict_ratio);
        let run = &mut settings.run;
        set(&mut run.data_dir, self.data_dir);
        set_some(&mut run.interval_start, self.interval_start);
        set_some(&mut run.interval_end, self.interval_end);
        set(&mut run.retries, self.retries);
        set(&mut run.retry_delay_secs, self.retry_delay_secs);
        set(&mut run.wait, self.wait);
        set(&mut run.already_loaded_exit_code, self.already_loaded_exit_code);
        self.schedule.apply(&mut settings.schedule);
    }
}

fn set<T>(setting: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *setting = value;
    }
}

fn set_some<T>(setting: &mut Option<T>, value: Option<T>) {
    if value.is_some() {
        *setting = value;
    }
}

/// The configuration file over the preset, which is named by an option or in the file.
fn layered(file: Option<&Path>, named: Option<&str>) -> Result<Settings> {
    let read = file.map(ConfigFile::read).transpose()?.unwrap_or_default();
    let text = &read.text;
    let refusal = |error| refusal(file.unwrap_or(Path::new(DEFAULT_FILE)), text, &error);
    // By itself first: an error of the file then has its line.
    let alone: Settings = toml::from_str(text).map_err(refusal)?;
    read.check()?;
    let Some(name) = named.map(ToOwned::to_owned).or_else(|| alone.preset.clone()) else {
        return Ok(alone);
    };
    let settings = preset(&name)?.beneath(text).map_err(refusal)?;
    Ok(Settings { preset: Some(name), ..settings })
}

/// The parser's reason without the line it quotes, which may hold a password.
fn refusal(path: &Path, text: &str, error: &toml::de::Error) -> Error {
    let line = error
        .span()
        .and_then(|span| text.get(..span.start))
        .map_or_else(String::new, |before| format!(", line {}", before.matches('\n').count() + 1));
    let reason = without_value(error.message());
    Error::config(format!("configuration file {}{line}: {reason}", path.display()))
        .hint("`claims-etl config show` lists all keys")
}

/// Drops the value from serde's `invalid type: string "…", expected a number`.
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
    use crate::error::ErrorKind;

    fn resolve_with(
        toml: &str,
        overrides: Overrides,
        variables: &[(&str, &str)],
    ) -> Result<Settings> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("settings.toml");
        fs::write(&path, toml).expect("written");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("chmod");
        resolve(Some(&path), overrides, |name| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    fn refused(toml: &str) -> String {
        resolve_with(toml, Overrides::default(), &[]).expect_err("must be refused").to_string()
    }

    fn url(settings: &Settings) -> Option<&str> {
        settings.warehouse.url.as_ref().map(Secret::expose)
    }

    #[test]
    fn the_command_line_wins_over_the_file_and_the_file_over_defaults() {
        let toml = "[warehouse]\nmode = \"append\"\nconnections = 3\n[run]\nretries = 7";
        let overrides = Overrides { mode: Some(Mode::Replace), ..Overrides::default() };
        let settings = resolve_with(toml, overrides, &[]).expect("valid");
        assert_eq!(settings.warehouse.mode, Mode::Replace);
        assert_eq!(settings.warehouse.connections, Some(3));
        assert_eq!(settings.run.retries, 7);
        assert_eq!(settings.run.retry_delay_secs, 300);
    }

    #[test]
    fn sources_are_replaced_not_added() {
        let overrides = Overrides { claims: vec!["b.csv".into()], ..Overrides::default() };
        let toml = "[claims]\nsources = [\"a.csv\"]\n[providers]\nsources = [\"p.csv\"]";
        let settings = resolve_with(toml, overrides, &[]).expect("valid");
        assert_eq!(settings.claims.sources, ["b.csv"]);
        assert_eq!(settings.providers.sources, ["p.csv"]);
    }

    #[test]
    fn a_preset_lies_beneath_the_file_and_an_option_names_another() {
        let toml = "preset = \"synthea\"\n[claims.columns]\namount = \"PAYMENTS\"";
        let settings = resolve_with(toml, Overrides::default(), &[]).expect("valid");
        assert_eq!(settings.preset.as_deref(), Some("synthea"));
        assert_eq!(settings.claims.columns["amount"], "PAYMENTS".into());
        assert_eq!(settings.claims.columns["patient_id"], "PATIENTID".into());
        let other = Overrides { preset: Some("desynpuf".into()), ..Overrides::default() };
        let settings = resolve_with(toml, other, &[]).expect("valid");
        assert_eq!(settings.preset.as_deref(), Some("desynpuf"));
        assert_eq!(settings.claims.columns["patient_id"], "DESYNPUF_ID".into());
        assert_eq!(settings.claims.columns["amount"], "PAYMENTS".into());
        let message = refused("preset = \"hunter2\"");
        assert!(message.contains("no preset") && !message.contains("hunter2"), "{message}");
    }

    #[test]
    fn database_url_counts_only_when_nothing_else_names_a_warehouse() {
        let variables = [("DATABASE_URL", "postgres://variable/db")];
        let silent = || Overrides::default();
        let alone = resolve_with("", silent(), &variables).expect("valid");
        assert_eq!(url(&alone), Some("postgres://variable/db"));
        let toml = "[warehouse]\nurl = \"postgres://file/db\"";
        let file = resolve_with(toml, silent(), &variables).expect("valid");
        assert_eq!(url(&file), Some("postgres://file/db"));
        let flag = |text| Overrides { warehouse: Some(Secret::new(text)), ..silent() };
        let named = resolve_with(toml, flag("postgres://flag/db"), &variables).expect("valid");
        assert_eq!(url(&named), Some("postgres://flag/db"));
        let blank = resolve_with("", flag(""), &[("DATABASE_URL", " ")]).expect("valid");
        assert_eq!(url(&blank), None, "a blank variable is a silent one");
    }

    #[test]
    fn the_key_comes_from_the_environment_only() {
        let settings = resolve_with("", Overrides::default(), &[("CLAIMS_ETL_KEY", "00ff")]);
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
        let settings = resolve_with("", Overrides::default(), &variables).expect("valid");
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
        let missing = resolve(Some(Path::new("/nowhere/x.toml")), Overrides::default(), |_| None);
        let message = missing.expect_err("no such file").to_string();
        assert_eq!(message, "configuration file: /nowhere/x.toml: no such file or directory");
    }

    #[test]
    fn run_date_and_limits_come_from_the_environment_too() {
        let variables =
            [("CLAIMS_ETL_RUN_DATE", "2024-12-31"), ("CLAIMS_ETL_MAX_ROW_CHANGE", "0.5")];
        let toml = "[rules]\nrun_date = \"2020-01-01\"";
        let settings = resolve_with(toml, Overrides::default(), &variables).expect("valid");
        assert_eq!(settings.rules.run_date.as_deref(), Some("2024-12-31"));
        assert_eq!(settings.quality.max_row_change, Some(0.5));
        let wrong = [("CLAIMS_ETL_MAX_NULL_CHANGE", "hunter2")];
        let error = resolve_with("", Overrides::default(), &wrong).expect_err("no number");
        assert_eq!(error.message(), "CLAIMS_ETL_MAX_NULL_CHANGE is no number");
    }

    #[test]
    fn ranges_are_checked_after_merging() {
        let overrides = Overrides { max_reject_ratio: Some(1.5), ..Overrides::default() };
        let error = resolve_with("", overrides, &[]).expect_err("out of range");
        assert_eq!(error.kind(), ErrorKind::Config);
    }
}
