//! The resolved settings, one struct per TOML table.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::interval::{Interval, Moment};
use super::mail::Mail;
use super::mapping::{Mapping, Values};
use super::postgres_environment::PostgresEnvironment;
use super::refresh::Refresh;
use super::rules::Rules;
use super::schedule::Schedule;
use super::telemetry::{Lineage, Metrics};
use crate::config::lock_wait::Wait;
use crate::error::Result;
use crate::key::KeySource;
use crate::privacy::settings::Privacy;
use crate::risk::settings::Risk;
use crate::rule::{OnDuplicate, Rule, Severities, Severity};
use crate::schema::Dataset;
use crate::secret::source::SecretSource;
use crate::secret::value::Secret;

/// All settings of a run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The preset used as a base: one of `claims-etl presets`.
    pub preset: Option<String>,
    /// Claims input.
    pub claims: Source,
    /// Providers input.
    pub providers: Source,
    /// Warehouse.
    pub warehouse: Warehouse,
    /// Key and de-identification.
    pub privacy: Privacy,
    /// Quality gates.
    pub quality: Quality,
    /// Validation rules.
    pub rules: Rules,
    /// Risk score.
    pub risk: Risk,
    /// Task execution.
    pub run: Run,
    /// Refreshes after the load.
    pub refresh: Refresh,
    /// Built-in scheduler.
    pub schedule: Schedule,
    /// Failure notifications.
    pub mail: Mail,
    /// Prometheus metrics.
    pub metrics: Metrics,
    /// OpenLineage events.
    pub lineage: Lineage,
}

/// Value of `delimiter` for detection.
pub const AUTO: &str = "auto";

/// One input: its sources and column mapping.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Source {
    /// Files, folders and globs of CSV (plain, gzip, zstd) or Parquet; `-` for standard input;
    /// `s3://`, `gs://`, `az://`, `https://` and `http://` addresses; or one `postgres://` address.
    /// `{interval_start:%Y-%m-%d}` and `{interval_end:%Y-%m-%d}` are replaced by the data interval.
    pub sources: Vec<String>,
    /// Query for a `postgres://` source.
    pub query: Option<String>,
    /// Table or view to read instead of a query, as `schema.table`.
    pub table: Option<String>,
    /// Numeric column used to split a `postgres://` source into ranges read over several
    /// connections.
    pub partition_on: Option<String>,
    /// Number of ranges, 1 to 64; 4 if only `partition_on` is set.
    pub partitions: Option<u16>,
    /// Field separator of delimited files: one ASCII character, `\t` for a tab, or `auto` for the
    /// best match of comma, semicolon, pipe and tab.
    pub delimiter: String,
    /// Encoding of delimited files by its WHATWG label, for example `windows-1252` or `utf-16le`.
    /// `auto`: UTF-8, or UTF-16 if detected.
    pub encoding: String,
    /// ASCII character that starts comment lines in delimited files; none by default.
    pub comment: Option<char>,
    /// Lines before the header of delimited files, such as a title; 0 by default. A first line
    /// `sep=;` is always skipped.
    pub(crate) skip_lines: u32,
    /// Contract column → header name where they differ, case-insensitive. Also a template
    /// (`"{A}-{B}"`), a list of alternatives, `{ constant = "text" }`, or `""` for a column absent
    /// from the source.
    pub columns: BTreeMap<String, Mapping>,
    /// Header name → accepted value or values; other rows are not claims.
    #[serde(rename = "where")]
    pub(crate) filter: BTreeMap<String, Values>,
    /// Date formats (chrono's strftime, or `rfc3339`) in order of preference. Claims only.
    pub date_formats: Vec<String>,
    /// Decimal separator of amounts: `.` (default) or `,`. Claims only.
    pub(crate) decimal: Decimal,
}

impl Default for Source {
    fn default() -> Self {
        Self {
            sources: Vec::new(),
            query: None,
            table: None,
            partition_on: None,
            partitions: None,
            delimiter: AUTO.into(),
            encoding: AUTO.into(),
            comment: None,
            skip_lines: 0,
            columns: BTreeMap::new(),
            filter: BTreeMap::new(),
            date_formats: ["%Y-%m-%d", "%Y%m%d", "%m/%d/%Y", "rfc3339"].map(Into::into).to_vec(),
            decimal: Decimal::Point,
        }
    }
}

