//! Tests of the timetable, including days with clock changes.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn timetable(cron: &str, zone: &str, start: &str) -> Timetable {
    let schedule = Schedule {
        cron: cron.into(),
        timezone: zone.into(),
        start_date: start.into(),
        ..Schedule::default()
    };
    Timetable::new(&schedule).expect("a timetable")
}

fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).expect("a time").with_timezone(&Utc)
}

fn shown(timetable: &Timetable, intervals: impl Iterator<Item = DataInterval>) -> Vec<String> {
    intervals
        .map(|one| format!("{} {}", timetable.show(one.start), timetable.show(one.end)))
        .collect()
}

#[test]
fn a_day_is_due_when_it_has_ended() {
    let daily = timetable("@daily", "UTC", "2024-01-01");
    assert_eq!(daily.latest_complete(at("2024-01-01T00:00:00Z")), None);
    assert_eq!(daily.latest_complete(at("2024-01-01T23:59:59Z")), None);
    let first = DataInterval { start: at("2024-01-01T00:00:00Z"), end: at("2024-01-02T00:00:00Z") };
    assert_eq!(daily.latest_complete(at("2024-01-02T00:00:00Z")), Some(first));
    assert_eq!(daily.latest_complete(at("2024-01-02T23:59:59.9Z")), Some(first));
    assert_eq!(daily.intervals().next(), Some(first));
}

#[test]
fn the_start_is_aligned_up_to_the_next_tick() {
    let weekly = timetable("@weekly", "UTC", "2024-01-01");
    let two = shown(&weekly, weekly.intervals().take(2));
    assert_eq!(
        two,
        ["2024-01-07T00:00:00Z 2024-01-14T00:00:00Z", "2024-01-14T00:00:00Z 2024-01-21T00:00:00Z"]
    );
    assert_eq!(weekly.latest_complete(at("2024-01-13T00:00:00Z")), None);
}

