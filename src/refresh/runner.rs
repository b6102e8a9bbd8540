//! Runs all targets concurrently within their providers' limits, each in its own thread with its
//! own deadline and result.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

use adbc_core::Connection;
use chrono::Utc;
use tokio::select;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::connections::Connections;
use super::job::{Job, PublishedRun};
use super::outcome::{Done, Failure, Outcome, TargetResult};
use super::target::{Target, Wave};
use super::target_info::TargetInfo;
use crate::error::{Error, Result};
use crate::event::Cancellation;
use crate::http::runtime;

/// Timeout for closing a provider's session.
const FINISH: Duration = Duration::from_secs(10);
/// Timeout of one target's check.
const CHECK: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    pub(crate) target: String,
    /// Whether a failure ends the run with exit code 6.
    pub(crate) required: bool,
    /// Why it is skipped, if it is.
    pub(crate) skipped: Option<String>,
    /// Description of the target, or what would make a refresh fail.
    pub(crate) found: Result<String, Failure>,
}

/// Refreshes all targets; results are in the order of `targets`.
#[must_use]
pub fn refresh_all<C: Connection>(
    targets: &[Box<dyn Target + '_>],
    published: &PublishedRun,
    connect: &(dyn Fn() -> Result<C> + Sync),
    cancel: &Cancellation,
) -> Vec<TargetResult> {
    let runner = Runner::new(targets, published, connect, cancel);
    let mut results: Vec<Option<TargetResult>> = targets.iter().map(|_| None).collect();
    for wave in [Wave::First, Wave::Middle, Wave::Last] {
        let earlier: Vec<TargetResult> = results.iter().flatten().cloned().collect();
        let indexes: Vec<usize> =
            (0..targets.len()).filter(|&index| targets[index].wave() == wave).collect();
        let of_wave: Vec<&dyn Target> =
            indexes.iter().map(|&index| targets[index].as_ref()).collect();
        let ended = on_threads(&of_wave, "refresh", |target| runner.refresh(target, &earlier));
        for ((index, target), result) in indexes.into_iter().zip(of_wave).zip(ended) {
            let failed = |failure| TargetResult::without_refresh(target.info(), Err(failure));
            results[index] = Some(result.unwrap_or_else(failed));
        }
    }
    runner.finish();
    results.into_iter().flatten().collect()
}

/// Checks all targets without starting anything; results are in the order of `targets`.
#[must_use]
pub fn check_all<C: Connection>(
    targets: &[Box<dyn Target>],
    connect: &(dyn Fn() -> Result<C> + Sync),
    cancel: &Cancellation,
) -> Vec<Checked> {
    let published = PublishedRun::default();
    let runner = Runner::new(targets, &published, connect, cancel);
    let all: Vec<&dyn Target> = targets.iter().map(AsRef::as_ref).collect();
    let found = on_threads(&all, "check", |target| runner.check(target));
    runner.finish();
    let checked = all.iter().zip(found).map(|(target, found)| Checked {
        target: target.name().to_owned(),
        required: target.info().required,
        skipped: target.info().skipped.clone(),
        found: found.flatten(),
    });
    checked.collect()
}

/// Runs `work` for each target in its own thread; fails if a thread cannot be started.
fn on_threads<R: Send>(
    targets: &[&dyn Target],
    what: &str,
    work: impl Fn(&dyn Target) -> R + Sync,
) -> Vec<Result<R, Failure>> {
    let work = &work;
    thread::scope(|scope| {
        let running: Vec<_> = targets
            .iter()
            .map(|&target| {
                thread::Builder::new()
                    .name(format!("{what}-{}", target.name()))
                    .spawn_scoped(scope, move || work(target))
            })
            .collect();
        let ended = running.into_iter().map(|thread| {
            // `work` catches its own panics.
            let ended = thread.ok().and_then(|thread| thread.join().ok());
            ended.ok_or_else(|| Failure::failed("no thread could be started for it"))
        });
        ended.collect()
    })
}

/// State shared by all targets.
struct Runner<'a, C> {
    targets: &'a [Box<dyn Target + 'a>],
    published: &'a PublishedRun,
    connect: &'a (dyn Fn() -> Result<C> + Sync),
    cancel: &'a Cancellation,
    /// Concurrency limits by provider.
    limits: BTreeMap<&'static str, Semaphore>,
}

