//! The command `runs`: lists the ledger.

use super::options::WarehouseOptions;
use super::output::{Reply, json};
use super::output_format::Format;
use super::table::Table;
use crate::cli::console::Console;
use crate::cli::format;
use crate::cli::format::{money_text, seconds};
use crate::commands::runs;
use crate::error::{Error, Result};
use crate::event::RunId;
use crate::load::ledger::RunRow;

/// Runs `runs`; prints one line per run, latest first.
///
/// # Errors
/// `Config` or `Warehouse` when the ledger cannot be read.
pub(super) fn runs(
    settings_options: WarehouseOptions,
    format: Format,
    console: &Console,
) -> Result<Reply> {
    let runs = runs::runs(&settings_options.load()?, console.observer())?;
    if format == Format::Json {
        return json(&runs).map(Reply::done);
    }
    if runs.is_empty() {
        return Ok(Reply::line("no runs yet"));
    }
    let mut table = Table::new("llllrrrrrrrll");
    // For tasks called one by one: shows the last task and the orchestrator's name.
    let apart = |title: &'static str| if runs.iter().any(is_apart) { title } else { "" };
    table.head([
        "run",
        "status",
        "mode",
        "started",
        "time",
        "read",
        "loaded",
        "rejected",
        "duplicates",
        "conflicts",
        "amount loaded",
        apart("last task"),
        apart("called"),
    ]);
    for run in &runs {
        table.row([
            run.run_id.clone(),
            run.status.clone(),
            run.mode.clone(),
            run.started_at.clone(),
            run.seconds.map_or_else(String::new, seconds),
            rows(run.claims_read),
            rows(run.claims_loaded),
            rows(run.claims_rejected),
            rows(run.claims_duplicates),
            rows(run.claims_conflicts),
            run.amount_loaded.as_deref().map_or_else(String::new, money_text),
            last_task(run),
            run.orchestrator_run_id.clone().unwrap_or_default(),
        ]);
    }
    Ok(Reply::done(table.render("")))
}

fn is_apart(run: &RunRow) -> bool {
    run.last_task.is_some() || run.orchestrator_run_id.is_some()
}

/// The last task called, and when.
fn last_task(run: &RunRow) -> String {
    let called = run.last_task.as_ref().zip(run.last_task_at.as_ref());
    called.map_or_else(String::new, |(task, at)| format!("{task} ({at})"))
}

/// A ledger count; blank if the run did not get so far.
fn rows(count: Option<i64>) -> String {
    count.and_then(|count| u64::try_from(count).ok()).map_or_else(String::new, format::count)
}

/// Runs `runs RUN`; prints the ledger entry of one run.
///
/// # Errors
/// `Config` when there is no such run, `Warehouse` when the ledger cannot be read.
pub(super) fn run_details(
    run: &str,
    settings_options: WarehouseOptions,
    console: &Console,
) -> Result<Reply> {
    let run = RunId::parse(run)?;
    let details = runs::run_details(&settings_options.load()?, run, console.observer())?;
    let text = serde_json::to_string_pretty(&details)
        .map_err(|_| Error::internal("the run cannot be written as JSON"))?;
    Ok(Reply::line(text))
}
