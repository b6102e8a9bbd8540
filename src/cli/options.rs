//! Options that stand for settings, and how they become settings.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::address::AddressParser;
use crate::config;
use crate::config::{Mode, Moment, OnDuplicate, Overrides, ScheduleOverrides, Settings, Wait};
use crate::error::Result;
use crate::key::take_descriptor;
use crate::secret::value::Secret;

/// Where settings and files are.
#[derive(Debug, Clone, Args)]
pub(super) struct ConfigOptions {
    /// The configuration file; by default claims-etl.toml in the current directory, if there is one
    #[arg(long, value_name = "FILE", env = "CLAIMS_ETL_CONFIG", help_heading = "Settings")]
    config: Option<PathBuf>,
    /// Holds the key, the private server, the quarantine and the dashboard [default: data]
    #[arg(long, value_name = "DIR", env = "CLAIMS_ETL_DATA_DIR", help_heading = "Settings")]
    data_dir: Option<PathBuf>,
}

/// Which warehouse.
#[derive(Debug, Clone, Args)]
pub(super) struct WarehouseOptions {
    /// A postgres:// address (also DATABASE_URL) [default: a private server in the data directory]
    #[arg(
        long,
        value_name = "URL",
        env = "CLAIMS_ETL_WAREHOUSE",
        value_parser = AddressParser::secret(),
        help_heading = "Warehouse"
    )]
    warehouse: Option<Secret>,
    /// Its password, alone in a file of mode 0600 [default: PGPASSWORD, then ~/.pgpass]
    #[arg(long, value_name = "FILE", env = "CLAIMS_ETL_PASSWORD_FILE", help_heading = "Warehouse")]
    password_file: Option<PathBuf>,
}

/// Which key.
#[derive(Debug, Clone, Args)]
pub(super) struct KeyOptions {
    /// 32 random bytes in hex, mode 0600 [default: claims-etl.key in the data directory]. The
    /// variable CLAIMS_ETL_KEY may hold the key itself
    #[arg(long, value_name = "FILE", env = "CLAIMS_ETL_KEY_FILE", help_heading = "Privacy")]
    key_file: Option<PathBuf>,
    /// An open descriptor, from 3, with the same: it is read once and closed
    #[arg(long, value_name = "N", env = "CLAIMS_ETL_KEY_FD", help_heading = "Privacy")]
    key_fd: Option<i32>,
}

/// Which key a rotation leads to.
#[derive(Debug, Clone, Args)]
pub(super) struct NextKeyOptions {
    /// The file of the key that a rotation leads to, while one is open
    #[arg(
        long,
        alias = "new-key-file",
        value_name = "FILE",
        env = "CLAIMS_ETL_NEXT_KEY_FILE",
        help_heading = "Privacy"
    )]
    next_key_file: Option<PathBuf>,
}

/// Where the warehouse is.
#[derive(Debug, Clone, Args)]
pub(super) struct PlaceOptions {
    #[command(flatten)]
    config: ConfigOptions,
    #[command(flatten)]
    warehouse: WarehouseOptions,
}

/// Where the key is.
#[derive(Debug, Clone, Args)]
pub(super) struct KeyPlaceOptions {
    #[command(flatten)]
    config: ConfigOptions,
    #[command(flatten)]
    key: KeyOptions,
}

/// Where the key and the warehouse are.
#[derive(Debug, Clone, Args)]
pub(super) struct KeyWarehouseOptions {
    #[command(flatten)]
    config: ConfigOptions,
    #[command(flatten)]
    warehouse: WarehouseOptions,
    #[command(flatten)]
    key: KeyOptions,
}

/// Where both keys of a rotation and the warehouse are.
#[derive(Debug, Clone, Args)]
pub(super) struct BothKeysOptions {
    #[command(flatten)]
    place: KeyWarehouseOptions,
    #[command(flatten)]
    next: NextKeyOptions,
}

