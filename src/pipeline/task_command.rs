//! `run --task`: runs one task of a named run, called by an orchestrator that knows the order.

use std::time::Instant;

use serde::Serialize;
use serde_json::{Value, json};

use super::listeners::Listeners;
use super::published_run::{self, Remaining, remaining};
use super::report::{ErrorReport, RunReport};
use super::retries::{OPENING, RUN_LOG, Retries};
use super::run::run_request;
use super::run_context::RunOptions;
use super::run_name::RunName;
use super::run_request::RunRequest;
use super::source_check::unlike;
use super::task_id::Task;
use crate::adbc_postgres::PostgresConnection;
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::event::{Cancellation, Observer, RunEvent};
use crate::extract;
use crate::load::ledger_read::Record;
use crate::load::task_progress::Progress;
use crate::load::{hold, ledger, ledger_read, task_progress};
use crate::schema::Dataset;
use crate::warehouse::connection::{self, unlock};
use crate::warehouse::location::Warehouse;

/// Result of a single task, as printed by `--format json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TaskEnd {
    pub(crate) task: &'static str,
    /// State, with Airflow's name; `skipped` when there was nothing to do.
    pub(crate) state: &'static str,
    pub(crate) run_id: String,
    /// The name it was derived from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) orchestrator_run_id: Option<String>,
    /// Number of tries, including earlier calls.
    pub(crate) tries: u32,
    /// Wall time of this call in seconds.
    pub(crate) seconds: f64,
    /// Result passed on.
    pub(crate) result: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorReport>,
    /// Process exit code.
    #[serde(skip)]
    pub exit_code: u8,
}

impl TaskEnd {
    #[must_use]
    pub(crate) fn new(task: Task, name: &RunName) -> Self {
        Self {
            task: task.id(),
            state: "failed",
            run_id: name.id().to_string(),
            orchestrator_run_id: name.text().map(ToOwned::to_owned),
            tries: 0,
            seconds: 0.0,
            result: None,
            error: None,
            exit_code: 0,
        }
    }

    pub(crate) fn fail(&mut self, error: &Error) {
        self.state = "failed";
        self.exit_code = error.kind().exit_code();
        self.error = Some(error.into());
    }
}

/// Runs one task of a named run and reports the result; failures are reported, too.
///
/// Upstream tasks must be complete according to the ledger. Tasks of a published run are not
/// repeated.
#[must_use]
pub fn run_task(
    settings: &Settings,
    options: &RunOptions,
    task: Task,
    name: &RunName,
    observer: &dyn Observer,
    cancel: &Cancellation,
) -> TaskEnd {
    let started = Instant::now();
    let mut end = TaskEnd::new(task, name);
    let call = Call { settings, options, task, name, observer, cancel };
    if let Err(error) = call.run(&mut end) {
        end.fail(&error);
    }
    end.seconds = started.elapsed().as_secs_f64();
    end
}

struct Call<'a> {
    settings: &'a Settings,
    options: &'a RunOptions,
    task: Task,
    name: &'a RunName,
    observer: &'a dyn Observer,
    cancel: &'a Cancellation,
}

