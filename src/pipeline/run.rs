//! One run, from the settings to its report.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::listeners::Listeners;
use super::report::{RefreshReport, RunReport, Status, TaskReport};
use super::resume::owed_refresh;
use super::retries::{OPENING, RUN_LOG, Retries};
use super::task_id::Task;
use super::tasks::{extract, load_warehouse, transform_join};
use crate::adbc_postgres::PostgresConnection;
use crate::config::{Settings, digest};
use crate::dag::{Graph, Outcome, Plan, State, TaskRun};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Cancellation, Observer, RunEvent, RunId};
use crate::key::MasterKey;
use crate::load::identity::Identity;
use crate::load::{Session, ledger};
use crate::pipeline::refresh_stage::{REFRESH, refresh_bi};
use crate::pipeline::run_context::{Slot, Work};
use crate::pipeline::run_request::Way;
use crate::pipeline::task_log::LedgerLog;
use crate::pipeline::transform_stage::{checks_on, severities};
use crate::rule::Severity;
use crate::schema::Dataset;
use crate::totals::ControlTotals;
use crate::transform::DateFormats;
use crate::transform::risk::RISK_MODEL;
use crate::warehouse::layout::TableLayout;
use crate::warehouse::location::Warehouse;
use crate::worker::panicked;
use crate::{load, quarantine};

/// What a run is told beside the settings.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Load the input even if it is loaded already.
    pub force: bool,
    /// Read, validate and count, but touch no warehouse.
    pub dry_run: bool,
}

/// Does the whole job and reports how it ended; a failure is a report too.
#[must_use]
pub fn run(
    settings: &Settings,
    options: &RunOptions,
    observer: &dyn Observer,
    cancel: &Cancellation,
) -> RunReport {
    run_as(RunId::now(), settings, options, observer, cancel)
}

/// The same under an id that was given to it, so that somebody can note it before the run begins.
#[must_use]
pub fn run_as(
    id: RunId,
    settings: &Settings,
    options: &RunOptions,
    observer: &dyn Observer,
    cancel: &Cancellation,
) -> RunReport {
    run_this_way(&Way::whole(id), settings, options, observer, cancel)
}

/// The same for a run that has begun already, or of which one task is to be done.
pub(super) fn run_this_way(
    way: &Way,
    settings: &Settings,
    options: &RunOptions,
    observer: &dyn Observer,
    cancel: &Cancellation,
) -> RunReport {
    let started = Instant::now();
    let mut report = RunReport::new(way.id);
    let listeners = match &way.only {
        Some(alone) => Listeners::of_task(settings, observer, way.id, alone.before()),
        None => Listeners::of_run(settings, observer, way.id, options.dry_run),
    };
    let driven =
        AssertUnwindSafe(|| drive(settings, options, &listeners, cancel, way, &mut report));
    if let Err(error) = catch_unwind(driven).unwrap_or_else(|_| Err(panicked("the run"))) {
        report.fail(&error);
    }
    report.seconds = started.elapsed().as_secs_f64();
    match &way.only {
        Some(_) => listeners.finish_task(report.error.as_ref()),
        None => listeners.finish(&mut report),
    }
    report
}

