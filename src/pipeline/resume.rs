//! Going on where an earlier run has ended.
//!
//! It is decided by the ledger alone: a run that has published needs its dashboards only, whatever has
//! become of its sources, key and settings; one that has not published left nothing behind, so its work
//! starts anew. Whoever names an input beside the last run means the last run of that input.

use std::time::Instant;

use super::RunOptions;
use super::listeners::Listeners;
use super::report::{RefreshReport, RunReport, Status, TaskReport};
use super::retries::{OPENING, Retries};
use super::run::run_as;
use super::tasks::fingerprint;
use crate::adbc_postgres::PostgresConnection;
use crate::config::{Settings, digest};
use crate::dag::Graph;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Cancellation, Observer, RunEvent, RunId};
use crate::load::ledger_read::Record;
use crate::load::{ledger, ledger_read, outbox};
use crate::pipeline::named_run::go_on_under_its_id;
use crate::pipeline::refresh_stage::{REFRESH, enabled, refresh_bi};
use crate::pipeline::run_context::Slot;
use crate::pipeline::run_selector;
use crate::pipeline::run_selector::Chosen;
use crate::pipeline::task_log::LedgerLog;
use crate::schema::Dataset;
use crate::warehouse::connection;
use crate::warehouse::location::Warehouse;
use crate::{extract, load, quarantine};

/// What is left to do for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// All is loaded and shown.
    Nothing,
    /// The data are published, a dashboard may be stale.
    Refresh,
    /// Nothing was published.
    All,
    /// The ledger says that it runs; the lock tells whether it does.
    Unknown,
}

/// The input that is named beside `last`.
struct Given {
    /// Digest of what it holds now; none of standard input, which can be read only once.
    fingerprint: Option<String>,
    config_digest: String,
}

impl Given {
    /// What the settings name; none where they name no claims.
    ///
    /// # Errors
    /// As [`extract::extract`]: an input that cannot be read cannot be compared.
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
        let fingerprint = fingerprint(&read(Dataset::Claims)?, &read(Dataset::Providers)?);
        Ok(Some(Self { fingerprint: Some(fingerprint), config_digest }))
    }

    /// The last run of this input.
    fn last_run(&self, connection: &mut PostgresConnection) -> Result<RunId> {
        let fingerprint = self.fingerprint.as_deref();
        if let Some(run) = ledger_read::latest_of(connection, fingerprint, &self.config_digest)? {
            return Ok(run);
        }
        let run = Chosen::Last.id(connection)?;
        let status = run_selector::read(connection, run)?.status;
        let why = match fingerprint {
            Some(_) => "no run has read this input with these settings",
            None => "standard input cannot be compared with what a run has read",
        };
        Err(Error::config(format!("the last run is {run} ({status}), but {why}: nothing was done"))
            .hint("load the input with `claims-etl run`, without --resume; --resume RUN finishes a run of your choice"))
    }

    /// Refuses to call a run complete whose rows others have changed since.
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
    let run = RunId::parse(&report.run_id).unwrap_or_else(|_| RunId::now());
    let listeners = Listeners::of_rest(settings, observer, run, options.dry_run);
    match go_on(settings, options, which, &listeners, cancel, &mut report) {
        Ok(None) => {}
        Ok(Some(failed)) => {
            // It has listeners of its own.
            report = match go_on_under_its_id(settings, options, &failed, observer, cancel) {
                Ok(Some(report)) => report,
                Ok(None) => anew(settings, options, &failed, observer, cancel),
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
    let retries = Retries::new(settings, observer, cancel);
    let warehouse = retries.run(OPENING, || Warehouse::open(settings, observer))?;
    report.places.warehouse.clone_from(&warehouse.place);
    report.places.psql.clone_from(&warehouse.psql);
    let given = match which {
        Chosen::Last => Given::of(settings, cancel)?,
        Chosen::Run(_) => None,
    };
    let (asked, mut record, mut left) = retries.run(OPENING, || {
        let mut connection = warehouse.connect()?;
        let asked = match &given {
            Some(given) => given.last_run(&mut connection)?,
            None => which.id(&mut connection)?,
        };
        let record = run_selector::read(&mut connection, asked)?;
        if record.account.is_some() {
            // An earlier version's warehouse has no outbox yet.
            connection::migrate_if_needed(&mut connection, settings.run.wait, observer, cancel)?;
        }
        let left = left(&mut connection, settings, &record)?;
        Ok((asked, record, left))
    })?;
    if record.account.is_some() {
        remember(report, &record);
    }
    let mut held = None;
    if matches!(left, Left::Refresh | Left::Unknown) {
        // It may be at work just now. With the lock held it is not, and what the ledger says then
        // is the last word.
        let (wait, database) = (settings.run.wait, &warehouse.database);
        held = Some(retries.run(OPENING, || {
            let mut control = load::hold(database, wait, observer, cancel)?;
            record = run_selector::read(&mut control, asked)?;
            left = self::left(&mut control, settings, &record)?;
            Ok(control)
        })?);
    }
    if let Some(given) = given.filter(|_| left == Left::Nothing) {
        retries.run(OPENING, || given.still_loaded(&mut warehouse.connect()?, &record))?;
    }
    let run = RunId::parse(&record.run_id)?;
    observer.observe(&RunEvent::RunStarted { run });
    if run != asked {
        note(observer, format!("run {asked} found its input loaded by run {run}: resuming that"));
    }
    if matches!(left, Left::Nothing | Left::Refresh) {
        remember(report, &record);
        places(settings, run, report);
    }
    let done = match left {
        Left::Nothing => {
            note(
                observer,
                format!("run {run} is complete: there is nothing to resume{}", since(&record)),
            );
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
        let _ = connection::unlock(control);
    }
    done
}

/// What is left, by the ledger and the outbox. A run that has published is shown when everything
/// that is published is, by whichever run.
pub(super) fn left(
    connection: &mut PostgresConnection,
    settings: &Settings,
    record: &Record,
) -> Result<Left> {
    if record.account.is_none() {
        return Ok(match record.status.as_str() {
            "already_loaded" => Left::Nothing,
            "running" => Left::Unknown,
            _ => Left::All,
        });
    }
    let due = outbox::due(connection, &enabled(settings))?;
    Ok(if due.is_empty() { Left::Nothing } else { Left::Refresh })
}

/// Takes over what the run has told when it loaded.
pub(super) fn remember(report: &mut RunReport, record: &Record) {
    report.run_id.clone_from(&record.run_id);
    report.resumed = Some(record.run_id.clone());
    report.key_id = Some(record.key_id.clone());
    report.privacy_profile = Some(record.privacy_profile.clone());
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
    let log = LedgerLog::new(Some(warehouse), observer, run).after(tries_before);
    let refreshed = Slot::default();
    let tasks = Graph::new()
        .task(REFRESH, &[], |task| refresh_bi(settings, warehouse, run, &refreshed, task))
        .build()?
        .run(retries.policy(), observer, &log, cancel);
    // The outbox knows what was refreshed; the log has already warned.
    let _ = log.complete();
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

/// The refresh that is still owed where the input is loaded already: a run was ended between its
/// commit and its refresh, or a target failed, and the same input would never again be loaded.
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
    note(
        observer,
        format!("run {run} has published, but not refreshed {what}: that is made up for"),
    );
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

/// Who has published after a run, for a line that calls it complete.
pub(super) fn since(record: &Record) -> String {
    let later = record.published_since.as_ref();
    later.map_or_else(String::new, |later| format!("; run {later} has published since"))
}

fn note(observer: &dyn Observer, text: String) {
    observer.observe(&RunEvent::Note(text));
}
