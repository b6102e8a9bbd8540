//! Events of a run: run id, events, observers, cancellation.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};
use std::{fmt, thread};

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::error::{Error, ErrorKind, Result};
use crate::worker::Worker;

/// The id of one run: a version 7 UUID, so that ids sort by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RunId(Uuid);

impl RunId {
    /// A fresh id for a run that starts now.
    #[must_use]
    pub fn now() -> Self {
        Self(Uuid::now_v7())
    }

    /// Parses an id as printed by `runs`.
    ///
    /// # Errors
    /// `Config` when the text is not a UUID.
    pub fn parse(text: &str) -> Result<Self> {
        Uuid::parse_str(text).map(Self).map_err(|_| {
            Error::config("that is not a run id")
                .hint("`claims-etl runs` lists the ids of all runs")
        })
    }

    #[must_use]
    pub(crate) fn uuid(self) -> Uuid {
        self.0
    }

    /// Start of the run, in milliseconds; `None` if the id is not a version 7 UUID.
    #[must_use]
    pub(crate) fn started(self) -> Option<DateTime<Utc>> {
        if self.0.get_version_num() != 7 {
            return None;
        }
        let (seconds, nanos) = self.0.get_timestamp()?.to_unix();
        DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanos)
    }

    /// Start date, in days since 1970-01-01.
    #[must_use]
    pub(crate) fn day(self) -> Option<i32> {
        i32::try_from(self.started()?.timestamp().div_euclid(86_400)).ok()
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An event: names, counts and times, never cell values.
#[derive(Debug, Clone, PartialEq)]
pub enum RunEvent {
    RunStarted {
        run: RunId,
    },
    RunFinished {
        run: RunId,
        /// `success`, `already_loaded` or `failed`.
        status: &'static str,
        elapsed: Duration,
    },
    TaskStarted {
        task: String,
        /// 1-based.
        attempt: u32,
    },
    Progress {
        task: String,
        rows: u64,
        /// `None` if unknown.
        total: Option<u64>,
    },
    /// A task failed with a transient error and is retried after `delay`.
    TaskRetry {
        task: String,
        attempt: u32,
        /// The error, free of cell values.
        error: String,
        delay: Duration,
    },
    /// A task reached a final state (`success`, `failed`, `upstream_failed`, `skipped`).
    TaskFinished {
        task: String,
        state: &'static str,
        /// Total of all attempts.
        elapsed: Duration,
        /// Its result, for downstream tasks.
        result: Option<Value>,
        error: Option<Error>,
    },
    /// Information: a new key, ignored columns, a removed leftover.
    Note(String),
    Warning(String),
}

/// Receives the events of a run.
pub trait Observer: Send + Sync {
    /// Must not block for long and must not fail.
    fn observe(&self, event: &RunEvent);
}

/// An observer that ignores all events.
#[derive(Debug, Clone, Copy, Default)]
pub struct NullObserver;

impl Observer for NullObserver {
    fn observe(&self, _event: &RunEvent) {}
}

/// A cancellation request, shared by the signal handler and all workers.
#[derive(Debug, Clone, Default)]
pub struct Cancellation {
    /// Signal number; 0 if not cancelled.
    signal: Arc<AtomicI32>,
    token: CancellationToken,
}

impl Cancellation {
    /// Requests cancellation because of `signal` (2 for SIGINT, 15 for SIGTERM).
    pub fn cancel(&self, signal: i32) {
        self.signal.store(signal, Ordering::SeqCst);
        self.token.cancel();
    }

    /// Waits for cancellation.
    pub(crate) async fn cancelled(&self) -> i32 {
        self.token.cancelled().await;
        self.signal.load(Ordering::SeqCst)
    }

    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.signal.load(Ordering::SeqCst) != 0
    }

    /// The signal that requested cancellation.
    #[must_use]
    pub fn signal(&self) -> Option<i32> {
        Some(self.signal.load(Ordering::SeqCst)).filter(|signal| *signal != 0)
    }

    /// Fails if cancelled.
    ///
    /// # Errors
    /// `Interrupted` with the signal number.
    pub(crate) fn check(&self) -> Result<()> {
        match self.signal.load(Ordering::SeqCst) {
            0 => Ok(()),
            signal => Err(Error::new(
                ErrorKind::Interrupted(signal),
                "stopped by a signal; nothing was published",
            )),
        }
    }
}

