//! Command line options that are settings, each defined once here by its configuration key.
//!
//! Types, defaults and ranges are those of [`Settings`]; this file adds the option, its variable
//! and its help. Given options become a TOML table that overrides the configuration file. A blank
//! variable counts as unset.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::builder::{BoolishValueParser, EnumValueParser, TypedValueParser, ValueParser};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, ValueEnum, value_parser};
use serde::Serialize;
use toml::{Table, Value};

use super::address::AddressParser;
use crate::config::{self, Mode, Moment, Settings, Wait};
use crate::error::Result;
use crate::key::take_descriptor;
use crate::rule::OnDuplicate;

const WAREHOUSE: u8 = 1;
const KEY: u8 = 2;
const NEXT_KEY: u8 = 4;
const RUN: u8 = 8;
const SCHEDULE: u8 = 16;

pub(super) type ConfigOptions = Options<0>;
pub(super) type WarehouseOptions = Options<WAREHOUSE>;
pub(super) type KeyOptions = Options<KEY>;
pub(super) type KeyWarehouseOptions = Options<{ WAREHOUSE | KEY }>;
/// Both keys of a rotation, and the warehouse.
pub(super) type BothKeysOptions = Options<{ WAREHOUSE | KEY | NEXT_KEY }>;
/// All settings of a run.
pub(super) type SettingsOptions = Options<{ WAREHOUSE | KEY | NEXT_KEY | RUN }>;
/// All settings of a scheduled run.
pub(super) type ScheduledOptions = Options<{ WAREHOUSE | KEY | NEXT_KEY | RUN | SCHEDULE }>;
/// A schedule and the warehouse with its ledger.
pub(super) type TimetableOptions = Options<{ WAREHOUSE | SCHEDULE }>;

/// Given options of some groups of settings.
#[derive(Clone)]
pub(super) struct Options<const GROUPS: u8> {
    file: Option<PathBuf>,
    table: Table,
}

impl<const GROUPS: u8> Options<GROUPS> {
    /// The configuration file, if given.
    pub(super) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The value of a setting, if given.
    pub(super) fn text(&self, section: &str, key: &str) -> Option<&str> {
        self.table.get(section)?.get(key)?.as_str()
    }

    /// Whether sources of a dataset are given as an option or variable.
    pub(super) fn names_sources(&self, dataset: &str) -> bool {
        self.table.contains_key(dataset)
    }

    /// The effective settings.
    ///
    /// # Errors
    /// As [`config::load`].
    pub(super) fn load(self) -> Result<Settings> {
        let settings = config::load(self.file.as_deref(), self.table)?;
        if let Some(number) = settings.privacy.key_fd {
            // Before opening anything else, which could get this descriptor number.
            take_descriptor(number);
        }
        Ok(settings)
    }
}

impl<const GROUPS: u8> fmt::Debug for Options<GROUPS> {
    /// Omits the values, which may contain passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("file", &self.file).finish_non_exhaustive()
    }
}

