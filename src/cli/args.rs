//! The commands and their options.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use super::address::AddressParser;
use super::airflow::AirflowCommand;
use super::backfill::BackfillOptions;
use super::generate::GenerateOptions;
use super::help::{
    BACKFILL_EXAMPLES, CHECK_EXAMPLES, EXIT_CODES, GENERATE_EXAMPLES, INSPECT_EXAMPLES,
    QUARANTINE_EXAMPLES, RUN_EXAMPLES, SCHEDULE_EXAMPLES, TOKEN_EXAMPLES, VERIFY_EXAMPLES,
};
use super::key::{KeyCommand, TokenDomain};
use super::options::{KeyOptions, SettingsOptions, WarehouseOptions};
use super::output_format::{MessageOptions, ResultOptions};
use super::privacy::PrivacyCommand;
use super::quarantine::QuarantineOptions;
use super::refresh::RefreshOptions;
use super::risk::RiskCommand;
use super::rules::ListFormat;
use super::run_options::RunOptions;
use super::schedule::ScheduleOptions;
use super::warehouse::WarehouseCommand;

/// Loads claim and provider files into Postgres as a pseudonymised, risk-scored star schema.
///
/// Every row and cent is accounted for, no raw patient or claim identifier reaches the warehouse,
/// and the same input can be loaded again without harm. Results go to stdout, progress and messages
/// to stderr. Settings come from defaults, then claims-etl.toml (or --config), then CLAIMS_ETL_…
/// variables, then options.
#[derive(Debug, Parser)]
#[command(
    name = "claims-etl",
    version,
    max_term_width = 100,
    disable_help_subcommand = true,
    after_help = EXIT_CODES
)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
    #[command(flatten)]
    pub(super) messages: MessageOptions,
}

/// The command line definition. Help shows the variables' names, never their values, which may be
/// secrets.
pub(super) fn command() -> clap::Command {
    fn without_values(command: clap::Command) -> clap::Command {
        command.mut_args(|option| option.hide_env_values(true)).mut_subcommands(without_values)
    }
    without_values(Cli::command())
}

/// Parses the command line.
///
/// # Errors
/// As clap, including help and version. Unexpected values are not echoed: they could be an
/// identifier or an address with a password.
pub(super) fn parse() -> Result<Cli, clap::Error> {
    let matches = command().try_get_matches().map_err(without_stray_value)?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command()))
}

