//! OpenLineage events of one run: inputs, outputs and outcome.
//!
//! Emitting never blocks and never fails: undeliverable events become a warning.

mod columns;
mod dataset;
mod emitter;
mod event;
mod facets;
mod input;
mod jobs;
mod output;
mod parent;
mod transport;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use columns::Inputs;
pub(crate) use dataset::WarehouseAddress;
use emitter::Emitter;
use event::{Event, EventType, InputDataset, OutputDataset};
use facets::ErrorMessage;
use input::Input;
use jobs::Jobs;
pub(crate) use jobs::Scope;
use serde::Deserialize;
use serde_json::Value;
use transport::{FileTransport, HttpTransport};
use uuid::Uuid;

use crate::config::Settings;
use crate::error::{Error, ErrorKind};
use crate::event::{RunEvent, RunId};
use crate::rule::Severities;
use crate::schema::Dataset;
use crate::secret::value::Secret;
use crate::totals::ControlTotals;

/// Minimum time between two `RUNNING` events of a task.
const RUNNING_INTERVAL: Duration = Duration::from_secs(30);
/// Default path below the server URL.
const ENDPOINT: &str = "api/v1/lineage";

/// The lineage of one run.
pub(crate) struct Lineage<'s> {
    settings: &'s Settings,
    severities: Severities,
    scope: Scope,
    jobs: Jobs,
    emitters: Vec<Emitter>,
    known: Mutex<RunState>,
}

/// Current knowledge of the run.
#[derive(Default)]
struct RunState {
    /// Running tasks: the id of the OpenLineage run and the time of its last event.
    tasks: HashMap<String, (Uuid, Instant)>,
    claims: Option<Input>,
    providers: Option<Input>,
    warehouse: Option<WarehouseAddress>,
    /// The published tables.
    written: Vec<OutputDataset>,
}

/// How a run ended.
#[derive(Debug, Clone)]
pub(crate) struct End<'a> {
    /// Error message, and whether it was a cancellation.
    pub(crate) error: Option<(&'a str, bool)>,
    pub(crate) account: ControlTotals,
}

impl<'s> Lineage<'s> {
    /// Starts lineage if a file or a server is configured; also returns warnings about the
    /// settings.
    #[must_use]
    pub(crate) fn start(
        settings: &'s Settings,
        run: RunId,
        scope: Scope,
    ) -> (Option<Self>, Vec<String>) {
        let config = &settings.lineage;
        let mut warnings = Vec::new();
        if config.disabled {
            return (None, warnings);
        }
        let mut emitters: Vec<Emitter> = config
            .file
            .iter()
            .map(|path| Emitter::start(FileTransport::new(path.clone())))
            .collect();
        match server(settings) {
            Ok(Some(transport)) => emitters.push(Emitter::start(transport)),
            Ok(None) => {}
            Err(error) => {
                warnings.push(format!("no lineage is sent to the server: {}", error.message()));
            }
        }
        if !config.passed_over.is_empty() {
            warnings.push(format!("{} cannot be used", config.passed_over.join(", ")));
        }
        if emitters.is_empty() {
            return (None, warnings);
        }
        let (caller, unread) = parent::of(&config.caller);
        if !unread.is_empty() {
            warnings.push(format!("{} cannot be read", unread.join(", ")));
        }
        let lineage = Self {
            settings,
            severities: settings.severities().unwrap_or_default(),
            scope,
            jobs: Jobs::new(settings, run, scope, caller),
            emitters,
            known: Mutex::default(),
        };
        if scope != Scope::Task {
            lineage.emit(&lineage.jobs.whole(EventType::Start, None));
        }
        (Some(lineage), warnings)
    }

    /// Emits the consequences of a run event; `warehouse` returns the warehouse address once known.
    pub(crate) fn observe(
        &self,
        event: &RunEvent,
        warehouse: &dyn Fn() -> Option<WarehouseAddress>,
    ) {
        match event {
            RunEvent::TaskStarted { task, .. } => self.task_started(task, warehouse),
            RunEvent::Progress { task, .. } => self.task_progressed(task, Instant::now()),
            RunEvent::TaskFinished { task, result, error, .. } => {
                self.task_finished(task, result.as_ref(), error.as_ref(), warehouse);
            }
            _ => {}
        }
    }

    /// Emits the end of the run and waits up to `lineage.flush_secs` for delivery. Returns warnings
    /// about lost events.
    #[must_use]
    pub(crate) fn finish(mut self, end: &End<'_>) -> Vec<String> {
        let kind = kind_of(end.error);
        let message = end.error.map(|(message, _)| error_message(message));
        let running: Vec<(String, Uuid)> =
            self.lock().tasks.drain().map(|(task, (run, _))| (task, run)).collect();
        for (task, run) in running {
            self.emit(&self.jobs.task(&task, run, kind, message.as_ref()));
        }
        if self.scope != Scope::Task {
            let event = self.jobs.whole(kind, message.as_ref());
            let known = self.lock();
            let account = (end.account != ControlTotals::default()).then_some(&end.account);
            let inputs = self.inputs(&known, account);
            let event = event.reads(inputs).writes(known.written.clone());
            drop(known);
            self.emit(&event);
        }
        let until = Instant::now() + Duration::from_secs(self.settings.lineage.flush_secs);
        let emitters = std::mem::take(&mut self.emitters);
        emitters.into_iter().filter_map(|emitter| emitter.finish(until)).collect()
    }

    /// Restores the result of a task finished in an earlier process of the same run.
    pub(crate) fn restore(&self, task: &str, result: &Value) {
        self.keep_input(task, result, &mut self.lock());
    }

