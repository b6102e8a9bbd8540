//! Going on where an earlier run has ended.
//!
//! A file of its own because it is decided by the ledger alone: a run that has published needs its
//! dashboards only, whatever has become of its sources, key and settings; one that has not
//! published left nothing behind, so its work starts anew.

use std::time::{Duration, Instant};

use super::RunOptions;
use super::chosen::{self, Chosen};
use super::log::LedgerLog;
use super::refreshing::{REFRESH, refresh_bi};
use super::report::{RefreshReport, RunReport, Status, TaskReport};
use super::run::run_as;
use super::warehouse::Warehouse;
use super::work::Slot;
use crate::adbc_postgres::PostgresConnection;
use crate::config::{Settings, digest};
use crate::dag::{Graph, RetryPolicy};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Cancellation, Observer, RunEvent, RunId};
use crate::load;
use crate::load::quarantine;
use crate::load::record::Record;

/// What is left to do for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// All is loaded and shown.
    Nothing,
    /// The data are published, a dashboard may be stale.
    Refresh,
    /// Nothing was published.
    All,
    /// The ledger says that it runs; the lock tells whether it does.
    Unknown,
}

/// Finishes an earlier run and reports how that ended; a failure is a report too.
///
/// A run that has published is refreshed under its own id, without sources or key. One that has
/// not starts anew, under a new id and with the settings given here. For one that is complete
/// there is nothing to do.
#[must_use]
pub fn resume(
    settings: &Settings,
    options: &RunOptions,
    which: Chosen,
    observer: &dyn Observer,
    cancel: &Cancellation,
) -> RunReport {
    let started = Instant::now();
    let mut report = RunReport::new(match which {
        Chosen::Run(run) => run,
        Chosen::Last => RunId::now(),
    });
    match go_on(settings, options, which, observer, cancel, &mut report) {
        Ok(None) => {}
        Ok(Some(failed)) => report = anew(settings, options, &failed, observer, cancel),
        Err(error) => report.fail(&error),
    }
    report.seconds = started.elapsed().as_secs_f64();
    report
}

/// Does what is left to do, or hands back the run whose work has to start anew.
fn go_on(
    settings: &Settings,
    options: &RunOptions,
    which: Chosen,
    observer: &dyn Observer,
    cancel: &Cancellation,
    report: &mut RunReport,
) -> Result<Option<Record>> {
    if options.dry_run {
        return Err(
            Error::config("a dry run resumes nothing").hint("leave out --dry-run, or --resume")
        );
    }
    let warehouse = Warehouse::open(settings, observer)?;
    report.places.warehouse.clone_from(&warehouse.place);
    report.places.psql.clone_from(&warehouse.psql);
    let mut connection = warehouse.connect()?;
    let asked = which.id(&mut connection)?;
    let mut record = chosen::read(&mut connection, asked)?;
    drop(connection);
    if record.account.is_some() {
        remember(report, &record);
    }
    let mut held = None;
    if matches!(left(&record), Left::Refresh | Left::Unknown) {
        // It may be at work just now. With the lock held it is not, and what the ledger says then
        // is the last word.
        let mut control = load::hold(&warehouse.database, settings.run.wait, observer, cancel)?;
        record = chosen::read(&mut control, asked)?;
        held = Some(control);
    }
    let run = RunId::parse(&record.run_id)?;
    if run != asked {
        note(observer, format!("run {asked} found its input loaded by run {run}: resuming that"));
    }
    let left = left(&record);
    if matches!(left, Left::Nothing | Left::Refresh) {
        remember(report, &record);
        places(settings, run, report);
    }
    let done = match left {
        Left::Nothing => {
            note(observer, format!("run {run} is complete: there is nothing to resume"));
            report.status = Status::AlreadyLoaded;
            report.loaded_by = Some(record.run_id.clone());
            report.exit_code = settings.run.already_loaded_exit_code;
            Ok(None)
        }
        Left::Refresh => {
            note(observer, format!("run {run} has published: only its dashboards are refreshed"));
            if let Some(later) = &record.published_since {
                note(observer, format!("they will show what run {later} has published since, too"));
            }
            let done = refresh(settings, &warehouse, &record, observer, cancel, report);
            places(settings, run, report);
            done.map(|()| None)
        }
        Left::All | Left::Unknown => Ok(Some(record)),
    };
    if let Some(control) = held {
        // At the latest the end of the connection does it.
        let _ = load::let_go(control);
    }
    done
}

fn left(record: &Record) -> Left {
    match (&record.account, record.status.as_str()) {
        (Some(_), _) if is_refreshed(record) => Left::Nothing,
        (Some(_), _) => Left::Refresh,
        (None, "already_loaded") => Left::Nothing,
        (None, "running") => Left::Unknown,
        (None, _) => Left::All,
    }
}

/// Whether the last try has refreshed every target, those included whose failure a run survives.
fn is_refreshed(record: &Record) -> bool {
    record.tries.last().is_some_and(|last| {
        let targets = last.result.as_ref().and_then(|result| result.as_array());
        let failed = targets.is_some_and(|all| all.iter().any(|one| one["outcome"] == "failed"));
        last.state == "success" && !failed
    })
}

