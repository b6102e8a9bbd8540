//! The command `run --only`: one task, for an orchestrator that calls them one by one.

use super::args::Format;
use super::options::SettingsOptions;
use super::output::{Reply, json};
use super::run::RunOptions;
use super::signals;
use super::xcom::{self, small};
use crate::cli::console::Talk;
use crate::cli::format::seconds;
use crate::error::{Error, Result};
use crate::pipeline::{self, ErrorReport, RunName, Task, TaskEnd};

/// `run --only`: always an end, even when the settings are refused.
///
/// # Errors
/// `Config` when the run's name is none, `Internal` when the end cannot be written as JSON.
pub(super) fn only(
    settings: SettingsOptions,
    options: &RunOptions,
    (which, run): (&str, &str),
    format: Format,
    talk: &Talk,
) -> Result<Reply> {
    let (which, name) = (Task::parse(which)?, RunName::parse(run)?);
    let prepared = settings.load().and_then(|settings| Ok((settings, signals::cancellation()?)));
    let end = match prepared {
        Ok((settings, cancel)) => {
            let run = pipeline::RunOptions { force: options.force, dry_run: options.dry_run };
            pipeline::run_only(&settings, &run, which, &name, talk.observer(), &cancel)
        }
        Err(error) => {
            let mut end = TaskEnd::new(which, &name);
            end.fail(&error);
            end
        }
    };
    talk.finish();
    if let Some(ErrorReport { kind, message, hint, .. }) = &end.error {
        talk.failure(kind, message, hint.as_deref());
    }
    let text = match format {
        Format::Json => json(&end)?,
        Format::Text => text(&end, options.xcom.is_on_stdout())?,
    };
    Ok(xcom::reply(text, options.xcom.of_task(&end), end.exit_code, talk))
}

/// For people: how it ended, and what it hands on.
fn text(end: &TaskEnd, with_line: bool) -> Result<String> {
    let tries = if end.tries > 1 { format!(", try {}", end.tries) } else { String::new() };
    let (time, run) = (seconds(end.seconds), &end.run_id);
    let told = format!("{}: {} in {time}{tries}\nrun {run}\n", end.task, end.state);
    // The line for the orchestrator says it too.
    let Some(result) = end.result.clone().filter(|_| !with_line).map(small) else {
        return Ok(told);
    };
    let result = serde_json::to_string_pretty(&result)
        .map_err(|_| Error::internal("the result cannot be written as JSON"))?;
    Ok(format!("{told}{result}\n"))
}
