//! From extracted inputs to shuffled rows and the model they are scored with.

use std::sync::{Arc, Mutex, PoisonError};

use super::first_pass::FirstPass;
use super::scoring::{Counting, one_token_each};
use super::tasks::collect;
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::event::{Cancellation, RunId};
use crate::extract::{self, Extracted};
use crate::failpoint;
use crate::key::MasterKey;
use crate::load::ScoredBy;
use crate::pipeline::run_context::{Prepared, Scoring};
use crate::quarantine::{Quarantine, Rejected};
use crate::rule::{Rule, Severities, Severity};
use crate::shuffle::{Distinct, Shuffle};
use crate::transform::{Claims, DateFormats, Directory, Refused, Release, RuleSet, provider_rows};
use crate::warehouse::load_strategy::LoadStrategy;

/// What is read, and how.
pub(crate) struct Inputs<'a> {
    pub(crate) claims: &'a Extracted,
    pub(crate) providers: &'a Extracted,
    pub(crate) settings: &'a Settings,
    pub(crate) formats: &'a Arc<DateFormats>,
    pub(crate) checks: &'a Arc<RuleSet>,
    pub(crate) key: &'a MasterKey,
    /// What becomes of the rows: those that are all there will be are scored by their own statistics.
    pub(crate) strategy: LoadStrategy,
}

impl Inputs<'_> {
    /// The directory, the first pass over the claims, and the model.
    ///
    /// # Errors
    /// `Source` when an input is malformed or was changed since it was fingerprinted, and as the
    /// first pass.
    pub(crate) fn prepare(
        &self,
        quarantine: &Mutex<Quarantine>,
        cancel: &Cancellation,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Prepared> {
        let Self { claims, providers, settings, formats, checks, key, strategy } = *self;
        let rows = collect(provider_rows(extract::scan(providers).all()?, checks))
            .map_err(|error| error.context(files(providers)))?;
        let release = Arc::new(Release::new(&settings.privacy, key)?);
        let directory = Directory::new(&rows, settings.warehouse.on_provider_conflict, &release)?;
        let refused: Vec<Rejected> = directory.rejects().iter().map(rejected).collect();
        quarantine.lock().unwrap_or_else(PoisonError::into_inner).append_providers(&refused)?;
        cancel.check()?;
        let (memory, severities) = (memory(settings), severities(settings, checks));
        let own = strategy == LoadStrategy::Attach;
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
        let without_records = claims
            .files
            .iter()
            .zip(blocks.census())
            .filter(|(_, census)| census.records == 0)
            .map(|(file, _)| file.path.display().to_string())
            .collect();
        // What was fingerprinted must be what was read.
        extract::unchanged(claims)?;
        extract::unchanged(providers)?;
        let patients = shuffle.patients(cancel)?;
        one_token_each("patient", patients)?;
        let (mut scoring, mut statistics_of_all) = (Scoring::History, None);
        if own {
            let made = counting.scorer(statistics, &mut shuffle, &directory, settings, cancel)?;
            (scoring, statistics_of_all) = (Scoring::Own(made.0), Some(Arc::new(made.1)));
        }
        let members = directory.frame().height() as u64;
        let scored_by = ScoredBy {
            parameters: settings.risk.clone(),
            own: statistics_of_all,
            patients,
            providers: Distinct { ids: members, tokens: members },
        };
        let (shuffle, checks) = (Arc::new(shuffle.compared(cancel)?), Arc::clone(checks));
        Ok(Prepared { shuffle, tally, without_records, directory, checks, scoring, scored_by })
    }
}

/// Bytes of rows that memory holds between the passes.
pub(crate) fn memory(settings: &Settings) -> usize {
    let memory = u64::from(settings.run.spill_after_mb) << 20;
    usize::try_from(failpoint::limit("shuffle.memory", memory)).unwrap_or(usize::MAX)
}

/// What it means when rows break a rule together.
pub(crate) fn severities(settings: &Settings, checks: &RuleSet) -> Severities {
    let mut severities = *checks.severities();
    if !settings.privacy.keeps_contents() {
        // What looks alike after the release need not have been alike.
        severities.set(Rule::ContentRepeated, Severity::Off);
        severities.set(Rule::ReversalPair, Severity::Off);
    }
    severities
}

/// The rules for a run, and again for its verification: where no run date is configured, that of its
/// id counts.
///
/// # Errors
/// `Config` where a severity or a threshold is none.
pub(crate) fn checks(settings: &Settings, run: RunId) -> Result<RuleSet> {
    checks_on(settings, day_of(settings, run)?)
}

/// The same, where the day is known.
pub(crate) fn checks_on(settings: &Settings, day: i32) -> Result<RuleSet> {
    Ok(RuleSet::new(&settings.rules, day)?.with_decimal(settings.claims.decimal))
}

/// The day of a run: its id tells it. Where that was made from a name, the interval's end is the
/// day on which the run was due; without an interval it is today.
pub(crate) fn day_of(settings: &Settings, run: RunId) -> Result<i32> {
    let due = || settings.run.interval_end.as_ref()?.day();
    let day = run.day().or_else(due).or_else(|| RunId::now().day());
    day.ok_or_else(|| Error::internal("a run without a day"))
}

fn rejected(refused: &Refused) -> Rejected {
    Rejected { line: refused.line, ..Rejected::of(refused.rule, refused.origin) }
}

/// The input's files, for an error that cannot tell which of them it is about.
fn files(input: &Extracted) -> String {
    let names: Vec<String> =
        input.files.iter().take(3).map(|file| file.path.display().to_string()).collect();
    let more = if input.files.len() > names.len() { ", …" } else { "" };
    format!("{}: {}{more}", input.dataset, names.join(", "))
}