impl<const GROUPS: u8> Args for Options<GROUPS> {
    fn augment_args(command: Command) -> Command {
        command.args(settings(GROUPS)).arg(
            Arg::new("config")
                .long("config")
                .env("CLAIMS_ETL_CONFIG")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help_heading("Settings")
                .help("Configuration file [default: claims-etl.toml in the current directory, if any]"),
        )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<const GROUPS: u8> FromArgMatches for Options<GROUPS> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut table = Table::new();
        for option in settings(GROUPS) {
            let path = option.get_id().as_str();
            let given = matches.get_many::<Value>(path).into_iter().flatten();
            let blank = |value: &&Value| value.as_str().is_some_and(|text| text.trim().is_empty());
            let values: Vec<Value> = given.filter(|value| !blank(value)).cloned().collect();
            if values.is_empty() {
                if matches.value_source(path) == Some(ValueSource::CommandLine) {
                    let name = option.get_long().unwrap_or(path);
                    let text = format!("a value is required for '--{name}'\n");
                    return Err(clap::Error::raw(ErrorKind::InvalidValue, text));
                }
                continue;
            }
            let value = match option.get_action() {
                ArgAction::Append => Some(Value::Array(values)),
                _ => values.into_iter().next_back(),
            };
            if let Some(value) = value {
                put(&mut table, path, value);
            }
        }
        Ok(Self { file: matches.get_one("config").cloned(), table })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Sets `section.key` or a top-level key.
fn put(table: &mut Table, path: &str, value: Value) {
    let Some((section, key)) = path.split_once('.') else {
        table.insert(path.to_owned(), value);
        return;
    };
    let section = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
    if let Value::Table(section) = section {
        section.insert(key.to_owned(), value);
    }
}

/// The options of these groups in help order.
fn settings(groups: u8) -> Vec<Arg> {
    let has = |group| groups & group != 0;
    let mut all = Vec::new();
    let mut add = |heading: &'static str, options: Vec<Arg>| {
        all.extend(options.into_iter().map(|option| option.help_heading(heading)));
    };
    if has(SCHEDULE) {
        add("Schedule", schedule());
    }
    if has(RUN) {
        add("Input", input());
    }
    if has(WAREHOUSE) {
        add("Warehouse", warehouse());
    }
    if has(RUN) {
        add("Warehouse", load());
    }
    if has(KEY) {
        add("Privacy", key());
    }
    if has(NEXT_KEY) {
        add("Privacy", vec![next_key()]);
    }
    if has(RUN) {
        add("Quality", quality());
        add("Run", run());
        add("Metrics", metrics());
    }
    add("Settings", vec![data_dir()]);
    all
}

/// A setting: key path, option, variable, value name, parser and help.
fn setting(
    path: &'static str,
    option: &'static str,
    variable: &'static str,
    value: &'static str,
    parser: ValueParser,
    help: &'static str,
) -> Arg {
    Arg::new(path).long(option).env(variable).value_name(value).value_parser(parser).help(help)
}

/// Parser for a type; accepts blank, because a variable may be blank.
fn typed<T>() -> ValueParser
where
    T: FromStr<Err: fmt::Display> + Serialize,
{
    ValueParser::from(|text: &str| {
        if text.trim().is_empty() {
            return Ok(Value::from(""));
        }
        let value = text.parse::<T>().map_err(|error| error.to_string())?;
        Value::try_from(value).map_err(|error| error.to_string())
    })
}

/// Parser for an enum.
fn named<T: ValueEnum + Clone + Send + Sync + Serialize + 'static>() -> ValueParser {
    ValueParser::from(EnumValueParser::<T>::new().try_map(Value::try_from))
}

/// Makes the value optional: `=true` or `=false`.
fn switch(arg: Arg) -> Arg {
    arg.num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .value_parser(BoolishValueParser::new().map(Value::Boolean))
}

/// Accepts one or more sources.
fn sources(arg: Arg) -> Arg {
    arg.num_args(1..).action(ArgAction::Append)
}

#[rustfmt::skip]
fn schedule() -> Vec<Arg> {
    vec![
        setting("schedule.name", "name", "CLAIMS_ETL_SCHEDULE_NAME", "NAME", typed::<String>(),
            "Name in the ledger; use another one for another expression or time zone \
             [default: healthcare_claims_etl]"),
        setting("schedule.cron", "cron", "CLAIMS_ETL_SCHEDULE_CRON", "EXPR", typed::<String>(),
            "Cron expression of five fields, or @hourly, @daily, @weekly, @monthly, @quarterly, @yearly \
             [default: @daily]"),
        setting("schedule.timezone", "timezone", "CLAIMS_ETL_SCHEDULE_TIMEZONE", "ZONE",
            typed::<String>(), "IANA time zone of the expression [default: UTC]"),
        setting("schedule.start_date", "start-date", "CLAIMS_ETL_SCHEDULE_START_DATE", "DATE",
            typed::<String>(), "First day with data [default: 2024-01-01]"),
        switch(setting("schedule.catchup", "catchup", "CLAIMS_ETL_SCHEDULE_CATCHUP", "BOOL",
            typed::<bool>(),
            "Run every interval since the start date, not only the latest complete one [default: false]")),
        switch(setting("schedule.depends_on_past", "depends-on-past",
            "CLAIMS_ETL_SCHEDULE_DEPENDS_ON_PAST", "BOOL", typed::<bool>(),
            "Run an interval only after the one before it has succeeded [default: false]")),
        setting("schedule.lease_secs", "lease-secs", "CLAIMS_ETL_SCHEDULE_LEASE_SECS", "SECS",
            typed::<u32>(),
            "Seconds until the lease of a scheduler that no longer renews it expires, 1 to 3600 \
             [default: 60]"),
    ]
}

