//! The commands `warehouse` and `refresh`: the tables, and the dashboards made from them.
//!
//! A file of its own because both work on what is loaded and load nothing.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;

use crate::config::Secret;
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline;

use super::args::{Format, WarehouseCommand};
use super::numbers::seconds;
use super::options::PlaceOptions;
use super::output::{Reply, json};
use super::table::Table;
use super::talk::Talk;

/// `warehouse start`, `stop`, `url`, `psql` and `migrate`.
///
/// # Errors
/// `Config` or `Warehouse` as the work it stands for.
pub(super) fn warehouse(command: WarehouseCommand, talk: &Talk) -> Result<Reply> {
    use pipeline::warehouse::{login, migrate, start, stop, url};
    let observer = talk.observer();
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
            talk.finish();
            Err(psql(&url, password.as_ref(), &arguments))
        }
        WarehouseCommand::Migrate { place } => {
            let applied = migrate(&place.load()?, observer)?;
            Ok(Reply::line(match applied.last() {
                Some(version) => format!("migrated to version {version}"),
                None => "up to date".to_owned(),
            }))
        }
    }
}

/// Puts psql in this process' place; returns only when it cannot be started. The password, which
/// other users could see among psql's arguments, goes into its environment.
fn psql(url: &str, password: Option<&Secret>, arguments: &[OsString]) -> Error {
    let mut command = std::process::Command::new("psql");
    command.arg(url).args(arguments);
    // psql needs none of these, and what it starts would have them.
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

/// `refresh`: a line a target. Exit code 6 when one of them failed.
///
/// # Errors
/// `Config` for an unknown target, `Warehouse` when the tables cannot be read.
pub(super) fn refresh(
    targets: &[String],
    place: PlaceOptions,
    format: Format,
    talk: &Talk,
) -> Result<Reply> {
    let reports = pipeline::refresh(&place.load()?, targets, talk.observer())?;
    let failed = reports.iter().any(|report| report.outcome == "failed");
    let exit_code = if failed { ErrorKind::Refresh.exit_code() } else { 0 };
    let text = match format {
        Format::Json => json(&reports)?,
        Format::Text if reports.is_empty() => "no target is enabled\n".into(),
        Format::Text => {
            let mut table = Table::new("llrl");
            for report in reports {
                let time = seconds(report.seconds);
                table.row([report.target, report.outcome.to_owned(), time, report.detail]);
            }
            table.render("")
        }
    };
    Ok(Reply::new(text, exit_code))
}