/// Interval between checks during a wait.
const STEP: Duration = Duration::from_millis(20);

/// Waits for `pause`; calls `check` at the start, periodically and at the end. Its first error ends
/// the wait.
///
/// # Errors
/// The error of `check`.
pub(crate) fn rest<E>(pause: Duration, check: impl Fn() -> Result<(), E>) -> Result<(), E> {
    let began = Instant::now();
    while let Some(left) = pause.checked_sub(began.elapsed()).filter(|left| !left.is_zero()) {
        check()?;
        thread::sleep(left.min(STEP));
    }
    check()
}

/// Runs `work`, and `again` periodically until `work` ends or panics. Panics of `again` are
/// ignored.
///
/// # Errors
/// `Config` when no thread can be started for `again`; then `work` is not run.
pub(crate) fn with_ticker<T>(
    every: Duration,
    again: impl Fn() + Send,
    work: impl FnOnce() -> T,
) -> Result<T> {
    let (at_work, ended) = mpsc::channel::<()>();
    thread::scope(|scope| {
        // Not joined: it ends with the sender.
        let _beside = Worker::start(scope, "beside the work", move || {
            while ended.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                let _ = catch_unwind(AssertUnwindSafe(&again));
            }
            Ok(())
        })?;
        let done = work();
        drop(at_work);
        Ok(done)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    #[test]
    fn a_run_id_contains_the_start_of_the_run() {
        let before = Utc::now().timestamp_millis();
        let began = RunId::now().started().expect("a time").timestamp_millis();
        assert!((before..=Utc::now().timestamp_millis()).contains(&began));
        let of = |id: &str| RunId::parse(id).expect("an id").started();
        let known = of("018d6c3a-5c00-7000-8000-000000000001").expect("a time");
        assert_eq!(known.to_rfc3339(), "2024-02-02T23:49:40.480+00:00");
        assert_eq!(of("6ba7b810-9dad-11d1-80b4-00c04fd430c8"), None, "version 1");
    }

    #[test]
    fn an_id_knows_its_day() {
        let day = |id| RunId::parse(id).expect("an id").day();
        assert_eq!(day("016f5e66-e7ff-7000-8000-000000000000"), Some(18_261));
        assert_eq!(day("016f5e66-e800-7000-8000-000000000000"), Some(18_262), "2020-01-01");
        assert_eq!(day("016f5e66-e800-4000-8000-000000000000"), None);
        assert!(RunId::now().day() > Some(20_000));
    }

    #[test]
    fn the_ticker_ends_with_the_work() {
        let times = AtomicU32::new(0);
        let count = || {
            times.fetch_add(1, Ordering::Relaxed);
        };
        let work = || {
            while times.load(Ordering::Relaxed) < 3 {
                thread::yield_now();
            }
            7
        };
        assert_eq!(with_ticker(Duration::from_millis(1), count, work), Ok(7));
        let began = Instant::now();
        assert_eq!(with_ticker(Duration::from_mins(1), || (), || ()), Ok(()));
        assert!(began.elapsed() < Duration::from_secs(30), "nobody waits for the next time");
        times.store(0, Ordering::Relaxed);
        let panics = || {
            count();
            panic!("on purpose");
        };
        assert_eq!(with_ticker(Duration::from_millis(1), panics, work), Ok(7));
        let panics = || with_ticker(Duration::from_mins(1), || (), || panic!("on purpose"));
        assert!(catch_unwind(panics).is_err());
    }
}