#[rustfmt::skip]
fn input() -> Vec<Arg> {
    vec![
        sources(setting("claims.sources", "claims", "CLAIMS_ETL_CLAIMS", "SRC",
            AddressParser::value(),
            "Claims: CSV (plain, gzip, zstd) or Parquet files, folders, globs, - for standard input, \
             s3://, gs://, az:// or https:// addresses, or one postgres:// address. \
             {interval_start:%Y-%m-%d} and {interval_end:%Y-%m-%d} are replaced by the data interval")),
        sources(setting("providers.sources", "providers", "CLAIMS_ETL_PROVIDERS", "SRC",
            AddressParser::value(), "Providers: the same")),
        setting("preset", "preset", "CLAIMS_ETL_PRESET", "NAME", typed::<String>(),
            "Preset for a known file layout; `claims-etl presets` lists them"),
        setting("run.interval_start", "interval-start", "CLAIMS_ETL_INTERVAL_START", "DATE",
            typed::<Moment>(),
            "First day of the data interval, or an RFC 3339 time; folders of earlier days \
             (date=2024-01-30) are skipped"),
        setting("run.interval_end", "interval-end", "CLAIMS_ETL_INTERVAL_END", "DATE",
            typed::<Moment>(), "First day after the data interval, or a time"),
        setting("rules.run_date", "run-date", "CLAIMS_ETL_RUN_DATE", "DATE", typed::<String>(),
            "Day that dates of service are compared with [default: today, in UTC]"),
        setting("warehouse.on_duplicate", "on-duplicate", "CLAIMS_ETL_ON_DUPLICATE", "POLICY",
            named::<OnDuplicate>(),
            "Which row to keep of those with the same claim id and line number but different content \
             [default: last, up to --max-conflict-ratio]"),
        setting("warehouse.on_provider_conflict", "on-provider-conflict",
            "CLAIMS_ETL_ON_PROVIDER_CONFLICT", "POLICY", named::<OnDuplicate>(),
            "The same for providers with the same provider id [default: last]"),
    ]
}

#[rustfmt::skip]
fn warehouse() -> Vec<Arg> {
    vec![
        setting("warehouse.url", "warehouse", "CLAIMS_ETL_WAREHOUSE", "URL", AddressParser::value(),
            "postgres:// address (also DATABASE_URL) [default: a private server in the data directory]"),
        setting("warehouse.password_file", "password-file", "CLAIMS_ETL_PASSWORD_FILE", "FILE",
            typed::<String>(),
            "File of mode 0600 with the password only [default: PGPASSWORD, then ~/.pgpass]"),
    ]
}

#[rustfmt::skip]
fn load() -> Vec<Arg> {
    vec![
        setting("warehouse.mode", "mode", "CLAIMS_ETL_MODE", "MODE", named::<Mode>(),
            "How the input changes published rows [default: merge]"),
        setting("warehouse.connections", "connections", "CLAIMS_ETL_CONNECTIONS", "N", typed::<u16>(),
            "COPY connections, 1 to 64 [default: the number of cores, at most 4]"),
    ]
}

#[rustfmt::skip]
fn key() -> Vec<Arg> {
    vec![
        setting("privacy.key_file", "key-file", "CLAIMS_ETL_KEY_FILE", "FILE", typed::<String>(),
            "File of mode 0600 with 32 random bytes in hex [default: claims-etl.key in the data \
             directory]. The variable CLAIMS_ETL_KEY may contain the key itself"),
        setting("privacy.key_fd", "key-fd", "CLAIMS_ETL_KEY_FD", "N", typed::<i32>(),
            "Open file descriptor, 3 or higher, to read the key from"),
    ]
}

#[rustfmt::skip]
fn next_key() -> Arg {
    setting("privacy.next_key_file", "next-key-file", "CLAIMS_ETL_NEXT_KEY_FILE", "FILE",
        typed::<String>(), "Key file that an open rotation leads to")
        .alias("new-key-file")
}

#[rustfmt::skip]
fn quality() -> Vec<Arg> {
    vec![
        setting("quality.max_reject_ratio", "max-reject-ratio", "CLAIMS_ETL_MAX_REJECT_RATIO", "RATIO",
            typed::<f64>(), "Fail above this share of rejected rows, 0 to 1 [default: 0.2]"),
        setting("quality.max_reject_rows", "max-reject-rows", "CLAIMS_ETL_MAX_REJECT_ROWS", "N",
            typed::<u64>(), "Fail above this number of rejected rows"),
        setting("quality.max_conflict_ratio", "max-conflict-ratio", "CLAIMS_ETL_MAX_CONFLICT_RATIO",
            "RATIO", typed::<f64>(),
            "Fail above this share of claim lines that conflict with another one of the same claim id \
             and line number, 0 to 1; not if --on-duplicate is given [default: 0.01]"),
        setting("quality.max_row_change", "max-row-change", "CLAIMS_ETL_MAX_ROW_CHANGE", "SHARE",
            typed::<f64>(), "Fail if the number of rows changes by more since the previous run: 0.5 is 50 %"),
        setting("quality.max_amount_change", "max-amount-change", "CLAIMS_ETL_MAX_AMOUNT_CHANGE",
            "SHARE", typed::<f64>(), "The same for the sum of the amounts"),
        setting("quality.max_orphan_change", "max-orphan-change", "CLAIMS_ETL_MAX_ORPHAN_CHANGE",
            "SHARE", typed::<f64>(),
            "The same for the share of claims whose provider is not in the directory"),
        setting("quality.max_null_change", "max-null-change", "CLAIMS_ETL_MAX_NULL_CHANGE", "SHARE",
            typed::<f64>(), "The same for the shares of claims without provider and without procedure"),
    ]
}

