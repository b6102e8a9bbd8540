//! Buckets on all cores.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::error::Result;
use crate::event::Cancellation;
use crate::worker::Worker;

/// What `work` makes of each of `count` buckets. Each thread has its own state.
pub(super) fn each<S, T: Send>(
    count: usize,
    cancel: &Cancellation,
    start: impl Fn() -> S + Sync,
    work: impl Fn(usize, &mut S) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let thread = || {
        let (mut done, mut state) = (Vec::new(), start());
        loop {
            let bucket = next.fetch_add(1, Ordering::Relaxed);
            if bucket >= count {
                return Ok(done);
            }
            cancel.check()?;
            done.push((bucket, work(bucket, &mut state)?));
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let all: Vec<Result<Vec<(usize, T)>>> = thread::scope(|scope| {
        let start = |_| Worker::start(scope, "between the passes", thread);
        let workers: Vec<_> = (0..threads).map(start).collect();
        workers.into_iter().map(|worker| worker.and_then(Worker::end)).collect()
    });
    let mut done: Vec<(usize, T)> = Vec::with_capacity(count);
    for of_thread in all {
        done.extend(of_thread?);
    }
    done.sort_unstable_by_key(|(bucket, _)| *bucket);
    Ok(done.into_iter().map(|(_, made)| made).collect())
}
