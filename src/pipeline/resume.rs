//! Resumes an earlier run, by `--resume` or by an orchestrator's run name.
//!
//! The ledger decides: a published run only needs its refresh, whatever has changed in its sources,
//! key and settings. An unpublished run has left nothing behind: it starts over, under a new id
//! unless the id is fixed. `last` with an input selects the last run of that input.

use std::time::Instant;

use super::extract_stage::Inputs;
use super::listeners::Listeners;
use super::published_run::{Remaining, places, refresh, remaining, restore, since};
use super::report::{RunReport, Status};
use super::retries::{OPENING, Retries};
use super::run::{run_as, run_request};
use super::run_context::RunOptions;
use super::run_name::RunName;
use super::run_request::RunRequest;
use super::run_selector::{self, RunSelector};
use crate::adbc_postgres::PostgresConnection;
use crate::config::{Settings, digest};
use crate::error::{Error, Result};
use crate::event::{Cancellation, Observer, RunEvent, RunId};
use crate::load::ledger_read::Record;
use crate::load::task_progress::Progress;
use crate::load::{ledger, ledger_read, task_progress};
use crate::schema::Dataset;
use crate::warehouse::connection;
use crate::warehouse::location::Warehouse;
use crate::{extract, load};

/// The input given together with `last`.
struct RequestedInput {
    /// Content digest; `None` for standard input, which can be read only once.
    fingerprint: Option<String>,
    config_digest: String,
}

impl RequestedInput {
    /// The input in the settings; `None` without claims sources.
    ///
    /// # Errors
    /// As [`extract::extract`]: an unreadable input cannot be compared.
    fn of(settings: &Settings, cancel: &Cancellation) -> Result<Option<Self>> {
        let (claims, providers) = (&settings.claims.sources, &settings.providers.sources);
        if claims.is_empty() {
            return Ok(None);
        }
        let config_digest = digest(settings);
        if claims.iter().chain(providers).any(|source| source == "-") {
            return Ok(Some(Self { fingerprint: None, config_digest }));
        }
        let read = |dataset: Dataset| {
            extract::extract(dataset, settings, cancel).map_err(|error| {
                let message = format!("--resume last means the last run of this input: {}", error.message());
                Error::new(error.kind(), message).hint(
                    "`claims-etl refresh --due` and --resume RUN need no input; `claims-etl runs` lists the runs",
                )
            })
        };
        let inputs =
            Inputs { claims: read(Dataset::Claims)?, providers: read(Dataset::Providers)? };
        Ok(Some(Self { fingerprint: Some(inputs.fingerprint()), config_digest }))
    }

    fn last_run(&self, connection: &mut PostgresConnection) -> Result<RunId> {
        let fingerprint = self.fingerprint.as_deref();
        if let Some(run) = ledger_read::latest_of(connection, fingerprint, &self.config_digest)? {
            return Ok(run);
        }
        let run = RunSelector::Last.id(connection)?;
        let status = run_selector::read(connection, run)?.status;
        let why = match fingerprint {
            Some(_) => "no run has read this input with these settings",
            None => "standard input cannot be compared with what a run has read",
        };
        Err(Error::config(format!("the last run is {run} ({status}), but {why}: nothing was done"))
            .hint("load the input with `claims-etl run`, without --resume; --resume RUN finishes a run of your choice"))
    }

    /// Fails if the rows of a complete run have been changed since by others.
    fn still_loaded(&self, connection: &mut PostgresConnection, record: &Record) -> Result<()> {
        let Some(fingerprint) = &self.fingerprint else { return Ok(()) };
        let (settings, key) = (&self.config_digest, &record.key_id);
        if ledger::already_loaded(connection, fingerprint, settings, key)?.is_some() {
            return Ok(());
        }
        let later = record.published_since.as_deref().unwrap_or("a later run");
        Err(Error::config(format!(
            "run {} has loaded this input, but run {later} has changed what is published since: nothing was done",
            record.run_id
        ))
        .hint("`claims-etl run`, without --resume, loads it again"))
    }
}