/// Decimal separator of an amount; the other mark may separate thousands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Decimal {
    /// `1,234.56`
    #[default]
    #[serde(rename = ".")]
    Point,
    /// `1.234,56`
    #[serde(rename = ",")]
    Comma,
}

impl Decimal {
    #[must_use]
    pub(crate) fn mark(self) -> char {
        match self {
            Self::Point => '.',
            Self::Comma => ',',
        }
    }

    /// The other mark.
    #[must_use]
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Point => Self::Comma,
            Self::Comma => Self::Point,
        }
    }

    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Point => "point",
            Self::Comma => "comma",
        }
    }
}

/// How the input changes published rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Insert new rows, update changed ones, leave equal ones untouched
    #[default]
    Merge,
    /// Insert only; fail if a claim is there already
    Append,
    /// The input becomes the whole content
    Replace,
}

/// The warehouse and how rows are loaded.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Warehouse {
    /// A `postgres://` address; without one the private server is used.
    pub url: Option<Secret>,
    /// File that contains only the password of that address, mode 0600.
    pub(crate) password_file: Option<PathBuf>,
    /// Treatment of rows that are already published.
    pub mode: Mode,
    /// Policy for claims with the same claim id and line number but different content. If unset,
    /// the last row is kept and `quality.max_conflict_ratio` limits their number.
    pub on_duplicate: Option<OnDuplicate>,
    /// Policy for providers with the same provider id but different content.
    pub(crate) on_provider_conflict: OnDuplicate,
    /// COPY connections, 1 to 64; by default the number of cores, at most 4.
    pub connections: Option<u16>,
    /// Rows per COPY batch, 1 to 1,000,000; by default chosen by the engine.
    pub batch_rows: Option<u32>,
    /// PostgreSQL environment variables; not read from the file.
    #[serde(skip)]
    pub environment: PostgresEnvironment,
}

impl Warehouse {
    /// Which of several rows with the same key and different content is kept.
    #[must_use]
    pub(crate) fn duplicate_policy(&self) -> OnDuplicate {
        self.on_duplicate.unwrap_or_default()
    }
}

/// Quality gates: limits checked before publishing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quality {
    /// Maximum rejected rows / rows read, 0 to 1.
    pub max_reject_ratio: f64,
    /// Maximum rejected rows.
    pub max_reject_rows: Option<u64>,
    /// Maximum claim lines that repeat a claim id and line number with different content / rows
    /// read, 0 to 1; only if `warehouse.on_duplicate` is unset.
    pub max_conflict_ratio: f64,
    /// Maximum relative change of rows read since the previous published run.
    pub max_row_change: Option<f64>,
    /// Maximum relative change of the total amount.
    pub max_amount_change: Option<f64>,
    /// Maximum absolute change, 0 to 1, of the share of loaded claims whose provider is not in the
    /// directory.
    pub max_orphan_change: Option<f64>,
    /// Maximum absolute change, 0 to 1, of the shares of loaded claims without provider and without
    /// procedure.
    pub max_null_change: Option<f64>,
}

impl Default for Quality {
    fn default() -> Self {
        Self {
            max_reject_ratio: 0.2,
            max_reject_rows: None,
            max_conflict_ratio: 0.01,
            max_row_change: None,
            max_amount_change: None,
            max_orphan_change: None,
            max_null_change: None,
        }
    }
}

