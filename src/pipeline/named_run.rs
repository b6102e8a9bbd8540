//! A run under an id that was given to it.

use super::RunOptions;
use super::report::RunReport;
use super::resume::resume;
use super::retries::{OPENING, Retries};
use super::run::run_this_way;
use super::run_name::RunName;
use crate::config::Settings;
use crate::error::Result;
use crate::event::{Cancellation, Observer, RunEvent, RunId};
use crate::load::ledger_read::Record;
use crate::load::task_progress;
use crate::load::task_progress::Progress;
use crate::pipeline::run_request::Way;
use crate::pipeline::run_selector::Chosen;
use crate::warehouse::connection;
use crate::warehouse::location::Warehouse;

/// Does the whole job under the id of a name, and reports how it ended. The same name again after
/// the data were published finishes what is left, if anything.
#[must_use]
pub fn run_named(
    settings: &Settings,
    options: &RunOptions,
    name: &RunName,
    observer: &dyn Observer,
    cancel: &Cancellation,
) -> RunReport {
    let way = if options.dry_run {
        Way::named(name, settings, None).map(Some)
    } else {
        let retries = Retries::new(settings, observer, cancel);
        retries.run(OPENING, || way(settings, name, observer, cancel))
    };
    match way {
        Ok(Some(way)) => run_this_way(&way, settings, options, observer, cancel),
        Ok(None) => resume(settings, options, Chosen::Run(name.id()), observer, cancel),
        Err(error) => {
            let mut report = RunReport::new(name.id());
            report.fail(&error);
            report
        }
    }
}

/// The rest of a run whose tasks were called one by one, under its own id; none for any other run.
///
/// # Errors
/// `Warehouse` when the ledger cannot be asked which of the two it is.
pub(crate) fn go_on_under_its_id(
    settings: &Settings,
    options: &RunOptions,
    record: &Record,
    observer: &dyn Observer,
    cancel: &Cancellation,
) -> Result<Option<RunReport>> {
    let id = RunId::parse(&record.run_id)?;
    let before = Retries::new(settings, observer, cancel).run(OPENING, || {
        task_progress::progress(&mut Warehouse::open(settings, observer)?.connect()?, id)
    })?;
    let apart = |before: &Progress| before.last_task.is_some() && !before.published;
    let Some(before) = before.filter(apart) else { return Ok(None) };
    let note = format!("the tasks of run {id} were called one by one: all of them are done now");
    observer.observe(&RunEvent::Note(note));
    let way = Way::named(&RunName::of(id), settings, Some(&before))?;
    let report = run_this_way(&way, settings, options, observer, cancel);
    if let Some((now, then)) = report.fingerprint.as_ref().zip(before.fingerprint.as_ref())
        && now != then
    {
        let warning = format!("this is not the input that run {id} has read before");
        observer.observe(&RunEvent::Warning(warning));
    }
    Ok(Some(report))
}

/// How a named run begins; none where it has published. One that found its input loaded by another run
/// looks again: that may have changed.
fn way(
    settings: &Settings,
    name: &RunName,
    observer: &dyn Observer,
    cancel: &Cancellation,
) -> Result<Option<Way>> {
    let mut connection = Warehouse::open(settings, observer)?.connect()?;
    connection::migrate_if_needed(&mut connection, settings.run.wait, observer, cancel)?;
    let before = task_progress::progress(&mut connection, name.id())?;
    if before.as_ref().is_some_and(|before| before.published) {
        return Ok(None);
    }
    Way::named(name, settings, before.as_ref()).map(Some)
}
