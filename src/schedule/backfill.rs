//! A backfill: all intervals of a stretch of time, oldest first.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::clock::Clock;
use super::run::{LEDGER, Scheduler};
use super::state::{self, Entry, State};
use super::timetable::{DataInterval, Timetable};
use super::{plan, preview};
use crate::config::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::{ErrorReport, Status};

/// What is filled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// Intervals begin there or later: a day of the timetable's zone, or a time.
    pub from: String,
    /// And end there at the latest.
    pub to: String,
    /// Those that have succeeded, too.
    pub rerun: bool,
    /// Go on after a failure.
    pub keep_going: bool,
}

/// What came of a backfill.
#[derive(Debug, Clone, Serialize)]
pub struct BackfillReport {
    /// The schedule's name.
    pub schedule: String,
    /// The intervals, oldest first.
    pub intervals: Vec<Line>,
    /// What ended the backfill before its time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorReport>,
    /// The process' exit code.
    #[serde(skip)]
    pub exit_code: u8,
}

/// One interval of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// The first moment.
    pub interval_start: String,
    /// The first moment beyond.
    pub interval_end: String,
    /// What the ledger says; null where it was not begun.
    pub state: Option<State>,
    /// Whether this backfill has run it, or, asked for a list only, would run it.
    pub run_now: bool,
    /// Its last run.
    pub run_id: Option<String>,
    /// Claims that this run has loaded.
    pub claims_loaded: Option<i64>,
    /// Their money, exact.
    pub amount_loaded: Option<String>,
    /// Seconds that it has taken.
    pub seconds: Option<f64>,
    /// What it ended with, where that was an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Stretch {
    /// The complete intervals of the timetable, whatever its start date.
    fn intervals(&self, timetable: &Timetable, now: DateTime<Utc>) -> Result<Vec<DataInterval>> {
        let end = |name: &str, text| {
            timetable.read(text).map_err(|error| error.context(format!("--{name}")))
        };
        let (from, to) = (end("from", &self.from)?, end("to", &self.to)?);
        if from >= to {
            return Err(Error::config("--from must lie before --to")
                .hint("the end itself is not part of it: one day ends with the next day's date"));
        }
        let until = to.min(now);
        Ok(timetable.intervals_from(from).take_while(|one| one.end <= until).collect())
    }

    fn wants(&self, entries: &[Entry], interval: DataInterval) -> bool {
        let state = of(entries, interval).map(|entry| entry.state);
        self.rerun || !state.is_some_and(State::is_done)
    }
}

/// What a backfill would do.
///
/// # Errors
/// `Config` when the settings describe no timetable or the stretch is none, `Warehouse` when there is a
/// ledger that cannot be read: what was run would look as if it had not been.
pub fn list(settings: &Settings, clock: &dyn Clock, stretch: &Stretch) -> Result<BackfillReport> {
    let timetable = Timetable::new(&settings.schedule)?;
    let name = &settings.schedule.name;
    let entries = match preview::ledger(settings)? {
        Some(mut connection) => {
            clock.follow(state::server_time(&mut connection)?);
            state::entries(&mut connection, name)?
        }
        None => Vec::new(),
    };
    let intervals = stretch.intervals(&timetable, clock.now())?;
    let line = |interval| line(&timetable, &entries, interval, stretch.wants(&entries, interval));
    Ok(BackfillReport {
        schedule: name.clone(),
        intervals: intervals.into_iter().map(line).collect(),
        error: None,
        exit_code: 0,
    })
}

/// Runs the intervals. A failed one is a line of the report.
///
/// # Errors
/// `Config` when the stretch is none, `Locked` when another process has the lease, `Warehouse` when
/// the ledger cannot be read.
pub fn backfill(scheduler: &Scheduler<'_>, stretch: &Stretch) -> Result<BackfillReport> {
    let name = &scheduler.settings.schedule.name;
    let intervals = stretch.intervals(&scheduler.timetable, scheduler.clock.now())?;
    let lease = scheduler.lease(true)?;
    let warehouse = &scheduler.warehouse;
    scheduler.retries().run(LEDGER, || scheduler.settle(&mut warehouse.connect()?, &lease))?;
    let entries =
        || scheduler.retries().run(LEDGER, || state::entries(&mut warehouse.connect()?, name));
    let mut ran = Vec::new();
    let (mut error, mut exit_code) = (None, 0);
    for &interval in &intervals {
        if let Err(stop) = lease.check() {
            error = Some(stop);
            break;
        }
        let entries = entries()?;
        if !stretch.wants(&entries, interval) {
            continue;
        }
        if let Some(by) = plan::blocked(scheduler.policy, interval, &entries) {
            let (start, by) =
                (scheduler.timetable.show(interval.start), scheduler.timetable.show(by));
            let text = format!("interval {start} waits for {by}, which has not succeeded");
            error = Some(
                Error::new(ErrorKind::Locked, text)
                    .hint("begin with that one, or switch schedule.depends_on_past off"),
            );
            break;
        }
        // Nobody else runs it: this process has the lease, and has settled what was left behind.
        let Some(ended) = scheduler.run_interval(&lease, interval, &State::ALL)? else {
            let start = scheduler.timetable.show(interval.start);
            error = Some(
                Error::config(format!(
                    "the interval that begins at {start} has another end by now"
                ))
                .hint("another expression deserves another schedule.name"),
            );
            break;
        };
        ran.push(interval);
        if ended.run.status == Status::Failed {
            if exit_code == 0 {
                exit_code = ended.run.exit_code;
            }
            // What can pass by itself stays due, and what comes after it waits.
            if !stretch.keep_going || ended.is_to_be_tried_again() {
                break;
            }
        }
    }
    // A signal that has stopped the last interval stops the backfill, too.
    if error.is_none() && exit_code == 0 || lease.cancel().is_cancelled() {
        error = error.or_else(|| lease.check().err());
    }
    if let Some(error) = &error {
        exit_code = error.kind().exit_code();
    }
    if lease.check().is_ok() {
        scheduler.refresh_due(&lease);
    }
    drop(lease);
    let entries = entries()?;
    let line = |interval: DataInterval| {
        line(&scheduler.timetable, &entries, interval, ran.contains(&interval))
    };
    Ok(BackfillReport {
        schedule: name.clone(),
        intervals: intervals.into_iter().map(line).collect(),
        error: error.as_ref().map(ErrorReport::from),
        exit_code,
    })
}

fn of(entries: &[Entry], interval: DataInterval) -> Option<&Entry> {
    entries.iter().find(|entry| entry.interval == interval)
}

fn line(timetable: &Timetable, entries: &[Entry], interval: DataInterval, run_now: bool) -> Line {
    let entry = of(entries, interval);
    Line {
        interval_start: timetable.show(interval.start),
        interval_end: timetable.show(interval.end),
        state: entry.map(|entry| entry.state),
        run_now,
        run_id: entry.and_then(|entry| entry.run_id.clone()),
        claims_loaded: entry.and_then(|entry| entry.claims_loaded),
        amount_loaded: entry.and_then(|entry| entry.amount_loaded.clone()),
        seconds: entry.and_then(|entry| entry.seconds),
        error: entry.and_then(|entry| entry.error.as_ref()).map(|(_, message)| message.clone()),
    }
}
