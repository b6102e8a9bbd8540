//! The commands `run` and `explain`.
//!
//! A file of its own because they share all options: what `explain` prints is what `run` with the
//! same command line would do.

use crate::error::{Error, Result};
use crate::event::{Cancellation, RunId};
use crate::pipeline::{self, Chosen, ErrorReport, RunReport, Status};

use super::args::{Format, RunOptions};
use super::options::SettingsOptions;
use super::output::{Reply, json};
use super::signals;
use super::summary;
use super::talk::Talk;

/// `run`: always a report, even when the settings are refused, because a program that asked for
/// JSON reads the last line of stdout whatever happened.
///
/// # Errors
/// `Internal` when the report cannot be written as JSON.
pub(super) fn run(
    settings: SettingsOptions,
    options: &RunOptions,
    format: Format,
    talk: &Talk,
) -> Result<Reply> {
    let prepared = settings.load().and_then(|settings| {
        let resumed = options.resume.as_deref().map(Chosen::parse).transpose()?;
        let severities = settings.severities()?;
        Ok((settings, resumed, severities, signals::cancellation()?))
    });
    let (report, severities) = match prepared {
        Ok((settings, resumed, severities, cancel)) => {
            let options = pipeline::RunOptions { force: options.force, dry_run: options.dry_run };
            let report = match resumed {
                None => pipeline::run(&settings, &options, talk.observer(), &cancel),
                Some(which) => {
                    pipeline::resume(&settings, &options, which, talk.observer(), &cancel)
                }
            };
            (report, Some(severities))
        }
        Err(error) => (not_begun(&error), None),
    };
    talk.finish();
    if let Some(ErrorReport { kind, message, hint }) = &report.error {
        talk.failure(kind, message, hint.as_deref());
    }
    let text = match (format, severities) {
        (Format::Json, _) => json(&report)?,
        (Format::Text, Some(severities)) => summary::render(&report, options.dry_run, &severities),
        (Format::Text, None) => String::new(),
    };
    Ok(Reply::new(text, report.exit_code))
}

/// The report of a run whose settings were refused.
fn not_begun(error: &Error) -> RunReport {
    RunReport {
        status: Status::Failed,
        error: Some(error.into()),
        exit_code: error.kind().exit_code(),
        ..RunReport::new(RunId::now())
    }
}

/// `explain`: the query plan.
///
/// # Errors
/// `Config` or `Source` when there is no plan to make.
pub(super) fn explain(settings: SettingsOptions) -> Result<Reply> {
    pipeline::explain(&settings.load()?, &Cancellation::default()).map(Reply::line)
}
