//! The resolved settings, one struct a TOML table.

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
    /// A known layout whose settings lie beneath these: one of `claims-etl presets`.
    pub preset: Option<String>,
    /// Where the claims come from.
    pub claims: Source,
    /// Where the providers come from.
    pub providers: Source,
    /// Where the tables are.
    pub warehouse: Warehouse,
    /// The key, and what is released.
    pub privacy: Privacy,
    /// When a run is refused.
    pub quality: Quality,
    /// Validation rules.
    pub rules: Rules,
    /// The risk score.
    pub risk: Risk,
    /// How tasks are run.
    pub run: Run,
    /// What is refreshed after the load.
    pub refresh: Refresh,
    /// When runs happen by themselves.
    pub schedule: Schedule,
    /// Failure notifications.
    pub mail: Mail,
    /// Prometheus metrics.
    pub metrics: Metrics,
    /// OpenLineage events.
    pub lineage: Lineage,
}

/// The delimiter that is to be found out.
pub const AUTO: &str = "auto";

/// One input: files and how their columns are named.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Source {
    /// Files, folders and globs of CSV (plain, gzip, zstd) or Parquet; `-` for standard input;
    /// `s3://`, `gs://`, `az://`, `https://` and `http://` addresses; or one `postgres://` address.
    /// `{interval_start:%Y-%m-%d}` and `{interval_end:%Y-%m-%d}` are replaced by the data interval.
    pub sources: Vec<String>,
    /// The query to read from a `postgres://` source.
    pub query: Option<String>,
    /// The table or view to read from it instead, as `schema.table`.
    pub table: Option<String>,
    /// A numeric column by whose ranges a `postgres://` source is read over several connections.
    pub partition_on: Option<String>,
    /// How many ranges, 1 to 64; 4 where only `partition_on` is given.
    pub partitions: Option<u16>,
    /// The field separator of delimited files: one ASCII character, `\t` for a tab, or `auto` for
    /// that of comma, semicolon, bar and tab with which the header fits best.
    pub delimiter: String,
    /// The encoding of delimited files, as the WHATWG Encoding Standard labels it, for example
    /// `windows-1252` or `utf-16le`. `auto`: UTF-8, or UTF-16 where the file shows it.
    pub encoding: String,
    /// Lines of delimited files that begin with this ASCII character are comments; none by default.
    pub comment: Option<char>,
    /// Lines before the header of delimited files, such as a title; 0 by default. A first line
    /// `sep=;` is passed over in any case.
    pub(crate) skip_lines: u32,
    /// Contract column → header name, where they differ, matched without regard to case. Also a
    /// template of names (`"{A}-{B}"`), a list of names of which the first that is there counts,
    /// `{ constant = "text" }`, or `""` for a column that the source does not have.
    pub columns: BTreeMap<String, Mapping>,
    /// Header name → text, or several texts, that a row must have there to be a claim.
    #[serde(rename = "where")]
    pub(crate) filter: BTreeMap<String, Values>,
    /// Date formats (chrono's strftime, or `rfc3339`), tried in this order. Claims only.
    pub date_formats: Vec<String>,
    /// What separates the decimals of amounts: `.` (by default) or `,`. Claims only.
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

/// What separates the decimals of an amount; the other mark may set thousands apart.
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
    /// The mark itself.
    #[must_use]
    pub(crate) fn mark(self) -> char {
        match self {
            Self::Point => '.',
            Self::Comma => ',',
        }
    }

    /// The other one.
    #[must_use]
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Point => Self::Comma,
            Self::Comma => Self::Point,
        }
    }

    /// What it is called.
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

/// The warehouse and how rows get into it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Warehouse {
    /// A `postgres://` address; without one the private server is used.
    pub url: Option<Secret>,
    /// A file with the password of that address and nothing else, mode 0600.
    pub(crate) password_file: Option<PathBuf>,
    /// What happens to rows that are published already.
    pub mode: Mode,
    /// Claims with the same claim id and line number but different content. If unset, the last row is kept
    /// and `quality.max_conflict_ratio` limits their number.
    pub on_duplicate: Option<OnDuplicate>,
    /// Providers with the same provider id but different content.
    pub(crate) on_provider_conflict: OnDuplicate,
    /// COPY connections, 1 to 64; by default the number of cores, at most 4.
    pub connections: Option<u16>,
    /// Rows per batch on the way to COPY, 1 to 1,000,000; by default as the engine cuts them.
    pub batch_rows: Option<u32>,
    /// PostgreSQL's own connection variables; only from the environment.
    #[serde(skip)]
    pub environment: PostgresEnvironment,
}

impl Warehouse {
    /// Which of several rows with the same key and different content counts.
    #[must_use]
    pub(crate) fn duplicate_policy(&self) -> OnDuplicate {
        self.on_duplicate.unwrap_or_default()
    }
}

