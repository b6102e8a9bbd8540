//! Arguments of `quarantine`.

use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{Args, Subcommand, ValueEnum};

use super::super::address::AddressParser;
use super::super::options::WarehouseOptions;
use super::super::output_format::ResultOptions;
use super::age::Age;

/// `quarantine RUN`, or one of its commands.
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(in super::super) struct QuarantineOptions {
    #[command(subcommand)]
    pub(super) command: Option<QuarantineCommand>,
    /// The run's id, or last: the latest run with rejects
    #[arg(required = true)]
    pub(super) run: Option<String>,
    #[command(flatten)]
    pub(super) shown: ShownOptions,
    #[command(flatten)]
    pub(super) warehouse: WarehouseOptions,
}

/// What is shown of the rejects of a run, and where.
#[derive(Debug, Clone, Args)]
pub(super) struct ShownOptions {
    /// Show the rejected records themselves, read again from the original files; they hold
    /// identifiers
    #[arg(
        long,
        env = "CLAIMS_ETL_QUARANTINE_SOURCE",
        value_parser = BoolishValueParser::new(),
        help_heading = "Records"
    )]
    pub(super) source: bool,
    /// With --source and csv: add the columns _reason, _source, _record and _line at the end
    #[arg(
        long,
        env = "CLAIMS_ETL_QUARANTINE_WITH_REASONS",
        value_parser = BoolishValueParser::new(),
        requires = "source",
        help_heading = "Records"
    )]
    pub(super) with_reasons: bool,
    /// Where the claim files are now, if they were moved; found by their fingerprints
    #[arg(
        long,
        value_name = "SRC",
        num_args = 1..,
        env = "CLAIMS_ETL_CLAIMS",
        value_parser = AddressParser::text(),
        help_heading = "Records"
    )]
    pub(super) claims: Vec<String>,
    /// The same for the providers
    #[arg(
        long,
        value_name = "SRC",
        num_args = 1..,
        env = "CLAIMS_ETL_PROVIDERS",
        value_parser = AddressParser::text(),
        help_heading = "Records"
    )]
    pub(super) providers: Vec<String>,
    /// Only the rejects of one input
    #[arg(
        long,
        value_enum,
        value_name = "INPUT",
        env = "CLAIMS_ETL_QUARANTINE_DATASET",
        help_heading = "Records"
    )]
    pub(super) dataset: Option<Input>,
    /// Only the rejects of one source file, named as the list names it
    #[arg(long, value_name = "PATH", env = "CLAIMS_ETL_QUARANTINE_ONLY", help_heading = "Records")]
    pub(super) only: Option<String>,
    /// Records shown at most [default: as text, what fits on a screen; else all]
    #[arg(long, value_name = "N", env = "CLAIMS_ETL_QUARANTINE_LIMIT", help_heading = "Output")]
    pub(super) limit: Option<usize>,
    /// Form of the result
    #[arg(
        long,
        value_enum,
        value_name = "FORMAT",
        default_value_t,
        env = "CLAIMS_ETL_FORMAT",
        help_heading = "Output"
    )]
    pub(super) format: ListFormat,
    /// Write to a new file (mode 0600) instead of stdout
    #[arg(
        long,
        value_name = "FILE",
        env = "CLAIMS_ETL_QUARANTINE_OUTPUT",
        help_heading = "Output"
    )]
    pub(super) output: Option<PathBuf>,
}

/// An input, as it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Input {
    /// The claims
    Claims,
    /// The providers
    Providers,
}

/// A form of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum ListFormat {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
    /// For spreadsheets; with --source a file that can be mended and loaded again
    Csv,
}

/// Work on the rejects of all runs.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum QuarantineCommand {
    /// List the runs whose rejects are kept
    List {
        #[command(flatten)]
        warehouse: WarehouseOptions,
        #[command(flatten)]
        result: ResultOptions,
    },
    /// Remove the rejects of old runs; the runs stay in the ledger
    Prune {
        /// Runs that began longer ago than this (30d, 12w, 6h), or before this day (2024-01-31)
        #[arg(long, value_name = "AGE", env = "CLAIMS_ETL_QUARANTINE_OLDER_THAN")]
        older_than: Age,
        /// Say what would be removed, remove nothing
        #[arg(long, env = "CLAIMS_ETL_DRY_RUN", value_parser = BoolishValueParser::new())]
        dry_run: bool,
        #[command(flatten)]
        warehouse: WarehouseOptions,
        #[command(flatten)]
        result: ResultOptions,
    },
}
