//! Whether the targets could be refreshed: credentials and existence, without starting anything.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use adbc_core::Connection;

use super::connections::Connections;
use super::{Around, Failure, Job, Outcome, PublishedRun, Target, finish, side_by_side};
use crate::error::Result;
use crate::event::Cancellation;
use crate::refresh::concurrency_limit::Gates;

/// How long one target may take.
const LIMIT: Duration = Duration::from_secs(30);

/// What was found out about a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The target's name.
    pub target: String,
    /// Whether a failure ends the run with exit code 6.
    pub required: bool,
    /// Why it is left out, where it is.
    pub skipped: Option<String>,
    /// What it is, or what would keep a refresh from working.
    pub found: Result<String, Failure>,
}

/// Checks all targets at the same time, as far as the providers' limits let it; the answers come in
/// the order of `targets`.
#[must_use]
pub fn check_all<C: Connection>(
    targets: &[Box<dyn Target>],
    connect: &(dyn Fn() -> Result<C> + Sync),
    cancel: &Cancellation,
) -> Vec<Checked> {
    let occasion = PublishedRun::default();
    let gates =
        Gates::new(targets.iter().map(|target| (target.about().provider, target.about().parallel)));
    let around = Around { occasion: &occasion, connect, cancel, gates: &gates };
    let all: Vec<&dyn Target> = targets.iter().map(AsRef::as_ref).collect();
    let found =
        side_by_side(&all, "check", |target| check_one(target, around), |_, failure| Err(failure));
    finish(targets, around);
    let checked = all.iter().zip(found).map(|(target, found)| Checked {
        target: target.name().to_owned(),
        required: target.about().required,
        skipped: target.about().skipped.clone(),
        found,
    });
    checked.collect()
}

fn check_one<C: Connection>(target: &dyn Target, around: Around<'_, C>) -> Result<String, Failure> {
    if let Some(reason) = target.about().skipped.clone() {
        return Ok(reason);
    }
    let Some(_turn) = around.gates.enter(target.about().provider, around.cancel) else {
        return Err(Failure::new(Outcome::Cancelled, "stopped by a signal before its turn came"));
    };
    let until = Instant::now() + LIMIT;
    let mut connections = Connections::new(around.connect, around.cancel, until);
    let mut job = Job::new(around.occasion, &[], &mut connections, until, around.cancel);
    // The panic's message is dropped on purpose: it could quote a secret.
    catch_unwind(AssertUnwindSafe(|| target.check(&mut job)))
        .unwrap_or_else(|_| Err(Failure::failed("the check panicked")))
        .map_err(|failure| job.reason(failure))
}