#[rustfmt::skip]
fn run() -> Vec<Arg> {
    vec![
        setting("run.retries", "retries", "CLAIMS_ETL_RETRIES", "N", typed::<u32>(),
            "Retries after transient errors [default: 2]"),
        setting("run.retry_delay_secs", "retry-delay-secs", "CLAIMS_ETL_RETRY_DELAY_SECS", "SECS",
            typed::<u64>(), "Seconds between retries [default: 300]"),
        setting("run.wait", "wait", "CLAIMS_ETL_WAIT", "SECONDS", typed::<Wait>(),
            "Wait while another run holds the warehouse's lock, at most so many seconds if given \
             [default: exit with 75]")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
        setting("run.already_loaded_exit_code", "already-loaded-exit-code",
            "CLAIMS_ETL_ALREADY_LOADED_EXIT_CODE", "CODE", typed::<u8>(),
            "Exit code if the input is loaded already, for example 99 for Airflow's skip [default: 0]"),
    ]
}

#[rustfmt::skip]
fn metrics() -> Vec<Arg> {
    vec![
        setting("metrics.textfile", "metrics-textfile", "CLAIMS_ETL_METRICS_TEXTFILE", "FILE",
            typed::<String>(), "File for node_exporter's textfile collector; must end in .prom"),
        setting("metrics.listen", "metrics-listen", "CLAIMS_ETL_METRICS_LISTEN", "ADDRESS",
            typed::<String>(), "Address at which `schedule` serves /metrics and /healthz"),
    ]
}

#[rustfmt::skip]
fn data_dir() -> Arg {
    setting("run.data_dir", "data-dir", "CLAIMS_ETL_DATA_DIR", "DIR", typed::<String>(),
        "Directory of the key, the private server, the quarantine and the dashboard [default: data]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        settings: ScheduledOptions,
    }

    fn parse(line: &str) -> Result<ScheduledOptions, clap::Error> {
        let command = Line::augment_args(Command::new("test"))
            .mut_args(|option| option.env(None::<&'static str>));
        let matches = command.try_get_matches_from(line.split(' '))?;
        ScheduledOptions::from_arg_matches(&matches)
    }

    #[test]
    fn every_option_is_a_setting() {
        let line = "test --name n --cron @daily --timezone UTC --start-date 2024-01-01 --catchup \
                    --depends-on-past=false --lease-secs 9 --claims a.csv b.csv --providers p.csv \
                    --preset synthea --interval-start 2024-01-01 --interval-end 2024-01-02 \
                    --run-date 2024-01-02 --on-duplicate first --on-provider-conflict reject \
                    --warehouse postgres://db/x --password-file p --mode append --connections 3 \
                    --key-file k --key-fd 3 --next-key-file n --max-reject-ratio 0.5 \
                    --max-reject-rows 7 --max-conflict-ratio 0.5 --max-row-change 0.5 \
                    --max-amount-change 0.5 --max-orphan-change 0.5 --max-null-change 0.5 \
                    --retries 4 --retry-delay-secs 5 --wait --already-loaded-exit-code 99 \
                    --metrics-textfile a.prom --metrics-listen 127.0.0.1:1 --data-dir d";
        let options = parse(line).expect("a command line");
        let settings: Settings = options.table.try_into().expect("every path is a key");
        assert_eq!(settings.claims.sources, ["a.csv", "b.csv"]);
        assert_eq!(settings.warehouse.on_duplicate, Some(OnDuplicate::First));
        assert_eq!(settings.run.wait, Wait::Forever);
        assert_eq!(settings.schedule.lease_secs, 9);
        assert!(settings.schedule.catchup && !settings.schedule.depends_on_past);
        let unlike = settings_paths().into_iter().find(|path| !line_sets(line, path));
        assert_eq!(unlike, None, "an option that this test does not set");
    }

    fn settings_paths() -> Vec<String> {
        settings(u8::MAX).iter().filter_map(|option| option.get_long().map(Into::into)).collect()
    }

    fn line_sets(line: &str, option: &str) -> bool {
        line.split([' ', '=']).any(|word| word.strip_prefix("--") == Some(option))
    }

    #[test]
    fn blank_and_wrong_values_are_refused() {
        for line in ["--data-dir=", "--key-file=", "--retries=x", "--wait=soon", "--mode=best"] {
            assert!(parse(&format!("test {line}")).is_err(), "{line}");
        }
    }

    #[test]
    fn values_are_not_printed() {
        let options = parse("test --data-dir hunter2").expect("a command line");
        assert!(!format!("{options:?}").contains("hunter2"));
    }
}
