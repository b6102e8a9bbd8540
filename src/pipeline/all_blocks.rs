//! Processes all blocks of an input in parallel, with one thread per core.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::error::Result;
use crate::event::{Cancellation, with_ticker};
use crate::extract::{Block, Blocks};
use crate::worker::{Worker, spare};

/// Progress interval.
const TICK: Duration = Duration::from_millis(200);

/// An input to process.
pub(crate) struct AllBlocks<'a> {
    pub(crate) blocks: &'a Blocks<'a>,
    pub(crate) cancel: &'a Cancellation,
    /// Called with the number of rows processed so far.
    pub(crate) progress: &'a (dyn Fn(u64) + Sync),
}

impl AllBlocks<'_> {
    /// Processes the blocks; `handle` returns a block's row count. Each thread has its own state,
    /// which is returned even if the thread failed or was cancelled.
    pub(crate) fn each<S: Send>(
        &self,
        start: impl Fn() -> S + Sync,
        handle: impl Fn(Block<'_>, &mut S) -> Result<u64> + Sync,
    ) -> Vec<(S, Result<()>)> {
        let (rows, stop) = (AtomicU64::new(0), AtomicBool::new(false));
        let next = |state: &mut S| -> Result<bool> {
            let Some(block) = self.blocks.next_block()? else { return Ok(false) };
            rows.fetch_add(handle(block, state)?, Ordering::Relaxed);
            Ok(true)
        };
        let work = || {
            let mut state = start();
            while !stop.load(Ordering::Relaxed) && !self.cancel.is_cancelled() {
                match next(&mut state) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => {
                        stop.store(true, Ordering::Relaxed);
                        return (state, Err(error));
                    }
                }
            }
            (state, Ok(()))
        };
        let failed = |error| (start(), Err(error));
        if let Err(error) = spare() {
            return vec![failed(error)];
        }
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let report = || (self.progress)(rows.load(Ordering::Relaxed));
        let all = || {
            thread::scope(|scope| {
                let start = |_| Worker::start(scope, "reading blocks", || Ok(work()));
                let workers: Vec<_> = (0..threads).map(start).collect();
                if workers.iter().any(Result::is_err) {
                    stop.store(true, Ordering::Relaxed);
                }
                let ends = workers.into_iter().map(|worker| worker.and_then(Worker::end));
                ends.map(|end| end.unwrap_or_else(failed)).collect()
            })
        };
        with_ticker(TICK, report, all).unwrap_or_else(|error| vec![failed(error)])
    }
}