/// All options of a run.
#[derive(Debug, Clone, Args)]
pub(super) struct SettingsOptions {
    /// Claims: CSV (plain, gzip, zstd) or Parquet files, folders, globs, - for standard input, s3://,
    /// gs://, az:// or https:// addresses, or one postgres:// address. {interval_start:%Y-%m-%d} and
    /// {interval_end:%Y-%m-%d} stand for the data interval
    #[arg(
        long,
        value_name = "SRC",
        num_args = 1..,
        env = "CLAIMS_ETL_CLAIMS",
        value_parser = AddressParser::text(),
        help_heading = "Input"
    )]
    claims: Vec<String>,
    /// Providers: the same
    #[arg(
        long,
        value_name = "SRC",
        num_args = 1..,
        env = "CLAIMS_ETL_PROVIDERS",
        value_parser = AddressParser::text(),
        help_heading = "Input"
    )]
    providers: Vec<String>,
    /// The known layout of the files, as `claims-etl presets` lists them
    #[arg(long, value_name = "NAME", env = "CLAIMS_ETL_PRESET", help_heading = "Input")]
    preset: Option<String>,
    /// The first day of the data interval, or a time as in RFC 3339: folders of earlier days
    /// (date=2024-01-30) are left out
    #[arg(long, value_name = "DATE", env = "CLAIMS_ETL_INTERVAL_START", help_heading = "Input")]
    interval_start: Option<Moment>,
    /// The first day after the data interval, or a time
    #[arg(long, value_name = "DATE", env = "CLAIMS_ETL_INTERVAL_END", help_heading = "Input")]
    interval_end: Option<Moment>,
    /// Which of several rows with one claim id and line number, but other content, counts
    /// [default: last, as long as --max-conflict-ratio allows]
    #[arg(
        long,
        value_enum,
        value_name = "POLICY",
        env = "CLAIMS_ETL_ON_DUPLICATE",
        help_heading = "Input"
    )]
    on_duplicate: Option<Policy>,
    /// The same for providers with one provider id [default: last]
    #[arg(
        long,
        value_enum,
        value_name = "POLICY",
        env = "CLAIMS_ETL_ON_PROVIDER_CONFLICT",
        help_heading = "Input"
    )]
    on_provider_conflict: Option<Policy>,
    #[command(flatten)]
    warehouse: WarehouseOptions,
    /// What happens to rows that are published already [default: merge]
    #[arg(
        long,
        value_enum,
        value_name = "MODE",
        env = "CLAIMS_ETL_MODE",
        help_heading = "Warehouse"
    )]
    mode: Option<LoadMode>,
    /// COPY connections, 1 to 64 [default: the number of cores, at most 4]
    #[arg(long, value_name = "N", env = "CLAIMS_ETL_CONNECTIONS", help_heading = "Warehouse")]
    connections: Option<u16>,
    #[command(flatten)]
    key: KeyOptions,
    #[command(flatten)]
    next_key: NextKeyOptions,
    /// Refuse the run above this share of rejected rows, 0 to 1 [default: 0.2]
    #[arg(
        long,
        value_name = "RATIO",
        env = "CLAIMS_ETL_MAX_REJECT_RATIO",
        help_heading = "Quality"
    )]
    max_reject_ratio: Option<f64>,
    /// Refuse the run above this number of rejected rows
    #[arg(long, value_name = "N", env = "CLAIMS_ETL_MAX_REJECT_ROWS", help_heading = "Quality")]
    max_reject_rows: Option<u64>,
    /// Refuse the run above this share of claim lines that repeat the claim id and line number of
    /// another one with other content, 0 to 1; not where --on-duplicate is chosen [default: 0.01]
    #[arg(
        long,
        value_name = "RATIO",
        env = "CLAIMS_ETL_MAX_CONFLICT_RATIO",
        help_heading = "Quality"
    )]
    max_conflict_ratio: Option<f64>,
    /// Tries after the first, for errors that can pass by themselves [default: 2]
    #[arg(long, value_name = "N", env = "CLAIMS_ETL_RETRIES", help_heading = "Run")]
    retries: Option<u32>,
    /// Seconds between tries [default: 300]
    #[arg(long, value_name = "SECS", env = "CLAIMS_ETL_RETRY_DELAY_SECS", help_heading = "Run")]
    retry_delay_secs: Option<u64>,
    /// Wait while another run holds the warehouse's lock: for its end, or at most so many seconds
    /// [default: exit with 75]
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        env = "CLAIMS_ETL_WAIT",
        help_heading = "Run"
    )]
    wait: Option<Wait>,
    /// Exit code when the input is loaded already [default: 0], for example 99 for Airflow's skip
    #[arg(
        long,
        value_name = "CODE",
        env = "CLAIMS_ETL_ALREADY_LOADED_EXIT_CODE",
        help_heading = "Run"
    )]
    already_loaded_exit_code: Option<u8>,
    #[command(flatten)]
    config: ConfigOptions,
}

/// [`Mode`], as it is typed.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum LoadMode {
    /// Insert new rows, update changed ones, leave equal ones untouched
    Merge,
    /// Insert only; a claim that is there already refuses the run
    Append,
    /// The input becomes the whole content
    Replace,
}

/// [`OnDuplicate`], as it is typed.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Policy {
    /// The last by record order
    Last,
    /// The first by record order
    First,
    /// None of them: all are rejected
    Reject,
}

impl SettingsOptions {
    /// Whether claims and whether providers are named by options or their variables, not in a file
    /// that was written for every run.
    pub(super) fn names_sources(&self) -> (bool, bool) {
        (!self.claims.is_empty(), !self.providers.is_empty())
    }