#[test]
fn presets_tick_as_those_of_airflow() {
    for (preset, first, second) in [
        ("@hourly", "2024-02-01T00:00:00Z", "2024-02-01T01:00:00Z"),
        ("@daily", "2024-02-01T00:00:00Z", "2024-02-02T00:00:00Z"),
        ("@weekly", "2024-02-04T00:00:00Z", "2024-02-11T00:00:00Z"),
        ("@monthly", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"),
        ("@quarterly", "2024-04-01T00:00:00Z", "2024-07-01T00:00:00Z"),
        ("@yearly", "2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
    ] {
        let timetable = timetable(preset, "UTC", "2024-02-01");
        let interval = DataInterval { start: at(first), end: at(second) };
        assert_eq!(timetable.intervals().next(), Some(interval), "{preset}");
        assert_eq!(timetable.latest_complete(at(second)), Some(interval), "{preset}");
    }
}

#[test]
fn a_day_with_a_changed_clock_is_shorter_or_longer() {
    let berlin = timetable("@daily", "Europe/Berlin", "2024-03-30");
    assert_eq!(
        shown(&berlin, berlin.intervals().take(3)),
        [
            "2024-03-30T00:00:00+01:00 2024-03-31T00:00:00+01:00",
            "2024-03-31T00:00:00+01:00 2024-04-01T00:00:00+02:00",
            "2024-04-01T00:00:00+02:00 2024-04-02T00:00:00+02:00",
        ]
    );
    let hours = |interval: DataInterval| (interval.end - interval.start).num_hours();
    assert_eq!(berlin.intervals().take(3).map(hours).collect::<Vec<_>>(), [24, 23, 24]);
    let autumn = timetable("@daily", "America/New_York", "2024-11-02");
    assert_eq!(autumn.intervals().take(3).map(hours).collect::<Vec<_>>(), [24, 25, 24]);
}

#[test]
fn a_skipped_time_happens_after_the_gap_and_a_repeated_one_once() {
    let berlin = timetable("30 2 * * *", "Europe/Berlin", "2024-03-30");
    assert_eq!(
        shown(&berlin, berlin.intervals().take(2)),
        [
            "2024-03-30T02:30:00+01:00 2024-03-31T03:00:00+02:00",
            "2024-03-31T03:00:00+02:00 2024-04-01T02:30:00+02:00",
        ]
    );
    let autumn = timetable("30 2 * * *", "Europe/Berlin", "2024-10-26");
    assert_eq!(
        shown(&autumn, autumn.intervals().take(2)),
        [
            "2024-10-26T02:30:00+02:00 2024-10-27T02:30:00+02:00",
            "2024-10-27T02:30:00+02:00 2024-10-28T02:30:00+01:00",
        ]
    );
    let hourly = timetable("@hourly", "Europe/Berlin", "2024-10-27");
    let hours = hourly.intervals().take(30).map(|one| (one.end - one.start).num_minutes());
    assert!(hours.into_iter().all(|minutes| minutes == 60));
}

#[test]
fn a_midnight_that_does_not_exist_is_the_first_moment_of_its_day() {
    let zone = "Asia/Beirut";
    let beirut = timetable("@daily", zone, "2024-03-31");
    let first = beirut.intervals().next().expect("an interval");
    assert_eq!(beirut.show(first.start), "2024-03-31T01:00:00+03:00");
    assert_eq!(beirut.read("2024-03-31"), Ok(first.start));
    assert_eq!(beirut.read(" 2024-03-31T01:00:00+03:00 "), Ok(first.start));
    for wrong in ["", "yesterday", "2024-02-30", "2024-1-1"] {
        assert!(beirut.read(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn wall_time_becomes_a_setting_for_the_templates() {
    let berlin = timetable("@daily", "Europe/Berlin", "2024-07-01");
    let first = berlin.intervals().next().expect("an interval");
    let moment = berlin.setting(first.start).expect("a moment");
    assert_eq!(moment.to_string(), "2024-07-01T00:00:00+02:00");
    assert_eq!(moment.format("%Y-%m-%d").as_deref(), Some("2024-07-01"), "the day as it is there");
}

const ZONES: [&str; 4] = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"];

const EXPRESSIONS: [&str; 9] = [
    "@hourly",
    "@daily",
    "@weekly",
    "@monthly",
    "30 2 * * *",
    "0 1,2,3 * * *",
    "15 */2 * * *",
    "*/45 1-3 * * SUN",
    "0 6 1,15 * *",
];

/// Days around clock changes, and others.
fn moments() -> impl Strategy<Value = DateTime<Utc>> {
    let around = |day: &str| at(&format!("{day}T00:00:00Z")).timestamp();
    let changes = ["2024-03-10", "2024-03-31", "2024-04-07", "2024-10-06", "2024-10-27"];
    let changes: Vec<i64> = changes.iter().chain(&["2024-11-03"]).map(|day| around(day)).collect();
    let near =
        (prop::sample::select(changes), -172_800_i64..172_800).prop_map(|(day, off)| day + off);
    let anywhere = around("2023-01-01")..around("2026-01-01");
    prop_oneof![3 => near, 1 => anywhere]
        .prop_map(|seconds| DateTime::from_timestamp(seconds, 0).expect("a time"))
}

fn timetables() -> impl Strategy<Value = Timetable> {
    (prop::sample::select(&EXPRESSIONS[..]), prop::sample::select(&ZONES[..]))
        .prop_map(|(cron, zone)| timetable(cron, zone, "2020-01-01"))
}

proptest! {
    #[test]
    fn intervals_abut_and_are_ordered(timetable in timetables(), from in moments()) {
        let intervals: Vec<_> = timetable.intervals_from(from).take(60).collect();
        prop_assert_eq!(intervals.len(), 60);
        prop_assert!(intervals[0].start >= from);
        for one in &intervals {
            prop_assert!(one.start < one.end);
        }
        for pair in intervals.windows(2) {
            prop_assert_eq!(pair[0].end, pair[1].start);
        }
    }

    #[test]
    fn it_does_not_matter_from_where_ticks_are_counted(
        timetable in timetables(),
        from in moments(),
        skipped in 0_i64..100_000,
    ) {
        // A later start gives the same ticks.
        let later = from + TimeDelta::seconds(skipped);
        let end = later + TimeDelta::days(70);
        let ticks = |from| -> Vec<_> {
            timetable.ticks_after(from).take_while(|tick| *tick <= end).collect()
        };
        let all: Vec<_> = ticks(from).into_iter().filter(|tick| *tick > later).collect();
        prop_assert_eq!(all, ticks(later));
    }

    #[test]
    fn every_moment_lies_in_one_interval(timetable in timetables(), moment in moments()) {
        let start = timetable.tick_before_or_at(moment).expect("a tick");
        let end = timetable.tick_after(moment).expect("a tick");
        prop_assert!(start <= moment && moment < end);
        prop_assert_eq!(timetable.tick_after(start), Some(end));
        prop_assert_eq!(timetable.intervals_around(moment).next(), Some(DataInterval { start, end }));
        let complete = timetable.latest_complete(end).expect("an interval");
        prop_assert_eq!(complete, DataInterval { start, end });
        let before = timetable.latest_complete(end - TimeDelta::seconds(1)).expect("an interval");
        prop_assert_eq!(before.end, start);
    }

    #[test]
    fn a_fixed_time_happens_once_a_day(
        zone in prop::sample::select(&ZONES[..]),
        hour in 0_u32..24,
        minute in 0_u32..60,
        from in moments(),
    ) {
        let timetable = timetable(&format!("{minute} {hour} * * *"), zone, "2020-01-01");
        let zone: Tz = zone.parse().expect("a zone");
        let mut days: BTreeMap<NaiveDate, u32> = BTreeMap::new();
        for tick in timetable.ticks_after(from).take(40) {
            *days.entry(tick.with_timezone(&zone).date_naive()).or_default() += 1;
        }
        prop_assert_eq!(days.len(), 40, "no day has two");
        let (first, last) = (days.keys().next(), days.keys().next_back());
        let apart = first.zip(last).map(|(first, last)| (*last - *first).num_days());
        prop_assert_eq!(apart, Some(39), "no day has none");
    }
}
