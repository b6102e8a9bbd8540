//! Selects the next interval to run: a pure function of time, timetable and ledger.

use chrono::{DateTime, Utc};

use super::state::Entry;
use super::timetable::{DataInterval, Timetable};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Policy {
    /// Run every interval since the start, not only the latest complete one.
    pub(super) catchup: bool,
    /// An interval waits until the previous one has succeeded.
    pub(super) depends_on_past: bool,
}

/// What a scheduler does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Run(DataInterval),
    /// The interval depends on an earlier one that has not succeeded.
    Blocked {
        interval: DataInterval,
        /// Start of the interval that has not succeeded.
        by: DateTime<Utc>,
    },
    Nothing,
}

/// The next step at time `now`. `entries`: intervals in the ledger, by start.
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

/// All intervals due at time `now`, oldest first: open ones in the ledger, and new ones.
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

/// The start of the interval that blocks this one: the latest earlier one in the ledger, unless
/// done.
pub(super) fn blocked(
    policy: Policy,
    interval: DataInterval,
    entries: &[Entry],
) -> Option<DateTime<Utc>> {
    let earlier = entries.partition_point(|entry| entry.interval.start < interval.start);
    let before = entries[..earlier].last().filter(|_| policy.depends_on_past)?;
    (!before.state.is_done()).then_some(before.interval.start)
}

/// Whether the ledger has an interval that overlaps this one; after a change of the expression,
/// starts differ.
fn is_known(entries: &[Entry], interval: DataInterval) -> bool {
    let earlier = entries.partition_point(|entry| entry.interval.start < interval.end);
    entries[..earlier].last().is_some_and(|entry| entry.interval.end > interval.start)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
