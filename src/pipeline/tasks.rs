//! The five tasks of a run.

use std::sync::{Mutex, PoisonError};

use polars::prelude::{DataFrame, LazyFrame, PolarsError};
use serde_json::json;

use crate::adbc_postgres::PostgresConnection;
use crate::dag::{Outcome, TaskContext};
use crate::error::{Error, Result};
use crate::event::RunEvent;
use crate::extract::{self, Extracted};
use crate::failpoint;
use crate::load::{Session, ledger};
use crate::pipeline::rotation_pairs::note_pairs;
use crate::pipeline::run_context::{Prepared, Work};
use crate::pipeline::transform_stage::Inputs;
use crate::quarantine::{NamedSource, Quarantine};
use crate::schema::Dataset;
use crate::warehouse::load_strategy::LoadStrategy;
use crate::warehouse::location::Warehouse;
use crate::warehouse::{load_strategy, server};

/// `extract.extract_claims` and `extract.extract_providers`: found, checked, fingerprinted.
pub(super) fn extract(
    work: &Work<'_>,
    dataset: Dataset,
    task: &TaskContext<'_>,
) -> Result<Outcome> {
    let slot = match dataset {
        Dataset::Claims => &work.claims,
        Dataset::Providers => &work.providers,
    };
    let extracted = extract::extract(dataset, work.settings, task.cancel)?;
    for warning in &extracted.warnings {
        task.observer.observe(&RunEvent::Warning(warning.clone()));
    }
    if let Some(ignored) = extracted.not_loaded() {
        task.observer.observe(&RunEvent::Note(format!("{dataset}: {ignored}")));
    }
    if let Some(name) = &extracted.line_column {
        task.observer.observe(&RunEvent::Note(format!(
            "{dataset}: line_number is read from column \"{name}\", which numbers the lines of each claim \
             (line_number = \"\" in [claims.columns] reads it from nowhere)"
        )));
    }
    if let Some(note) = extracted.left_out.note() {
        task.observer.observe(&RunEvent::Note(format!("{dataset}: {note}")));
    }
    failpoint::hit("extract.done")?;
    let result = json(&extracted)?;
    slot.put(extracted);
    Ok(Outcome::Done(result))
}

/// `transform_join`: the directory, and the first pass over the claims. Input that is loaded already
/// ends the run here.
pub(super) fn transform_join(work: &Work<'_>, task: &TaskContext<'_>) -> Result<Outcome> {
    let (claims, providers) = (work.claims.get()?, work.providers.get()?);
    let fingerprint = fingerprint(&claims, &providers);
    work.fingerprint.put(fingerprint.clone());
    let mut strategy = LoadStrategy::Attach;
    if let Some(warehouse) = work.warehouse {
        let mut held = work.session.lock();
        let session = session(&mut held, work, warehouse, task)?;
        let sources = json!({ "claims": json(&claims)?, "providers": json(&providers)? });
        let control = &mut session.control;
        server::check_connections(control, work.settings.connections())?;
        ledger::note_sources(control, work.identity.run, &fingerprint, &sources)?;
        let (settings, key) = (&work.identity.config_digest, &work.identity.key_id);
        let known = ledger::already_loaded(control, &fingerprint, settings, key)?;
        if let Some(run) = known.filter(|_| !work.options.force) {
            work.loaded_by.put(run.clone());
            return Ok(Outcome::ShortCircuit(json!({ "already_loaded_by": run })));
        }
        strategy = load_strategy::strategy(control, work.settings.warehouse.mode)?;
        note_pairs(work, warehouse, [&claims, &providers], task)?;
    }

    let quarantine = Mutex::new(quarantine(work)?);
    let progress = |rows: u64| tell(task, rows);
    let prepared = Inputs {
        claims: &claims,
        providers: &providers,
        settings: work.settings,
        formats: &work.formats,
        checks: &work.checks,
        key: work.key,
        strategy,
    }
    .prepare(&quarantine, task.cancel, &progress)?;
    let result = json!({
        "providers": prepared.directory.counts(),
        "patients": prepared.scored_by.patients.ids,
        "shuffled_bytes": prepared.shuffle.bytes(),
    });
    warn_of_nothing(&prepared, &providers, task);
    let quarantine = quarantine.into_inner().unwrap_or_else(PoisonError::into_inner);
    work.rejects.put(quarantine);
    failpoint::hit("transform.done")?;
    work.prepared.put(prepared);
    Ok(Outcome::Done(result))
}

