//! Output formats: options shared by most commands.

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, ValueEnum};

/// An output format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum Format {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

/// What goes to stderr, and how.
#[derive(Debug, Clone, Args)]
pub(super) struct MessageOptions {
    /// Log format on stderr
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        default_value_t,
        env = "CLAIMS_ETL_LOG_FORMAT",
        help_heading = "Messages"
    )]
    pub(super) log_format: Format,
    /// Only warnings and errors
    #[arg(
        short,
        long,
        global = true,
        env = "CLAIMS_ETL_QUIET",
        value_parser = BoolishValueParser::new(),
        conflicts_with = "verbose",
        help_heading = "Messages"
    )]
    pub(super) quiet: bool,
    /// More detail; -vv for still more
    #[arg(
        short,
        long,
        global = true,
        action = ArgAction::Count,
        env = "CLAIMS_ETL_VERBOSE",
        help_heading = "Messages"
    )]
    pub(super) verbose: u8,
}

/// How the result is printed.
#[derive(Debug, Clone, Args)]
pub(super) struct ResultOptions {
    /// Output format on stdout
    #[arg(
        long,
        value_enum,
        value_name = "FORMAT",
        default_value_t,
        env = "CLAIMS_ETL_FORMAT",
        help_heading = "Output"
    )]
    pub(super) format: Format,
}
