//! The schedule through the program: the test clock jumps over waits, and the ledger shows what ran.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{fs, thread};

use chrono::{TimeDelta, Utc};
use claims_etl::config::{Settings, Wait};
use claims_etl::error::ErrorKind;
use claims_etl::event::{Cancellation, NullObserver, RunId};
use claims_etl::schedule::state::{self, LeaseToken, State};
use claims_etl::schedule::{
    DataInterval, Lease, Monitor, Options, Request, Scheduler, TestClock, Timetable,
};
use claims_etl::warehouse::location::Warehouse;
use insta::{assert_snapshot, with_settings};
use nix::sys::signal::Signal;

use crate::faults::{released_program, startup};
use crate::support::failpoints::Failpoints as _;
use crate::support::paused_run::Paused;
use crate::support::process::{self, Running, gone, until};
use crate::support::test_env::TestEnv;
use crate::telemetry::metrics;

/// The days that have files.
const DAYS: [&str; 3] = ["2024-01-01", "2024-01-02", "2024-01-03"];

/// An environment with a file a day: the first has one claim, the second two, the third three.
pub(crate) fn env() -> TestEnv {
    let env = TestEnv::new().providers(&["V1,Ada,Cardiology,Here"]);
    for day in DAYS {
        file_of(&env, day);
    }
    env
}

/// Writes the file of a day; its claims are as many as the day of the month.
pub(crate) fn file_of(env: &TestEnv, day: &str) {
    let header = "claim_id,patient_id,provider_id,procedure_code,amount,date_of_service";
    let number: u32 = day[8..].parse().expect("a day");
    let rows: Vec<String> = (1..=number)
        .map(|claim| format!("C{day}-{claim},P{claim},V1,99213,{claim}.00,{day}"))
        .collect();
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    env.write(&format!("claims-{day}.csv"), header, &rows);
}

/// `claims-etl` with a subcommand that reads the days' files.
pub(crate) fn program(env: &TestEnv, arguments: &[&str]) -> Command {
    let mut command = process::command(env);
    command.args(arguments);
    command.args(["--claims", "claims-{interval_start:%Y-%m-%d}.csv", "--providers"]);
    command.args(&env.settings.providers.sources).args(["--connections", "1"]);
    command
}

/// A scheduler whose clock begins at a moment and jumps as far as the end of the third day.
fn scheduler(env: &TestEnv, clock: &str, options: &[&str]) -> Command {
    let mut command = program(env, &["schedule"]);
    command.args(options).with_value("clock", &format!("{clock}/2024-01-04T12:00:00Z"));
    command
}

/// The state of every interval in the ledger.
pub(crate) fn states(env: &TestEnv) -> Vec<String> {
    let there = "SELECT to_regclass('claims_etl.schedule_intervals') IS NOT NULL";
    if env.rows(there) != ["true"] {
        return Vec::new();
    }
    env.rows(
        "SELECT to_char(interval_start AT TIME ZONE 'UTC', 'MM-DD') || ' ' || state
         FROM claims_etl.schedule_intervals ORDER BY interval_start",
    )
}

const ALL_DONE: [&str; 3] = ["01-01 success", "01-02 success", "01-03 success"];

/// Each interval was published by exactly one run, which has read the file of its day.
pub(crate) fn each_once(env: &TestEnv) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut same = |what: &str, query: &str, expected: &[&str]| {
        let found = env.rows(query);
        if found != expected {
            wrong.push(format!("{what}: {found:?}, not {expected:?}"));
        }
    };
    same(
        "published runs by file",
        "SELECT substring(r.sources::text FROM 'claims-(\\d{4}-\\d\\d-\\d\\d)') || ' ' || count(*)
         FROM claims_etl.runs r WHERE published_at IS NOT NULL GROUP BY r.sources::text ORDER BY 1",
        &["2024-01-01 1", "2024-01-02 1", "2024-01-03 1"],
    );
    same(
        "the rows of each day",
        "SELECT f.date_of_service || ' ' || count(*) || ' ' || sum(amount)
         FROM healthcare_analytics.claims_fact f GROUP BY f.date_of_service ORDER BY 1",
        &["2024-01-01 1 1.00", "2024-01-02 2 3.00", "2024-01-03 3 6.00"],
    );
    same(
        "the runs of the rows",
        "SELECT count(DISTINCT run_no) FROM healthcare_analytics.claims_fact",
        &["3"],
    );
    wrong
}

