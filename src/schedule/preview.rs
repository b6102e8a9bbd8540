//! What would run, and when; and whether a scheduler is at work.

use serde::Serialize;

use super::clock::Clock;
use super::lease;
use super::plan::{self, Policy};
use super::state::{self, Entry, State};
use super::timetable::{DataInterval, Timetable};
use crate::adbc_postgres::PostgresConnection;
use crate::config::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::warehouse::location;

/// How data and runs belong together, in words.
pub const MODEL: &str =
    "data intervals: a run loads the interval that has ended, and begins at its end";

/// The next intervals of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Preview {
    /// The schedule's name.
    pub schedule: String,
    /// Which moment a run belongs to.
    pub model: &'static str,
    /// The expression.
    pub cron: String,
    /// The zone of its wall time.
    pub timezone: String,
    /// Whether every interval since the start is run.
    pub catchup: bool,
    /// Whether the ledger could be asked what was run; without it nothing counts as done.
    pub ledger: bool,
    /// The intervals, oldest first.
    pub next: Vec<Upcoming>,
}

/// An interval that would be run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Upcoming {
    /// The first moment.
    pub interval_start: String,
    /// The first moment beyond.
    pub interval_end: String,
    /// When its run begins at the earliest: the end of the interval.
    pub run_at: String,
    /// Whether that is in the past, so that it would begin now.
    pub due: bool,
    /// What the ledger says of it, where it was begun before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// The interval that it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
}

/// The next `count` intervals, as far as the ledger can be asked without starting anything.
///
/// # Errors
/// `Config` when the settings describe no timetable.
pub fn preview(settings: &Settings, clock: &dyn Clock, count: usize) -> Result<Preview> {
    let timetable = Timetable::new(&settings.schedule)?;
    let schedule = &settings.schedule;
    // Without a warehouse that answers, nothing counts as done, and the preview says so.
    let known = ledger(settings).ok().flatten().and_then(|mut connection| {
        clock.follow(state::server_time(&mut connection).ok()?);
        state::entries(&mut connection, &schedule.name).ok()
    });
    let policy = Policy { catchup: schedule.catchup, depends_on_past: schedule.depends_on_past };
    let now = clock.now();
    let entries = known.as_deref().unwrap_or_default();
    let due = plan::due(&timetable, policy, now, entries);
    let coming = timetable.intervals_around(now);
    let of = |interval: DataInterval| Upcoming {
        interval_start: timetable.show(interval.start),
        interval_end: timetable.show(interval.end),
        run_at: timetable.show(interval.end),
        due: interval.end <= now,
        state: known_state(entries, interval),
        waits_for: plan::blocked(policy, interval, entries).map(|by| timetable.show(by)),
    };
    Ok(Preview {
        schedule: schedule.name.clone(),
        model: MODEL,
        cron: schedule.expression().to_owned(),
        timezone: schedule.timezone.clone(),
        catchup: schedule.catchup,
        ledger: known.is_some(),
        next: due.into_iter().chain(coming).take(count).map(of).collect(),
    })
}

fn known_state(entries: &[Entry], interval: DataInterval) -> Option<State> {
    entries.iter().find(|entry| entry.interval == interval).map(|entry| entry.state)
}

/// A connection to a ledger that knows schedules; none where there is no such ledger, and where the private
/// server does not run.
///
/// # Errors
/// `Warehouse` when the ledger cannot be reached.
pub(super) fn ledger(settings: &Settings) -> Result<Option<PostgresConnection>> {
    let Some(warehouse) = location::running(settings)? else { return Ok(None) };
    let mut connection = warehouse.connect()?;
    Ok(if state::is_there(&mut connection)? { Some(connection) } else { None })
}

/// Whether a scheduler is at work: a line about who, for a health check.
///
/// # Errors
/// `Warehouse` when the ledger cannot be reached, `Locked` when nobody holds the lease.
pub fn health(settings: &Settings) -> Result<String> {
    let name = &settings.schedule.name;
    let nobody = || Error::new(ErrorKind::Locked, format!("nobody runs the schedule {name}"));
    let Some(mut connection) = ledger(settings)? else { return Err(nobody()) };
    match lease::look(&mut connection, name)? {
        Some(held) => Ok(format!(
            "process {} on {} runs the schedule {name} (until {})",
            held.pid, held.host, held.until
        )),
        None => Err(nobody()),
    }
}