/// Task execution and file locations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Run {
    /// Directory of the key, the private server, the quarantine and the dashboard.
    pub data_dir: PathBuf,
    /// Directory of the unnamed spill file between the two passes, about the size of the claims
    /// input; `spill` in the data directory by default.
    pub(crate) spill_dir: Option<PathBuf>,
    /// Rows buffered in memory between the two passes before spilling, in MiB.
    pub(crate) spill_after_mb: u32,
    /// Inclusive start of the data interval: a date, or an RFC 3339 timestamp.
    pub interval_start: Option<Moment>,
    /// Exclusive end of the data interval.
    pub interval_end: Option<Moment>,
    /// Retries after transient errors.
    pub retries: u32,
    /// Seconds between retries.
    pub retry_delay_secs: u64,
    /// Whether to wait for the warehouse lock: `true`, `false`, or seconds.
    pub(crate) wait: Wait,
    /// Exit code when the input is already loaded (0, or for example 99 to skip in Airflow).
    pub already_loaded_exit_code: u8,
    /// The orchestrator's try number; only from the environment.
    #[serde(skip)]
    pub(crate) orchestrator_try: Option<u32>,
}

impl Default for Run {
    fn default() -> Self {
        Self {
            data_dir: "data".into(),
            spill_dir: None,
            spill_after_mb: 64,
            interval_start: None,
            interval_end: None,
            retries: 2,
            retry_delay_secs: 300,
            wait: Wait::No,
            already_loaded_exit_code: 0,
            orchestrator_try: None,
        }
    }
}

impl Settings {
    #[must_use]
    pub(crate) fn source(&self, dataset: Dataset) -> &Source {
        match dataset {
            Dataset::Claims => &self.claims,
            Dataset::Providers => &self.providers,
        }
    }

    /// All secrets given by reference.
    pub(super) fn secrets_mut(&mut self) -> Vec<&mut SecretSource> {
        let mut secrets = self.refresh.secrets_mut();
        secrets.extend(self.mail.secrets_mut());
        secrets.extend(self.lineage.secrets_mut());
        secrets
    }

    /// Key source: the variable, else the descriptor, else the file.
    #[must_use]
    pub fn key_source(&self) -> KeySource {
        match (&self.privacy.key, self.privacy.key_fd) {
            (Some(key), _) => KeySource::Variable(key.clone()),
            (None, Some(number)) => KeySource::Descriptor(number),
            (None, None) => KeySource::File(self.key_path()),
        }
    }

    /// Key file path; unused if the variable or a descriptor is set.
    #[must_use]
    pub fn key_path(&self) -> PathBuf {
        self.privacy.key_file.clone().unwrap_or_else(|| self.run.data_dir.join("claims-etl.key"))
    }

    #[must_use]
    pub fn dashboard_path(&self) -> PathBuf {
        self.refresh
            .dashboard
            .path
            .clone()
            .unwrap_or_else(|| self.run.data_dir.join("dashboard.html"))
    }

    /// Directory of the quarantine files of all runs.
    #[must_use]
    pub fn quarantine_dir(&self) -> PathBuf {
        self.run.data_dir.join("quarantine")
    }

    /// The data interval.
    #[must_use]
    pub(crate) fn interval(&self) -> Interval {
        let Run { interval_start, interval_end, .. } = &self.run;
        Interval { start: interval_start.clone(), end: interval_end.clone() }
    }

    /// Directory of the spill file and of the spool for standard input and remote sources.
    #[must_use]
    pub(crate) fn spill_dir(&self) -> PathBuf {
        self.run.spill_dir.clone().unwrap_or_else(|| self.run.data_dir.join("spill"))
    }

    /// Directory of the private server.
    #[must_use]
    pub(crate) fn local_warehouse_dir(&self) -> PathBuf {
        self.run.data_dir.join("warehouse")
    }

    /// The severity of every rule, including the configured policies.
    ///
    /// # Errors
    /// As [`Rules::severities`].
    pub(crate) fn severities(&self) -> Result<Severities> {
        let mut severities = self.rules.severities()?;
        let policies = [
            (Rule::DuplicateConflict, self.warehouse.duplicate_policy()),
            (Rule::DirectoryConflict, self.warehouse.on_provider_conflict),
        ];
        for (rule, _) in policies.into_iter().filter(|(_, policy)| *policy == OnDuplicate::Reject) {
            severities.set(rule, Severity::Reject);
        }
        Ok(severities)
    }

    /// COPY connections: as configured, else one per core, at most 4.
    #[must_use]
    pub(crate) fn connections(&self) -> usize {
        self.warehouse.connections.map_or_else(
            || std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(4),
            usize::from,
        )
    }
}
