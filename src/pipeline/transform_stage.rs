//! `transform_join`: the provider directory, the first pass over the claims, and the scoring model.

use std::sync::{Arc, Mutex, PoisonError};

use polars::prelude::{Column, DataFrame, IntoLazy};
use serde_json::json;

use super::extract_stage::{self, Inputs};
use super::first_pass::FirstPass;
use super::query_plan::collect;
use super::rotation_pairs::note_pairs;
use super::run_context::{RunContext, RunState};
use super::run_rules::severities;
use super::scoring::{Counting, one_token_each};
use super::task_id::Task;
use super::task_runner::Outcome;
use crate::adbc_postgres::PostgresConnection;
use crate::config::Settings;
use crate::error::Result;
use crate::event::Cancellation;
use crate::extract::{self, Extracted};
use crate::failpoint;
use crate::interchange::record_batch;
use crate::key::MasterKey;
use crate::load::{FirstPassTotals, LineTotals, ProviderRows, Score, ScoredBy, Session, ledger};
use crate::quarantine::{NamedSource, Quarantine, Rejected};
use crate::risk::settings::Risk;
use crate::schema::{Dataset, keyless_schema, staged_schema};
use crate::shuffle::{Distinct, Shuffle};
use crate::transform::{
    self, Claims, DateFormats, Directory, ProviderKeys, Refused, Release, RuleSet, Scorer,
    provider_rows,
};
use crate::warehouse::load_strategy::LoadStrategy;
use crate::warehouse::{load_strategy, server};

/// Passed from the transform to the load: shuffled rows, totals, and the scoring model.
pub(crate) struct Transformed {
    pub(crate) shuffle: Arc<Shuffle>,
    pub(crate) tally: FirstPassTotals,
    /// Claims files without records.
    without_records: Vec<String>,
    pub(crate) directory: Directory,
    checks: Arc<RuleSet>,
    /// Scores rows on their way into staging. `None` when rows are scored later with statistics of
    /// all published claims: until then score and components are 0.
    scorer: Option<Arc<Scorer>>,
    pub(super) scored_by: ScoredBy,
}

impl Transformed {
    /// Adds the score and maps shuffled rows to fact columns; without `keys` the provider's id takes the place of
    /// its key.
    pub(crate) fn score(&self, keys: Option<&ProviderKeys>) -> Score {
        let (directory, scorer) = (self.directory.clone(), self.scorer.clone());
        let keys = keys.cloned();
        let shape = directory.shape();
        let schema = if keys.is_some() { staged_schema(shape) } else { keyless_schema(shape) };
        let severities = *self.checks.severities();
        Arc::new(move |rows: DataFrame| {
            let (scorer, keys) = (scorer.as_ref(), keys.as_ref());
            let rows = transform::scored(rows.lazy(), &directory, scorer, &severities, keys);
            record_batch(&collect(rows)?, &schema)
        })
    }

    /// Counts the lines of a run that becomes the whole content; empty.
    pub(super) fn line_totals(&self, keys: Vec<i32>, risk: &Risk) -> LineTotals {
        let specialties = self.directory.frame().column("specialty").and_then(Column::str).ok();
        let providers = ProviderRows::new(keys, specialties);
        LineTotals::new(Arc::new(providers), risk)
    }
}

/// Runs the task. Already loaded input ends the run here.
pub(super) fn transform_join(
    context: &RunContext<'_>,
    session: &mut Option<Session<PostgresConnection>>,
    state: &mut RunState<'_>,
    inputs: &Inputs,
    attempt: u32,
) -> Result<Outcome<Transformed>> {
    let RunContext { settings, identity, .. } = context;
    let fingerprint = inputs.fingerprint();
    state.report.fingerprint = Some(fingerprint.clone());
    let mut strategy = LoadStrategy::Attach;
    if let Some(warehouse) = context.warehouse {
        let control = &mut context.session(session, warehouse, attempt)?.control;
        server::check_connections(control, settings.connections())?;
        let (claims, providers) =
            (extract_stage::json(&inputs.claims)?, extract_stage::json(&inputs.providers)?);
        let sources = json!({ "claims": claims, "providers": providers });
        ledger::note_sources(control, identity.run, &fingerprint, &sources)?;
        let (digest, key) = (&identity.config_digest, &identity.key_id);
        let known = ledger::already_loaded(control, &fingerprint, digest, key)?;
        if let Some(run) = known.filter(|_| !context.options.force) {
            state.report.loaded_by = Some(run.clone());
            return Ok(Outcome::ShortCircuit(json!({ "already_loaded_by": run })));
        }
        strategy = load_strategy::strategy(control, settings.warehouse.mode)?;
        note_pairs(context, warehouse, inputs)?;
    }

    let quarantine = Mutex::new(quarantine(context, inputs)?);
    let progress = |rows: u64| context.progress(Task::TransformJoin, rows);
    let transform = Transform {
        inputs,
        settings,
        formats: &context.formats,
        checks: &context.checks,
        key: context.key,
        strategy,
    };
    let transformed = transform.run(&quarantine, context.cancel, &progress)?;
    let result = json!({
        "providers": transformed.directory.counts(),
        "patients": transformed.scored_by.patients.ids,
        "shuffled_bytes": transformed.shuffle.bytes(),
    });
    warn_of_empty_files(context, &transformed, &inputs.providers);
    state.quarantine = Some(quarantine.into_inner().unwrap_or_else(PoisonError::into_inner));
    failpoint::hit("transform.done")?;
    Ok(Outcome::Done { value: transformed, result })
}

