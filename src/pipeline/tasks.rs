//! The five tasks of a run.
//!
//! A file of its own because each task is one paragraph of the way of the data: what it takes from
//! the desk, what it does with one stage, what it leaves and what small result it hands on.

use std::sync::{Arc, Mutex, PoisonError};

use polars::prelude::{DataFrame, Engine, LazyFrame, PlanCallback};
use serde_json::json;

use super::warehouse::Warehouse;
use super::work::{Prepared, Work};
use crate::adbc_postgres::PostgresConnection;
use crate::dag::{Outcome, TaskContext};
use crate::error::{Error, ErrorKind, Result};
use crate::event::RunEvent;
use crate::extract::{self, Extracted};
use crate::load::{self, Session, Statistics, ledger};
use crate::refresh;
use crate::schema::Dataset;
use crate::transform::{Claims, Directory, PeerCounts, RiskModel, provider_rows};

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
    let result = json(&extracted)?;
    slot.put(extracted);
    Ok(Outcome::Done(result))
}

/// `transform_join`: the plan. Two things are executed on the way: the provider directory is
/// collected, and a first pass counts what amounts are compared with. Input that is loaded already
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
    let rows = collect(provider_rows(extract::scan(&providers, &settings.providers)?))
        .map_err(|error| error.context(files(&providers)))?;
    let directory = Directory::new(&rows, settings.warehouse.on_provider_conflict)?;
    task.check()?;

    let scanned = extract::scan(&claims, &settings.claims)?;
    let joined = Claims::joined(scanned, &directory, &work.formats, work.key);
    let counts =
        count_peers(joined.observations(), task).map_err(|error| error.context(files(&claims)))?;
    task.check()?;
    let model = Arc::new(RiskModel::fit(&counts, &settings.risk));

    let statistics = statistics(&model, &directory);
    let result = json!({
        "providers": directory.counts(),
        "peer_groups": statistics.peers.len(),
        "specialties": statistics.weekends.len(),
    });
    work.prepared.put(Prepared { plan: joined.plan(&model, work.key), directory, statistics });
    Ok(Outcome::Done(result))
}

/// `load.load_warehouse`: the one full execution of the plan, and the publish.
pub(super) fn load_warehouse(work: &Work<'_>, task: &TaskContext<'_>) -> Result<Outcome> {
    let prepared = work.prepared.get()?;
    let Some(warehouse) = work.warehouse else {
        return super::loading::count_only(work, prepared, task);
    };
    let mut held = work.session.lock();
    let session = session(&mut held, work, warehouse, task)?;
    if session.published {
        // The last try's commit succeeded, only its answer was lost.
        work.published.put(());
        return Ok(Outcome::Done(json!({ "account": work.account.get()? })));
    }
    super::loading::load(work, warehouse, session, prepared, task)
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
            let opened = Session::open(&warehouse.database, identity, task.observer, task.cancel)?;
            Ok(none.insert(opened))
        }
    }
}

/// `load.refresh_bi`: all targets at once, after the commit.
pub(super) fn refresh_bi(work: &Work<'_>, task: &TaskContext<'_>) -> Result<Outcome> {
    let Some(warehouse) = work.warehouse else { return Ok(Outcome::Done(json!([]))) };
    let targets = refresh::targets(work.settings);
    let results = refresh::refresh_all(&targets, &|| warehouse.connect());
    let failed: Vec<&refresh::TargetResult> =
        results.iter().filter(|result| result.outcome == refresh::Outcome::Failed).collect();
    for result in &failed {
        task.observer.observe(&RunEvent::Warning(format!("{}: {}", result.target, result.detail)));
    }
    let required = failed.iter().find(|result| result.required).map(|result| {
        Error::new(
            ErrorKind::Refresh,
            format!("{} was not refreshed: {}; the data are loaded", result.target, result.detail),
        )
        .hint(format!("`claims-etl refresh {}` tries again", result.target))
    });
    let outcome: Vec<_> = results
        .iter()
        .map(|result| json!({ "target": result.target, "outcome": result.outcome.as_str() }))
        .collect();
    work.refreshed.put(results);
    match required {
        Some(error) => Err(error),
        None => Ok(Outcome::Done(json!(outcome))),
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

/// Collects a small frame on the streaming engine.
pub(super) fn collect(plan: LazyFrame) -> Result<DataFrame> {
    plan.with_streaming(true).collect().map_err(|error| load::plan_error(&error))
}

/// Streams the first pass into its counts.
fn count_peers(observations: LazyFrame, task: &TaskContext<'_>) -> Result<PeerCounts> {
    let counts = Arc::new(Mutex::new(Ok(PeerCounts::default())));
    let (books, cancel) = (Arc::clone(&counts), task.cancel.clone());
    let take = move |batch: DataFrame| {
        let mut books = books.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) =
            books.as_mut().map_or(Ok(()), |counts: &mut PeerCounts| counts.observe(&batch))
        {
            *books = Err(error);
        }
        Ok(books.is_err() || cancel.is_cancelled())
    };
    observations
        .sink_batches(PlanCallback::new(take), false, None)
        .and_then(|plan| plan.collect_with_engine(Engine::Streaming))
        .map_err(|error| load::plan_error(&error))?;
    let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::replace(&mut *counts, Ok(PeerCounts::default()))
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