/// Finishes an earlier run and reports the result; failures are reported, too.
///
/// A published run is refreshed under its own id, without sources or key. An unpublished one starts
/// over under a new id with the current settings. A complete run needs nothing.
#[must_use]
pub fn resume(
    settings: &Settings,
    options: &RunOptions,
    which: RunSelector,
    observer: &dyn Observer,
    cancel: &Cancellation,
) -> RunReport {
    let started = Instant::now();
    let mut report = RunReport::new(match which {
        RunSelector::Run(run) => run,
        RunSelector::Last => RunId::now(),
    });
    let run = RunId::parse(&report.run_id).unwrap_or_else(|_| RunId::now());
    let listeners = Listeners::of_rest(settings, observer, run, options.dry_run);
    match go_on(settings, options, which, &listeners, cancel, &mut report) {
        Ok(None) => {}
        Ok(Some(failed)) => {
            // A run has its own listeners.
            report = match continue_tasks(settings, options, &failed, observer, cancel) {
                Ok(Some(report)) => report,
                Ok(None) => start_over(settings, options, &failed, observer, cancel),
                Err(error) => {
                    report.fail(&error);
                    report
                }
            };
            report.seconds = started.elapsed().as_secs_f64();
            return report;
        }
        Err(error) => report.fail(&error),
    }
    report.seconds = started.elapsed().as_secs_f64();
    listeners.finish(&mut report);
    report
}

/// Does the remaining work, or returns the run that must start over.
fn go_on(
    settings: &Settings,
    options: &RunOptions,
    which: RunSelector,
    observer: &dyn Observer,
    cancel: &Cancellation,
    report: &mut RunReport,
) -> Result<Option<Record>> {
    if options.dry_run {
        return Err(
            Error::config("a dry run resumes nothing").hint("leave out --dry-run, or --resume")
        );
    }
    let retries = Retries::new(settings, observer, cancel);
    let warehouse = retries.run(OPENING, || Warehouse::open(settings, observer))?;
    report.places.warehouse.clone_from(&warehouse.place);
    report.places.psql.clone_from(&warehouse.psql);
    let given = match which {
        RunSelector::Last => RequestedInput::of(settings, cancel)?,
        RunSelector::Run(_) => None,
    };
    let (asked, mut record, mut left) = retries.run(OPENING, || {
        let mut connection = warehouse.connect()?;
        let asked = match &given {
            Some(given) => given.last_run(&mut connection)?,
            None => which.id(&mut connection)?,
        };
        let record = run_selector::read(&mut connection, asked)?;
        if record.account.is_some() {
            // The warehouse of an earlier version has no outbox yet.
            connection::migrate_if_needed(&mut connection, settings.run.wait, observer, cancel)?;
        }
        let left = remaining(&mut connection, settings, &record)?;
        Ok((asked, record, left))
    })?;
    if record.account.is_some() {
        restore(report, &record);
    }
    let mut held = None;
    if matches!(left, Remaining::Refresh | Remaining::Unknown) {
        // The run may still be active. Holding the lock proves it is not, so re-read the ledger.
        let (wait, database) = (settings.run.wait, &warehouse.database);
        held = Some(retries.run(OPENING, || {
            let mut control = load::hold(database, wait, observer, cancel)?;
            record = run_selector::read(&mut control, asked)?;
            left = remaining(&mut control, settings, &record)?;
            Ok(control)
        })?);
    }
    if let Some(given) = given.filter(|_| left == Remaining::Nothing) {
        retries.run(OPENING, || given.still_loaded(&mut warehouse.connect()?, &record))?;
    }
    let run = RunId::parse(&record.run_id)?;
    observer.observe(&RunEvent::RunStarted { run });
    if run != asked {
        note(observer, format!("run {asked} found its input loaded by run {run}: resuming that"));
    }
    if matches!(left, Remaining::Nothing | Remaining::Refresh) {
        restore(report, &record);
        places(settings, run, report);
    }
    let done = match left {
        Remaining::Nothing => {
            note(
                observer,
                format!("run {run} is complete: there is nothing to resume{}", since(&record)),
            );
            report.status = Status::AlreadyLoaded;
            report.loaded_by = Some(record.run_id.clone());
            report.exit_code = settings.run.already_loaded_exit_code;
            Ok(None)
        }
        Remaining::Refresh => {
            note(observer, format!("run {run} has published: only its dashboards are refreshed"));
            if let Some(later) = &record.published_since {
                note(observer, format!("they will show what run {later} has published since, too"));
            }
            let done = refresh(settings, &warehouse, &record, observer, cancel, report);
            places(settings, run, report);
            done.map(|()| None)
        }
        Remaining::All | Remaining::Unknown => Ok(Some(record)),
    };
    if let Some(control) = held {
        // Closing the connection releases the lock anyway.
        let _ = connection::unlock(control);
    }
    done
}