/// Takes over what the run has told when it loaded.
fn remember(report: &mut RunReport, record: &Record) {
    report.run_id.clone_from(&record.run_id);
    report.resumed = Some(record.run_id.clone());
    report.key_id = Some(record.key_id.clone());
    report.fingerprint.clone_from(&record.fingerprint);
    report.set_account(record.account.clone().unwrap_or_default());
}

/// Where a person finds what the run has made.
fn places(settings: &Settings, run: RunId, report: &mut RunReport) {
    let (rejects, page) =
        (quarantine::path(&settings.quarantine_dir(), run), settings.dashboard_path());
    report.places.quarantine = rejects.exists().then_some(rejects);
    report.places.dashboard = page.exists().then_some(page);
}

/// The task that is left of a run that has published.
fn refresh(
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
    let policy = RetryPolicy {
        retries: settings.run.retries,
        delay: Duration::from_secs(settings.run.retry_delay_secs),
    };
    let log = LedgerLog::new(Some(warehouse), observer, run).after(tries_before);
    let refreshed = Slot::default();
    let tasks = Graph::new()
        .task(REFRESH, &[], |task| refresh_bi(settings, warehouse, run, &refreshed, task))
        .build()?
        .run(policy, observer, &log, cancel);
    report.refresh =
        refreshed.into_inner().unwrap_or_default().into_iter().map(RefreshReport::from).collect();
    for task in tasks {
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
                _ => error.context(&task.id),
            });
        }
    }
    Ok(())
}

/// The refresh that the run which has loaded the input still owes: it was ended between its commit
/// and its refresh, and the same input would never again be loaded.
pub(super) fn owed_refresh(
    settings: &Settings,
    warehouse: &Warehouse,
    connection: &mut PostgresConnection,
    observer: &dyn Observer,
    cancel: &Cancellation,
    report: &mut RunReport,
) -> Result<()> {
    let Some(run) = report.loaded_by.as_deref().map(RunId::parse).transpose()? else {
        return Ok(());
    };
    let record = chosen::read(connection, run)?;
    if left(&record) != Left::Refresh {
        return Ok(());
    }
    note(observer, format!("run {run} has loaded it, but refreshed nothing: that is made up for"));
    report.tasks.retain(|task| task.id != REFRESH);
    refresh(settings, warehouse, &record, observer, cancel, report)?;
    places(settings, run, report);
    Ok(())
}

/// The work of a run that has published nothing, once more from its beginning.
fn anew(
    settings: &Settings,
    options: &RunOptions,
    failed: &Record,
    observer: &dyn Observer,
    cancel: &Cancellation,
) -> RunReport {
    let (id, old) = (RunId::now(), &failed.run_id);
    note(observer, format!("run {old} has published nothing: its work starts anew as run {id}"));
    if digest(settings) != failed.config_digest {
        observer.observe(&RunEvent::Warning(format!(
            "these are not the settings of run {old}: mode, columns, policies or scoring differ"
        )));
    }
    let mut report = run_as(id, settings, options, observer, cancel);
    if let Some((now, then)) = report.fingerprint.as_ref().zip(failed.fingerprint.as_ref())
        && now != then
    {
        let warning = format!("this is not the input that run {old} has read");
        observer.observe(&RunEvent::Warning(warning));
    }
    report.resumed = Some(old.clone());
    report
}

fn note(observer: &dyn Observer, text: String) {
    observer.observe(&RunEvent::Note(text));
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::account::Account;
    use crate::config::Mode;
    use crate::load::record::Try;

    fn record(status: &str, published: bool, tries: &[(u32, &str, Value)]) -> Record {
        let tries = tries.iter().map(|(try_number, state, result)| Try {
            try_number: *try_number,
            state: (*state).to_owned(),
            seconds: Some(0.5),
            result: Some(result.clone()),
        });
        Record {
            run_id: RunId::now().to_string(),
            run_no: 1,
            mode: Mode::Merge,
            status: status.into(),
            key_id: String::new(),
            config_digest: String::new(),
            fingerprint: None,
            sources: None,
            account: published.then(Account::default),
            loaded_by: None,
            published_since: None,
            replaced_by: None,
            tries: tries.collect(),
        }
    }

    #[test]
    fn what_is_left_follows_from_the_ledger() {
        let page = |outcome: &str| json!([{ "target": "dashboard", "outcome": outcome }]);
        let cases = [
            (record("success", true, &[(1, "success", page("succeeded"))]), Left::Nothing),
            (record("success", true, &[(1, "success", page("skipped"))]), Left::Nothing),
            // An optional target: the run succeeded, its page did not.
            (record("success", true, &[(1, "success", page("failed"))]), Left::Refresh),
            (record("success", true, &[(1, "failed", Value::Null)]), Left::Refresh),
            (record("success", true, &[(1, "running", Value::Null)]), Left::Refresh),
            (record("success", true, &[]), Left::Refresh),
            (
                record(
                    "success",
                    true,
                    &[(1, "failed", Value::Null), (2, "success", page("succeeded"))],
                ),
                Left::Nothing,
            ),
            (record("failed", false, &[(0, "upstream_failed", Value::Null)]), Left::All),
            (record("running", false, &[]), Left::Unknown),
            (record("already_loaded", false, &[(0, "skipped", Value::Null)]), Left::Nothing),
        ];
        for (record, expected) in cases {
            assert_eq!(left(&record), expected, "{record:?}");
        }
    }
}
