//! How a scheduler is, for whoever asks while it works.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::state::State;
use super::timetable::DataInterval;
use crate::pipeline::RunReport;
use crate::telemetry::metrics::{Figures, Health};

/// How a scheduler is at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Snapshot {
    /// The schedule's name.
    pub schedule: String,
    /// Whether this process is the one that runs the intervals; another one stands by.
    pub lease_held: bool,
    /// When it last looked whether something is due.
    pub last_tick: Option<DateTime<Utc>>,
    /// When the next interval is complete.
    pub next_run: Option<DateTime<Utc>>,
    /// The interval that is being loaded.
    pub current: Option<Shown>,
    /// The interval that was loaded last, and how that ended.
    pub last: Option<Last>,
    /// Intervals that ended well since the process began.
    pub succeeded: u64,
    /// Intervals that did not.
    pub failed: u64,
    /// Whether the ledger could not be read at the last look.
    pub in_trouble: bool,
    /// What metrics tell.
    #[serde(skip)]
    pub figures: Figures,
}

/// An interval as it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// The first moment.
    pub interval_start: DateTime<Utc>,
    /// The first moment beyond.
    pub interval_end: DateTime<Utc>,
}

impl From<DataInterval> for Shown {
    fn from(interval: DataInterval) -> Self {
        Self { interval_start: interval.start, interval_end: interval.end }
    }
}

/// How the last interval ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Last {
    #[serde(flatten)]
    pub interval: Shown,
    /// How it ended.
    pub state: State,
    pub run_id: String,
    /// When that was.
    pub at: DateTime<Utc>,
}

/// A scheduler's pulse: written by the scheduler, read by anybody.
#[derive(Debug, Clone, Default)]
pub struct Pulse(Arc<Mutex<Snapshot>>);

impl Pulse {
    /// The pulse of a scheduler that has not begun.
    #[must_use]
    pub fn new(schedule: &str) -> Self {
        let snapshot = Snapshot { schedule: schedule.to_owned(), ..Snapshot::default() };
        Self(Arc::new(Mutex::new(snapshot)))
    }

    /// How the scheduler is.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.lock().clone()
    }

    pub(super) fn lease_held(&self, held: bool) {
        self.lock().lease_held = held;
    }

    pub(super) fn looked(&self, now: DateTime<Utc>, next_run: Option<DateTime<Utc>>) {
        let mut status = self.lock();
        status.last_tick = Some(now);
        status.next_run = next_run;
        status.figures.totals.get_or_insert_default().next_run = next_run;
    }

    /// How the scheduler is, for an endpoint: well, as long as it can read its ledger or stands by.
    #[must_use]
    pub fn health(&self) -> Health {
        let snapshot = self.snapshot();
        let detail = serde_json::to_value(&snapshot).unwrap_or_default();
        Health { healthy: !snapshot.in_trouble, detail, figures: snapshot.figures }
    }

    pub(super) fn begins(&self, interval: DataInterval) {
        self.lock().current = Some(interval.into());
    }

    pub(super) fn in_trouble(&self, trouble: bool) {
        self.lock().in_trouble = trouble;
    }

    pub(super) fn ended(
        &self,
        interval: DataInterval,
        state: State,
        run: &RunReport,
        at: DateTime<Utc>,
    ) {
        let mut status = self.lock();
        status.current = None;
        if state.is_done() {
            status.succeeded += 1;
        } else {
            status.failed += 1;
        }
        let figures = &mut status.figures;
        let last = run.last_run(at);
        figures.last_success = if last.is_success() { Some(at) } else { figures.last_success };
        let totals = figures.totals.get_or_insert_default();
        *totals.runs.entry(last.status.to_owned()).or_default() += 1;
        *totals.intervals.entry(state.name().to_owned()).or_default() += 1;
        figures.last_run = Some(last);
        let run_id = run.run_id.clone();
        status.last = Some(Last { interval: interval.into(), state, run_id, at });
    }

    fn lock(&self) -> MutexGuard<'_, Snapshot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
