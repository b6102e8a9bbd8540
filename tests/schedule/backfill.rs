//! A backfill through the program: what it runs, what it skips, where it stops and how it goes on.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::schedule::scheduler::{each_once, env, file_of, program, states};
use crate::support::failpoints::Failpoints as _;
use crate::support::paused_run::Paused;
use crate::support::process::{self, gone};
use crate::support::test_env::TestEnv;

fn backfill(env: &TestEnv, options: &[&str]) -> Command {
    let mut all = vec!["backfill", "--from", "2024-01-01", "--to", "2024-01-04"];
    all.extend(options);
    let mut command = program(env, &all);
    command.with_value("clock", "2024-06-01T00:00:00Z/2024-06-01T00:00:00Z");
    command
}

fn ends(env: &TestEnv, options: &[&str], code: i32) -> (String, String) {
    let output = process::output(&mut backfill(env, options));
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{printed}");
    (String::from_utf8(output.stdout).expect("text"), printed)
}

/// The table without ids and times.
fn masked(table: &str) -> String {
    let hidden = table.lines().map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let kept = words.iter().filter(|word| word.len() != 36 && !word.ends_with("ms"));
        let kept = kept.filter(|word| **word != "s" && word.parse::<f64>().is_err());
        kept.copied().collect::<Vec<_>>().join(" ")
    });
    hidden.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_backfill_runs_all_intervals_oldest_first() {
    let env = env();
    let (table, _) = ends(&env, &[], 0);
    assert_eq!(table.lines().count(), 4, "{table}");
    assert_eq!(each_once(&env), [] as [String; 0]);
    let order = "SELECT string_agg(run_no || ' ' || i.interval_start::date, ', ' ORDER BY run_no)
        FROM claims_etl.runs JOIN claims_etl.schedule_intervals i USING (run_id)";
    assert_eq!(env.rows(order), ["1 2024-01-01, 2 2024-01-02, 3 2024-01-03"]);

    // A second backfill has nothing to do and still lists what was loaded.
    let (again, _) = ends(&env, &["--format", "json"], 0);
    let again: Value = serde_json::from_str(&again).expect("JSON");
    let lines = again["intervals"].as_array().expect("a list");
    let short: Vec<_> = lines
        .iter()
        .map(|line| {
            (line["state"].as_str(), line["run_now"].as_bool(), line["claims_loaded"].as_i64())
        })
        .collect();
    let done = |claims| (Some("success"), Some(false), Some(claims));
    assert_eq!(short, [done(1), done(2), done(3)]);
    assert_eq!(lines[2]["amount_loaded"], "6.00");
    assert_eq!(env.rows("SELECT count(*) FROM claims_etl.runs"), ["3"]);

    // With --rerun it runs them again; they are already loaded.
    ends(&env, &["--rerun"], 0);
    let statuses =
        "SELECT status || ' ' || count(*) FROM claims_etl.runs GROUP BY status ORDER BY 1";
    assert_eq!(env.rows(statuses), ["already_loaded 3", "success 3"]);
    assert_eq!(each_once(&env), [] as [String; 0]);
}

#[test]
fn a_failure_stops_it_unless_it_is_to_go_on() {
    let env = env();
    fs::remove_file(env.path("claims-2024-01-02.csv")).expect("a file");
    let (table, printed) = ends(&env, &[], 3);
    assert_eq!(states(&env), ["01-01 success", "01-02 failed"], "{printed}");
    let table = masked(&table);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines[1], "2024-01-01T00:00:00Z success", "{table}");
    assert!(lines[2].starts_with("2024-01-02T00:00:00Z failed extract.extract_claims"), "{table}");
    assert_eq!(lines[3], "2024-01-03T00:00:00Z not begun", "{table}");
    ends(&env, &["--keep-going", "--depends-on-past"], 75);
    assert_eq!(states(&env), ["01-01 success", "01-02 failed"]);
    ends(&env, &["--keep-going"], 3);
    assert_eq!(states(&env), ["01-01 success", "01-02 failed", "01-03 success"]);
    file_of(&env, "2024-01-02");
    ends(&env, &[], 0);
    assert_eq!(each_once(&env), [] as [String; 0]);
}

#[test]
fn a_killed_backfill_goes_on_where_it_was() {
    for point in
        ["publish.commit:2", "publish.committed:2", "schedule.claimed:2", "schedule.recorded"]
    {
        let env = env();
        let mut first = backfill(&env, &[]);
        let output = process::output(first.kill_at(point));
        assert_eq!(output.status.signal(), Some(9), "{point}");
        gone(&env.database);
        let (_, printed) = ends(&env, &[], 75);
        assert!(printed.contains("runs the schedule healthcare_claims_etl"), "{printed}");
        let mut client = env.database.connect();
        let expire = "UPDATE claims_etl.schedule_lease SET expires_at = now()";
        client.execute(expire, &[]).expect("an update");
        ends(&env, &[], 0);
        assert_eq!(each_once(&env), [] as [String; 0], "{point}");
    }
}

#[test]
fn the_lease_of_a_dead_process_can_be_waited_for() {
    let env = env();
    let mut first = backfill(&env, &["--lease-secs", "2"]);
    let output = process::output(first.kill_at("schedule.claimed"));
    assert_eq!(output.status.signal(), Some(9));
    let (_, printed) = ends(&env, &["--wait=60"], 0);
    assert!(printed.contains("on standby") || printed.contains("starts as run"), "{printed}");
    assert_eq!(each_once(&env), [] as [String; 0]);
}

#[test]
fn a_signal_stops_it_and_the_table_is_printed() {
    let env = env();
    let paused = Paused::at(&env, &mut backfill(&env, &[]), "transform.done:2");
    let running = paused.go_on_after(|running| running.signal(Signal::SIGTERM));
    let (status, printed) = running.end();
    assert_eq!(status.code(), Some(143), "{printed}");
    assert_eq!(states(&env), ["01-01 success", "01-02 up_for_retry"]);
    ends(&env, &[], 0);
    assert_eq!(each_once(&env), [] as [String; 0]);
}

#[test]
fn a_list_is_only_a_list() {
    let env = env();
    let (table, _) = ends(&env, &["--dry-list"], 0);
    assert_eq!(table.matches("would be run").count(), 3, "{table}");
    assert_eq!(states(&env), [] as [&str; 0], "there is not even a ledger");
    let mut command = backfill(&env, &["--dry-list"]);
    command.with_value("clock", "2024-01-02T12:00:00Z/2024-01-02T12:00:00Z");
    let output = process::output(&mut command);
    let table = String::from_utf8(output.stdout).expect("text");
    assert_eq!(table.matches("would be run").count(), 1, "only one is complete: {table}");
    for (from, to) in [("2024-01-04", "2024-01-04"), ("yesterday", "2024-01-04")] {
        let output = process::output(&mut program(&env, &["backfill", "--from", from, "--to", to]));
        assert_eq!(output.status.code(), Some(2), "{from} {to}");
    }
}
