//! The health of a scheduler: of this process for its endpoint, of any process from the ledger.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::lease;
use super::state::{self, State};
use super::timetable::DataInterval;
use crate::config::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::RunReport;
use crate::telemetry::metrics::{Figures, Health};

/// The state of a scheduler at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Snapshot {
    /// The schedule's name.
    pub(crate) schedule: String,
    /// Whether this process runs the intervals; otherwise it is on standby.
    pub lease_held: bool,
    /// Time of the last check for due intervals.
    pub last_tick: Option<DateTime<Utc>>,
    /// The end of the current interval.
    pub next_run: Option<DateTime<Utc>>,
    /// The interval being loaded.
    pub current: Option<Interval>,
    pub last: Option<LastInterval>,
    /// Intervals that succeeded since the start of the process.
    pub succeeded: u64,
    /// Intervals that failed since the start of the process.
    pub failed: u64,
    /// Whether the ledger could not be read at the last check.
    pub(crate) in_trouble: bool,
    #[serde(skip)]
    pub(crate) figures: Figures,
}

/// An interval in the `/healthz` object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Interval {
    pub interval_start: DateTime<Utc>,
    /// Exclusive.
    pub(crate) interval_end: DateTime<Utc>,
}

impl From<DataInterval> for Interval {
    fn from(interval: DataInterval) -> Self {
        Self { interval_start: interval.start, interval_end: interval.end }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LastInterval {
    #[serde(flatten)]
    pub interval: Interval,
    pub state: State,
    pub(crate) run_id: String,
    /// The end of its run.
    pub(crate) at: DateTime<Utc>,
}

/// A shared handle to the [`Snapshot`]: written by the scheduler, read by the endpoint.
#[derive(Debug, Clone, Default)]
pub struct Monitor(Arc<Mutex<Snapshot>>);

impl Monitor {
    #[must_use]
    pub fn new(schedule: &str) -> Self {
        let snapshot = Snapshot { schedule: schedule.to_owned(), ..Snapshot::default() };
        Self(Arc::new(Mutex::new(snapshot)))
    }

    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.lock().clone()
    }

    pub(super) fn lease_held(&self, held: bool) {
        self.lock().lease_held = held;
    }

    pub(super) fn checked(&self, now: DateTime<Utc>, next_run: Option<DateTime<Utc>>) {
        let mut snapshot = self.lock();
        snapshot.last_tick = Some(now);
        snapshot.next_run = next_run;
        snapshot.figures.totals.get_or_insert_default().next_run = next_run;
    }

    /// Health for the endpoint: healthy while on standby or able to read the ledger.
    #[must_use]
    pub fn health(&self) -> Health {
        let snapshot = self.snapshot();
        let detail = serde_json::to_value(&snapshot).unwrap_or_default();
        Health { healthy: !snapshot.in_trouble, detail, figures: snapshot.figures }
    }

    pub(super) fn started(&self, interval: DataInterval) {
        self.lock().current = Some(interval.into());
    }

    pub(super) fn in_trouble(&self, in_trouble: bool) {
        self.lock().in_trouble = in_trouble;
    }

    pub(super) fn ended(
        &self,
        interval: DataInterval,
        state: State,
        run: &RunReport,
        at: DateTime<Utc>,
    ) {
        let mut snapshot = self.lock();
        snapshot.current = None;
        if state.is_done() {
            snapshot.succeeded += 1;
        } else {
            snapshot.failed += 1;
        }
        let figures = &mut snapshot.figures;
        let last = run.last_run(at);
        figures.last_success = if last.is_success() { Some(at) } else { figures.last_success };
        let totals = figures.totals.get_or_insert_default();
        *totals.runs.entry(last.status.to_owned()).or_default() += 1;
        *totals.intervals.entry(state.name().to_owned()).or_default() += 1;
        figures.last_run = Some(last);
        let run_id = run.run_id.clone();
        snapshot.last = Some(LastInterval { interval: interval.into(), state, run_id, at });
    }

    fn lock(&self) -> MutexGuard<'_, Snapshot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Checks that a scheduler is running, on any machine; returns a line about it.
///
/// # Errors
/// `Warehouse` when the ledger cannot be reached, `Locked` when no process holds the lease.
pub fn health(settings: &Settings) -> Result<String> {
    let name = &settings.schedule.name;
    let none = || Error::new(ErrorKind::Locked, format!("no scheduler runs {name}"));
    let mut connection = state::connect(settings)?.ok_or_else(none)?;
    let holder = lease::holder(&mut connection, name)?.ok_or_else(none)?;
    Ok(format!("{holder} runs the schedule {name}"))
}