fn drive(
    settings: &Settings,
    options: &RunOptions,
    observer: &dyn Observer,
    cancel: &Cancellation,
    way: &Way,
    report: &mut RunReport,
) -> Result<()> {
    let id = way.id;
    let formats = Arc::new(DateFormats::of(settings)?);
    let checks = Arc::new(checks_on(settings, way.day(settings)?)?);
    let key = key(settings, observer)?;
    report.key_id = Some(key.id());
    report.privacy_profile = Some(settings.privacy.profile.name().to_owned());
    let retries = Retries::new(settings, observer, cancel);
    let open = || Warehouse::open(settings, observer);
    let warehouse = if options.dry_run { None } else { Some(retries.run(OPENING, open)?) };
    let identity = Identity {
        run: id,
        key_id: key.id(),
        key_check: key.check_value(),
        config_digest: digest(settings),
        mode: settings.warehouse.mode,
        risk_model: RISK_MODEL,
        layout: TableLayout::of(&settings.privacy),
        flags_stored: severities(settings, &checks).mask(Severity::Flag),
        risk: settings.risk.clone(),
        named: way.named.clone(),
        run_date: way.date_to_keep(),
        only: way.task().map(Task::id),
    };
    let work = Work {
        settings,
        options,
        observer,
        cancel,
        identity,
        key: &key,
        formats,
        checks,
        warehouse: warehouse.as_ref(),
        session: Slot::default(),
        claims: Slot::default(),
        providers: Slot::default(),
        prepared: Slot::default(),
        rejects: Slot::default(),
        fingerprint: Slot::default(),
        loaded_by: Slot::default(),
        account: Slot::default(),
        phases: Slot::default(),
        quarantine: Slot::default(),
        published: Slot::default(),
        refreshed: Slot::default(),
    };
    if let Some(warehouse) = &warehouse {
        report.places.warehouse.clone_from(&warehouse.place);
        report.places.psql.clone_from(&warehouse.psql);
        if way.task().is_some_and(Task::is_extract) {
            // Nothing of the warehouse is touched: no lock is needed to look at a source.
            retries.run(OPENING, || way.enter(&mut warehouse.connect()?, &work.identity))?;
        } else {
            let mut session = retries.run(OPENING, || {
                let (identity, wait) = (work.identity.clone(), settings.run.wait);
                Session::open(&warehouse.database, identity, wait, observer, cancel)
            })?;
            if session.published {
                // Another process of the same run was faster.
                report.status = Status::AlreadyLoaded;
                report.loaded_by = Some(id.to_string());
                report.exit_code = settings.run.already_loaded_exit_code;
                return Ok(());
            }
            way.close_tries(&mut session.control)?;
            work.session.put(session);
        }
    }
    let (tasks, unwritten) = {
        let log = LedgerLog::new(work.warehouse, observer, id).after_each(way.tries.clone());
        let plan = match &way.only {
            Some(only) => only.plan(&work)?,
            None => graph(&work)?,
        };
        let tasks = plan.run(retries.policy(), observer, &log, cancel);
        // The next task of a run that is done task by task goes by what the ledger says of this one.
        let written = match &way.only {
            Some(_) => retries.run(RUN_LOG, || log.complete()),
            None => log.complete(),
        };
        (tasks, written.err().filter(|_| way.only.is_some()))
    };
    conclude(work, &tasks, unwritten, &retries, report)
}

/// The five tasks and what each of them waits for.
fn graph<'a>(work: &'a Work<'_>) -> Result<Plan<'a>> {
    Graph::new()
        .task("extract.extract_claims", &[], |task| extract(work, Dataset::Claims, task))
        .task("extract.extract_providers", &[], |task| extract(work, Dataset::Providers, task))
        .task("transform_join", &["extract.extract_claims", "extract.extract_providers"], |task| {
            transform_join(work, task)
        })
        .task("load.load_warehouse", &["transform_join"], |task| load_warehouse(work, task))
        .task(REFRESH, &["load.load_warehouse"], |task| match work.warehouse {
            Some(warehouse) => {
                refresh_bi(work.settings, warehouse, work.identity.run, &work.refreshed, task)
            }
            None => Ok(Outcome::Done(json!([]))),
        })
        .build()
}