    /// Emits `START` on the first attempt only.
    fn task_started(&self, task: &str, warehouse: &dyn Fn() -> Option<WarehouseAddress>) {
        let mut known = self.lock();
        if known.tasks.contains_key(task) {
            return;
        }
        let run = Uuid::now_v7();
        known.tasks.insert(task.to_owned(), (run, Instant::now()));
        let event = self.jobs.task(task, run, EventType::Start, None);
        let event = event.reads(self.reads(task, &mut known, None, warehouse));
        self.emit(&event);
    }

    fn task_progressed(&self, task: &str, now: Instant) {
        let mut known = self.lock();
        let Some((run, emitted)) = known.tasks.get_mut(task) else { return };
        if now.saturating_duration_since(*emitted) < RUNNING_INTERVAL {
            return;
        }
        *emitted = now;
        // Holds the lock, so that no event follows the end of the task.
        self.emit(&self.jobs.task(task, *run, EventType::Running, None));
    }

    fn task_finished(
        &self,
        task: &str,
        result: Option<&Value>,
        error: Option<&Error>,
        warehouse: &dyn Fn() -> Option<WarehouseAddress>,
    ) {
        let mut known = self.lock();
        // A task that never started has no run to end.
        let Some((run, _)) = known.tasks.remove(task) else { return };
        let stopped = |error: &Error| matches!(error.kind(), ErrorKind::Interrupted(_));
        let kind = kind_of(error.map(|error| (error.message(), stopped(error))));
        let message = error.map(|error| error_message(error.message()));
        if let Some(result) = result {
            self.keep_input(task, result, &mut known);
        }
        let account =
            result.and_then(|result| ControlTotals::deserialize(result.get("account")?).ok());
        let reads = self.reads(task, &mut known, account.as_ref(), warehouse);
        let writes = match (task, result, account) {
            (jobs::LOAD, Some(result), Some(account)) if result["route"] != "none" => {
                known.warehouse = known.warehouse.take().or_else(warehouse);
                let inputs =
                    Inputs { claims: known.claims.as_ref(), providers: known.providers.as_ref() };
                let written = known
                    .warehouse
                    .as_ref()
                    .map(|warehouse| output::written(warehouse, &inputs, &account, self.settings));
                known.written = written.unwrap_or_default();
                known.written.clone()
            }
            (jobs::REFRESH, Some(result), _) => output::refreshed(self.settings, result),
            _ => Vec::new(),
        };
        let event = self.jobs.task(task, run, kind, message.as_ref());
        self.emit(&event.reads(reads).writes(writes));
    }

    /// Stores the input found by an extract task.
    fn keep_input(&self, task: &str, result: &Value, known: &mut RunState) {
        let table = |source: &crate::config::Source| source.table.clone();
        match task {
            jobs::CLAIMS => {
                let table = table(&self.settings.claims);
                known.claims = Input::read(Dataset::Claims, result, table.as_deref());
            }
            jobs::PROVIDERS => {
                let table = table(&self.settings.providers);
                known.providers = Input::read(Dataset::Providers, result, table.as_deref());
            }
            _ => {}
        }
    }

    /// The known input datasets of a task.
    fn reads(
        &self,
        task: &str,
        known: &mut RunState,
        account: Option<&ControlTotals>,
        warehouse: &dyn Fn() -> Option<WarehouseAddress>,
    ) -> Vec<InputDataset> {
        let of = |input: &Option<Input>| {
            let sets = input.as_ref().map(|input| input.data_sets(account, &self.severities));
            sets.unwrap_or_default()
        };
        match task {
            jobs::CLAIMS => of(&known.claims),
            jobs::PROVIDERS => of(&known.providers),
            jobs::TRANSFORM | jobs::LOAD => self.inputs(known, account),
            jobs::REFRESH => {
                known.warehouse = known.warehouse.take().or_else(warehouse);
                let shape = self.settings.privacy.shape();
                let warehouse = known.warehouse.as_ref();
                warehouse.map(|warehouse| output::shown(warehouse, shape)).unwrap_or_default()
            }
            _ => Vec::new(),
        }
    }

    fn inputs(&self, known: &RunState, account: Option<&ControlTotals>) -> Vec<InputDataset> {
        let inputs = [&known.claims, &known.providers].into_iter().flatten();
        inputs.flat_map(|input| input.data_sets(account, &self.severities)).collect()
    }

    fn emit(&self, event: &Event) {
        if let Some(line) = event.line() {
            for emitter in &self.emitters {
                emitter.emit(line.clone());
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, RunState> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The transport to the server, if one is configured.
fn server(settings: &Settings) -> Result<Option<HttpTransport>, Error> {
    let config = &settings.lineage;
    let Some(url) = &config.url else { return Ok(None) };
    let key: Option<Secret> = if config.api_key.is_named() {
        Some(config.api_key.read("lineage.api_key")?)
    } else {
        None
    };
    let endpoint = config.endpoint.as_deref().unwrap_or(ENDPOINT);
    Ok(Some(HttpTransport::new(url, endpoint, key)))
}

fn kind_of(error: Option<(&str, bool)>) -> EventType {
    match error {
        None => EventType::Complete,
        Some((_, true)) => EventType::Abort,
        Some((_, false)) => EventType::Fail,
    }
}

fn error_message(message: &str) -> ErrorMessage {
    ErrorMessage { message: message.to_owned(), programming_language: "RUST" }
}

#[cfg(test)]
mod tests;