impl<'a, C: Connection> Runner<'a, C> {
    fn new(
        targets: &'a [Box<dyn Target + 'a>],
        published: &'a PublishedRun,
        connect: &'a (dyn Fn() -> Result<C> + Sync),
        cancel: &'a Cancellation,
    ) -> Self {
        let limits = targets
            .iter()
            .map(|target| {
                let TargetInfo { provider, parallel, .. } = *target.info();
                (provider, Semaphore::new(parallel.clamp(1, Semaphore::MAX_PERMITS)))
            })
            .collect();
        Self { targets, published, connect, cancel, limits }
    }

    fn refresh(&self, target: &dyn Target, earlier: &[TargetResult]) -> TargetResult {
        let info = target.info();
        if let Some(detail) = info.skipped.clone() {
            let done = Done { outcome: Outcome::Skipped, detail };
            return TargetResult::without_refresh(info, Ok(done));
        }
        let _permit = match self.permit(info) {
            Ok(permit) => permit,
            Err(failure) => return TargetResult::without_refresh(info, Err(failure)),
        };
        let (started, clock) = (Utc::now(), Instant::now());
        self.with_job(info.deadline, earlier, |job| {
            // Drops the panic message, which could quote a row.
            let end = catch_unwind(AssertUnwindSafe(|| target.refresh(job)))
                .unwrap_or_else(|_| Err(Error::internal("the refresh panicked").into()))
                .map_err(|failure| job.reason(failure));
            let (remote_id, attempts) = job.noted();
            let elapsed = clock.elapsed();
            let result = TargetResult::without_refresh(info, end);
            TargetResult { elapsed, remote_id, attempts, started, ..result }
        })
    }

    fn check(&self, target: &dyn Target) -> Result<String, Failure> {
        if let Some(reason) = target.info().skipped.clone() {
            return Ok(reason);
        }
        let _permit = self.permit(target.info())?;
        self.with_job(CHECK, &[], |job| {
            // Drops the panic message, which could quote a secret.
            catch_unwind(AssertUnwindSafe(|| target.check(job)))
                .unwrap_or_else(|_| Err(Failure::failed("the check panicked")))
                .map_err(|failure| job.reason(failure))
        })
    }

    /// Closes the shared state of each provider.
    fn finish(&self) {
        for target in self.targets {
            self.with_job(FINISH, &[], |job| {
                // An unclosed session expires.
                let _ = catch_unwind(AssertUnwindSafe(|| target.finish(job)));
            });
        }
    }

    /// Waits for a free slot within the provider's limit.
    fn permit(&self, info: &TargetInfo) -> Result<SemaphorePermit<'_>, Failure> {
        let limit = self
            .limits
            .get(info.provider)
            .ok_or_else(|| Error::internal("a target of an unknown provider"))?;
        let stopped =
            || Failure::new(Outcome::Cancelled, "stopped by a signal before it could start");
        runtime()?.block_on(async {
            select! {
                biased;
                _ = self.cancel.cancelled() => Err(stopped()),
                permit = limit.acquire() => permit.map_err(|_| stopped()),
            }
        })
    }

    /// Runs `work` with a job that ends after `limit`.
    fn with_job<T>(
        &self,
        limit: Duration,
        earlier: &[TargetResult],
        work: impl FnOnce(&mut Job<'_>) -> T,
    ) -> T {
        let until = Instant::now() + limit;
        let mut connections = Connections::new(self.connect, self.cancel, until);
        work(&mut Job::new(self.published, earlier, &mut connections, until, self.cancel))
    }
}

#[cfg(test)]
mod tests;
