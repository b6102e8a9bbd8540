//! From extracted inputs to shuffled rows and the model they are scored with.
//!
//! A file of its own because a run and the verification of a run go this way alike: what is
//! verified must come from the code that loads.

use std::sync::{Arc, Mutex, PoisonError};

use super::first_pass::FirstPass;
use super::tasks::collect;
use super::work::Prepared;
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::event::{Cancellation, RunId};
use crate::extract::{self, Extracted};
use crate::failpoint;
use crate::key::MasterKey;
use crate::load::quarantine::{Quarantine, Rejected};
use crate::load::{Shuffle, Statistics};
use crate::transform::{Checks, Claims, DateFormats, Directory, Refused, RiskModel, provider_rows};

/// What is read, and how.
pub(super) struct Inputs<'a> {
    pub(super) claims: &'a Extracted,
    pub(super) providers: &'a Extracted,
    pub(super) settings: &'a Settings,
    pub(super) formats: &'a Arc<DateFormats>,
    pub(super) checks: &'a Arc<Checks>,
    pub(super) key: &'a MasterKey,
}

impl Inputs<'_> {
    /// The directory, the first pass over the claims, and the model.
    ///
    /// # Errors
    /// `Source` when an input is malformed or was changed since it was fingerprinted, and as the
    /// first pass.
    pub(super) fn prepare(
        &self,
        quarantine: &Mutex<Quarantine>,
        cancel: &Cancellation,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Prepared> {
        let Self { claims, providers, settings, formats, checks, key } = *self;
        let rows = collect(provider_rows(extract::scan(providers).all()?))
            .map_err(|error| error.context(files(providers)))?;
        let directory = Directory::new(&rows, settings.warehouse.on_provider_conflict)?;
        let refused: Vec<Rejected> = directory.rejects().iter().map(rejected).collect();
        quarantine.lock().unwrap_or_else(PoisonError::into_inner).append_providers(&refused)?;
        cancel.check()?;
        let memory = u64::from(settings.run.spill_after_mb) << 20;
        let memory = failpoint::limit("shuffle.memory", memory);
        let memory = usize::try_from(memory).unwrap_or(usize::MAX);
        let shuffle = Shuffle::new(&settings.spill_dir(), memory, checks.severities());
        let (tally, peers) = FirstPass {
            blocks: &extract::scan(claims),
            claims: &Claims::new(&directory, formats, checks, key),
            directory: &directory,
            shuffle: &shuffle,
            quarantine,
            cancel,
            progress,
        }
        .run()?;
        let shuffle = shuffle.compared(cancel)?;
        failpoint::hit("first_pass.done")?;
        // What was fingerprinted must be what was read.
        extract::unchanged(claims)?;
        extract::unchanged(providers)?;
        let model = Arc::new(RiskModel::fit(&peers, &settings.risk));
        let statistics = statistics(&model, &directory);
        let checks = Arc::clone(checks);
        Ok(Prepared { shuffle: Arc::new(shuffle), tally, directory, checks, model, statistics })
    }
}

/// The rules for a run, and again for its verification: where no run date is configured, that of its
/// id counts.
///
/// # Errors
/// `Config` where a severity or a threshold is none.
pub(super) fn checks(settings: &Settings, run: RunId) -> Result<Checks> {
    checks_on(settings, day_of(settings, run)?)
}

/// The same, where the day is known.
pub(super) fn checks_on(settings: &Settings, day: i32) -> Result<Checks> {
    Checks::new(&settings.rules, day)
}

/// The day of a run: its id tells it. Where that was made from a name, the interval's end is the
/// day on which the run was due; without an interval it is today.
pub(super) fn day_of(settings: &Settings, run: RunId) -> Result<i32> {
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
