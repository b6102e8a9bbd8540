//! The next intervals of a schedule and when they would run.

use serde::Serialize;

use super::clock::Clock;
use super::plan::{self, Policy};
use super::state::{self, Entry, State};
use super::timetable::{DataInterval, Timetable};
use crate::config::Settings;
use crate::error::Result;

/// How intervals and runs relate.
pub(crate) const MODEL: &str = "data intervals: a run loads the interval that has just ended";

/// The next intervals of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Preview {
    /// The schedule's name.
    pub(crate) schedule: String,
    pub(crate) model: &'static str,
    pub(crate) cron: String,
    /// Time zone of the expression.
    pub(crate) timezone: String,
    pub(crate) catchup: bool,
    /// Whether the ledger could be read; without it no interval counts as done.
    pub(crate) ledger: bool,
    /// The intervals, oldest first.
    pub(crate) next: Vec<Upcoming>,
}

/// An interval that would be run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Upcoming {
    pub(crate) interval_start: String,
    /// Exclusive.
    pub(crate) interval_end: String,
    /// The earliest start of its run: the end of the interval.
    pub(crate) run_at: String,
    /// Whether it would run now.
    pub(crate) due: bool,
    /// Its state in the ledger, if it was started before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<State>,
    /// The interval it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) waits_for: Option<String>,
}

/// The next `count` intervals. Reads the ledger if it can be reached without starting a server.
///
/// # Errors
/// `Config` when the timetable settings are invalid.
pub(crate) fn preview(settings: &Settings, clock: &dyn Clock, count: usize) -> Result<Preview> {
    let timetable = Timetable::new(&settings.schedule)?;
    let schedule = &settings.schedule;
    // Without a ledger no interval counts as done; the preview reports that.
    let known = state::connect(settings).ok().flatten().and_then(|mut connection| {
        clock.synchronize(state::server_time(&mut connection).ok()?);
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