/// Destination of the run's rejects; discards them in a dry run.
fn quarantine(context: &RunContext<'_>, inputs: &Inputs) -> Result<Quarantine> {
    if context.warehouse.is_none() {
        return Ok(Quarantine::nowhere());
    }
    let sources = [&inputs.claims, &inputs.providers].into_iter().flat_map(|input| {
        input.files.iter().map(move |file| NamedSource {
            dataset: input.dataset,
            path: file.path.display().to_string(),
            fingerprint: file.fingerprint.clone(),
        })
    });
    let folder = context.settings.quarantine_dir();
    Quarantine::new(&folder, context.identity.run, sources.collect())
}

/// Warns about files with a header but no records.
fn warn_of_empty_files(context: &RunContext<'_>, transformed: &Transformed, providers: &Extracted) {
    if !transformed.without_records.is_empty() {
        context.warn(no_record(Dataset::Claims, &transformed.without_records));
    }
    if transformed.directory.counts().read == 0 && !providers.files.is_empty() {
        let files = providers.files.iter().map(|file| file.path.display().to_string());
        context.warn(no_record(Dataset::Providers, &files.collect::<Vec<String>>()));
    }
}

fn no_record(dataset: Dataset, files: &[String]) -> String {
    let first = files.iter().take(3).map(String::as_str).collect::<Vec<&str>>().join(", ");
    match files.len() {
        1 => format!("{dataset}: {first} holds no record after its header"),
        count @ ..=3 => {
            format!("{dataset}: {count} files hold no record after their header: {first}")
        }
        count => format!("{dataset}: {count} files hold no record after their header: {first}, …"),
    }
}

/// The transform of a run, also used to verify it.
pub(crate) struct Transform<'a> {
    pub(crate) inputs: &'a Inputs,
    pub(crate) settings: &'a Settings,
    pub(crate) formats: &'a Arc<DateFormats>,
    pub(crate) checks: &'a Arc<RuleSet>,
    pub(crate) key: &'a MasterKey,
    /// How rows are loaded: a complete replacement is scored by its own statistics.
    pub(crate) strategy: LoadStrategy,
}

impl Transform<'_> {
    /// Builds the directory, runs the first pass over the claims, and builds the model.
    ///
    /// # Errors
    /// `Source` when an input is malformed or has changed since it was fingerprinted, and as the
    /// first pass.
    pub(crate) fn run(
        &self,
        quarantine: &Mutex<Quarantine>,
        cancel: &Cancellation,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Transformed> {
        let Self { inputs: Inputs { claims, providers }, settings, formats, checks, .. } = *self;
        let release = Arc::new(Release::new(&settings.privacy, self.key)?);
        let directory = self.directory(&release, quarantine)?;
        cancel.check()?;
        let (memory, severities) = (memory(settings), severities(settings, checks));
        let own = self.strategy == LoadStrategy::Attach;
        let counting = Counting::new(settings, own);
        let mut shuffle = Shuffle::new(&settings.spill_dir(), memory, &severities, counting.kept);
        let blocks = extract::scan(claims);
        let (tally, statistics) = FirstPass {
            blocks: &blocks,
            claims: &Claims::new(&directory, formats, checks, &release),
            directory: &directory,
            shuffle: &shuffle,
            counting: &counting,
            quarantine,
            cancel,
            progress,
        }
        .run()?;
        failpoint::hit("first_pass.done")?;
        let empty = claims.files.iter().zip(blocks.census()).filter(|(_, one)| one.records == 0);
        let without_records = empty.map(|(file, _)| file.path.display().to_string()).collect();
        // The data read must match the fingerprint.
        extract::unchanged(claims)?;
        extract::unchanged(providers)?;
        let patients = shuffle.patients(cancel)?;
        one_token_each("patient", patients)?;
        let (mut scorer, mut statistics_of_all) = (None, None);
        if own {
            let made = counting.scorer(statistics, &mut shuffle, &directory, settings, cancel)?;
            (scorer, statistics_of_all) = (Some(made.0), Some(Arc::new(made.1)));
        }
        let members = directory.frame().height() as u64;
        let scored_by = ScoredBy {
            parameters: settings.risk.clone(),
            own: statistics_of_all,
            patients,
            providers: Distinct { ids: members, tokens: members },
        };
        let (shuffle, checks) = (Arc::new(shuffle.compared(cancel)?), Arc::clone(checks));
        Ok(Transformed { shuffle, tally, without_records, directory, checks, scorer, scored_by })
    }

    /// Builds the provider directory; its rejects go to the quarantine.
    fn directory(
        &self,
        release: &Arc<Release>,
        quarantine: &Mutex<Quarantine>,
    ) -> Result<Directory> {
        let providers = &self.inputs.providers;
        let rows = collect(provider_rows(extract::scan(providers).all()?, self.checks))
            .map_err(|error| error.context(files(providers)))?;
        let policy = self.settings.warehouse.on_provider_conflict;
        let directory = Directory::new(&rows, policy, release)?;
        let refused: Vec<Rejected> = directory.rejects().iter().map(rejected).collect();
        quarantine.lock().unwrap_or_else(PoisonError::into_inner).append_providers(&refused)?;
        Ok(directory)
    }
}

/// Memory for rows between the passes, in bytes.
pub(crate) fn memory(settings: &Settings) -> usize {
    let memory = u64::from(settings.run.spill_after_mb) << 20;
    usize::try_from(failpoint::limit("shuffle.memory", memory)).unwrap_or(usize::MAX)
}

fn rejected(refused: &Refused) -> Rejected {
    Rejected { line: refused.line, ..Rejected::of(refused.rule, refused.origin) }
}

/// The input's file names, for errors not tied to one file.
fn files(input: &Extracted) -> String {
    let names: Vec<String> =
        input.files.iter().take(3).map(|file| file.path.display().to_string()).collect();
    let more = if input.files.len() > names.len() { ", …" } else { "" };
    format!("{}: {}{more}", input.dataset, names.join(", "))
}