/// From what the tasks left to the report, and the last word in the ledger.
fn conclude(
    work: Work<'_>,
    tasks: &[TaskRun],
    unwritten: Option<Error>,
    retries: &Retries<'_>,
    report: &mut RunReport,
) -> Result<()> {
    report.tasks = tasks.iter().map(TaskReport::from).collect();
    let published = work.published.into_inner().is_some();
    report.fingerprint = work.fingerprint.into_inner();
    report.line_column = work.claims.into_inner().and_then(|claims| claims.line_column);
    report.loaded_by = work.loaded_by.into_inner();
    report.set_account(work.account.into_inner().unwrap_or_default());
    report.phases = work.phases.into_inner();
    report.places.quarantine = work.quarantine.into_inner();
    report.refresh = work
        .refreshed
        .into_inner()
        .unwrap_or_default()
        .into_iter()
        .map(RefreshReport::from)
        .collect();
    let dashboard = work.settings.dashboard_path();
    report.places.dashboard = dashboard.exists().then_some(dashboard);

    let error = tasks.iter().find(|task| task.state == State::Failed).map(|task| {
        let error = task.error.clone().unwrap_or_else(|| Error::internal("failed"));
        match error.kind() {
            ErrorKind::Interrupted(_) if published => Error::new(
                error.kind(),
                "stopped by a signal after the data were published; the dashboards may be stale",
            )
            .hint(format!("`claims-etl run --resume {}` refreshes them", work.identity.run)),
            ErrorKind::Interrupted(_) => error,
            _ => error.context(&task.id),
        }
    });
    let mut session = work.session.into_inner();
    let (run, mut is_held) = (work.identity.run, true);
    if let (Some(warehouse), Some(error)) = (work.warehouse.filter(|_| !published), &error) {
        if let Some(session) = session.as_mut()
            && let Err(lost) = ledger::fail(&mut session.control, run, error)
                // The session was lost, which is why the run has failed.
                .or_else(|_| ledger::fail(&mut warehouse.connect()?, run, error))
        {
            let lost = lost.message().to_owned();
            let text = format!("could not write the run's end to the run log: {lost}");
            work.observer.observe(&RunEvent::Warning(text));
        }
    } else if let (Some(warehouse), Some(session), Some(_)) =
        (work.warehouse, session.as_mut(), &report.loaded_by)
    {
        let complete = |control: &mut PostgresConnection| {
            ledger::complete(control, run, "already_loaded", false, &ControlTotals::default())
        };
        if complete(&mut session.control).is_err() {
            // The lock went with the session, but nothing of the warehouse is touched any more.
            is_held = false;
            session.control = retries.run(RUN_LOG, || {
                let mut fresh = warehouse.connect()?;
                complete(&mut fresh).map(|()| fresh)
            })?;
        }
    }
    match (error, unwritten.filter(|_| !published)) {
        (Some(error), _) => Err(error),
        (None, Some(unwritten)) => Err(unwritten
            .context("the task is done, but that could not be written to the run log")
            .hint("call the task again: what comes after it needs that entry")),
        (None, None) if report.loaded_by.is_some() => {
            report.status = Status::AlreadyLoaded;
            report.exit_code = work.settings.run.already_loaded_exit_code;
            if let Some(session) = session.as_mut().filter(|_| is_held) {
                tidy(work.settings, &mut session.control, work.observer);
            }
            match (work.warehouse, session.as_mut()) {
                (Some(warehouse), Some(session)) => {
                    let (settings, control) = (work.settings, &mut session.control);
                    owed_refresh(settings, warehouse, control, work.observer, work.cancel, report)
                }
                _ => Ok(()),
            }
        }
        (None, None) => {
            report.status = Status::Success;
            if let Some(session) = session.as_mut().filter(|_| is_held) {
                tidy(work.settings, &mut session.control, work.observer);
            }
            Ok(())
        }
    }
}

/// Removes what dead runs have left behind, after a success: the session still holds the warehouse.
fn tidy(settings: &Settings, control: &mut PostgresConnection, observer: &dyn Observer) {
    let folder = settings.quarantine_dir();
    let done = load::sweep(control, observer).and_then(|()| {
        let unfinished = quarantine::unfinished(&folder)?;
        if unfinished.is_empty() {
            return Ok(());
        }
        let dead = ledger::ended(control, &unfinished)?;
        dead.into_iter().try_for_each(|run| quarantine::remove_unfinished(&folder, run))
    });
    if let Err(error) = done {
        let text =
            format!("what earlier runs have left behind is not removed: {}", error.message());
        observer.observe(&RunEvent::Warning(text));
    }
}

/// The configured key. Only the private server's first run makes one: in a shared warehouse a new
/// key in the wrong place would be a silent mistake.
fn key(settings: &Settings, observer: &dyn Observer) -> Result<MasterKey> {
    let path = settings.key_path();
    let configured = settings.privacy.names_key() || settings.warehouse.url.is_some();
    if configured || path.exists() {
        return MasterKey::resolve(&settings.key_source());
    }
    let key = match MasterKey::generate(&path) {
        // Another process of the same run has just made it; it writes it in a moment.
        Err(_) if path.exists() => return key_of_another(settings),
        made => made?,
    };
    observer.observe(&RunEvent::Note(format!(
        "made a key: {} (keep it: without it no later file gets the same tokens)",
        path.display()
    )));
    Ok(key)
}

/// The key that another process is making at this moment.
fn key_of_another(settings: &Settings) -> Result<MasterKey> {
    for _ in 0..50 {
        if let Ok(key) = MasterKey::resolve(&settings.key_source()) {
            return Ok(key);
        }
        thread::sleep(Duration::from_millis(20));
    }
    MasterKey::resolve(&settings.key_source())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_a_report() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut settings = Settings::default();
        settings.run.data_dir = folder.path().into();
        settings.claims.sources = vec!["/nowhere/claims.csv".into()];
        settings.claims.date_formats = vec!["%H".into()];
        let silent = crate::event::NullObserver;
        let report = run(&settings, &RunOptions::default(), &silent, &Cancellation::default());
        assert_eq!((report.status, report.exit_code), (Status::Failed, 2));
    }
}