/// `load.load_warehouse`: the second pass, and the publish.
pub(super) fn load_warehouse(work: &Work<'_>, task: &TaskContext<'_>) -> Result<Outcome> {
    let prepared = work.prepared.get()?;
    let Some(warehouse) = work.warehouse else {
        return crate::pipeline::load_stage::count_only(work, &prepared, task);
    };
    let mut held = work.session.lock();
    let session = session(&mut held, work, warehouse, task)?;
    if session.published {
        // The last try's commit succeeded, only its answer was lost.
        work.published.put(());
        return Ok(Outcome::Done(json!({ "account": work.account.get()? })));
    }
    crate::pipeline::load_stage::load(work, warehouse, session, &prepared, task)
}

/// Warns of files that hold a header and no record.
pub(super) fn warn_of_nothing(prepared: &Prepared, providers: &Extracted, task: &TaskContext<'_>) {
    let warn = |dataset: Dataset, files: &[String]| {
        let warning = no_record(dataset, files);
        task.observer.observe(&RunEvent::Warning(warning));
    };
    if !prepared.without_records.is_empty() {
        warn(Dataset::Claims, &prepared.without_records);
    }
    if prepared.directory.counts().read == 0 && !providers.files.is_empty() {
        let files = providers.files.iter().map(|file| file.path.display().to_string());
        warn(Dataset::Providers, &files.collect::<Vec<String>>());
    }
}

/// What is said of files that hold a header and no record.
pub(super) fn no_record(dataset: Dataset, files: &[String]) -> String {
    let first = files.iter().take(3).map(String::as_str).collect::<Vec<&str>>().join(", ");
    match files.len() {
        1 => format!("{dataset}: {first} holds no record after its header"),
        count @ ..=3 => {
            format!("{dataset}: {count} files hold no record after their header: {first}")
        }
        count => format!("{dataset}: {count} files hold no record after their header: {first}, …"),
    }
}

/// The run's session. In a task that is tried again the connection may be lost, and with it the
/// lock: a new one is opened, which also removes what the last try has staged.
fn session<'s>(
    held: &'s mut Option<Session<PostgresConnection>>,
    work: &Work<'_>,
    warehouse: &Warehouse,
    task: &TaskContext<'_>,
) -> Result<&'s mut Session<PostgresConnection>> {
    if task.attempt > 1 {
        *held = None;
    }
    match held {
        Some(session) => Ok(session),
        none => {
            let identity = work.identity.clone();
            let (wait, database) = (work.settings.run.wait, &warehouse.database);
            let opened = Session::open(database, identity, wait, task.observer, task.cancel)?;
            Ok(none.insert(opened))
        }
    }
}

/// The whole input's fingerprint.
pub(crate) fn fingerprint(claims: &Extracted, providers: &Extracted) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(claims.fingerprint.as_bytes());
    hasher.update(providers.fingerprint.as_bytes());
    hasher.finalize().to_hex().to_string()
}

pub(crate) fn collect(plan: LazyFrame) -> Result<DataFrame> {
    plan.collect().map_err(|error| plan_error(&error))
}

/// A failure of the engine, without its text: that can quote cells.
pub(crate) fn plan_error(error: &PolarsError) -> Error {
    match error {
        PolarsError::IO { error, .. } => Error::source(format!("reading failed: {}", error.kind())),
        PolarsError::ComputeError(_) | PolarsError::SchemaMismatch(_) => {
            Error::source("a source is malformed").hint("is the file complete?")
        }
        _ => Error::internal("the query plan failed"),
    }
}

fn quarantine(work: &Work<'_>) -> Result<Quarantine> {
    if work.warehouse.is_none() {
        return Ok(Quarantine::nowhere());
    }
    let named = |input: &Extracted| -> Vec<NamedSource> {
        let named = input.files.iter().map(|file| NamedSource {
            dataset: input.dataset,
            path: file.path.display().to_string(),
            fingerprint: file.fingerprint.clone(),
        });
        named.collect()
    };
    let sources = [named(&work.claims.get()?), named(&work.providers.get()?)].concat();
    Quarantine::new(&work.settings.quarantine_dir(), work.identity.run, sources)
}

/// Tells how far a task is.
pub(super) fn tell(task: &TaskContext<'_>, rows: u64) {
    task.observer.observe(&RunEvent::Progress { task: task.task.to_owned(), rows, total: None });
}

fn json(value: &impl serde::Serialize) -> Result<serde_json::Value> {
    serde_json::to_value(value).map_err(|_| Error::internal("a result that is no JSON"))
}