/// When a run is refused before anything is published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quality {
    /// Rejected rows / rows read above which the run fails, 0 to 1.
    pub max_reject_ratio: f64,
    /// Rejected rows above which the run fails.
    pub max_reject_rows: Option<u64>,
    /// Claim lines that repeat the claim id and line number of another one with other content / rows
    /// read, above which the run fails, 0 to 1; only where `warehouse.on_duplicate` is not chosen.
    pub max_conflict_ratio: f64,
    /// Share by which the rows read may differ from those of the previous published run.
    pub max_row_change: Option<f64>,
    /// Share by which the sum of the amounts read may differ.
    pub max_amount_change: Option<f64>,
    /// Difference, 0 to 1, of the share of loaded claims whose provider is not in the directory.
    pub max_orphan_change: Option<f64>,
    /// Difference, 0 to 1, of the shares of loaded claims without provider and without procedure.
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

/// How tasks are run and where the program keeps its files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Run {
    /// Holds the key, the private server, the quarantine and the dashboard.
    pub data_dir: PathBuf,
    /// Where rows lie between the two passes, as far as memory does not hold them: an unnamed file
    /// of about the claims' size; `spill` in the data directory by default.
    pub(crate) spill_dir: Option<PathBuf>,
    /// Mebibytes of rows that memory holds between the two passes before the file is used.
    pub(crate) spill_after_mb: u32,
    /// The first moment of the data interval: a date, or a time as in RFC 3339.
    pub interval_start: Option<Moment>,
    /// The first moment beyond the data interval.
    pub interval_end: Option<Moment>,
    /// Retries after transient errors.
    pub retries: u32,
    /// Seconds between retries.
    pub retry_delay_secs: u64,
    /// Whether to wait while another run holds the warehouse's lock: `true`, `false`, or seconds.
    pub(crate) wait: Wait,
    /// Exit code when the input is loaded already (0, or for example 99 for Airflow's skip).
    pub already_loaded_exit_code: u8,
    /// Which of an orchestrator's tries this is; only ever from the environment.
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
    /// How one of the inputs is read.
    #[must_use]
    pub(crate) fn source(&self, dataset: Dataset) -> &Source {
        match dataset {
            Dataset::Claims => &self.claims,
            Dataset::Providers => &self.providers,
        }
    }

    /// Every secret that is named by its place.
    pub(super) fn secrets_mut(&mut self) -> Vec<&mut SecretSource> {
        let mut secrets = self.refresh.secrets_mut();
        secrets.extend(self.mail.secrets_mut());
        secrets.extend(self.lineage.secrets_mut());
        secrets
    }

    /// Where to read the key: the variable, else the descriptor, else the file.
    #[must_use]
    pub fn key_source(&self) -> KeySource {
        match (&self.privacy.key, self.privacy.key_fd) {
            (Some(key), _) => KeySource::Variable(key.clone()),
            (None, Some(number)) => KeySource::Descriptor(number),
            (None, None) => KeySource::File(self.key_path()),
        }
    }

    /// The key file; the variable or a descriptor may take its place.
    #[must_use]
    pub fn key_path(&self) -> PathBuf {
        self.privacy.key_file.clone().unwrap_or_else(|| self.run.data_dir.join("claims-etl.key"))
    }

    /// Where the dashboard is written.
    #[must_use]
    pub fn dashboard_path(&self) -> PathBuf {
        self.refresh
            .dashboard
            .path
            .clone()
            .unwrap_or_else(|| self.run.data_dir.join("dashboard.html"))
    }

    /// Where the rejects of all runs are kept.
    #[must_use]
    pub fn quarantine_dir(&self) -> PathBuf {
        self.run.data_dir.join("quarantine")
    }

    /// The stretch of time whose data are to be loaded.
    #[must_use]
    pub(crate) fn interval(&self) -> Interval {
        let Run { interval_start, interval_end, .. } = &self.run;
        Interval { start: interval_start.clone(), end: interval_end.clone() }
    }

    /// Where rows lie between the two passes, as far as memory does not hold them, and what comes
    /// from standard input or over a network.
    #[must_use]
    pub(crate) fn spill_dir(&self) -> PathBuf {
        self.run.spill_dir.clone().unwrap_or_else(|| self.run.data_dir.join("spill"))
    }

    /// Where the private server lives.
    #[must_use]
    pub(crate) fn local_warehouse_dir(&self) -> PathBuf {
        self.run.data_dir.join("warehouse")
    }

    /// The severity of every rule, the policies' included: what a run with these settings does.
    ///
    /// # Errors
    /// `Config` as [`Rules::severities`].
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

    /// COPY connections: as configured, or one a core, at most 4.
    #[must_use]
    pub(crate) fn connections(&self) -> usize {
        self.warehouse.connections.map_or_else(
            || std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(4),
            usize::from,
        )
    }
}
