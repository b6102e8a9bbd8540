//! The commands `run` and `explain`.

use clap::Args;
use clap::builder::{BoolishValueParser, PossibleValuesParser};

use super::args::Format;
use super::options::SettingsOptions;
use super::output::{Reply, json};
use super::xcom::{self, XcomOptions};
use super::{only, signals, summary};
use crate::cli::console::Talk;
use crate::commands::check;
use crate::error::{Error, Result};
use crate::event::{Cancellation, RunId};
use crate::pipeline::{self, Chosen, ErrorReport, RunName, RunReport, Status, Task};

/// What is special about this run.
#[derive(Debug, Clone, Args)]
pub(super) struct RunOptions {
    /// Load even if the same input is loaded already
    #[arg(
        long,
        env = "CLAIMS_ETL_FORCE",
        value_parser = BoolishValueParser::new(),
        help_heading = "Run"
    )]
    pub(super) force: bool,
    /// Read, validate and count everything, publish nothing
    #[arg(
        long,
        env = "CLAIMS_ETL_DRY_RUN",
        value_parser = BoolishValueParser::new(),
        help_heading = "Run"
    )]
    pub(super) dry_run: bool,
    /// Finish an earlier run, named by its id or as last (with an input: the last run of that input):
    /// refresh what it has published, or load again where it has published nothing
    #[arg(long, value_name = "RUN", env = "CLAIMS_ETL_RESUME", help_heading = "Run")]
    pub(super) resume: Option<String>,
    /// Do one task alone, for an orchestrator that knows the order; what must come before has to be
    /// done already, under the same --run-id
    #[arg(
        long,
        value_name = "TASK",
        env = "CLAIMS_ETL_ONLY",
        value_parser = PossibleValuesParser::new(Task::IDS),
        requires = "run_id",
        conflicts_with_all = ["resume", "dry_run"],
        help_heading = "Run"
    )]
    pub(super) only: Option<String>,
    /// The run's id: a UUID, or what an orchestrator calls the run, from which one is made. A run
    /// of that id goes on where it is
    #[arg(
        long,
        value_name = "ID",
        env = "CLAIMS_ETL_RUN_ID",
        conflicts_with = "resume",
        help_heading = "Run"
    )]
    pub(super) run_id: Option<String>,
    #[command(flatten)]
    pub(super) xcom: XcomOptions,
}

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
    options.xcom.check()?;
    if let Some((task, name)) = options.only.as_deref().zip(options.run_id.as_deref()) {
        return only::only(settings, options, (task, name), format, talk);
    }
    let prepared = settings.load().and_then(|settings| {
        let resumed = options.resume.as_deref().map(Chosen::parse).transpose()?;
        let named = options.run_id.as_deref().map(RunName::parse).transpose()?;
        let severities = settings.severities()?;
        Ok((settings, resumed, named, severities, signals::cancellation()?))
    });
    let (report, severities) = match prepared {
        Ok((settings, resumed, named, severities, cancel)) => {
            let options = pipeline::RunOptions { force: options.force, dry_run: options.dry_run };
            let observer = talk.observer();
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
    talk.finish();
    if let Some(ErrorReport { kind, message, hint, .. }) = &report.error {
        talk.failure(kind, message, hint.as_deref());
    }
    let text = match (format, severities) {
        (Format::Json, _) => json(&report)?,
        (Format::Text, Some(severities)) => summary::render(&report, options.dry_run, &severities),
        (Format::Text, None) => String::new(),
    };
    Ok(xcom::reply(text, options.xcom.of_run(&report), report.exit_code, talk))
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
    check::explain(&settings.load()?, &Cancellation::default()).map(Reply::line)
}