/// Repeats an unpublished run under a new id.
fn start_over(
    settings: &Settings,
    options: &RunOptions,
    failed: &Record,
    observer: &dyn Observer,
    cancel: &Cancellation,
) -> RunReport {
    let (id, old) = (RunId::now(), &failed.run_id);
    note(observer, format!("run {old} has published nothing: it starts over as run {id}"));
    if digest(settings) != failed.config_digest {
        observer.observe(&RunEvent::Warning(format!(
            "these are not the settings of run {old}: mode, columns, policies or scoring differ"
        )));
    }
    let mut report = run_as(id, settings, options, observer, cancel);
    warn_of_another_input(&report, failed.fingerprint.as_deref(), old, observer);
    report.resumed = Some(old.clone());
    report
}

/// Continues a run whose tasks were called one by one, under its own id; `None` for other runs.
///
/// # Errors
/// `Warehouse` when the ledger cannot be read.
fn continue_tasks(
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
    let task_by_task = |before: &Progress| before.last_task.is_some() && !before.published;
    let Some(before) = before.filter(task_by_task) else { return Ok(None) };
    note(
        observer,
        format!("the tasks of run {id} were called one by one: all of them are done now"),
    );
    let then = before.fingerprint.clone();
    let request = RunRequest::named(&RunName::of(id), settings, Some(before))?;
    let report = run_request(&request, settings, options, observer, cancel);
    warn_of_another_input(&report, then.as_deref(), &record.run_id, observer);
    Ok(Some(report))
}

fn warn_of_another_input(
    report: &RunReport,
    then: Option<&str>,
    run: &str,
    observer: &dyn Observer,
) {
    if let Some((now, then)) = report.fingerprint.as_deref().zip(then)
        && now != then
    {
        let warning = format!("this is not the input that run {run} has read");
        observer.observe(&RunEvent::Warning(warning));
    }
}

/// Runs all tasks under the id of a name and reports the result. Called again with the same name
/// after publishing, it finishes the remaining work, if any.
#[must_use]
pub fn run_named(
    settings: &Settings,
    options: &RunOptions,
    name: &RunName,
    observer: &dyn Observer,
    cancel: &Cancellation,
) -> RunReport {
    let request = if options.dry_run {
        RunRequest::named(name, settings, None).map(Some)
    } else {
        let retries = Retries::new(settings, observer, cancel);
        retries.run(OPENING, || unpublished(settings, name, observer, cancel))
    };
    match request {
        Ok(Some(request)) => run_request(&request, settings, options, observer, cancel),
        Ok(None) => resume(settings, options, RunSelector::Run(name.id()), observer, cancel),
        Err(error) => {
            let mut report = RunReport::new(name.id());
            report.fail(&error);
            report
        }
    }
}

/// The named run, unless it has published. A run whose input was loaded by another run is checked
/// again, because that may have changed.
fn unpublished(
    settings: &Settings,
    name: &RunName,
    observer: &dyn Observer,
    cancel: &Cancellation,
) -> Result<Option<RunRequest>> {
    let mut connection = Warehouse::open(settings, observer)?.connect()?;
    connection::migrate_if_needed(&mut connection, settings.run.wait, observer, cancel)?;
    let before = task_progress::progress(&mut connection, name.id())?;
    if before.as_ref().is_some_and(|before| before.published) {
        return Ok(None);
    }
    RunRequest::named(name, settings, before).map(Some)
}

fn note(observer: &dyn Observer, text: String) {
    observer.observe(&RunEvent::Note(text));
}
