//! Backfill: runs all intervals of a time range, oldest first.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::clock::Clock;
use super::lease::Lease;
use super::plan;
use super::scheduler::{Ended, LEDGER, Scheduler};
use super::state::{self, Entry, State};
use super::timetable::{DataInterval, Timetable};
use crate::config::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::{ErrorReport, Status};

/// The range to fill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BackfillRequest {
    /// The earliest start of an interval: a day in the zone of the timetable, or a time.
    pub(crate) from: String,
    /// The latest end of an interval.
    pub(crate) to: String,
    /// Run intervals that have succeeded, too.
    pub(crate) rerun: bool,
    /// Continue after a failure.
    pub(crate) keep_going: bool,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct BackfillReport {
    pub(crate) schedule: String,
    /// The intervals, oldest first.
    pub(crate) intervals: Vec<BackfillInterval>,
    /// What ended the backfill early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<ErrorReport>,
    #[serde(skip)]
    pub(crate) exit_code: u8,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct BackfillInterval {
    pub(crate) interval_start: String,
    /// Exclusive.
    pub(crate) interval_end: String,
    /// `None` if it was never started.
    pub(crate) state: Option<State>,
    /// Whether this backfill ran it; in a list, whether it would run it.
    pub(crate) run_now: bool,
    /// Its last run.
    pub(crate) run_id: Option<String>,
    /// Claims loaded by that run.
    pub(crate) claims_loaded: Option<i64>,
    /// Their exact amount.
    pub(crate) amount_loaded: Option<String>,
    pub(crate) seconds: Option<f64>,
    /// The error of that run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

impl BackfillRequest {
    /// The complete intervals of the timetable, regardless of its start date.
    fn intervals(&self, timetable: &Timetable, now: DateTime<Utc>) -> Result<Vec<DataInterval>> {
        let end = |name: &str, text| {
            timetable.read(text).map_err(|error| error.context(format!("--{name}")))
        };
        let (from, to) = (end("from", &self.from)?, end("to", &self.to)?);
        if from >= to {
            return Err(Error::config("--from must be before --to")
                .hint("--to is exclusive: for one day give the date of the next day"));
        }
        let until = to.min(now);
        Ok(timetable.intervals_from(from).take_while(|one| one.end <= until).collect())
    }

    fn wants(&self, entries: &[Entry], interval: DataInterval) -> bool {
        let state = find(entries, interval).map(|entry| entry.state);
        self.rerun || !state.is_some_and(State::is_done)
    }
}

/// The intervals of a backfill, without running it.
///
/// # Errors
/// `Config` when the timetable or the range is invalid, `Warehouse` when there is a ledger that cannot
/// be read.
pub(crate) fn list(
    settings: &Settings,
    clock: &dyn Clock,
    request: &BackfillRequest,
) -> Result<BackfillReport> {
    let timetable = Timetable::new(&settings.schedule)?;
    let name = &settings.schedule.name;
    let entries = match state::connect(settings)? {
        Some(mut connection) => {
            clock.synchronize(state::server_time(&mut connection)?);
            state::entries(&mut connection, name)?
        }
        None => Vec::new(),
    };
    let intervals = request.intervals(&timetable, clock.now())?;
    let line = |interval| line(&timetable, &entries, interval, request.wants(&entries, interval));
    Ok(BackfillReport {
        schedule: name.clone(),
        intervals: intervals.into_iter().map(line).collect(),
        error: None,
        exit_code: 0,
    })
}

/// Runs the intervals. A failed interval is a line of the report.
///
/// # Errors
/// `Config` when the range is invalid, `Locked` when another process has the lease, `Warehouse` when
/// the ledger cannot be read.
pub(crate) fn backfill(
    scheduler: &Scheduler<'_>,
    request: &BackfillRequest,
) -> Result<BackfillReport> {
    let intervals = request.intervals(&scheduler.timetable, scheduler.clock.now())?;
    let lease = scheduler.lease(true)?;
    let warehouse = &scheduler.warehouse;
    scheduler.retries().run(LEDGER, || scheduler.settle(&mut warehouse.connect()?, &lease))?;
    let mut ran = Vec::new();
    let mut exit_code = 0;
    let mut error = None;
    for &interval in &intervals {
        match run_one(scheduler, request, &lease, interval)? {
            Outcome::Skipped => {}
            Outcome::Stopped(stop) => {
                error = Some(stop);
                break;
            }
            Outcome::Ran(ended) => {
                ran.push(interval);
                if ended.run.status == Status::Failed {
                    if exit_code == 0 {
                        exit_code = ended.run.exit_code;
                    }
                    // After a transient error the interval stays due and later ones wait.
                    if !request.keep_going || ended.is_to_be_retried() {
                        break;
                    }
                }
            }
        }
    }
    // A signal that stopped the last interval also stops the backfill.
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
    let entries = entries(scheduler)?;
    let line = |interval: DataInterval| {
        line(&scheduler.timetable, &entries, interval, ran.contains(&interval))
    };
    Ok(BackfillReport {
        schedule: scheduler.settings.schedule.name.clone(),
        intervals: intervals.into_iter().map(line).collect(),
        error: error.as_ref().map(ErrorReport::from),
        exit_code,
    })
}

/// What happened to one interval.
enum Outcome {
    /// Already done.
    Skipped,
    Ran(Box<Ended>),
    /// The backfill ends here.
    Stopped(Error),
}

fn run_one(
    scheduler: &Scheduler<'_>,
    request: &BackfillRequest,
    lease: &Lease,
    interval: DataInterval,
) -> Result<Outcome> {
    if let Err(stop) = lease.check() {
        return Ok(Outcome::Stopped(stop));
    }
    let entries = entries(scheduler)?;
    if !request.wants(&entries, interval) {
        return Ok(Outcome::Skipped);
    }
    let start = scheduler.timetable.show(interval.start);
    if let Some(by) = plan::blocked(scheduler.policy, interval, &entries) {
        let by = scheduler.timetable.show(by);
        let text = format!("interval {start} waits for {by}, which has not succeeded");
        return Ok(Outcome::Stopped(
            Error::new(ErrorKind::Locked, text)
                .hint("start with that one, or switch off schedule.depends_on_past"),
        ));
    }
    // No other process runs it: this one has the lease and has settled what was left behind.
    let ended = scheduler.run_interval(lease, interval, &State::ALL)?;
    Ok(ended.map_or_else(
        || {
            let text = format!("the ledger has the interval from {start} with another end");
            Outcome::Stopped(Error::config(text).hint("use another schedule.name for another cron"))
        },
        |ended| Outcome::Ran(Box::new(ended)),
    ))
}

fn entries(scheduler: &Scheduler<'_>) -> Result<Vec<Entry>> {
    let name = &scheduler.settings.schedule.name;
    scheduler.retries().run(LEDGER, || state::entries(&mut scheduler.warehouse.connect()?, name))
}

fn find(entries: &[Entry], interval: DataInterval) -> Option<&Entry> {
    entries.iter().find(|entry| entry.interval == interval)
}

fn line(
    timetable: &Timetable,
    entries: &[Entry],
    interval: DataInterval,
    run_now: bool,
) -> BackfillInterval {
    let entry = find(entries, interval);
    BackfillInterval {
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