/// As if so much time had passed that the lease of a dead process has run out.
fn let_the_lease_run_out(env: &TestEnv) {
    env.database
        .connect()
        .execute("UPDATE claims_etl.schedule_lease SET expires_at = now()", &[])
        .expect("an update");
}

/// Ends a scheduler that has nothing to do: orderly, by SIGTERM.
fn terminate(running: Running) -> String {
    running.signal(Signal::SIGTERM);
    let (status, printed) = running.end();
    assert_eq!(status.code(), Some(143), "{printed}");
    assert!(printed.contains("the schedule has stopped"), "{printed}");
    printed
}

/// An address on which nobody listens.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address")
}

#[test]
fn three_days_go_by_and_each_is_loaded_once() {
    let env = env();
    let address = free_address();
    let mut command = scheduler(&env, "2024-01-01T12:00:00Z", &[]);
    command.env("CLAIMS_ETL_METRICS_LISTEN", address.to_string());
    let running = Running::start(&mut command);
    until("three days", || states(&env) == ALL_DONE);
    let counted = "claims_etl_intervals_total{state=\"success\"} 3";
    until("figures", || metrics::get(address, "/metrics").1.contains(counted));
    let (head, body) = metrics::get(address, "/healthz");
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(body.contains("\"lease_held\":true") && body.contains("\"succeeded\":3"), "{body}");
    let printed = terminate(running);
    assert!(
        printed.contains("data intervals: a run loads the interval that has just ended"),
        "{printed}"
    );
    assert_eq!(each_once(&env), [] as [String; 0]);
    let lease = "SELECT expires_at <= clock_timestamp() FROM claims_etl.schedule_lease";
    assert_eq!(env.rows(lease), ["true"], "it is released");
}

/// Where schedulers are killed, and at which moment of the days that is.
const POINTS: &[(&str, &str)] = &[
    ("schedule.leased", "2024-01-01T12:00:00Z"),
    ("schedule.claimed:2", "2024-01-03T00:00:01Z"),
    ("session.begun:2", "2024-01-03T00:00:01Z"),
    ("copy.done:2", "2024-01-03T00:00:01Z"),
    ("publish.commit:2", "2024-01-03T00:00:01Z"),
    ("publish.committed:2", "2024-01-03T00:00:01Z"),
    ("refresh.written:2", "2024-01-03T00:00:01Z"),
    ("schedule.ran:2", "2024-01-03T00:00:01Z"),
    // Between the intervals.
    ("schedule.recorded", "2024-01-02T06:00:00Z"),
    ("schedule.recorded:2", "2024-01-03T06:00:00Z"),
];

/// Kills a scheduler at a failpoint, starts another one and checks the three days.
fn killed_at(point: &str, then: &str) -> Vec<String> {
    let env = env();
    let mut first = scheduler(&env, "2024-01-01T12:00:00Z", &[]);
    let output = process::output(first.kill_at(point));
    if output.status.signal() != Some(9) {
        let printed = String::from_utf8_lossy(&output.stderr);
        return vec![format!("it never came by: {:?} {printed}", output.status)];
    }
    gone(&env.database);
    let_the_lease_run_out(&env);
    let mut second = Running::start(&mut scheduler(&env, then, &[]));
    until("the three days", || {
        assert!(second.goes_on(), "{point}: ended");
        states(&env) == ALL_DONE
    });
    terminate(second);
    let mut wrong = each_once(&env);
    let page = env.settings.dashboard_path();
    if !page.exists() {
        wrong.push("nobody has written the dashboard".into());
    }
    let open = env.rows("SELECT run_id FROM claims_etl.runs WHERE status = 'running'");
    if !open.is_empty() {
        wrong.push(format!("runs are open: {open:?}"));
    }
    wrong
}

