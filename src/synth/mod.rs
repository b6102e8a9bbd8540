//! Seeded synthetic claims and providers with a chosen share of dirty rows.
//!
//! The same seed gives the same bytes on every machine and with any number of threads.
//!
//! Clean claims: one patient for about twelve claims, ten-digit patient ids (some with leading
//! zeros), provider ids with a valid check digit, about 150 procedure codes of which each specialty
//! bills some more often, amounts spread around each procedure's median with 0.5 % outliers of 8 to
//! 20 times, 0.5 % negative (reversals), 1 % zero, 5 % with one decimal, 3 % without, dates from
//! 2023-01-01 to 2024-12-31 with 5 % at weekends.
//!
//! Dirty claims (share [`Spec::dirty`], every kind as frequent as the others):
//!
//! | kind | what the load does |
//! |---|---|
//! | `missing_claim_id`, `missing_patient_id` | rejects |
//! | `missing_amount`, `unparseable_amount`, `amount_out_of_range` | rejects |
//! | `missing_date`, `bad_date` | rejects |
//! | `missing_provider_id`, `unknown_provider`, `missing_procedure_code` | loads, with a flag |
//! | `three_decimals` | rounds half to even, loads with a flag |
//! | `amount_notation` (`$`, thousands commas, parentheses) | loads |
//! | `other_date_format` (`20240131`, `01/31/2024`, RFC 3339) | loads |
//! | `exact_duplicate` | drops and counts |
//! | `conflicting_duplicate` (same claim id, other amount) | follows `on_duplicate` |
//!
//! With dirty rows, the directory has one identical repeat and one with another specialty for every
//! 500 providers, at least one each.

mod catalogue;
mod claim;
mod dirt;
mod provider;
mod random;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use claim::{BLOCK, Block, Generator};
use dirt::Dirt;

use crate::atomic_file::{READABLE, WholeFile};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Cancellation, Observer, RunEvent};
use crate::worker::Worker;

/// Maximum number of threads; above that the disk is the bottleneck.
const MAX_THREADS: usize = 8;
/// Claim ids have twelve digits.
const MAX_CLAIMS: u64 = 999_999_999_999;
/// Maximum directory size; unknown providers need further ids.
const MAX_PROVIDERS: u32 = 50_000_000;

/// Parameters of the generator.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spec {
    /// Rows of the claims file.
    pub claims: u64,
    /// Providers in the directory.
    pub providers: u32,
    /// The same seed yields the same files.
    pub seed: u64,
    /// Share of dirty claims, 0 to 1.
    pub dirty: f64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generated {
    /// The claims file.
    pub claims_path: PathBuf,
    /// The provider directory.
    pub providers_path: PathBuf,
    /// Rows of the claims file.
    pub(crate) claims: u64,
    /// Rows of the directory, including repeats.
    pub(crate) providers: u64,
    /// Size of the claims file.
    pub(crate) claims_bytes: u64,
    /// Size of the directory.
    pub(crate) providers_bytes: u64,
    /// Dirty claims by kind.
    pub(crate) dirty_rows: BTreeMap<&'static str, u64>,
    /// Sum of all readable amounts in range, whether or not their row is loaded.
    pub(crate) amount_cents: i128,
}

