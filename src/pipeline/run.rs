//! One run, from the settings to its report.
//!
//! ```text
//! extract.extract_claims ∥ extract.extract_providers → transform_join → load.load_warehouse
//!     → load.refresh_bi
//! ```

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::extract_stage::{Inputs, extract};
use super::listeners::Listeners;
use super::load_stage::load_warehouse;
use super::published_run::owed_refresh;
use super::refresh_stage::refresh_bi;
use super::report::{RunReport, Status, TaskReport};
use super::retries::{OPENING, RUN_LOG, Retries};
use super::run_context::{RunContext, RunOptions, RunState};
use super::run_request::RunRequest;
use super::run_rules::{checks_on, day_of, severities};
use super::single_task::SingleTask;
use super::task_id::Task;
use super::task_log::LedgerLog;
use super::task_runner::{LogEntry, Outcome, State, TaskRun, TaskRunner, Upstream};
use super::transform_stage::transform_join;
use crate::adbc_postgres::PostgresConnection;
use crate::config::{Settings, digest};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Cancellation, Observer, RunEvent, RunId};
use crate::key::MasterKey;
use crate::load::identity::Identity;
use crate::load::{Session, ledger};
use crate::rule::Severity;
use crate::schema::Dataset;
use crate::totals::ControlTotals;
use crate::transform::DateFormats;
use crate::transform::risk::RISK_MODEL;
use crate::warehouse::layout::TableLayout;
use crate::warehouse::location::Warehouse;
use crate::worker::{Worker, panicked};
use crate::{load, quarantine};

/// Runs the five tasks. Each passes its value to the next; a failure or an already loaded input
/// stops the downstream tasks. `session` and `state` survive a failed try.
fn run_tasks(
    context: &RunContext<'_>,
    session: &mut Option<Session<PostgresConnection>>,
    state: &mut RunState<'_>,
    runner: &TaskRunner<'_>,
) {
    let start = Upstream::Ready(());
    let claims =
        || runner.run(Task::ExtractClaims, start, |(), _| extract(context, Dataset::Claims));
    let providers =
        || runner.run(Task::ExtractProviders, start, |(), _| extract(context, Dataset::Providers));
    let (claims, providers) = thread::scope(|scope| {
        let worker = Worker::start(scope, Task::ExtractProviders.id(), || Ok(providers()));
        let claims = claims();
        let refused = |error| runner.fail(Task::ExtractProviders, error);
        (claims, worker.and_then(Worker::end).unwrap_or_else(refused))
    });
    if let Upstream::Ready(claims) = &claims {
        state.report.line_column.clone_from(&claims.line_column);
    }
    let inputs = claims.and(providers).map(|(claims, providers)| Inputs { claims, providers });

    let transformed = runner.run(Task::TransformJoin, inputs.as_ref(), |inputs, attempt| {
        transform_join(context, session, state, inputs, attempt)
    });

    let ready = inputs.as_ref().and(transformed.as_ref());
    let loaded = runner.run(Task::LoadWarehouse, ready, |ready, attempt| {
        load_warehouse(context, session, state, ready, attempt)
    });

    let RunContext { settings, observer, cancel, identity, .. } = context;
    runner.run(Task::RefreshBi, loaded, |(), _| match context.warehouse {
        Some(warehouse) => {
            let refreshed = &mut state.report.refresh;
            refresh_bi(settings, warehouse, identity.run, *observer, cancel, refreshed)
        }
        None => Ok(Outcome::Done { value: (), result: json!([]) }),
    });
}

/// Runs all tasks and reports the result; failures are reported, too.
#[must_use]
pub fn run(
    settings: &Settings,
    options: &RunOptions,
    observer: &dyn Observer,
    cancel: &Cancellation,
) -> RunReport {
    run_as(RunId::now(), settings, options, observer, cancel)
}

/// [`run`] with a given id, which the caller can record before the run begins.
#[must_use]
pub fn run_as(
    id: RunId,
    settings: &Settings,
    options: &RunOptions,
    observer: &dyn Observer,
    cancel: &Cancellation,
) -> RunReport {
    run_request(&RunRequest::new(id), settings, options, observer, cancel)
}

