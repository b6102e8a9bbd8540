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
        place: WarehouseOptions,
    },
    /// Stop the private server
    Stop {
        #[command(flatten)]
        place: WarehouseOptions,
    },
    /// Print the warehouse's address
    Url {
        #[command(flatten)]
        place: WarehouseOptions,
    },
    /// Open psql on the warehouse
    Psql {
        #[command(flatten)]
        place: WarehouseOptions,
        /// Passed on to psql, after `--`
        #[arg(last = true, value_name = "ARGS")]
        arguments: Vec<std::ffi::OsString>,
    },
    /// Create the tables, or bring them up to date
    Migrate {
        #[command(flatten)]
        place: WarehouseOptions,
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
        WarehouseCommand::Start { place } => start(&place.load()?, observer).map(Reply::line),
        WarehouseCommand::Stop { place } => {
            let stopped = stop(&place.load()?)?;
            Ok(Reply::line(if stopped { "stopped" } else { "not running" }))
        }
        WarehouseCommand::Url { place } => url(&place.load()?).map(Reply::line),
        WarehouseCommand::Psql { place, arguments } => {
            let settings = place.load()?;
            if settings.warehouse.url.is_none() {
                start(&settings, observer)?;
            }
            let (url, password) = login(&settings)?;
            console.finish();
            Err(psql(&url, password.as_ref(), &arguments))
        }
        WarehouseCommand::Migrate { place } => {
            let applied = migrate(&place.load()?, observer, &signals::cancellation()?)?;
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
