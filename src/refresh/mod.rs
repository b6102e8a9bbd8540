//! What is refreshed after the load has committed: every target on a thread of its own, each with
//! its own deadline and outcome.
//!
//! One file or folder a provider; the providers never name one another.

pub(crate) mod concurrency_limit;
mod connections;
mod dashboard;
pub(crate) mod deadline;
pub(crate) mod fan_out;
mod job;
mod metabase;
mod outcome;
mod power_bi;
pub(crate) mod preflight;
mod provider_month;
pub(crate) mod retry;
mod sql_views;
mod superset;
mod tableau;
pub(crate) mod target_info;
mod webhook;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use adbc_core::Connection;
use chrono::Utc;
use connections::Connections;
pub use dashboard::Dashboard;
pub use job::{Ask, Job, PublishedRun};
pub use outcome::{Done, Failure, Outcome, TargetResult};

use crate::config::Settings;
use crate::error::{Error, Result};
use crate::event::Cancellation;
use crate::refresh::concurrency_limit::Gates;
pub use crate::refresh::deadline::Waiter;
pub use crate::refresh::preflight::{Checked, check_all};
pub use crate::refresh::target_info::About;

/// When a target's turn comes: all of a wave have ended before the next one begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wave {
    /// Others read what it makes.
    First,
    /// With most others.
    Middle,
    /// It tells how all others have ended.
    Last,
}

/// Something that shows the warehouse and has to be told that it has changed.
pub trait Target: Send + Sync {
    /// Its name and limits, as the settings have them.
    fn about(&self) -> &About;

    /// Its name in the report.
    fn name(&self) -> &str {
        &self.about().name
    }

    /// When its turn comes.
    fn wave(&self) -> Wave {
        Wave::Middle
    }

