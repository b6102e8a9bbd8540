//! The command `refresh`: refreshes dashboards or lists which are due.

use clap::Args;
use clap::builder::BoolishValueParser;

use super::options::WarehouseOptions;
use super::output::{Reply, json};
use super::output_format::{Format, ResultOptions};
use super::signals;
use super::table::Table;
use crate::cli::console::Console;
use crate::cli::format::seconds;
use crate::commands::refresh_list;
use crate::commands::refresh_list::TargetState;
use crate::error::{ErrorKind, Result};
use crate::event::Cancellation;
use crate::pipeline;
use crate::pipeline::{RefreshReport, Which};

/// Which targets.
#[derive(Debug, Clone, Args)]
pub(super) struct RefreshOptions {
    /// The targets to refresh, due or not: power_bi.sales, or power_bi for all of that provider;
    /// all that are enabled when none is named
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// Refresh only what does not show what is published
    #[arg(
        long,
        env = "CLAIMS_ETL_REFRESH_DUE",
        value_parser = BoolishValueParser::new(),
        conflicts_with_all = ["targets", "list"]
    )]
    due: bool,
    /// List all targets and what they show; refresh nothing
    #[arg(
        long,
        env = "CLAIMS_ETL_REFRESH_LIST",
        value_parser = BoolishValueParser::new(),
        conflicts_with = "targets"
    )]
    list: bool,
    #[command(flatten)]
    warehouse: WarehouseOptions,
    #[command(flatten)]
    result: ResultOptions,
}

/// Runs `refresh`; prints one line per target. Exit code 6 when one of them failed.
///
/// # Errors
/// `Config` for an unknown target, `Warehouse` when the tables cannot be read.
pub(super) fn refresh(options: RefreshOptions, console: &Console) -> Result<Reply> {
    let RefreshOptions { targets, due, list, warehouse, result } = options;
    let settings = warehouse.load()?;
    if list {
        let states = refresh_list::refresh_list(&settings, console.observer())?;
        return match result.format {
            Format::Json => json(&states).map(Reply::done),
            Format::Text => Ok(Reply::done(listed(&states))),
        };
    }
    let which = match targets.as_slice() {
        [] if due => Which::Due,
        [] => Which::All,
        names => Which::Named(names),
    };
    let cancel = signals::cancellation()?;
    let reports = pipeline::refresh(&settings, which, console.observer(), &cancel)?;
    let exit_code = exit_code(&reports, &cancel);
    let text = match result.format {
        Format::Json => json(&reports)?,
        Format::Text if reports.is_empty() && due => "nothing is due\n".into(),
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

/// Unlike a run, an explicit refresh fails for optional targets, too.
fn exit_code(reports: &[RefreshReport], cancel: &Cancellation) -> u8 {
    let stopped = reports.iter().any(|report| report.outcome == "cancelled");
    match cancel.signal().filter(|_| stopped) {
        Some(signal) => ErrorKind::Interrupted(signal).exit_code(),
        None if reports.iter().any(RefreshReport::is_failure) => ErrorKind::Refresh.exit_code(),
        None => 0,
    }
}

fn listed(states: &[TargetState]) -> String {
    let mut table = Table::new("llllll");
    table.head(["target", "on failure", "state", "last refresh", "began", "detail"]);
    for state in states {
        let on_failure = match (state.enabled, state.required) {
            (false, _) => "",
            (true, true) => "exit 6",
            (true, false) => "continue",
        };
        let shows = match (state.enabled, state.due, &state.refreshed_run_id) {
            (false, ..) => "switched off".to_owned(),
            (true, true, _) => "due".to_owned(),
            (true, false, Some(run)) => format!("shows run {run}"),
            (true, false, None) => "nothing to show".to_owned(),
        };
        let last = match (&state.outcome, &state.started_at) {
            (Some(outcome), _) => outcome.clone(),
            (None, Some(_)) => "begun".to_owned(),
            (None, None) => String::new(),
        };
        table.row([
            state.target.clone(),
            on_failure.to_owned(),
            shows,
            last,
            state.started_at.clone().unwrap_or_default(),
            state.detail.clone().unwrap_or_default(),
        ]);
    }
    table.render("")
}