impl Call<'_> {
    fn run(&self, end: &mut TaskEnd) -> Result<()> {
        self.refuse_unrepeatable()?;
        self.note_run();
        let open = || Warehouse::open(self.settings, self.observer);
        let warehouse = self.retries().run(OPENING, open)?;
        // Twice, because another process of the run may finish meanwhile.
        for _ in 0..2 {
            let (before, is_over) =
                self.retries().run(OPENING, || self.progress(&warehouse, end))?;
            if is_over {
                return Ok(());
            }
            self.require_upstream(before.as_ref())?;
            let done = match self.task {
                Task::RefreshBi => self.refresh(&warehouse, before.as_ref(), end)?,
                _ => self.execute(&warehouse, before, end)?,
            };
            if done {
                return Ok(());
            }
        }
        Err(Error::internal("concurrent updates of this run in the ledger"))
    }

    /// The run's progress, and whether this task is already done.
    fn progress(
        &self,
        warehouse: &Warehouse,
        end: &mut TaskEnd,
    ) -> Result<(Option<Progress>, bool)> {
        let mut connection = warehouse.connect()?;
        let wait = self.settings.run.wait;
        connection::migrate_if_needed(&mut connection, wait, self.observer, self.cancel)?;
        let before = task_progress::progress(&mut connection, self.name.id())?;
        let record = ledger_read::record(&mut connection, self.name.id(), Task::RefreshBi.id())?;
        let is_over = match &record {
            Some(record) => self.is_over(&mut connection, record, before.as_ref(), end)?,
            None => false,
        };
        Ok((before, is_over))
    }

    fn retries(&self) -> Retries<'_> {
        Retries::new(self.settings, self.observer, self.cancel)
    }

    fn refuse_unrepeatable(&self) -> Result<()> {
        if self.options.dry_run {
            return Err(Error::config("a dry run leaves nothing behind for a next task")
                .hint("leave out --dry-run, or --only"));
        }
        let sources = [&self.settings.claims.sources, &self.settings.providers.sources];
        if sources.iter().any(|sources| sources.iter().any(|source| source == "-")) {
            return Err(Error::config("standard input cannot be read again by the next task")
                .hint("name a file, or do all tasks in one process: leave out --only"));
        }
        Ok(())
    }

    fn note_run(&self) {
        let id = self.name.id();
        let named = self.name.text().map_or_else(String::new, |text| format!(" ({text})"));
        let attempt = self.settings.run.orchestrator_try;
        let attempt = attempt.map_or_else(String::new, |attempt| format!(", try {attempt} there"));
        self.note(format!("{} of run {id}{named}{attempt}", self.task.id()));
    }

    /// Whether a published or already loaded run has nothing left to do for this task.
    fn is_over(
        &self,
        connection: &mut PostgresConnection,
        record: &Record,
        before: Option<&Progress>,
        end: &mut TaskEnd,
    ) -> Result<bool> {
        let (task, run) = (self.task, &record.run_id);
        let remaining = remaining(connection, self.settings, record)?;
        if record.account.is_some() {
            if remaining == Remaining::Refresh && task == Task::RefreshBi {
                return Ok(false);
            }
            self.unchanged(record)?;
        } else if record.status != "already_loaded"
            // The transform checks whether the input is still loaded.
            || task.is_extract()
            || task == Task::TransformJoin
        {
            return Ok(false);
        } else {
            still_loaded(connection, record)?;
        }
        let last = before.and_then(|before| before.tasks.get(task.id()));
        end.tries = last.map_or(0, |last| last.try_number);
        end.result = before.and_then(|before| before.result(task.id())).cloned();
        if remaining == Remaining::Refresh {
            // Downstream tasks must continue.
            self.note(format!("run {run} has published already: {} is done", task.id()));
            end.state = "success";
        } else {
            let since = published_run::since(record);
            self.note(format!("run {run} is complete: there is nothing to do{since}"));
            end.state = "skipped";
            end.exit_code = self.settings.run.already_loaded_exit_code;
        }
        Ok(true)
    }

    /// A published run does not load again: a call for a new file must not succeed.
    fn unchanged(&self, record: &Record) -> Result<()> {
        let dataset = match self.task {
            Task::ExtractClaims => Dataset::Claims,
            Task::ExtractProviders => Dataset::Providers,
            _ => return Ok(()),
        };
        let Some(sources) = &record.sources else { return Ok(()) };
        let then = match dataset {
            Dataset::Claims => &sources.claims,
            Dataset::Providers => &sources.providers,
        };
        let mut found = unlike(then, &extract::extract(dataset, self.settings, self.cancel)?);
        if found.is_empty() {
            return Ok(());
        }
        found.truncate(3);
        let found = found.join("; ");
        Err(Error::source(format!("run {} has published already: {found}", record.run_id))
            .hint("a new run, under another name, loads the source as it is now"))
    }

    /// Fails unless all upstream tasks are done.
    fn require_upstream(&self, before: Option<&Progress>) -> Result<()> {
        let published = before.is_some_and(|before| before.published);
        let is_done = |task: Task| {
            let result = before.and_then(|before| before.result(task.id()));
            // A transform whose input was already loaded has no counts.
            let whole = task != Task::TransformJoin
                || result.is_some_and(|result| result["account"].is_object());
            published || (result.is_some() && whole)
        };
        let Some(missing) = self.task.upstream().iter().find(|task| !is_done(**task)) else {
            return Ok(());
        };
        let (missing, id) = (missing.id(), self.name.id());
        let state = before.and_then(|before| before.tasks.get(missing));
        let state = state.map_or_else(|| "never called".to_owned(), |last| last.state.clone());
        let name = self.name.text().map_or_else(|| id.to_string(), |text| format!("'{text}'"));
        Err(Error::config(format!(
            "{} comes after {missing}, which is not done in run {id} ({state})",
            self.task.id()
        ))
        .hint(format!("first: claims-etl run --task {missing} --run-id {name}")))
    }

    /// The refresh, which needs neither sources nor key; false if it is no longer needed.
    fn refresh(
        &self,
        warehouse: &Warehouse,
        before: Option<&Progress>,
        end: &mut TaskEnd,
    ) -> Result<bool> {
        let Self { settings, observer, cancel, .. } = *self;
        let id = self.name.id();
        let held = self.retries().run(OPENING, || {
            let mut control = hold(&warehouse.database, settings.run.wait, observer, cancel)?;
            let record = ledger_read::record(&mut control, id, Task::RefreshBi.id())?;
            let is_due = match &record {
                Some(record) => remaining(&mut control, settings, record)? == Remaining::Refresh,
                None => false,
            };
            let Some(record) = record.filter(|_| is_due) else {
                unlock(control)?;
                return Ok(None);
            };
            task_progress::close_tries(&mut control, id, Task::RefreshBi.id())?;
            Ok(Some((control, record)))
        })?;
        let Some((control, record)) = held else { return Ok(false) };
        let mut report = RunReport::new(id);
        let listeners = Listeners::of_task(settings, observer, id, before);
        let done =
            published_run::refresh(settings, warehouse, &record, &listeners, cancel, &mut report);
        if let Err(error) = done {
            report.fail(&error);
        }
        listeners.finish_task(report.error.as_ref());
        let targets: Vec<Value> = report
            .refresh
            .iter()
            .map(|target| json!({ "target": target.target, "outcome": target.outcome }))
            .collect();
        take(&report, end);
        end.result = Some(json!(targets));
        // Closing the connection releases the lock anyway.
        let _ = unlock(control);
        Ok(true)
    }

    /// Any other task; false if another process of the run was faster.
    fn execute(
        &self,
        warehouse: &Warehouse,
        before: Option<Progress>,
        end: &mut TaskEnd,
    ) -> Result<bool> {
        let Self { settings, options, observer, cancel, task, name } = *self;
        let id = name.id();
        let request = RunRequest { task: Some(task), ..RunRequest::named(name, settings, before)? };
        let report = run_request(&request, settings, options, observer, cancel);
        if report.loaded_by.as_deref() == Some(&id.to_string()) {
            return Ok(false);
        }
        take(&report, end);
        end.tries += request.tries().get(task.id()).copied().unwrap_or(0);
        let write = |what: &dyn Fn(&mut PostgresConnection) -> Result<()>| {
            self.retries().run(RUN_LOG, || what(&mut warehouse.connect()?))
        };
        if report.loaded_by.is_some() && report.error.is_none() {
            write(&|connection| task_progress::skip(connection, id, task.downstream()))?;
        }
        if let Some(error) = report.error.filter(|_| task.is_extract()) {
            write(&|connection| {
                task_progress::fail(connection, id, error.kind, &error.message, error.is_transient)
            })?;
        }
        Ok(true)
    }

    fn note(&self, text: String) {
        self.observer.observe(&RunEvent::Note(text));
    }
}

/// Fails if the loaded input that a run found has changed since.
fn still_loaded(connection: &mut PostgresConnection, record: &Record) -> Result<()> {
    let Some(fingerprint) = &record.fingerprint else { return Ok(()) };
    let (settings, key) = (&record.config_digest, &record.key_id);
    if ledger::already_loaded(connection, fingerprint, settings, key)?.is_some() {
        return Ok(());
    }
    Err(Error::config(format!(
        "run {} found its input loaded, but what was published since has changed that",
        record.run_id
    ))
    .hint(format!("call {} again: it finds out what is to be done", Task::TransformJoin.id())))
}

/// Copies the task's result.
fn take(report: &RunReport, end: &mut TaskEnd) {
    if let Some(task) = report.tasks.iter().find(|task| task.id == end.task) {
        end.state = task.state;
        end.tries = task.tries;
        end.result.clone_from(&task.result);
    }
    end.error.clone_from(&report.error);
    end.exit_code = report.exit_code;
    if end.error.is_some() {
        end.state = "failed";
    }
}
