//! Refresh of a run that has already published.

use super::refresh_stage::{enabled, refresh_bi};
use super::report::{RunReport, TaskReport};
use super::retries::Retries;
use super::run_selector;
use super::task_id::Task;
use super::task_log::LedgerLog;
use super::task_runner::{LogEntry, TaskRunner, Upstream};
use crate::adbc_postgres::PostgresConnection;
use crate::config::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Cancellation, Observer, RunEvent, RunId};
use crate::load::ledger_read::Record;
use crate::load::outbox;
use crate::quarantine;
use crate::warehouse::location::Warehouse;

/// Remaining work of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remaining {
    /// Loaded and refreshed.
    Nothing,
    /// Published, but a dashboard may be stale.
    Refresh,
    /// Nothing is published.
    All,
    /// Running according to the ledger; only the lock shows whether it still is.
    Unknown,
}

/// Remaining work according to the ledger and the outbox. A run's refresh is complete when the
/// targets show the latest published data, whichever run published it.
pub(super) fn remaining(
    connection: &mut PostgresConnection,
    settings: &Settings,
    record: &Record,
) -> Result<Remaining> {
    if record.account.is_none() {
        return Ok(match record.status.as_str() {
            "already_loaded" => Remaining::Nothing,
            "running" => Remaining::Unknown,
            _ => Remaining::All,
        });
    }
    let due = outbox::due(connection, &enabled(settings))?;
    Ok(if due.is_empty() { Remaining::Nothing } else { Remaining::Refresh })
}

/// Restores the load results from the ledger.
pub(super) fn restore(report: &mut RunReport, record: &Record) {
    report.run_id.clone_from(&record.run_id);
    report.resumed = Some(record.run_id.clone());
    report.key_id = Some(record.key_id.clone());
    report.privacy_profile = Some(record.privacy_profile.clone());
    report.fingerprint.clone_from(&record.fingerprint);
    report.set_account(record.account.clone().unwrap_or_default());
}

/// Sets the paths of the quarantine file and the dashboard page.
pub(super) fn places(settings: &Settings, run: RunId, report: &mut RunReport) {
    let (rejects, page) =
        (quarantine::path(&settings.quarantine_dir(), run), settings.dashboard_path());
    report.places.quarantine = rejects.exists().then_some(rejects);
    report.places.dashboard = page.exists().then_some(page);
}

/// The remaining task of a published run: `load.refresh_bi`.
pub(super) fn refresh(
    settings: &Settings,
    warehouse: &Warehouse,
    record: &Record,
    observer: &dyn Observer,
    cancel: &Cancellation,
    report: &mut RunReport,
) -> Result<()> {
    let run = RunId::parse(&record.run_id)?;
    let tries_before = record.tries.last().map_or(0, |last| last.try_number);
    let seconds_before: f64 = record.tries.iter().filter_map(|one| one.seconds).sum();
    let retries = Retries::new(settings, observer, cancel);
    let tries = [(Task::RefreshBi.id().to_owned(), tries_before)].into();
    let log = LedgerLog::new(Some(warehouse), observer, run, tries);
    let write = |entry: &LogEntry<'_>| log.record(entry);
    let runner = TaskRunner::new(retries, &write);
    let refreshed = &mut report.refresh;
    runner.run(Task::RefreshBi, Upstream::Ready(()), |(), _| {
        refresh_bi(settings, warehouse, run, observer, cancel, refreshed)
    });
    // The outbox has the refresh results, and the log has already warned.
    let _ = log.complete();
    for task in runner.into_runs() {
        report.tasks.push(TaskReport {
            tries: tries_before + task.tries,
            seconds: seconds_before + task.elapsed.as_secs_f64(),
            ..TaskReport::from(&task)
        });
        if let Some(error) = task.error {
            return Err(match error.kind() {
                ErrorKind::Interrupted(_) => Error::new(
                    error.kind(),
                    "stopped by a signal; the data are loaded, the dashboards may be stale",
                )
                .hint(format!("`claims-etl run --resume {run}` refreshes them")),
                _ => error.context(task.task.id()),
            });
        }
    }
    Ok(())
}

/// The outstanding refresh of an already loaded input: a run ended between commit and refresh, or a
/// target failed, and the same input would never be loaded again.
pub(super) fn owed_refresh(
    settings: &Settings,
    warehouse: &Warehouse,
    connection: &mut PostgresConnection,
    observer: &dyn Observer,
    cancel: &Cancellation,
    report: &mut RunReport,
) -> Result<()> {
    let due = outbox::due(connection, &enabled(settings))?;
    let Some(run) = outbox::last_changing_run(connection)?.filter(|_| !due.is_empty()) else {
        return Ok(());
    };
    let record = run_selector::read(connection, run)?;
    let what = due.join(", ");
    observer.observe(&RunEvent::Note(format!(
        "run {run} has published, but not refreshed {what}: that is done now"
    )));
    report.tasks.retain(|task| task.id != Task::RefreshBi.id());
    refresh(settings, warehouse, &record, observer, cancel, report)?;
    places(settings, run, report);
    Ok(())
}

/// Mentions the run that has published after this one, for the message that this one is complete.
pub(super) fn since(record: &Record) -> String {
    let later = record.published_since.as_ref();
    later.map_or_else(String::new, |later| format!("; run {later} has published since"))
}