    /// The settings that these options lead to.
    ///
    /// # Errors
    /// As [`config::load`].
    pub(super) fn load(self) -> Result<Settings> {
        self.load_scheduled(ScheduleOverrides::default())
    }

    /// The settings that these options and those of a schedule lead to.
    ///
    /// # Errors
    /// As [`config::load`].
    pub(super) fn load_scheduled(self, schedule: ScheduleOverrides) -> Result<Settings> {
        self.config.load_with(Overrides {
            preset: self.preset,
            claims: self.claims,
            providers: self.providers,
            warehouse: self.warehouse.warehouse,
            password_file: self.warehouse.password_file,
            mode: self.mode.map(LoadMode::setting),
            on_duplicate: self.on_duplicate.map(Policy::setting),
            on_provider_conflict: self.on_provider_conflict.map(Policy::setting),
            connections: self.connections,
            key_file: self.key.key_file,
            key_fd: self.key.key_fd,
            next_key_file: self.next_key.next_key_file,
            max_reject_ratio: self.max_reject_ratio,
            max_reject_rows: self.max_reject_rows,
            max_conflict_ratio: self.max_conflict_ratio,
            data_dir: None,
            interval_start: self.interval_start,
            interval_end: self.interval_end,
            retries: self.retries,
            retry_delay_secs: self.retry_delay_secs,
            wait: self.wait,
            already_loaded_exit_code: self.already_loaded_exit_code,
            schedule,
        })
    }
}

impl ConfigOptions {
    /// The configuration file and the data directory, as far as they are named.
    pub(super) fn places(&self) -> (Option<&Path>, Option<&Path>) {
        (self.config.as_deref(), self.data_dir.as_deref())
    }

    /// The settings that these options lead to.
    ///
    /// # Errors
    /// As [`config::load`].
    pub(super) fn load(self) -> Result<Settings> {
        self.load_with(Overrides::default())
    }

    /// The settings that these options and the given overrides lead to.
    ///
    /// # Errors
    /// As [`config::load`].
    fn load_with(self, overrides: Overrides) -> Result<Settings> {
        let overrides = Overrides { data_dir: self.data_dir, ..overrides };
        let settings = config::load(self.config.as_deref(), overrides)?;
        if let Some(number) = settings.privacy.key_fd {
            // Before anything else is opened: it could get this number.
            take_descriptor(number);
        }
        Ok(settings)
    }
}

impl PlaceOptions {
    /// The settings that these options lead to.
    ///
    /// # Errors
    /// As [`config::load`].
    pub(super) fn load(self) -> Result<Settings> {
        self.load_scheduled(ScheduleOverrides::default())
    }

    /// The settings that these options and those of a schedule lead to.
    ///
    /// # Errors
    /// As [`config::load`].
    pub(super) fn load_scheduled(self, schedule: ScheduleOverrides) -> Result<Settings> {
        let WarehouseOptions { warehouse, password_file } = self.warehouse;
        self.config.load_with(Overrides {
            warehouse,
            password_file,
            schedule,
            ..Overrides::default()
        })
    }
}

impl KeyPlaceOptions {
    /// The settings that these options lead to.
    ///
    /// # Errors
    /// As [`config::load`].
    pub(super) fn load(self) -> Result<Settings> {
        let KeyOptions { key_file, key_fd } = self.key;
        self.config.load_with(Overrides { key_file, key_fd, ..Overrides::default() })
    }
}

impl KeyWarehouseOptions {
    /// The settings that these options lead to.
    ///
    /// # Errors
    /// As [`config::load`].
    pub(super) fn load(self) -> Result<Settings> {
        self.load_with(Overrides::default())
    }

    fn load_with(self, overrides: Overrides) -> Result<Settings> {
        let WarehouseOptions { warehouse, password_file } = self.warehouse;
        let KeyOptions { key_file, key_fd } = self.key;
        self.config.load_with(Overrides { warehouse, password_file, key_file, key_fd, ..overrides })
    }
}

impl BothKeysOptions {
    /// The settings that these options lead to.
    ///
    /// # Errors
    /// As [`config::load`].
    pub(super) fn load(self) -> Result<Settings> {
        let next_key_file = self.next.next_key_file;
        self.place.load_with(Overrides { next_key_file, ..Overrides::default() })
    }
}

impl LoadMode {
    fn setting(self) -> Mode {
        match self {
            Self::Merge => Mode::Merge,
            Self::Append => Mode::Append,
            Self::Replace => Mode::Replace,
        }
    }
}

impl Policy {
    fn setting(self) -> OnDuplicate {
        match self {
            Self::Last => OnDuplicate::Last,
            Self::First => OnDuplicate::First,
            Self::Reject => OnDuplicate::Reject,
        }
    }
}