#[test]
fn three_days_with_a_kill_in_the_middle_load_every_interval_exactly_once() {
    let left = Mutex::new(POINTS.iter());
    let wrong = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let next = left.lock().expect("the points").next();
                    let Some((point, then)) = next else { break };
                    let found = killed_at(point, then);
                    let found = found.into_iter().map(|what| format!("{point}: {what}"));
                    wrong.lock().expect("the list").extend(found);
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("the list");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_refresh_of_a_dead_run_is_finished_by_the_next_scheduler() {
    let env = env();
    let page = env.settings.dashboard_path();
    let clock = "2024-01-02T06:00:00Z";
    let mut first = scheduler(&env, clock, &["--once"]);
    let output = process::output(first.kill_at("publish.committed"));
    assert_eq!(output.status.signal(), Some(9));
    gone(&env.database);
    let_the_lease_run_out(&env);
    assert!(!page.exists());
    assert_eq!(states(&env), ["01-01 running"]);
    let output = process::output(&mut scheduler(&env, clock, &["--once"]));
    let printed = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{printed}");
    assert!(printed.contains("ended without a record: success"), "{printed}");
    assert_eq!(states(&env), ["01-01 success"]);
    assert_eq!(env.rows("SELECT count(*) FROM claims_etl.runs"), ["1"], "nothing is loaded again");
    assert!(page.exists());
}

#[test]
fn every_place_of_the_schedule_is_in_the_table() {
    let names: BTreeSet<&str> =
        POINTS.iter().map(|(point, _)| point.split(':').next().unwrap_or(point)).collect();
    let places = released_program::failpoints();
    let places: Vec<_> = places.iter().filter(|place| place.starts_with("schedule.")).collect();
    assert!(places.len() > 3);
    let missing: Vec<_> = places.iter().filter(|place| !names.contains(place.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn of_two_schedulers_one_works_and_the_other_takes_over() {
    let env = env();
    // The first one is held up in the second day.
    let mut first = scheduler(&env, "2024-01-01T12:00:00Z", &["--lease-secs", "600"]);
    let paused = Paused::at(&env, &mut first, "publish.commit:2");
    let options = ["--catchup", "--lease-secs", "600"];
    let mut second = Running::start(&mut scheduler(&env, "2024-01-04T06:00:00Z", &options));
    thread::sleep(Duration::from_millis(500));
    assert!(second.goes_on());
    assert_eq!(states(&env), ["01-01 success", "01-02 running"], "the other one is on standby");
    let first = paused.go_on();
    first.signal(Signal::SIGKILL);
    first.end();
    gone_but_one(&env);
    let_the_lease_run_out(&env);
    until("the three days", || {
        assert!(second.goes_on());
        states(&env) == ALL_DONE
    });
    let printed = terminate(second);
    assert_eq!(printed.matches("on standby: process ").count(), 1, "{printed}");
    assert_eq!(each_once(&env), [] as [String; 0]);
    let fencing_token = env.rows("SELECT fencing_token > 1 FROM claims_etl.schedule_lease");
    assert_eq!(fencing_token, ["true"], "every holder has its own fencing token");
}

/// Waits until the lock of the warehouse is free.
fn gone_but_one(env: &TestEnv) {
    let held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    until("the lock", || env.rows(held) == ["0"]);
}

#[test]
fn two_schedulers_at_once_run_every_interval_once() {
    let env = env();
    let clock = "2024-01-04T06:00:00Z";
    let start = || Running::start(&mut scheduler(&env, clock, &["--catchup"]));
    let (first, second) = (start(), start());
    until("the three days", || states(&env) == ALL_DONE);
    terminate(first);
    terminate(second);
    assert_eq!(each_once(&env), [] as [String; 0]);
    let tries = env.rows("SELECT tries FROM claims_etl.schedule_intervals");
    assert_eq!(tries, ["1", "1", "1"]);
}

#[test]
fn who_has_lost_the_lease_stops_before_he_publishes() {
    let env = env();
    let mut command = scheduler(&env, "2024-01-02T06:00:00Z", &["--lease-secs", "2"]);
    let paused = Paused::at(&env, &mut command, "transform.done");
    let mut client = env.database.connect();
    let theft = "UPDATE claims_etl.schedule_lease SET holder = gen_random_uuid(), host = 'other',
        pid = 7, fencing_token = fencing_token + 1, expires_at = now() + interval '1 hour'";
    assert_eq!(client.execute(theft, &[]).expect("an update"), 1);
    // The next renewal finds out.
    thread::sleep(Duration::from_millis(1500));
    let mut running = paused.go_on();
    let ended = "SELECT status || ' ' || error_kind FROM claims_etl.runs";
    until("the run's end", || env.rows(ended) == ["failed interrupted"]);
    until("the row", || states(&env) == ["01-01 up_for_retry"]);
    assert_eq!(env.rows("SELECT count(*) FROM healthcare_analytics.claims_fact"), ["0"]);
    assert!(running.goes_on(), "it is on standby");
    let printed = terminate(running);
    assert!(printed.contains("was lost; on standby"), "{printed}");
    assert!(printed.contains("on standby: process 7 on other"), "{printed}");
    let lease = env.rows("SELECT host FROM claims_etl.schedule_lease WHERE expires_at > now()");
    assert_eq!(lease, ["other"], "it is not touched");
}

#[test]
fn without_catchup_downtime_costs_all_but_the_latest() {
    let env = env();
    let once = |clock: &str, options: &[&str]| {
        let mut all = vec!["--once", "--format", "json"];
        all.extend(options);
        let output = process::output(&mut scheduler(&env, clock, &all));
        let printed = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{printed}");
        let lines = String::from_utf8(output.stdout).expect("text");
        let of = |line: &str| -> serde_json::Value { serde_json::from_str(line).expect("JSON") };
        lines.lines().map(|line| of(line)["interval_start"].to_string()).collect::<Vec<_>>()
    };
    assert_eq!(once("2024-01-01T12:00:00Z", &[]), [] as [&str; 0], "no interval is complete");
    assert_eq!(once("2024-01-02T00:00:00Z", &[]), ["\"2024-01-01T00:00:00Z\""]);
    assert_eq!(once("2024-01-02T23:00:00Z", &[]), [] as [&str; 0], "it is done");
    assert_eq!(once("2024-01-04T08:00:00Z", &[]), ["\"2024-01-03T00:00:00Z\""]);
    assert_eq!(states(&env), ["01-01 success", "01-03 success"]);
    assert_eq!(once("2024-01-04T08:00:00Z", &["--catchup"]), ["\"2024-01-02T00:00:00Z\""]);
    assert_eq!(each_once(&env), [] as [String; 0]);
}

#[test]
fn a_failed_interval_is_left_until_somebody_wants_it_again() {
    let env = env();
    fs::remove_file(env.path("claims-2024-01-02.csv")).expect("a file");
    let clock = "2024-01-04T06:00:00Z";
    let once = |options: &[&str]| {
        let mut all = vec!["--once", "--catchup"];
        all.extend(options);
        let output = process::output(&mut scheduler(&env, clock, &all));
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, printed) = once(&["--depends-on-past"]);
    assert_eq!(code, Some(75), "{printed}");
    assert!(printed.contains("2024-01-03T00:00:00Z waits for 2024-01-02T00:00:00Z"), "{printed}");
    assert!(printed.contains("claims-2024-01-02.csv"), "{printed}");
    assert_eq!(states(&env), ["01-01 success", "01-02 failed"]);
    assert_eq!(once(&[]).0, Some(0), "the third day does not depend on it");
    let after = ["01-01 success", "01-02 failed", "01-03 success"];
    assert_eq!(states(&env), after);
    assert_eq!(once(&[]).0, Some(0));
    assert_eq!(states(&env), after, "nobody wanted it again");
    let kinds = "SELECT error_kind || ' ' || tries FROM claims_etl.schedule_intervals
        WHERE state = 'failed'";
    assert_eq!(env.rows(kinds), ["source 1"]);
    let (code, printed) = once(&["--retry-failed"]);
    assert_eq!(code, Some(3), "{printed}");
    file_of(&env, "2024-01-02");
    let (code, printed) = once(&["--retry-failed"]);
    assert_eq!(code, Some(0), "{printed}");
    assert_eq!(states(&env), ALL_DONE);
    assert_eq!(each_once(&env), [] as [String; 0]);
}

#[test]
fn a_signal_stops_the_run_and_its_interval_stays_to_be_done() {
    let env = env();
    let mut command = scheduler(&env, "2024-01-02T06:00:00Z", &[]);
    let paused = Paused::at(&env, &mut command, "transform.done");
    let running = paused.go_on_after(|running| running.signal(Signal::SIGTERM));
    let (status, printed) = running.end();
    assert_eq!(status.code(), Some(143), "{printed}");
    assert_eq!(states(&env), ["01-01 up_for_retry"], "{printed}");
    let lease = "SELECT count(*) FROM claims_etl.schedule_lease WHERE expires_at > now()";
    assert_eq!(env.rows(lease), ["0"]);
    // A day later it is still done, though another one is the latest.
    let later = Running::start(&mut scheduler(&env, "2024-01-03T06:00:00Z", &[]));
    until("the three days", || states(&env) == ALL_DONE);
    terminate(later);
    assert_eq!(each_once(&env), [] as [String; 0]);
}

#[test]
fn a_run_begun_by_hand_is_waited_for() {
    let env = env();
    assert!(
        process::output(&mut scheduler(&env, "2024-01-02T00:00:00Z", &["--once"])).status.success()
    );
    let mut holder = env.database.connect();
    holder.execute("SELECT pg_advisory_lock($1)", &[&0x636c_6169_6d65_746c_i64]).expect("the lock");
    let mut running = Running::start(&mut scheduler(&env, "2024-01-03T00:00:00Z", &["--once"]));
    until("the second day", || states(&env).contains(&"01-02 running".to_owned()));
    thread::sleep(Duration::from_millis(300));
    assert!(running.goes_on());
    drop(holder);
    let (status, printed) = running.end();
    assert_eq!(status.code(), Some(0), "{printed}");
    assert_eq!(states(&env), ["01-01 success", "01-02 success"]);
}

#[test]
fn health_is_read_from_the_lease() {
    let env = env();
    let health = || {
        let output = process::output(process::command(&env).args(["schedule", "health"]));
        (output.status.code(), String::from_utf8(output.stdout).expect("text"))
    };
    assert_eq!(health().0, Some(1), "there is no ledger yet");
    let running = Running::start(&mut scheduler(&env, "2024-01-04T13:00:00Z", &[]));
    until("the third day", || states(&env) == ["01-03 success"]);
    let (code, line) = health();
    assert_eq!(code, Some(0), "{line}");
    assert!(line.contains("runs the schedule healthcare_claims_etl"), "{line}");
    terminate(running);
    let nobody = "no scheduler runs healthcare_claims_etl\n";
    assert_eq!(health(), (Some(1), nobody.to_owned()));
}

fn next(env: &TestEnv, clock: &str, options: &[&str]) -> String {
    let mut preview = process::command(env);
    preview.args(["schedule", "preview"]).args(options);
    let output =
        process::output(preview.with_value("clock", &format!("{clock}/2024-01-04T12:00:00Z")));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// A snapshot in the folder of this file.
fn assert_preview(name: &str, text: &str) {
    with_settings!({ snapshot_path => "snapshots", prepend_module_to_snapshot => false, omit_expression => true }, {
        assert_snapshot!(name, text);
    });
}

#[test]
fn the_next_intervals_are_listed() {
    let env = env();
    let berlin = ["--timezone", "Europe/Berlin"];
    assert_preview("over_a_change_of_the_clock", &next(&env, "2024-03-30T08:00:00Z", &berlin));
    fs::remove_file(env.path("claims-2024-01-02.csv")).expect("a file");
    let catchup = ["--catchup", "--once"];
    process::output(&mut scheduler(&env, "2024-01-03T08:00:00Z", &catchup));
    let depends = ["--catchup", "--depends-on-past"];
    assert_preview("with_a_ledger", &next(&env, "2024-01-04T08:00:00Z", &depends));
    assert_preview("as_json", &next(&env, "2024-01-04T08:00:00Z", &["--format", "json"]));
}

#[test]
fn an_interval_of_ones_own_is_refused() {
    let env = env();
    let options = ["--once", "--interval-start", "2024-01-01"];
    let output = process::output(&mut scheduler(&env, "2024-01-02T08:00:00Z", &options));
    let printed = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{printed}");
    assert!(printed.contains("set by the schedule"), "{printed}");
}

/// A warehouse with tables, and the settings of a schedule at it.
fn migrated(env: &TestEnv) -> (Warehouse, Settings, DataInterval) {
    let settings = env.settings.clone();
    let warehouse = Warehouse::open(&settings, &NullObserver).expect("a warehouse");
    claims_etl::warehouse::location::migrate(&settings, &NullObserver, &Cancellation::default())
        .expect("migrated");
    let timetable = Timetable::new(&settings.schedule).expect("a timetable");
    let first = timetable.intervals().next().expect("an interval");
    (warehouse, settings, first)
}

fn lease_of(env: &TestEnv, token: &LeaseToken, seconds: i32) {
    let lease = format!(
        "INSERT INTO claims_etl.schedule_lease VALUES ('{}', '{}', 'here', 1, {}, now(), now(),
             now() + interval '{seconds} seconds')
         ON CONFLICT (schedule) DO UPDATE SET holder = excluded.holder,
             fencing_token = excluded.fencing_token, expires_at = excluded.expires_at",
        token.schedule, token.holder, token.fencing_token
    );
    env.database.connect().batch_execute(&lease).expect("a lease");
}

#[test]
fn of_many_who_want_an_interval_one_gets_it() {
    let env = TestEnv::new();
    let (warehouse, _, first) = migrated(&env);
    let token =
        LeaseToken { schedule: "s".into(), holder: RunId::now().to_string(), fencing_token: 7 };
    lease_of(&env, &token, 60);
    let claim = |token: &LeaseToken, from: &[State]| {
        let mut connection = warehouse.connect().expect("a connection");
        state::claim(&mut connection, token, first, RunId::now(), from)
    };
    let got = thread::scope(|scope| {
        let all: Vec<_> = (0..8).map(|_| scope.spawn(|| claim(&token, &[State::Failed]))).collect();
        all.into_iter()
            .map(|one| one.join().expect("no panic").expect("an answer"))
            .filter(|got| *got)
            .count()
    });
    assert_eq!(got, 1);
    assert_eq!(states(&env), ["01-01 running"]);

    // Neither an earlier holder nor one whose time is over gets anything.
    for (what, other) in [
        ("an earlier number", LeaseToken { fencing_token: 6, ..token.clone() }),
        ("another holder", LeaseToken { holder: RunId::now().to_string(), ..token.clone() }),
    ] {
        let refused = claim(&other, &State::ALL).expect_err(what);
        assert_eq!(refused.kind(), ErrorKind::Locked, "{what}");
    }
    lease_of(&env, &token, -1);
    let mut connection = warehouse.connect().expect("a connection");
    assert!(claim(&token, &State::ALL).is_err());
    assert!(state::settle(&mut connection, &token).is_err());
    assert!(state::retry_failed(&mut connection, &token).is_err());
    assert_eq!(states(&env), ["01-01 running"]);
    lease_of(&env, &token, 60);
    let settled = state::settle(&mut connection, &token).expect("settled");
    assert_eq!(settled.len(), 1);
    assert_eq!(states(&env), ["01-01 up_for_retry"], "there is no such run");
    assert_eq!(claim(&token, &[State::Success]), Ok(false));
    assert_eq!(claim(&token, &[State::UpForRetry]), Ok(true));
}

#[test]
fn health_reports_the_state_of_the_scheduler() {
    let env = env();
    let (_, mut settings, first) = migrated(&env);
    let claims = env.path("claims-{interval_start:%Y-%m-%d}.csv");
    settings.claims.sources = vec![claims.display().to_string()];
    let moment = first.end + chrono::TimeDelta::hours(1);
    let clock = TestClock::new(moment, moment);
    let (cancel, monitor) = (Cancellation::default(), Monitor::new(&settings.schedule.name));
    let scheduler = Scheduler::new(&settings, &clock, &NullObserver, &cancel, monitor.clone())
        .expect("a scheduler");
    assert!(!monitor.snapshot().lease_held);
    let (ended, meanwhile) = thread::scope(|scope| {
        let running = scope.spawn(|| scheduler.run(Options::default(), &mut |_| Ok(())));
        until("a run", || {
            monitor.snapshot().last.is_some() && monitor.snapshot().next_run.is_some()
        });
        let meanwhile = monitor.snapshot();
        cancel.cancel(2);
        (running.join().expect("no panic"), meanwhile)
    });
    assert_eq!(ended.expect_err("stopped").kind(), ErrorKind::Interrupted(2));
    assert!(meanwhile.lease_held && meanwhile.current.is_none());
    assert_eq!((meanwhile.succeeded, meanwhile.failed), (1, 0));
    assert_eq!(meanwhile.next_run, Some(first.end + chrono::TimeDelta::days(1)));
    assert!(meanwhile.last_tick >= Some(moment));
    let last = meanwhile.last.expect("a run");
    assert_eq!((last.interval.interval_start, last.state), (first.start, State::Success));
    assert!(!monitor.snapshot().lease_held, "it is released");
}

#[test]
fn a_lease_is_renewed_and_one_that_cannot_be_ends_before_its_time() {
    let env = TestEnv::new();
    let (warehouse, mut settings, _) = migrated(&env);
    settings.schedule.lease_secs = 3;
    let (warehouse, cancel) = (Arc::new(warehouse), Cancellation::default());
    let request = |wait| Request {
        schedule: &settings.schedule,
        wait,
        retries_connection: false,
        observer: &NullObserver,
        cancel: &cancel,
    };
    let lease = Lease::take(&warehouse, &request(Wait::No)).expect("the lease");
    let renewed = "SELECT renewed_at > acquired_at + interval '3 seconds'
        FROM claims_etl.schedule_lease WHERE expires_at > clock_timestamp()";
    until("renewals", || {
        assert!(!lease.is_lost());
        env.rows(renewed) == ["true"]
    });
    assert_eq!(lease.check(), Ok(()));
    let refused = Lease::take(&warehouse, &request(Wait::No)).map(drop).expect_err("held");
    assert_eq!(refused.kind(), ErrorKind::Locked);

    // The server is there, but gives no answer.
    let mut silence = env.database.connect();
    silence
        .batch_execute("BEGIN; SELECT FROM claims_etl.schedule_lease FOR UPDATE")
        .expect("a lock");
    let left = "SELECT expires_at > clock_timestamp() FROM claims_etl.schedule_lease";
    let began = Instant::now();
    until("the end of the lease", || lease.is_lost());
    let took = began.elapsed();
    assert!(took < Duration::from_secs(30), "{took:?}");
    until("the request to stop", || lease.cancel().is_cancelled());
    assert_eq!(lease.check().expect_err("lost").kind(), ErrorKind::Locked);
    // On a machine that has time, the server would not give it to anybody yet.
    if took < Duration::from_millis(2600) {
        assert_eq!(env.rows(left), ["true"]);
    }
    silence.batch_execute("ROLLBACK").expect("unlocked");
    drop(lease);
    let next = Lease::take(&warehouse, &request(Wait::Seconds(30))).expect("the lease");
    assert!(next.token().fencing_token > 1);
    cancel.cancel(15);
    until("the signal to be passed on", || next.cancel().signal() == Some(15));
    let stopped = Lease::take(&warehouse, &request(Wait::Forever)).map(drop).expect_err("stopped");
    assert_eq!(stopped.kind(), ErrorKind::Interrupted(15));
}

/// Files that all have the same claim, with the number of the day as its amount.
fn corrections() -> TestEnv {
    let env = env();
    let header = "claim_id,patient_id,provider_id,procedure_code,amount,date_of_service";
    for day in DAYS {
        let row = format!("C,P,V1,99213,{}.00,2024-01-01", &day[9..]);
        env.write(&format!("claims-{day}.csv"), header, &[&row]);
    }
    env
}

const AMOUNT: &str = "SELECT amount FROM healthcare_analytics.claims_fact";

#[test]
fn an_interval_whose_run_cannot_begin_stays_due_and_the_later_ones_wait() {
    let env = corrections();
    startup::end_sessions(&env, 1, 2);
    let clock = "2024-01-04T06:00:00Z";
    let once = |retries: &str| {
        let options = ["--once", "--catchup", "--retries", retries];
        let output = process::output(&mut scheduler(&env, clock, &options));
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, printed) = once("0");
    assert_eq!(code, Some(5), "{printed}");
    assert_eq!(states(&env), ["01-01 success", "01-02 up_for_retry"], "{printed}");
    assert_eq!(env.rows(AMOUNT), ["1.00"]);
    // One more session is ended, which costs a try.
    let (code, printed) = once("1");
    assert_eq!(code, Some(0), "{printed}");
    assert_eq!(states(&env), ALL_DONE, "{printed}");
    assert_eq!(env.rows(AMOUNT), ["3.00"], "the newest counts");
    let order = "SELECT string_agg(i.state, ' ' ORDER BY r.publish_no) FROM claims_etl.schedule_intervals i
        JOIN claims_etl.runs r USING (run_id)
        WHERE (SELECT count(*) FROM claims_etl.schedule_intervals e JOIN claims_etl.runs p USING (run_id)
               WHERE e.interval_start < i.interval_start AND p.publish_no > r.publish_no) > 0";
    assert_eq!(env.rows(order), ["null"], "they were published in their order");
}

#[test]
fn a_schedule_that_goes_on_comes_back_to_an_interval_by_itself() {
    let env = corrections();
    startup::end_sessions(&env, 1, 1);
    let options = ["--catchup", "--retries", "0"];
    let running = Running::start(&mut scheduler(&env, "2024-01-04T06:00:00Z", &options));
    until("the three days", || states(&env) == ALL_DONE);
    let printed = terminate(running);
    assert_eq!(env.rows(AMOUNT), ["3.00"]);
    let tries = "SELECT string_agg(tries::text, ' ' ORDER BY interval_start)
        FROM claims_etl.schedule_intervals";
    assert_eq!(env.rows(tries), ["1 2 1"], "{printed}");
}

/// The second day has no file, and the third one is loaded.
fn without_the_second_day() -> (TestEnv, String) {
    let env = corrections();
    let path = env.path("claims-2024-01-02.csv");
    let text = fs::read_to_string(&path).expect("a file");
    fs::remove_file(path).expect("a file");
    let options = ["--once", "--catchup"];
    let output = process::output(&mut scheduler(&env, "2024-01-04T06:00:00Z", &options));
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(states(&env), ["01-01 success", "01-02 failed", "01-03 success"]);
    fs::write(env.path("claims-2024-01-02.csv"), &text).expect("written");
    (env, text)
}

#[test]
fn rows_of_an_older_interval_do_not_win_because_it_is_loaded_later() {
    let clock = "2024-01-04T06:00:00Z";
    let (env, _) = without_the_second_day();
    let again = ["--once", "--catchup", "--retry-failed"];
    let output = process::output(&mut scheduler(&env, clock, &again));
    let printed = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{printed}");
    assert!(printed.contains("1 later intervals"), "{printed}");
    assert_eq!(states(&env), ALL_DONE);
    assert_eq!(env.rows(AMOUNT), ["3.00"]);
    let output = process::output(&mut scheduler(&env, clock, &["--once", "--catchup"]));
    assert!(output.status.success());
    let runs = "SELECT count(*) FROM claims_etl.runs WHERE published_at IS NOT NULL";
    assert_eq!(env.rows(runs), ["4"], "and that was it");

    // The same where the process dies before it has noted the end of the older one.
    let (env, _) = without_the_second_day();
    let mut killed = scheduler(&env, clock, &again);
    let output = process::output(killed.kill_at("schedule.ran"));
    assert_eq!(output.status.signal(), Some(9));
    gone(&env.database);
    let_the_lease_run_out(&env);
    assert_eq!(env.rows(AMOUNT), ["2.00"]);
    let output = process::output(&mut scheduler(&env, clock, &["--once", "--catchup"]));
    assert!(output.status.success());
    assert_eq!(
        (states(&env), env.rows(AMOUNT)),
        (ALL_DONE.map(Into::into).into(), vec!["3.00".into()])
    );
}

#[test]
fn a_backfill_leaves_later_intervals_to_be_loaded_again() {
    let clock = "2024-01-04T06:00:00Z";
    let (env, _) = without_the_second_day();
    let mut fill = program(&env, &["backfill", "--from", "2024-01-02", "--to", "2024-01-03"]);
    let output = process::output(fill.with_value("clock", &format!("{clock}/{clock}")));
    let printed = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{printed}");
    assert_eq!(states(&env), ["01-01 success", "01-02 success", "01-03 queued"]);
    let output = process::output(&mut scheduler(&env, clock, &["--once"]));
    assert!(output.status.success());
    assert_eq!(
        (states(&env), env.rows(AMOUNT)),
        (ALL_DONE.map(Into::into).into(), vec!["3.00".into()])
    );
}

#[test]
fn a_clock_that_is_hours_fast_loads_no_interval_before_its_end() {
    let env = env();
    let now = Utc::now();
    let header = "claim_id,patient_id,provider_id,procedure_code,amount,date_of_service";
    // The hour may be over before the program checks.
    for hours in [2, 1, 0] {
        let hour = (now - TimeDelta::hours(hours)).format("%Y-%m-%d-%H");
        env.write(&format!("claims-{hour}.csv"), header, &["C,P,V1,99213,1.00,2024-01-01"]);
    }
    let mut command = process::command(&env);
    command.args(["schedule", "--once", "--cron", "@hourly"]);
    command.args(["--claims", "claims-{interval_start:%Y-%m-%d-%H}.csv", "--providers"]);
    command.args(&env.settings.providers.sources);
    // Five hours.
    let output = process::output(command.with_value("clock", "18000"));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let early = "SELECT string_agg(state, ' ') || ' ' || (max(interval_end) > now())
        FROM claims_etl.schedule_intervals";
    assert_eq!(env.rows(early), ["success false"]);
}