fn without_stray_value(mut error: clap::Error) -> clap::Error {
    let stray = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(text)) => !text.starts_with('-'),
        _ => false,
    };
    if stray && error.kind() == ErrorKind::UnknownArgument {
        error.remove(ContextKind::InvalidArg);
    }
    error
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Load claims and providers, then refresh the dashboards
    #[command(after_help = RUN_EXAMPLES)]
    Run {
        #[command(flatten)]
        settings: SettingsOptions,
        #[command(flatten)]
        run: RunOptions,
        #[command(flatten)]
        result: ResultOptions,
    },
    /// Check configuration, headers, key and warehouse; load nothing
    ///
    /// Shows whether a run with these settings could start. Refresh targets are checked for existence
    /// and access, but not refreshed.
    #[command(after_help = CHECK_EXAMPLES)]
    Check {
        #[command(flatten)]
        settings: SettingsOptions,
        #[command(flatten)]
        result: ResultOptions,
    },
    /// Inspect files: format, column mapping, profile and broken rules; load nothing
    ///
    /// Shows no value of any column except the sum of the amounts and the range of the dates. Needs
    /// neither warehouse nor key.
    #[command(after_help = INSPECT_EXAMPLES)]
    Inspect {
        /// Claims or providers, detected by their headers. Providers among them, or --providers,
        /// serve as the directory of the claims
        #[arg(value_name = "FILE", required = true, value_parser = AddressParser::text())]
        files: Vec<String>,
        #[command(flatten)]
        settings: SettingsOptions,
        #[command(flatten)]
        result: ResultOptions,
    },
    /// Print the query plan
    Explain {
        #[command(flatten)]
        settings: SettingsOptions,
    },
    /// List the runs in the ledger, or show one run in detail
    Runs {
        /// The id of one run
        run: Option<String>,
        #[command(flatten)]
        settings_options: WarehouseOptions,
        #[command(flatten)]
        result: ResultOptions,
    },
    /// List a run's rejected records: where each one is and why, never its content
    ///
    /// Without --source no part of a record is shown. With it the original files are read again,
    /// once their fingerprints are verified.
    #[command(after_help = QUARANTINE_EXAMPLES)]
    Quarantine(QuarantineOptions),
    /// Recompute a run from its sources and compare it with the tables; change nothing
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify {
        /// The run's id, or last
        run: String,
        #[command(flatten)]
        settings: SettingsOptions,
        #[command(flatten)]
        result: ResultOptions,
    },
    /// List the validation rules, with severity and meaning
    Rules {
        #[command(flatten)]
        settings: SettingsOptions,
        /// Output format on stdout
        #[arg(
            long,
            value_enum,
            value_name = "FORMAT",
            default_value_t,
            env = "CLAIMS_ETL_FORMAT",
            help_heading = "Output"
        )]
        format: ListFormat,
    },
    /// Manage the key that tokens are made with
    #[command(subcommand)]
    Key(KeyCommand),
    /// Print the tokens of identifiers read from standard input
    #[command(after_help = TOKEN_EXAMPLES)]
    Token {
        /// What the identifiers identify
        #[arg(long, value_enum, value_name = "DOMAIN")]
        domain: TokenDomain,
        #[command(flatten)]
        settings_options: KeyOptions,
    },
    /// Write synthetic claims and providers
    #[command(after_help = GENERATE_EXAMPLES)]
    Generate(GenerateOptions),
    /// Manage the warehouse: the private server, its address, its tables
    #[command(subcommand)]
    Warehouse(WarehouseCommand),
    /// Refresh dashboards from what is loaded
    Refresh(RefreshOptions),
    /// Explain a risk score, or recompute all
    #[command(subcommand)]
    Risk(RiskCommand),
    /// Report the re-identification risk of what is published
    #[command(subcommand)]
    Privacy(PrivacyCommand),
    /// Run on a schedule: load each data interval as it closes
    #[command(after_help = SCHEDULE_EXAMPLES)]
    Schedule(Box<ScheduleOptions>),
    /// Load past data intervals, oldest first
    #[command(after_help = BACKFILL_EXAMPLES)]
    Backfill(Box<BackfillOptions>),
    /// Generate a DAG for Apache Airflow
    #[command(subcommand)]
    Airflow(AirflowCommand),
    /// Show the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// List the presets for known layouts, or print the settings of one
    Presets {
        /// The preset to print, as TOML for a configuration file
        #[arg(value_name = "NAME")]
        name: Option<String>,
        #[command(flatten)]
        result: ResultOptions,
    },
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// The commands of `config`.
#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Print the effective settings, as TOML
    Show {
        #[command(flatten)]
        settings: SettingsOptions,
        #[command(flatten)]
        result: ResultOptions,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn every_option_but_those_of_generate_and_token_has_a_variable() {
        fn visit(command: &clap::Command, missing: &mut Vec<String>) {
            if matches!(command.get_name(), "generate" | "token") {
                return;
            }
            for option in command.get_arguments().filter(|option| option.get_long().is_some()) {
                let own = !matches!(option.get_id().as_str(), "help" | "version");
                let variable = option.get_env().and_then(|name| name.to_str()).unwrap_or_default();
                if own && !variable.starts_with("CLAIMS_ETL_") {
                    missing.push(format!("{} --{}", command.get_name(), option.get_id()));
                }
            }
            for command in command.get_subcommands() {
                visit(command, missing);
            }
        }
        let mut missing = Vec::new();
        visit(&command(), &mut missing);
        assert!(missing.is_empty(), "{missing:?}");
    }
}
