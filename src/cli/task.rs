//! The command `run --task`: runs one task, for an orchestrator that calls tasks one by one.

use super::options::SettingsOptions;
use super::output::{Reply, json};
use super::output_format::Format;
use super::run_options::RunOptions;
use super::signals;
use super::xcom::{self, small};
use crate::cli::console::Console;
use crate::cli::format::seconds;
use crate::error::{Error, Result};
use crate::pipeline::{self, ErrorReport, RunName, Task, TaskEnd};

/// Runs `run --task`. Always prints a result, even if the settings are invalid.
///
/// # Errors
/// `Config` for an invalid run name, `Internal` when the result cannot be written as JSON.
pub(super) fn run(
    settings: SettingsOptions,
    options: &RunOptions,
    (which, run): (&str, &str),
    format: Format,
    console: &Console,
) -> Result<Reply> {
    let (which, name) = (Task::parse(which)?, RunName::parse(run)?);
    let prepared = settings.load().and_then(|settings| Ok((settings, signals::cancellation()?)));
    let end = match prepared {
        Ok((settings, cancel)) => {
            let run = pipeline::RunOptions { force: options.force, dry_run: options.dry_run };
            pipeline::run_task(&settings, &run, which, &name, console.observer(), &cancel)
        }
        Err(error) => {
            let mut end = TaskEnd::new(which, &name);
            end.fail(&error);
            end
        }
    };
    console.finish();
    if let Some(ErrorReport { kind, message, hint, .. }) = &end.error {
        console.failure(kind, message, hint.as_deref());
    }
    let text = match format {
        Format::Json => json(&end)?,
        Format::Text => text(&end, options.xcom.is_on_stdout())?,
    };
    Ok(xcom::reply(text, options.xcom.of_task(&end), end.exit_code, console))
}

/// The task's state and result.
fn text(end: &TaskEnd, with_line: bool) -> Result<String> {
    let tries = if end.tries > 1 { format!(", try {}", end.tries) } else { String::new() };
    let (time, run) = (seconds(end.seconds), &end.run_id);
    let head = format!("{}: {} in {time}{tries}\nrun {run}\n", end.task, end.state);
    // The XCom line already contains the result.
    let Some(result) = end.result.clone().filter(|_| !with_line).map(small) else {
        return Ok(head);
    };
    let result = serde_json::to_string_pretty(&result)
        .map_err(|_| Error::internal("the result cannot be written as JSON"))?;
    Ok(format!("{head}{result}\n"))
}
