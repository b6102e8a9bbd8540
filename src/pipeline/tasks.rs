//! The five tasks of a run.
//!
//! A file of its own because each task is one paragraph of the way of the data: what it takes from
//! the desk, what it does with one stage, what it leaves and what small result it hands on.

use std::sync::{Arc, Mutex, PoisonError};

use polars::prelude::{DataFrame, LazyFrame, PolarsError};
use serde_json::json;

use super::first_pass::FirstPass;
use super::warehouse::Warehouse;
use super::work::{Prepared, Work};
use crate::adbc_postgres::PostgresConnection;
use crate::dag::{Outcome, TaskContext};
use crate::error::{Error, Result};
use crate::event::RunEvent;
use crate::extract::{self, Extracted};
use crate::failpoint;
use crate::load::quarantine::Quarantine;
use crate::load::{Session, Shuffle, Statistics, ledger};
use crate::schema::Dataset;
use crate::transform::{Claims, Directory, RiskModel, provider_rows};

/// Bytes of shuffled rows that stay in memory: a daily load never touches the disk.
const SHUFFLE_MEMORY: u64 = 64 << 20;

/// `extract.extract_claims` and `extract.extract_providers`: found, checked, fingerprinted.
pub(super) fn extract(
    work: &Work<'_>,
    dataset: Dataset,
    task: &TaskContext<'_>,
) -> Result<Outcome> {
    let (source, slot) = match dataset {
        Dataset::Claims => (&work.settings.claims, &work.claims),
        Dataset::Providers => (&work.settings.providers, &work.providers),
    };
    let extracted = extract::extract(dataset, source, task.cancel)?;
    if !extracted.ignored_columns.is_empty() {
        task.observer.observe(&RunEvent::Note(format!(
            "{dataset}: columns that are not loaded: {}",
            extracted.ignored_columns.join(", ")
        )));
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
    if let Some(warehouse) = work.warehouse {
        let mut held = work.session.lock();
        let session = session(&mut held, work, warehouse, task)?;
        let sources = json!({ "claims": json(&claims)?, "providers": json(&providers)? });
        let control = &mut session.control;
        ledger::note_sources(control, work.identity.run, &fingerprint, &sources)?;
        let known = ledger::already_loaded(control, &work.identity, &fingerprint)?;
        if let Some(run) = known.filter(|_| !work.options.force) {
            work.loaded_by.put(run.clone());
            return Ok(Outcome::ShortCircuit(json!({ "already_loaded_by": run })));
        }
    }

    let settings = work.settings;
    let rows = collect(provider_rows(extract::scan(&providers, &settings.providers)?.all()?))
        .map_err(|error| error.context(files(&providers)))?;
    let directory = Directory::new(&rows, settings.warehouse.on_provider_conflict)?;
    task.check()?;

    let memory = failpoint::limit("shuffle.memory", SHUFFLE_MEMORY);
    let memory = usize::try_from(memory).unwrap_or(usize::MAX);
    let shuffle = Shuffle::new(&settings.spill_dir(), memory);
    let quarantine = Mutex::new(quarantine(work)?);
    let progress = |rows: u64| tell(task, rows);
    let (tally, peers) = FirstPass {
        blocks: &extract::scan(&claims, &settings.claims)?,
        claims: &Claims::new(&directory, &work.formats, work.key),
        directory: &directory,
        shuffle: &shuffle,
        quarantine: &quarantine,
        cancel: task.cancel,
        progress: &progress,
    }
    .run()?;
    failpoint::hit("first_pass.done")?;
    // What was fingerprinted must be what was read.
    extract::unchanged(&claims)?;
    extract::unchanged(&providers)?;
    let model = Arc::new(RiskModel::fit(&peers, &settings.risk));

    let statistics = statistics(&model, &directory);
    let result = json!({
        "providers": directory.counts(),
        "peer_groups": statistics.peers.len(),
        "specialties": statistics.weekends.len(),
        "shuffled_bytes": shuffle.bytes(),
    });
    let quarantine = quarantine.into_inner().unwrap_or_else(PoisonError::into_inner);
    work.rejects.put(quarantine);
    let shuffle = Arc::new(shuffle);
    failpoint::hit("transform.done")?;
    work.prepared.put(Prepared { shuffle, tally, directory, model, statistics });
    Ok(Outcome::Done(result))
}

/// `load.load_warehouse`: the second pass, and the publish.
pub(super) fn load_warehouse(work: &Work<'_>, task: &TaskContext<'_>) -> Result<Outcome> {
    let prepared = work.prepared.get()?;
    let Some(warehouse) = work.warehouse else {
        return super::loading::count_only(work, &prepared, task);
    };
    let mut held = work.session.lock();
    let session = session(&mut held, work, warehouse, task)?;
    if session.published {
        // The last try's commit succeeded, only its answer was lost.
        work.published.put(());
        return Ok(Outcome::Done(json!({ "account": work.account.get()? })));
    }
    super::loading::load(work, warehouse, session, &prepared, task)
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

/// The input's files, for an error that cannot tell which of them it is about.
fn files(input: &Extracted) -> String {
    let names: Vec<String> =
        input.files.iter().take(3).map(|file| file.path.display().to_string()).collect();
    let more = if input.files.len() > names.len() { ", …" } else { "" };
    format!("{}: {}{more}", input.dataset, names.join(", "))
}

/// The whole input's fingerprint.
fn fingerprint(claims: &Extracted, providers: &Extracted) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(claims.fingerprint.as_bytes());
    hasher.update(providers.fingerprint.as_bytes());
    hasher.finalize().to_hex().to_string()
}

/// Collects a frame.
pub(super) fn collect(plan: LazyFrame) -> Result<DataFrame> {
    plan.collect().map_err(|error| plan_error(&error))
}

/// A failure of the engine, without its text: that can quote cells.
pub(super) fn plan_error(error: &PolarsError) -> Error {
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
    let sources =
        work.claims.get()?.files.iter().map(|file| file.path.display().to_string()).collect();
    Quarantine::new(&work.settings.quarantine_dir(), work.identity.run, sources)
}

/// Tells how far a task is.
pub(super) fn tell(task: &TaskContext<'_>, rows: u64) {
    task.observer.observe(&RunEvent::Progress { task: task.task.to_owned(), rows, total: None });
}

fn statistics(model: &RiskModel, directory: &Directory) -> Statistics {
    let peers = model
        .peer_statistics(directory)
        .into_iter()
        .map(|row| (row.procedure_code, row.specialty, row.peers, row.median_ln, row.sigma_ln));
    let weekends = model
        .weekend_statistics(directory)
        .into_iter()
        .map(|row| (row.specialty, row.claims, row.weekend_claims));
    Statistics { peers: peers.collect(), weekends: weekends.collect() }
}

fn json(value: &impl serde::Serialize) -> Result<serde_json::Value> {
    serde_json::to_value(value).map_err(|_| Error::internal("a result that is no JSON"))
}
