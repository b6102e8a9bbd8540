//! The commands `warehouse` and `refresh`: the tables, and the dashboards made from them.
//!
//! A file of its own because both work on what is loaded and load nothing.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;

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
    use pipeline::warehouse::{migrate, start, stop, url};
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
            let configured = settings.warehouse.url.is_some();
            let url = if configured { url(&settings)? } else { start(&settings, observer)? };
            talk.finish();
            Err(psql(&url, &arguments))
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

/// Puts psql in this process' place; returns only when it cannot be started. The address is
/// without its password, which other users could see: psql asks, or reads PGPASSWORD or ~/.pgpass.
fn psql(url: &str, arguments: &[OsString]) -> Error {
    let error = std::process::Command::new("psql").arg(url).args(arguments).exec();
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