    /// Proves that the credentials are good and that the target is there; starts nothing.
    ///
    /// # Errors
    /// Whatever would keep a refresh from working.
    fn check(&self, job: &mut Job<'_>) -> Result<String, Failure>;

    /// Refreshes the target and tells where the result is.
    ///
    /// # Errors
    /// Whatever keeps the target from showing the new data; the message holds no cell's value.
    fn refresh(&self, job: &mut Job<'_>) -> Result<Done, Failure>;

    /// Ends what the targets of this provider share, a session for example; called when all have
    /// ended, also after failures. Must not fail.
    fn finish(&self, _job: &mut Job<'_>) {}
}

/// The targets that the settings name, switched off ones included.
#[must_use]
pub fn targets(settings: &Settings) -> Vec<Box<dyn Target>> {
    let mut targets: Vec<Box<dyn Target>> =
        vec![provider_month::target(settings), Box::new(Dashboard::new(settings))];
    targets.extend(power_bi::targets(settings));
    targets.extend(tableau::targets(settings));
    targets.extend(superset::targets(settings));
    targets.extend(metabase::targets(settings));
    targets.extend(sql_views::targets(settings));
    targets.extend(webhook::targets(settings));
    targets
}

/// How long a provider's session may take to end.
const FINISH: Duration = Duration::from_secs(10);

/// Refreshes all targets at the same time, as far as the providers' limits let it; the results come
/// in the order of `targets`.
#[must_use]
pub fn refresh_all<C: Connection>(
    targets: &[Box<dyn Target + '_>],
    occasion: &PublishedRun,
    connect: &(dyn Fn() -> Result<C> + Sync),
    cancel: &Cancellation,
) -> Vec<TargetResult> {
    let gates =
        Gates::new(targets.iter().map(|target| (target.about().provider, target.about().parallel)));
    let around = Around { occasion, connect, cancel, gates: &gates };
    let mut results: Vec<Option<TargetResult>> = targets.iter().map(|_| None).collect();
    for turn in [Wave::First, Wave::Middle, Wave::Last] {
        let earlier: Vec<TargetResult> = results.iter().flatten().cloned().collect();
        let places: Vec<usize> =
            (0..targets.len()).filter(|&place| targets[place].wave() == turn).collect();
        let ended = wave(&places, targets, &earlier, around);
        for (place, result) in places.into_iter().zip(ended) {
            results[place] = Some(result);
        }
    }
    finish(targets, around);
    results.into_iter().flatten().collect()
}

/// Ends what the targets of each provider share.
fn finish<C: Connection>(targets: &[Box<dyn Target + '_>], around: Around<'_, C>) {
    for target in targets {
        let until = Instant::now() + FINISH;
        let mut connections = Connections::new(around.connect, around.cancel, until);
        let mut job = Job::new(around.occasion, &[], &mut connections, until, around.cancel);
        // A session that cannot be ended ends by itself.
        let _ = catch_unwind(AssertUnwindSafe(|| target.finish(&mut job)));
    }
}

/// What all targets share.
struct Around<'a, C> {
    occasion: &'a PublishedRun,
    connect: &'a (dyn Fn() -> Result<C> + Sync),
    cancel: &'a Cancellation,
    gates: &'a Gates,
}

impl<C> Clone for Around<'_, C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C> Copy for Around<'_, C> {}

fn wave<C: Connection>(
    places: &[usize],
    targets: &[Box<dyn Target + '_>],
    earlier: &[TargetResult],
    around: Around<'_, C>,
) -> Vec<TargetResult> {
    let targets: Vec<&dyn Target> = places.iter().map(|&place| targets[place].as_ref()).collect();
    side_by_side(
        &targets,
        "refresh",
        |target| refresh_one(target, earlier, around),
        |target, failure| at_once(target, Err(failure)),
    )
}

/// Does `work` for each target on a thread of its own; `failed` stands for what there is none of.
fn side_by_side<R: Send>(
    targets: &[&dyn Target],
    what: &str,
    work: impl Fn(&dyn Target) -> R + Sync,
    failed: impl Fn(&dyn Target, Failure) -> R,
) -> Vec<R> {
    let work = &work;
    std::thread::scope(|scope| {
        let running: Vec<_> = targets
            .iter()
            .map(|&target| {
                std::thread::Builder::new()
                    .name(format!("{what}-{}", target.name()))
                    .spawn_scoped(scope, move || work(target))
            })
            .collect();
        targets
            .iter()
            .zip(running)
            .map(|(&target, thread)| {
                let ended = thread.ok().and_then(|thread| thread.join().ok());
                // Both are out of reach of a target: the work catches its panics.
                let none = || Failure::failed("no thread could be started for it");
                ended.unwrap_or_else(|| failed(target, none()))
            })
            .collect()
    })
}

fn refresh_one<C: Connection>(
    target: &dyn Target,
    earlier: &[TargetResult],
    around: Around<'_, C>,
) -> TargetResult {
    if let Some(reason) = target.about().skipped.clone() {
        return at_once(target, Ok(Done { outcome: Outcome::Skipped, detail: reason }));
    }
    let Some(_turn) = around.gates.enter(target.about().provider, around.cancel) else {
        let failure = Failure::new(Outcome::Cancelled, "stopped by a signal before its turn came");
        return at_once(target, Err(failure));
    };
    let (started, clock) = (Utc::now(), Instant::now());
    let (until, cancel) = (clock + target.about().deadline, around.cancel);
    let mut connections = Connections::new(around.connect, cancel, until);
    let mut job = Job::new(around.occasion, earlier, &mut connections, until, cancel);
    // The panic's message is dropped on purpose: it could quote a row.
    let end = catch_unwind(AssertUnwindSafe(|| target.refresh(&mut job)))
        .unwrap_or_else(|_| Err(Error::internal("the refresh panicked").into()))
        .map_err(|failure| job.reason(failure));
    let (remote_id, attempts) = job.noted();
    let elapsed = clock.elapsed();
    TargetResult { elapsed, remote_id, attempts, started, ..at_once(target, end) }
}

/// The result of a target whose refresh ended at once, or was never begun.
pub fn at_once(target: &dyn Target, end: Result<Done, Failure>) -> TargetResult {
    let (outcome, detail) = match end {
        Ok(done) => (done.outcome, done.detail),
        Err(failure) => (failure.outcome, failure.to_string()),
    };
    TargetResult {
        target: target.name().to_owned(),
        outcome,
        detail,
        elapsed: Duration::ZERO,
        required: target.about().required,
        remote_id: None,
        attempts: 0,
        started: Utc::now(),
    }
}

#[cfg(test)]
mod tests;
