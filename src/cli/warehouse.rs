//! The command `warehouse`: manages the private server and the tables.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;

use clap::Subcommand;

use super::options::WarehouseOptions;
use super::output::Reply;
use super::signals;
use crate::cli::console::Console;
use crate::error::{Error, ErrorKind, Result};
use crate::secret::value::Secret;

/// Work on the warehouse.
#[derive(Debug, Subcommand)]
pub(super) enum WarehouseCommand {
    /// Start the private server, if it does not run
    Start {
        #[command(flatten)]
        settings_options: WarehouseOptions,
    },
    /// Stop the private server
    Stop {
        #[command(flatten)]
        settings_options: WarehouseOptions,
    },
    /// Print the warehouse's address
    Url {
        #[command(flatten)]
        settings_options: WarehouseOptions,
    },
    /// Open psql on the warehouse
    Psql {
        #[command(flatten)]
        settings_options: WarehouseOptions,
        /// Passed on to psql, after `--`
        #[arg(last = true, value_name = "ARGS")]
        arguments: Vec<std::ffi::OsString>,
    },
    /// Create the tables, or bring them up to date
    Migrate {
        #[command(flatten)]
        settings_options: WarehouseOptions,
    },
}

/// Runs `warehouse start`, `stop`, `url`, `psql` and `migrate`.
///
/// # Errors
/// `Config` or `Warehouse`, as the subcommand.
pub(super) fn warehouse(command: WarehouseCommand, console: &Console) -> Result<Reply> {
    use crate::warehouse::location::{login, migrate, start, stop, url};
    let observer = console.observer();
    match command {
        WarehouseCommand::Start { settings_options } => {
            start(&settings_options.load()?, observer).map(Reply::line)
        }
        WarehouseCommand::Stop { settings_options } => {
            let stopped = stop(&settings_options.load()?)?;
            Ok(Reply::line(if stopped { "stopped" } else { "not running" }))
        }
        WarehouseCommand::Url { settings_options } => {
            url(&settings_options.load()?).map(Reply::line)
        }
        WarehouseCommand::Psql { settings_options, arguments } => {
            let settings = settings_options.load()?;
            if settings.warehouse.url.is_none() {
                start(&settings, observer)?;
            }
            let (url, password) = login(&settings)?;
            console.finish();
            Err(psql(&url, password.as_ref(), &arguments))
        }
        WarehouseCommand::Migrate { settings_options } => {
            let applied = migrate(&settings_options.load()?, observer, &signals::cancellation()?)?;
            Ok(Reply::line(match applied.last() {
                Some(version) => format!("migrated to version {version}"),
                None => "up to date".to_owned(),
            }))
        }
    }
}

/// Replaces this process with psql; returns only if that fails. The password is passed in the
/// environment, because other users can see psql's arguments.
fn psql(url: &str, password: Option<&Secret>, arguments: &[OsString]) -> Error {
    let mut command = std::process::Command::new("psql");
    command.arg(url).args(arguments);
    // Not needed by psql, and must not be inherited by its children.
    for secret in ["CLAIMS_ETL_KEY", "CLAIMS_ETL_WAREHOUSE", "DATABASE_URL"] {
        command.env_remove(secret);
    }
    if let Some(password) = password {
        command.env("PGPASSWORD", password.expose());
    }
    let error = command.exec();
    Error::new(ErrorKind::Config, format!("psql: {}", error.kind()))
        .hint("psql comes with PostgreSQL's client package")
}
