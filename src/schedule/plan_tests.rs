//! Tests of due intervals, by example and for arbitrary histories.

use proptest::prelude::*;

use super::super::state::State;
use super::*;
use crate::config::Schedule;

const CATCHUP: Policy = Policy { catchup: true, depends_on_past: false };
const LATEST: Policy = Policy { catchup: false, depends_on_past: false };

fn daily() -> Timetable {
    Timetable::new(&Schedule::default()).expect("a timetable")
}

fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).expect("a time").with_timezone(&Utc)
}

/// The `day`-th of January 2024.
fn day(day: usize) -> DataInterval {
    daily().intervals().nth(day - 1).expect("a day")
}

fn entry(interval: DataInterval, state: State) -> Entry {
    Entry {
        interval,
        state,
        run_id: None,
        tries: 1,
        error: None,
        claims_loaded: None,
        amount_loaded: None,
        seconds: None,
    }
}

fn entries(states: &[(usize, State)]) -> Vec<Entry> {
    states.iter().map(|(number, state)| entry(day(*number), *state)).collect()
}

#[test]
fn without_catchup_only_the_latest_complete_interval_is_due() {
    let daily = daily();
    let now = at("2024-01-10T08:00:00Z");
    assert_eq!(due(&daily, LATEST, now, &[]), [day(9)], "a first start");
    let known = entries(&[(9, State::Success)]);
    assert_eq!(next(&daily, LATEST, now, &known), Step::Nothing);
    // No scheduler ran for three days.
    let later = at("2024-01-13T00:00:00Z");
    assert_eq!(due(&daily, LATEST, later, &known), [day(12)]);
    let before_the_first = at("2024-01-01T12:00:00Z");
    assert_eq!(next(&daily, LATEST, before_the_first, &[]), Step::Nothing);
}

#[test]
fn with_catchup_all_are_due_oldest_first() {
    let daily = daily();
    let now = at("2024-01-05T00:00:00Z");
    assert_eq!(due(&daily, CATCHUP, now, &[]), [day(1), day(2), day(3), day(4)]);
    let known = entries(&[(1, State::Success), (3, State::Failed)]);
    assert_eq!(due(&daily, CATCHUP, now, &known), [day(2), day(4)], "a failed one is left");
    assert_eq!(next(&daily, CATCHUP, now, &known), Step::Run(day(2)));
}

#[test]
fn open_intervals_are_due_with_or_without_catchup() {
    let daily = daily();
    let now = at("2024-01-10T08:00:00Z");
    let known = entries(&[(3, State::UpForRetry), (4, State::Queued), (5, State::Failed)]);
    assert_eq!(due(&daily, LATEST, now, &known), [day(3), day(4), day(9)]);
    let running = entries(&[(9, State::Running)]);
    assert_eq!(next(&daily, LATEST, now, &running), Step::Nothing);
}

#[test]
fn an_interval_that_depends_on_the_past_waits() {
    let daily = daily();
    let now = at("2024-01-04T00:00:00Z");
    let depends = Policy { depends_on_past: true, ..CATCHUP };
    assert_eq!(next(&daily, depends, now, &[]), Step::Run(day(1)), "none is before the first");
    for (state, step) in [
        (State::Success, Step::Run(day(2))),
        (State::Skipped, Step::Run(day(2))),
        (State::Failed, Step::Blocked { interval: day(2), by: day(1).start }),
        (State::Running, Step::Blocked { interval: day(2), by: day(1).start }),
        (State::Queued, Step::Run(day(1))),
    ] {
        assert_eq!(next(&daily, depends, now, &entries(&[(1, state)])), step, "{state:?}");
    }
    let failed = entries(&[(1, State::Failed)]);
    assert_eq!(next(&daily, CATCHUP, now, &failed), Step::Run(day(2)), "unless nobody asks for it");
}

#[test]
fn another_expression_does_not_load_the_same_hours_again() {
    let hourly = Schedule { cron: "@hourly".into(), ..Schedule::default() };
    let hourly = Timetable::new(&hourly).expect("a timetable");
    let known = entries(&[(1, State::Success), (2, State::Success)]);
    let evening = at("2024-01-02T22:00:00Z");
    assert_eq!(next(&hourly, LATEST, evening, &known), Step::Nothing);
    let due = due(&hourly, CATCHUP, at("2024-01-03T02:00:00Z"), &known);
    let hours: Vec<_> = due.iter().map(|one| hourly.show(one.start)).collect();
    assert_eq!(hours, ["2024-01-03T00:00:00Z", "2024-01-03T01:00:00Z"]);
}

fn states() -> impl Strategy<Value = Vec<Option<State>>> {
    let state = prop::option::of(prop::sample::select(&State::ALL[..]));
    prop::collection::vec(state, 0..12)
}

proptest! {
    /// A scheduler that checks repeatedly over time, and whose runs succeed.
    #[test]
    fn with_catchup_every_interval_is_run_exactly_once(
        looks in prop::collection::vec(0_i64..400_000, 1..20),
    ) {
        let daily = daily();
        let mut now = at("2024-01-01T00:00:00Z");
        let mut known: Vec<Entry> = Vec::new();
        for look in looks {
            now += chrono::TimeDelta::seconds(look);
            while let Step::Run(interval) = next(&daily, CATCHUP, now, &known) {
                prop_assert!(interval.end <= now, "not before it is complete");
                prop_assert!(known.iter().all(|entry| entry.interval != interval));
                known.push(entry(interval, State::Success));
                known.sort_by_key(|entry| entry.interval);
            }
        }
        let complete = daily.intervals().take_while(|interval| interval.end <= now).count();
        prop_assert_eq!(known.len(), complete);
    }

    /// Without catchup: only the latest interval, and never twice.
    #[test]
    fn without_catchup_nothing_old_is_run(
        looks in prop::collection::vec(0_i64..400_000, 1..20),
    ) {
        let daily = daily();
        let mut now = at("2024-01-01T00:00:00Z");
        let mut known: Vec<Entry> = Vec::new();
        for look in looks {
            now += chrono::TimeDelta::seconds(look);
            let mut runs = 0;
            while let Step::Run(interval) = next(&daily, LATEST, now, &known) {
                prop_assert_eq!(Some(interval), daily.latest_complete(now));
                known.push(entry(interval, State::Success));
                runs += 1;
            }
            prop_assert!(runs <= 1);
        }
    }

    /// For any ledger: due intervals have ended, are ordered and are not done.
    #[test]
    fn nothing_that_is_done_is_due(states in states(), days in 0_i64..14, catchup: bool) {
        let known: Vec<Entry> = states
            .iter()
            .enumerate()
            .filter_map(|(index, state)| Some(entry(day(index + 1), (*state)?)))
            .collect();
        let now = at("2024-01-01T06:00:00Z") + chrono::TimeDelta::days(days);
        let due = due(&daily(), Policy { catchup, depends_on_past: false }, now, &known);
        prop_assert!(due.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", due);
        for interval in due {
            prop_assert!(interval.end <= now);
            let state = known.iter().find(|entry| entry.interval == interval).map(|one| one.state);
            let open = [None, Some(State::Queued), Some(State::UpForRetry)];
            prop_assert!(open.contains(&state), "{:?}", state);
        }
    }
}