/// [`run`] for a run begun in an earlier call, or for a single task.
pub(super) fn run_request(
    request: &RunRequest,
    settings: &Settings,
    options: &RunOptions,
    observer: &dyn Observer,
    cancel: &Cancellation,
) -> RunReport {
    let started = Instant::now();
    let mut report = RunReport::new(request.id);
    let listeners = match request.task {
        Some(_) => Listeners::of_task(settings, observer, request.id, request.before.as_ref()),
        None => Listeners::of_run(settings, observer, request.id, options.dry_run),
    };
    let driven =
        AssertUnwindSafe(|| drive(request, settings, options, &listeners, cancel, &mut report));
    if let Err(error) = catch_unwind(driven).unwrap_or_else(|_| Err(panicked("the run"))) {
        report.fail(&error);
    }
    report.seconds = started.elapsed().as_secs_f64();
    match request.task {
        Some(_) => listeners.finish_task(report.error.as_ref()),
        None => listeners.finish(&mut report),
    }
    report
}

/// Opens the resources, runs the tasks and records the end of the run in the ledger.
fn drive(
    request: &RunRequest,
    settings: &Settings,
    options: &RunOptions,
    observer: &dyn Observer,
    cancel: &Cancellation,
    report: &mut RunReport,
) -> Result<()> {
    let formats = Arc::new(DateFormats::of(settings)?);
    let day = request.day.map_or_else(|| day_of(settings, request.id), Ok)?;
    let checks = Arc::new(checks_on(settings, day)?);
    let key = key(settings, observer)?;
    report.key_id = Some(key.id());
    report.privacy_profile = Some(settings.privacy.profile.name().to_owned());
    let retries = Retries::new(settings, observer, cancel);
    let open = || Warehouse::open(settings, observer);
    let warehouse = if options.dry_run { None } else { Some(retries.run(OPENING, open)?) };
    let identity = Identity {
        run: request.id,
        key_id: key.id(),
        key_check: key.check_value(),
        config_digest: digest(settings),
        mode: settings.warehouse.mode,
        risk_model: RISK_MODEL,
        layout: TableLayout::of(&settings.privacy),
        flags_stored: severities(settings, &checks).mask(Severity::Flag),
        risk: settings.risk.clone(),
        named: request.name.clone(),
        run_date: request.day,
        only: request.task.map(Task::id),
    };
    let warehouse = warehouse.as_ref();
    let context = RunContext {
        settings,
        options,
        observer,
        cancel,
        identity,
        key: &key,
        formats,
        checks,
        warehouse,
    };
    let mut session = None;
    if let Some(warehouse) = warehouse {
        report.places.warehouse.clone_from(&warehouse.place);
        report.places.psql.clone_from(&warehouse.psql);
        session = enter(request, &context, warehouse, &retries)?;
        if session.as_ref().is_some_and(|session| session.published) {
            // Another process of the same run was faster.
            report.status = Status::AlreadyLoaded;
            report.loaded_by = Some(request.id.to_string());
            report.exit_code = settings.run.already_loaded_exit_code;
            return Ok(());
        }
        if let Some(session) = &mut session {
            request.close_tries(&mut session.control)?;
        }
    }
    let log = LedgerLog::new(warehouse, observer, request.id, request.tries());
    let mut state = RunState { quarantine: None, published: false, report };
    let record = |entry: &LogEntry<'_>| log.record(entry);
    let runner = TaskRunner::new(retries, &record);
    match request.task {
        Some(task) => SingleTask { context: &context, before: request.before.as_ref() }.run(
            task,
            &mut session,
            &mut state,
            &runner,
        ),
        None => run_tasks(&context, &mut session, &mut state, &runner),
    }
    // When tasks are run one by one, the next task relies on this ledger entry.
    let written = match request.task {
        Some(_) => retries.run(RUN_LOG, || log.complete()),
        None => log.complete().or(Ok(())),
    };
    conclude(&context, session, state, &runner.into_runs(), written, &retries)
}

/// Records the run in the ledger. An extract alone does not touch the warehouse and needs no
/// session (and so no lock).
fn enter(
    request: &RunRequest,
    context: &RunContext<'_>,
    warehouse: &Warehouse,
    retries: &Retries<'_>,
) -> Result<Option<Session<PostgresConnection>>> {
    if request.task.is_some_and(Task::is_extract) {
        let enter = || request.enter(&mut warehouse.connect()?, &context.identity);
        return retries.run(OPENING, enter).map(|()| None);
    }
    let RunContext { settings, identity, observer, cancel, .. } = context;
    let open = || {
        let (database, wait) = (&warehouse.database, settings.run.wait);
        Session::open(database, identity.clone(), wait, *observer, cancel)
    };
    retries.run(OPENING, open).map(Some)
}

