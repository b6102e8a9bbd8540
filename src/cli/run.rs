//! The commands `run` and `explain`.

use super::options::SettingsOptions;
use super::output::{Reply, json};
use super::output_format::Format;
use super::run_options::RunOptions;
use super::{signals, summary, task, xcom};
use crate::cli::console::Console;
use crate::commands::explain;
use crate::error::{Error, Result};
use crate::event::{Cancellation, RunId};
use crate::pipeline::{self, ErrorReport, RunName, RunReport, RunSelector, Status};

/// Runs `run`. Always prints a report, even if the settings are invalid: users of `--format json`
/// rely on the last line of stdout.
///
/// # Errors
/// `Internal` when the report cannot be written as JSON.
pub(super) fn run(
    settings: SettingsOptions,
    options: &RunOptions,
    format: Format,
    console: &Console,
) -> Result<Reply> {
    options.xcom.check()?;
    if let Some((task, name)) = options.task.as_deref().zip(options.run_id.as_deref()) {
        return task::run(settings, options, (task, name), format, console);
    }
    let prepared = settings.load().and_then(|settings| {
        let resumed = options.resume.as_deref().map(RunSelector::parse).transpose()?;
        let named = options.run_id.as_deref().map(RunName::parse).transpose()?;
        let severities = settings.severities()?;
        Ok((settings, resumed, named, severities, signals::cancellation()?))
    });
    let (report, severities) = match prepared {
        Ok((settings, resumed, named, severities, cancel)) => {
            let options = pipeline::RunOptions { force: options.force, dry_run: options.dry_run };
            let observer = console.observer();
            let report = match (resumed, named) {
                (Some(which), _) => pipeline::resume(&settings, &options, which, observer, &cancel),
                (None, Some(name)) => {
                    pipeline::run_named(&settings, &options, &name, observer, &cancel)
                }
                (None, None) => pipeline::run(&settings, &options, observer, &cancel),
            };
            (report, Some(severities))
        }
        Err(error) => (not_begun(&error), None),
    };
    console.finish();
    if let Some(ErrorReport { kind, message, hint, .. }) = &report.error {
        console.failure(kind, message, hint.as_deref());
    }
    let text = match (format, severities) {
        (Format::Json, _) => json(&report)?,
        (Format::Text, Some(severities)) => summary::render(&report, options.dry_run, &severities),
        (Format::Text, None) => String::new(),
    };
    Ok(xcom::reply(text, options.xcom.of_run(&report), report.exit_code, console))
}

/// Report of a run whose settings are invalid.
fn not_begun(error: &Error) -> RunReport {
    RunReport {
        status: Status::Failed,
        error: Some(error.into()),
        exit_code: error.kind().exit_code(),
        ..RunReport::new(RunId::now())
    }
}

/// Runs `explain`; prints the query plan.
///
/// # Errors
/// `Config` or `Source` when the plan cannot be built.
pub(super) fn explain(settings: SettingsOptions) -> Result<Reply> {
    explain::explain(&settings.load()?, &Cancellation::default()).map(Reply::line)
}
