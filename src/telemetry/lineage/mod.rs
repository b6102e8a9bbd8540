//! Lineage of one run, as OpenLineage has it: what was read, what was written, how it ended.
//!
//! It never waits and never fails: what cannot be sent becomes a warning.

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
pub use dataset::Place;
use emitter::Emitter;
use event::{Event, EventType, InputDataset, OutputDataset};
use facets::ErrorMessage;
use input::Input;
use jobs::Jobs;
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

/// How often a task at work is told at most.
const RUNNING: Duration = Duration::from_secs(30);
/// The path below a server's address.
const ENDPOINT: &str = "api/v1/lineage";

/// What is told: a whole run, or less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// A run with all its tasks, under the run's own id.
    Run,
    /// What was left of a run whose end has been told: under an id of its own.
    Rest,
    /// One task, whose run an orchestrator tells of.
    Task,
}

/// The lineage of one run.
pub struct Lineage<'s> {
    settings: &'s Settings,
    severities: Severities,
    scope: Scope,
    jobs: Jobs,
    emitters: Vec<Emitter>,
    known: Mutex<Known>,
}

/// What is known so far.
#[derive(Default)]
struct Known {
    /// Tasks at work: the id of the OpenLineage run, and when it was told last.
    tasks: HashMap<String, (Uuid, Instant)>,
    claims: Option<Input>,
    providers: Option<Input>,
    place: Option<Place>,
    /// The tables as they were written, once they are published.
    written: Vec<OutputDataset>,
}

/// How a run ended.
#[derive(Debug, Clone)]
pub struct End<'a> {
    /// The error that ended it, and whether that was a request to stop.
    pub error: Option<(&'a str, bool)>,
    /// What it has counted.
    pub account: ControlTotals,
}

impl<'s> Lineage<'s> {
    /// Begins to tell, where there is somebody to tell; and what is wrong with the settings, in
    /// warnings.
    #[must_use]
    pub fn start(settings: &'s Settings, run: RunId, scope: Scope) -> (Option<Self>, Vec<String>) {
        let told = &settings.lineage;
        let mut warnings = Vec::new();
        if told.disabled {
            return (None, warnings);
        }
        let mut emitters: Vec<Emitter> =
            told.file.iter().map(|path| Emitter::start(FileTransport::new(path.clone()))).collect();
        match server(settings) {
            Ok(Some(transport)) => emitters.push(Emitter::start(transport)),
            Ok(None) => {}
            Err(error) => warnings.push(format!("no lineage server is told: {}", error.message())),
        }
        if !told.passed_over.is_empty() {
            warnings.push(format!("{} cannot be used", told.passed_over.join(", ")));
        }
        if emitters.is_empty() {
            return (None, warnings);
        }
        let (caller, unread) = parent::of(&told.caller);
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

    /// Takes note of an event; `place` tells where the warehouse is, once there is one.
    pub fn observe(&self, event: &RunEvent, place: &dyn Fn() -> Option<Place>) {
        match event {
            RunEvent::TaskStarted { task, .. } => self.begin(task, place),
            RunEvent::Progress { task, .. } => self.go_on(task, Instant::now()),
            RunEvent::TaskFinished { task, result, error, .. } => {
                self.end(task, result.as_ref(), error.as_ref(), place);
            }
            _ => {}
        }
    }

    /// Tells how the run ended, and waits a little for what is on its way. What was lost, in
    /// warnings.
    #[must_use]
    pub fn finish(mut self, end: &End<'_>) -> Vec<String> {
        let kind = kind_of(end.error);
        let message = end.error.map(|(message, _)| error_message(message));
        let left: Vec<(String, Uuid)> =
            self.lock().tasks.drain().map(|(task, (run, _))| (task, run)).collect();
        for (task, run) in left {
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

    /// Takes note of what a task has handed on in an earlier process of the same run.
    pub fn recall(&self, task: &str, result: &Value) {
        self.learn(task, result, &mut self.lock());
    }

    /// A task began: once a task, however often it is tried.
    fn begin(&self, task: &str, place: &dyn Fn() -> Option<Place>) {
        let mut known = self.lock();
        if known.tasks.contains_key(task) {
            return;
        }
        let run = Uuid::now_v7();
        known.tasks.insert(task.to_owned(), (run, Instant::now()));
        let event = self.jobs.task(task, run, EventType::Start, None);
        let event = event.reads(self.reads(task, &mut known, None, place));
        self.emit(&event);
    }

    fn go_on(&self, task: &str, now: Instant) {
        let mut known = self.lock();
        let Some((run, told)) = known.tasks.get_mut(task) else { return };
        if now.saturating_duration_since(*told) < RUNNING {
            return;
        }
        *told = now;
        // With the lock held: nothing may follow a task's end.
        self.emit(&self.jobs.task(task, *run, EventType::Running, None));
    }

    fn end(
        &self,
        task: &str,
        result: Option<&Value>,
        error: Option<&Error>,
        place: &dyn Fn() -> Option<Place>,
    ) {
        let mut known = self.lock();
        // A task that never began has nothing to end.
        let Some((run, _)) = known.tasks.remove(task) else { return };
        let stopped = |error: &Error| matches!(error.kind(), ErrorKind::Interrupted(_));
        let kind = kind_of(error.map(|error| (error.message(), stopped(error))));
        let message = error.map(|error| error_message(error.message()));
        if let Some(result) = result {
            self.learn(task, result, &mut known);
        }
        let account =
            result.and_then(|result| ControlTotals::deserialize(result.get("account")?).ok());
        let reads = self.reads(task, &mut known, account.as_ref(), place);
        let writes = match (task, result, account) {
            (jobs::LOAD, Some(result), Some(account)) if result["route"] != "none" => {
                known.place = known.place.take().or_else(place);
                let inputs =
                    Inputs { claims: known.claims.as_ref(), providers: known.providers.as_ref() };
                let written = known
                    .place
                    .as_ref()
                    .map(|place| output::written(place, &inputs, &account, self.settings));
                known.written = written.unwrap_or_default();
                known.written.clone()
            }
            (jobs::REFRESH, Some(result), _) => output::refreshed(self.settings, result),
            _ => Vec::new(),
        };
        let event = self.jobs.task(task, run, kind, message.as_ref());
        self.emit(&event.reads(reads).writes(writes));
    }

    /// Keeps what an extract task has found.
    fn learn(&self, task: &str, result: &Value, known: &mut Known) {
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

    /// What a task reads, as far as it is known.
    fn reads(
        &self,
        task: &str,
        known: &mut Known,
        account: Option<&ControlTotals>,
        place: &dyn Fn() -> Option<Place>,
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
                known.place = known.place.take().or_else(place);
                let shape = self.settings.privacy.shape();
                known.place.as_ref().map(|place| output::shown(place, shape)).unwrap_or_default()
            }
            _ => Vec::new(),
        }
    }

    fn inputs(&self, known: &Known, account: Option<&ControlTotals>) -> Vec<InputDataset> {
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

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way to the server, where one is named.
fn server(settings: &Settings) -> Result<Option<HttpTransport>, Error> {
    let told = &settings.lineage;
    let Some(url) = &told.url else { return Ok(None) };
    let key: Option<Secret> =
        if told.api_key.is_named() { Some(told.api_key.read("lineage.api_key")?) } else { None };
    let endpoint = told.endpoint.as_deref().unwrap_or(ENDPOINT);
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
