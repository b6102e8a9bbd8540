//! What is to be done next: a pure function of the clock, the timetable and what the ledger knows.

use chrono::{DateTime, Utc};

use super::state::Entry;
use super::timetable::{DataInterval, Timetable};

/// What a scheduler makes up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Policy {
    /// Every interval since the start, not only the latest complete one.
    pub(super) catchup: bool,
    /// An interval waits for the success of the one before it.
    pub(super) depends_on_past: bool,
}

/// What a scheduler does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Run(DataInterval),
    /// Run nothing: the interval depends on the one before it, which has not succeeded.
    Blocked {
        /// Which has to wait.
        interval: DataInterval,
        /// Since which moment it waits: the start of the one that has not succeeded.
        by: DateTime<Utc>,
    },
    /// Nothing is due.
    Nothing,
}

/// The next step at a moment. `entries` are what the ledger knows of this schedule, by their start.
pub(super) fn next(
    timetable: &Timetable,
    policy: Policy,
    now: DateTime<Utc>,
    entries: &[Entry],
) -> Step {
    let Some(interval) = due(timetable, policy, now, entries).into_iter().next() else {
        return Step::Nothing;
    };
    match blocked(policy, interval, entries) {
        Some(by) => Step::Blocked { interval, by },
        None => Step::Run(interval),
    }
}

/// All intervals that are due at a moment, oldest first: what was begun and not finished, what
/// somebody wants again, and what nobody has begun.
pub(super) fn due(
    timetable: &Timetable,
    policy: Policy,
    now: DateTime<Utc>,
    entries: &[Entry],
) -> Vec<DataInterval> {
    let open = entries.iter().filter(|entry| entry.state.is_open()).map(|entry| entry.interval);
    let mut due: Vec<DataInterval> = open.filter(|interval| interval.end <= now).collect();
    let is_new = |interval: &DataInterval| !is_known(entries, *interval);
    if policy.catchup {
        let complete = timetable.intervals().take_while(|interval| interval.end <= now);
        due.extend(complete.filter(is_new));
    } else {
        due.extend(timetable.latest_complete(now).filter(is_new));
    }
    due.sort_unstable();
    due
}

/// The start of the interval that keeps this one waiting, where one does: the latest before it
/// that the ledger knows, unless it has succeeded or was skipped. None before it: nothing to wait
/// for.
pub(super) fn blocked(
    policy: Policy,
    interval: DataInterval,
    entries: &[Entry],
) -> Option<DateTime<Utc>> {
    let earlier = entries.partition_point(|entry| entry.interval.start < interval.start);
    let before = entries[..earlier].last().filter(|_| policy.depends_on_past)?;
    (!before.state.is_done()).then_some(before.interval.start)
}

/// Whether a part of the interval was run, or is to be run, already: under the same start, or under
/// another one where the expression was changed.
fn is_known(entries: &[Entry], interval: DataInterval) -> bool {
    let earlier = entries.partition_point(|entry| entry.interval.start < interval.end);
    entries[..earlier].last().is_some_and(|entry| entry.interval.end > interval.start)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