/// Builds the report from the task results and records the end of the run. `written`: whether all
/// task states are in the ledger.
fn conclude(
    context: &RunContext<'_>,
    mut session: Option<Session<PostgresConnection>>,
    state: RunState<'_>,
    tasks: &[TaskRun],
    written: Result<()>,
    retries: &Retries<'_>,
) -> Result<()> {
    let RunContext { settings, warehouse, .. } = *context;
    let RunState { published, report, .. } = state;
    report.tasks = tasks.iter().map(TaskReport::from).collect();
    let dashboard = settings.dashboard_path();
    report.places.dashboard = dashboard.exists().then_some(dashboard);
    if let Some(error) = failure(tasks, context.identity.run, published) {
        if let (Some(warehouse), false, Some(session)) = (warehouse, published, &mut session) {
            note_failure(context, warehouse, session, &error);
        }
        return Err(error);
    }
    let mut is_locked = true;
    if let (Some(warehouse), Some(session), Some(_)) = (warehouse, &mut session, &report.loaded_by)
    {
        is_locked = note_already_loaded(context, warehouse, session, retries)?;
    }
    if !published {
        written.map_err(|error| {
            error
                .context("the task is done, but that could not be written to the run log")
                .hint("call the task again: what comes after it needs that entry")
        })?;
    }
    if let Some(session) = session.as_mut().filter(|_| is_locked) {
        tidy(settings, &mut session.control, context.observer);
    }
    if report.loaded_by.is_none() {
        report.status = Status::Success;
        return Ok(());
    }
    report.status = Status::AlreadyLoaded;
    report.exit_code = settings.run.already_loaded_exit_code;
    match (warehouse, session) {
        (Some(warehouse), Some(mut session)) => {
            let (observer, cancel) = (context.observer, context.cancel);
            owed_refresh(settings, warehouse, &mut session.control, observer, cancel, report)
        }
        _ => Ok(()),
    }
}

/// The error that ended the run.
fn failure(tasks: &[TaskRun], run: RunId, published: bool) -> Option<Error> {
    let task = tasks.iter().find(|task| task.state == State::Failed)?;
    let error = task.error.clone().unwrap_or_else(|| Error::internal("failed"));
    Some(match error.kind() {
        ErrorKind::Interrupted(_) if published => Error::new(
            error.kind(),
            "stopped by a signal after the data were published; the dashboards may be stale",
        )
        .hint(format!("`claims-etl run --resume {run}` refreshes them")),
        ErrorKind::Interrupted(_) => error,
        _ => error.context(task.task.id()),
    })
}

/// Records in the ledger that the run failed without publishing.
fn note_failure(
    context: &RunContext<'_>,
    warehouse: &Warehouse,
    session: &mut Session<PostgresConnection>,
    error: &Error,
) {
    let run = context.identity.run;
    let noted = ledger::fail(&mut session.control, run, error)
        // The session may be lost; that may be why the run failed.
        .or_else(|_| ledger::fail(&mut warehouse.connect()?, run, error));
    if let Err(lost) = noted {
        let lost = lost.message();
        context.warn(format!("could not write the run's end to the run log: {lost}"));
    }
}

/// Records in the ledger that the input is already loaded. Returns whether the session still holds
/// the lock; otherwise the warehouse must not be touched.
fn note_already_loaded(
    context: &RunContext<'_>,
    warehouse: &Warehouse,
    session: &mut Session<PostgresConnection>,
    retries: &Retries<'_>,
) -> Result<bool> {
    let run = context.identity.run;
    let complete = |control: &mut PostgresConnection| {
        ledger::complete(control, run, "already_loaded", false, &ControlTotals::default())
    };
    if complete(&mut session.control).is_ok() {
        return Ok(true);
    }
    session.control = retries.run(RUN_LOG, || {
        let mut fresh = warehouse.connect()?;
        complete(&mut fresh).map(|()| fresh)
    })?;
    Ok(false)
}

/// Removes leftovers of dead runs after a success, while holding the lock.
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

/// The configured key. Only the first run of the private server creates one: a new key for a shared
/// warehouse would be a silent mistake.
fn key(settings: &Settings, observer: &dyn Observer) -> Result<MasterKey> {
    let path = settings.key_path();
    let configured = settings.privacy.names_key() || settings.warehouse.url.is_some();
    if configured || path.exists() {
        return MasterKey::resolve(&settings.key_source());
    }
    let key = match MasterKey::generate(&path) {
        // Another process of the same run has just created the file and is about to write the key.
        Err(_) if path.exists() => return key_of_another(settings),
        made => made?,
    };
    observer.observe(&RunEvent::Note(format!(
        "made a key: {} (keep it: without it no later file gets the same tokens)",
        path.display()
    )));
    Ok(key)
}

/// Waits for the key that another process is creating.
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