/// Writes `claims.csv` and `providers.csv` into `out`.
///
/// # Errors
/// `Config` when the numbers are out of range; `Source` when a file cannot be written; `Interrupted`
/// when cancelled.
pub fn generate(
    spec: &Spec,
    out: &Path,
    observer: &dyn Observer,
    cancel: &Cancellation,
) -> Result<Generated> {
    let dirty = dirty_in_a_million(spec)?;
    fs::create_dir_all(out).map_err(|error| Error::io(ErrorKind::Source, out, &error))?;
    let directory = provider::directory(spec.seed, spec.providers, dirty > 0);
    let providers_path = out.join("providers.csv");
    whole_file(&providers_path, |file| {
        file.write_all(&directory.bytes)
            .map_err(|error| Error::io(ErrorKind::Source, &providers_path, &error))
    })?;

    let generator = Generator::new(spec.seed, spec.claims, dirty, &directory.providers);
    let claims_path = out.join("claims.csv");
    let mut generated = Generated {
        claims_path: claims_path.clone(),
        providers_path: providers_path.clone(),
        claims: spec.claims,
        providers: u64::from(spec.providers) + directory.repeated + directory.conflicting,
        claims_bytes: 0,
        providers_bytes: directory.bytes.len() as u64,
        dirty_rows: Dirt::ALL.into_iter().map(|kind| (kind.name(), 0)).collect(),
        amount_cents: 0,
    };
    whole_file(&claims_path, |file| {
        let mut write = |bytes: &[u8]| {
            generated.claims_bytes += bytes.len() as u64;
            file.write_all(bytes)
                .map_err(|error| Error::io(ErrorKind::Source, &claims_path, &error))
        };
        write(b"claim_id,patient_id,provider_id,procedure_code,amount,date_of_service\n")?;
        let mut rows = 0;
        in_order(&generator, cancel, |block| {
            write(&block.bytes)?;
            generated.amount_cents += block.cents;
            for (kind, count) in Dirt::ALL.into_iter().zip(block.dirty) {
                *generated.dirty_rows.entry(kind.name()).or_default() += count;
            }
            rows = (rows + BLOCK).min(spec.claims);
            observer.observe(&RunEvent::Progress {
                task: "generate".into(),
                rows,
                total: Some(spec.claims),
            });
            Ok(())
        })
    })?;
    Ok(generated)
}

/// Validates the numbers; returns the share of dirty rows per million.
fn dirty_in_a_million(spec: &Spec) -> Result<u64> {
    if spec.claims > MAX_CLAIMS {
        return Err(Error::config(format!("at most {MAX_CLAIMS} claims can be generated")));
    }
    if spec.providers == 0 || spec.providers > MAX_PROVIDERS {
        return Err(Error::config(format!("the providers must be 1 to {MAX_PROVIDERS}")));
    }
    if !(0.0..=1.0).contains(&spec.dirty) {
        return Err(Error::config("the share of dirty rows must be 0 to 1")
            .hint("for example 0.03 for three rows in a hundred"));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to lie between 0 and 1"
    )]
    Ok((spec.dirty * 1_000_000.0).round() as u64)
}

/// Writes a file under a temporary name and renames it when complete, so that an interrupted run
/// leaves no partial file.
fn whole_file(path: &Path, write: impl FnOnce(&mut File) -> Result<()>) -> Result<()> {
    let io = |error: std::io::Error| Error::io(ErrorKind::Source, path, &error);
    let mut file = WholeFile::begin(path, ".partial").map_err(io)?;
    write(file.file())?;
    file.finish(READABLE).map_err(io)
}

/// Generates all blocks on several threads and passes them to `take` in order.
fn in_order(
    generator: &Generator<'_>,
    cancel: &Cancellation,
    mut take: impl FnMut(Block) -> Result<()>,
) -> Result<()> {
    let blocks = generator.claims.div_ceil(BLOCK);
    let threads = std::thread::available_parallelism()
        .map_or(1, std::num::NonZero::get)
        .min(MAX_THREADS)
        .min(usize::try_from(blocks).unwrap_or(usize::MAX));
    let next = AtomicU64::new(0);
    let (sender, receiver) = mpsc::sync_channel::<(u64, Block)>(threads);
    std::thread::scope(|scope| {
        let mut workers = Vec::new();
        for _ in 0..threads {
            let sender = sender.clone();
            let next = &next;
            let worker = Worker::start(scope, "generating claims", move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= blocks || cancel.is_cancelled() {
                        break;
                    }
                    // The receiver is gone if writing failed.
                    if sender.send((number, claim::block(generator, number))).is_err() {
                        break;
                    }
                }
                Ok(())
            })?;
            workers.push(worker);
        }
        drop(sender);
        let mut waiting = BTreeMap::new();
        let mut due = 0;
        // Consumes the receiver, so that the senders stop if this ends early.
        for (number, block) in receiver {
            waiting.insert(number, block);
            while let Some(block) = waiting.remove(&due) {
                take(block)?;
                due += 1;
            }
        }
        workers.into_iter().try_for_each(Worker::end)?;
        cancel.check()
    })
}

#[cfg(test)]
mod tests;
