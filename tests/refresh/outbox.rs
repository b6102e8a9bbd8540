//! What is published is shown, once: whatever is killed, fails or comes twice at the same time.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use insta::assert_snapshot;
use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::failpoints::Failpoints as _;
use crate::support::paused_run::Paused;
use crate::support::process::{self, Running, gone, until};
use crate::support::refresh_probe::{MORE, Viewed, ends, killed, run_json};

#[test]
fn what_is_published_is_shown_once_and_nothing_else_is() {
    let viewed = Viewed::new("");
    let first = run_json(&mut viewed.run(), 0);
    let one = &first["refresh"][2];
    assert_eq!((&one["target"], &one["outcome"]), (&json!("sql.daily"), &json!("succeeded")));
    assert_eq!((&one["attempts"], &one["required"]), (&json!(1), &json!(false)));
    let off = &first["refresh"][1];
    assert_eq!((&off["target"], &off["outcome"]), (&json!("dashboard"), &json!("skipped")));
    assert_eq!(viewed.refreshes(), ["2"]);
    assert_eq!(viewed.due(), [] as [&str; 0]);
    let row = "SELECT concat_ws('|', target, desired_run_no, refreshed_run_no, started_run_no,
        attempts, outcome, detail, refreshed_schema_version IS NOT NULL) FROM claims_etl.refresh_outbox";
    let shown = "sql.daily|1|1|1|succeeded|1 view; filled for the first time, not concurrently: \
                 public.shown|t";
    assert_eq!(viewed.env.rows(row), [shown]);
    let result = "SELECT result::text FROM claims_etl.task_runs
        WHERE task_id = 'load.refresh_bi' AND result <> '[]'";
    let handed: serde_json::Value =
        serde_json::from_str(&viewed.env.rows(result)[0]).expect("JSON");
    assert_eq!(
        handed,
        json!([{ "target": "provider_month", "outcome": "skipped", "remote_id": null },
               { "target": "dashboard", "outcome": "skipped", "remote_id": null },
               { "target": "sql.daily", "outcome": "succeeded", "remote_id": null }])
    );

    // The same input, and the same rows loaded again.
    assert_eq!(run_json(&mut viewed.run(), 0)["status"], "already_loaded");
    let again = run_json(viewed.run().arg("--force"), 0);
    let one = &again["refresh"][2];
    assert_eq!((&one["outcome"], &one["detail"]), (&json!("skipped"), &json!("nothing changed")));
    assert_eq!(viewed.refreshes(), ["2"]);

    // A new name in the directory alone.
    let path = viewed.env.path("providers.csv");
    fs::write(path, "provider_id,provider_name,specialty,location\nV1,Eve,Cardiology,Here\n")
        .expect("written");
    let renamed = run_json(&mut viewed.run(), 0);
    assert_eq!(renamed["claims"]["unchanged"], 2);
    assert_eq!(renamed["refresh"][2]["outcome"], "succeeded");
    assert_eq!(viewed.refreshes(), ["2", "2"]);
    // A replace is another content, even an equal one.
    run_json(viewed.run().args(["--force", "--mode", "replace"]), 0);
    assert_eq!(viewed.refreshes(), ["2", "2", "2"]);
}

#[test]
fn a_killed_run_is_made_up_for_by_whoever_looks_first() {
    for (place, before, looks) in [
        // Between the commit and the refresh; before the target is called; after it has been.
        ("publish.committed", 0, &["run"][..]),
        ("refresh.begin", 0, &["refresh", "--due"]),
        ("refresh.started", 0, &["run", "--resume", "last"]),
        ("refresh.ended", 1, &["run"]),
    ] {
        let viewed = Viewed::new("");
        killed(&mut viewed.run(), place);
        gone(&viewed.env.database);
        assert_eq!(viewed.refreshes().len(), before, "{place}");
        assert_eq!(viewed.due(), ["sql.daily"], "{place}");
        let again = || if looks == ["run"] { viewed.run() } else { viewed.command(looks) };
        ends(&mut again(), 0);
        assert_eq!(viewed.refreshes().len(), before + 1, "{place}");
        assert_eq!(viewed.due(), [] as [&str; 0], "{place}");
        ends(&mut again(), 0);
        assert_eq!(viewed.refreshes().len(), before + 1, "once: {place}");
    }
}

#[test]
fn data_published_during_a_refresh_are_shown_by_a_second_one() {
    let viewed = Viewed::new("");
    ends(&mut viewed.run(), 0);
    let mut refresh = viewed.command(&["refresh"]);
    let paused = Paused::at(&viewed.env, &mut refresh, "refresh.ended");
    assert_eq!(viewed.refreshes(), ["2", "2"]);
    let viewed = viewed.claims(&MORE);
    killed(&mut viewed.run(), "publish.committed");
    let (status, printed) = paused.go_on().end();
    assert_eq!(status.code(), Some(0), "{printed}");
    assert_eq!(viewed.refreshes(), ["2", "2", "3"]);
    assert_eq!(viewed.due(), [] as [&str; 0]);
}

/// A step of a rotation from the environment's key to another one.
fn rotate(viewed: &Viewed, step: &str) -> Command {
    let mut command = match step {
        "map" => process::reading(&viewed.env, &["key", "rotate", step]),
        _ => viewed.command(&["key", "rotate", step]),
    };
    let next = viewed.env.path("next.key");
    if !next.exists() {
        fs::write(&next, process::OTHER_KEY).expect("written");
        fs::set_permissions(&next, fs::Permissions::from_mode(0o600)).expect("chmod");
    }
    command.env("CLAIMS_ETL_NEXT_KEY_FILE", next);
    command
}

#[test]
fn a_refresh_that_has_read_the_old_tokens_does_not_count() {
    let viewed = Viewed::new("");
    ends(&mut viewed.run(), 0);
    ends(&mut rotate(&viewed, "begin"), 0);
    ends(&mut rotate(&viewed, "map"), 0);
    let mut refresh = viewed.command(&["refresh"]);
    let paused = Paused::at(&viewed.env, &mut refresh, "refresh.ended");
    ends(&mut rotate(&viewed, "finish"), 0);
    assert_eq!(viewed.due(), ["sql.daily"]);
    // Its end is not that of a refresh which has seen the new tokens, so another one follows.
    let (status, printed) = paused.go_on().end();
    assert_eq!(status.code(), Some(0), "{printed}");
    assert_eq!(viewed.refreshes(), ["2", "2", "2"]);
    assert_eq!(viewed.due(), [] as [&str; 0]);
    // One that is killed before it could notice leaves the target due.
    let viewed = Viewed::new("");
    ends(&mut viewed.run(), 0);
    for step in ["begin", "map"] {
        ends(&mut rotate(&viewed, step), 0);
    }
    let mut refresh = viewed.command(&["refresh"]);
    let paused = Paused::at(&viewed.env, &mut refresh, "refresh.ended");
    ends(&mut rotate(&viewed, "finish"), 0);
    paused.go_on_after(|running| running.signal(Signal::SIGKILL)).end();
    assert_eq!(viewed.due(), ["sql.daily"]);
}

#[test]
fn a_rescore_makes_targets_due_whoever_has_configured_them() {
    let viewed = Viewed::new("");
    ends(&mut viewed.run(), 0);
    viewed.sql("UPDATE healthcare_analytics.claims_fact SET risk_score = 99");
    let mut refresh = viewed.command(&["refresh"]);
    let paused = Paused::at(&viewed.env, &mut refresh, "refresh.ended");
    // Called where the target is not configured.
    let elsewhere = viewed.env.path("elsewhere.toml");
    fs::write(
        &elsewhere,
        "[refresh.dashboard]\nenabled = false\n[refresh.provider_month]\nenabled = false\n",
    )
    .expect("written");
    let mut rescore = viewed.command(&["risk", "rescore", "--config"]);
    ends(rescore.arg(&elsewhere), 0);
    assert_eq!(viewed.due(), ["sql.daily"]);
    let (status, printed) = paused.go_on().end();
    assert_eq!(status.code(), Some(0), "{printed}");
    assert_eq!(viewed.refreshes(), ["2", "2", "2"]);
    assert_eq!(viewed.due(), [] as [&str; 0]);
}

#[test]
fn other_thresholds_of_the_bands_are_shown() {
    let viewed = Viewed::new("");
    ends(&mut viewed.run(), 0);
    viewed.configure(
        "[risk]\nhigh_from = 90.0\n[refresh.dashboard]\nenabled = false\n[refresh.sql.daily]\n\
         views = [\"public.shown\"]\n",
    );
    let report = run_json(&mut viewed.run(), 0);
    assert_eq!(report["claims"]["unchanged"], 2);
    assert_eq!(viewed.refreshes(), ["2", "2"]);
}

#[test]
fn views_that_are_made_during_a_refresh_are_new_to_the_next_one() {
    let viewed = Viewed::new("");
    ends(&mut viewed.run(), 0);
    let seen = "SELECT refreshed_schema_version FROM claims_etl.refresh_outbox";
    let before = viewed.env.rows(seen);
    let mut refresh = viewed.command(&["refresh"]);
    let paused = Paused::at(&viewed.env, &mut refresh, "refresh.ended");
    viewed.sql("UPDATE claims_etl.table_layout SET views = views || '{\"v_claims\": \"another\"}'");
    let (status, printed) = paused.go_on().end();
    assert_eq!(status.code(), Some(0), "{printed}");
    assert_eq!(viewed.env.rows(seen), before, "it has read the old ones");
}

#[test]
fn a_refresh_that_reads_and_a_publish_that_waits_for_it_do_not_block_each_other() {
    let viewed = Viewed::new("");
    viewed.configure("");
    ends(&mut viewed.run(), 0);
    // The page's eighth query has read the highest claim lines.
    let mut refresh = viewed.command(&["refresh"]);
    let paused = Paused::at(&viewed.env, &mut refresh, "refresh.query:9");
    let mut replace = viewed.run();
    replace.args(["--force", "--mode", "replace", "--retries", "0"]);
    let publish = Running::start(replace.with_value("lock.patience", "10"));
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND pid <> pg_backend_pid() AND query LIKE '%claims_etl.locked%'";
    until("the publish", || viewed.env.rows(waiting) == ["1"]);
    for running in [paused.go_on(), publish] {
        let (status, printed) = running.end();
        assert_eq!(status.code(), Some(0), "{printed}");
    }
    assert_eq!(viewed.due(), [] as [&str; 0]);
    let shown = "SELECT refreshed_run_no FROM claims_etl.refresh_outbox";
    assert_eq!(viewed.env.rows(shown), ["2"]);
}

/// Sessions that wait for a target's lock.
const WAITING: &str = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
    AND query LIKE 'SELECT pg_try_advisory_lock(%' AND state = 'idle'";

#[test]
fn two_processes_never_refresh_one_target_at_the_same_time() {
    let viewed = Viewed::new("");
    ends(&mut viewed.run(), 0);
    let mut refresh = viewed.command(&["refresh"]);
    let paused = Paused::at(&viewed.env, &mut refresh, "refresh.started");
    let begun = "SELECT started_at FROM claims_etl.refresh_outbox";
    let held = viewed.env.rows(begun);
    let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    assert_eq!(viewed.env.rows(locks), ["1"]);
    let mut second = Running::start(&mut viewed.command(&["refresh", "sql.daily"]));
    until("the second refresh to ask for the lock", || {
        assert!(second.goes_on());
        viewed.env.rows(WAITING) == ["1"]
    });
    assert_eq!(viewed.env.rows(begun), held, "the second one has not begun");
    assert_eq!(viewed.refreshes(), ["2"]);
    for running in [paused.go_on(), second] {
        let (status, printed) = running.end();
        assert_eq!(status.code(), Some(0), "{printed}");
    }
    assert_eq!(viewed.refreshes(), ["2", "2", "2"], "one after the other");
    gone(&viewed.env.database);
    assert_eq!(viewed.env.rows(locks), ["0"]);
}

#[test]
fn of_two_that_ask_for_what_is_due_the_second_one_finds_nothing() {
    let viewed = Viewed::new("");
    killed(&mut viewed.run(), "publish.committed");
    let mut due = viewed.command(&["refresh", "--due"]);
    let paused = Paused::at(&viewed.env, &mut due, "refresh.started");
    let second = std::thread::scope(|scope| {
        let second = scope.spawn(|| ends(&mut viewed.command(&["refresh", "--due"]), 0));
        until("the second to ask for the lock", || viewed.env.rows(WAITING) == ["1"]);
        assert_eq!(paused.go_on().end().0.code(), Some(0));
        second.join().expect("no panic")
    });
    assert_eq!(second, "nothing is due\n");
    assert_eq!(viewed.refreshes(), ["2"]);
}

#[test]
fn who_waits_for_another_process_hears_a_signal_and_has_an_end() {
    let viewed = Viewed::new("");
    ends(&mut viewed.run(), 0);
    let held = "SELECT pg_advisory_lock(1668441446, hashtext('sql.daily'))";
    let mut client = viewed.env.database.connect();
    client.batch_execute(held).expect("the lock");
    let running = Running::start(&mut viewed.command(&["refresh"]));
    until("the refresh to ask for the lock", || viewed.env.rows(WAITING) == ["1"]);
    running.signal(Signal::SIGTERM);
    let (status, printed) = running.end();
    assert_eq!(status.code(), Some(143), "{printed}");
    let file = fs::read_to_string(viewed.env.path("claims-etl.toml")).expect("text");
    viewed.configure(&format!("{file}deadline_secs = 1\n"));
    let out = ends(&mut viewed.command(&["refresh"]), 6);
    assert!(out.contains("sql.daily       timed_out"), "{out}");
    assert!(out.contains("while another process refreshed it"), "{out}");
    assert_eq!(viewed.refreshes(), ["2"]);
}

#[test]
fn a_required_failure_ends_with_6_and_is_tried_again() {
    let missing = "ALTER MATERIALIZED VIEW public.shown RENAME TO hidden";
    let back = "ALTER MATERIALIZED VIEW public.hidden RENAME TO shown";
    let viewed = Viewed::new("required = true");
    viewed.sql(missing);
    let failed = run_json(&mut viewed.run(), 6);
    assert_eq!(failed["claims"]["loaded"], 2);
    assert_eq!(failed["error"]["kind"], "refresh");
    let message = failed["error"]["message"].as_str().expect("a message");
    assert!(message.contains("sql.daily was not refreshed"), "{message}");
    assert!(message.contains("no materialized view public.shown"), "{message}");
    assert_eq!(viewed.due(), ["sql.daily"]);
    assert_eq!(run_json(&mut viewed.run(), 6)["error"]["kind"], "refresh", "still");
    ends(&mut viewed.command(&["run", "--resume", "last"]), 6);
    ends(&mut viewed.command(&["refresh", "--due"]), 6);
    let attempts = "SELECT attempts || ' ' || outcome FROM claims_etl.refresh_outbox";
    assert_eq!(viewed.env.rows(attempts), ["4 failed"]);
    viewed.sql(back);
    let resumed =
        run_json(&mut viewed.command(&["run", "--resume", "last", "--format", "json"]), 0);
    assert_eq!(resumed["refresh"][2]["outcome"], "succeeded");
    assert_eq!(viewed.refreshes(), ["2"]);
    assert_eq!(viewed.env.rows(attempts), ["5 succeeded"]);
}

#[test]
fn an_optional_failure_is_a_warning_and_tried_again() {
    let viewed = Viewed::new("");
    viewed.sql("ALTER MATERIALIZED VIEW public.shown RENAME TO hidden");
    let output = process::output(&mut viewed.run());
    assert_eq!(output.status.code(), Some(0));
    let printed = crate::support::refresh_probe::text(&output.stderr);
    assert!(printed.contains("WARN") && printed.contains("sql.daily: there is no"), "{printed}");
    assert_eq!(viewed.due(), ["sql.daily"]);
    // Whoever calls for a refresh wants to know of every failure.
    ends(&mut viewed.command(&["refresh"]), 6);
    viewed.sql("ALTER MATERIALIZED VIEW public.hidden RENAME TO shown");
    assert_eq!(run_json(&mut viewed.run(), 0)["status"], "already_loaded");
    assert_eq!(viewed.refreshes(), ["2"]);
}

#[test]
fn a_target_that_is_configured_later_is_refreshed_too() {
    let viewed = Viewed::new("");
    let file = fs::read_to_string(viewed.env.path("claims-etl.toml")).expect("text");
    viewed.configure("[refresh.dashboard]\nenabled = false\n");
    ends(&mut viewed.run(), 0);
    assert_eq!(ends(&mut viewed.command(&["refresh", "--due"]), 0), "nothing is due\n");
    viewed.configure(&file);
    assert_eq!(run_json(&mut viewed.run(), 0)["status"], "already_loaded");
    assert_eq!(viewed.refreshes(), ["2"]);
    // Switched off while data come, and on again.
    viewed.configure(&file.replace("views", "enabled = false\nviews"));
    let viewed = viewed.claims(&MORE);
    assert_eq!(run_json(&mut viewed.run(), 0)["refresh"][2]["outcome"], "skipped");
    assert_eq!(viewed.refreshes(), ["2"]);
    viewed.configure(&file);
    let due = run_json(&mut viewed.command(&["refresh", "--due", "--format", "json"]), 0);
    assert_eq!(due[0]["target"], "sql.daily");
    assert_eq!(viewed.refreshes(), ["2", "3"]);
}

#[test]
fn a_signal_stops_the_refreshes_and_they_stay_due() {
    let viewed = Viewed::new("");
    viewed.pace(30.0);
    let at_work = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND query LIKE 'REFRESH MATERIALIZED%'
          AND state = 'active'";
    let due = ["refresh", "--due"];
    for (mut command, signal, code) in [
        (viewed.run(), Signal::SIGTERM, 143),
        (viewed.command(&due), Signal::SIGTERM, 143),
        (viewed.command(&["refresh"]), Signal::SIGINT, 130),
        (viewed.run(), Signal::SIGTERM, 143),
    ] {
        let running = Running::start(&mut command);
        until("the refresh", || viewed.env.rows(at_work) == ["1"]);
        running.signal(signal);
        let (status, printed) = running.end();
        assert_eq!(status.code(), Some(code), "{printed}");
        assert_eq!(viewed.env.rows(at_work), ["0"], "the server works on");
        assert_eq!(viewed.due(), ["sql.daily"]);
        let outcome = "SELECT outcome FROM claims_etl.refresh_outbox";
        assert_eq!(viewed.env.rows(outcome), ["cancelled"]);
    }
    viewed.pace(0.0);
    assert!(ends(&mut viewed.command(&due), 0).starts_with("sql.daily  succeeded"));
    assert_eq!(viewed.refreshes(), ["2"], "the others were rolled back");
}

#[test]
fn all_targets_are_listed_with_what_they_show() {
    let viewed = Viewed::new("");
    viewed.configure(
        "[refresh.sql.daily]\nviews = [\"public.shown\"]\nrequired = true\n\
         [refresh.sql.weekly]\nviews = [\"public.nowhere\"]\n\
         [refresh.sql.yearly]\nviews = [\"public.nowhere\"]\nenabled = false\n",
    );
    let list = || {
        let text = ends(&mut viewed.command(&["refresh", "--list"]), 0);
        of_any_day(&text, &viewed.env.settings.run.data_dir.display().to_string())
    };
    let before = list();
    assert_eq!(viewed.env.rows("SELECT to_regclass('claims_etl.runs')"), ["null"], "it only looks");
    killed(&mut viewed.run(), "publish.committed");
    let published = list();
    assert_eq!(viewed.refreshes(), [] as [&str; 0]);
    ends(&mut viewed.run(), 0);
    let refreshed = list();
    assert_snapshot!(format!("{before}\n{published}\n{refreshed}"), @"
    target on failure state last refresh began detail
    provider_month switched off
    dashboard continue nothing to show
    sql.daily exit 6 nothing to show
    sql.weekly continue nothing to show
    sql.yearly switched off

    target on failure state last refresh began detail
    provider_month switched off
    dashboard continue due
    sql.daily exit 6 due
    sql.weekly continue due
    sql.yearly switched off

    target on failure state last refresh began detail
    provider_month switched off
    dashboard continue shows run [RUN] succeeded [TIME] [DATA]/dashboard.html
    sql.daily exit 6 shows run [RUN] succeeded [TIME] 1 view; filled for the first time, not concurrently: public.shown
    sql.weekly continue due failed [TIME] there is no materialized view public.nowhere: create it, or correct refresh.sql.weekly.views
    sql.yearly switched off
    ");
    let states = run_json(&mut viewed.command(&["refresh", "--list", "--format", "json"]), 0);
    let weekly =
        states.as_array().expect("a list").iter().find(|one| one["target"] == "sql.weekly");
    let weekly = weekly.expect("the target");
    assert_eq!((&weekly["due"], &weekly["refreshed_run_id"]), (&json!(true), &json!(null)));
    assert_eq!((&weekly["outcome"], &weekly["attempts"]), (&json!("failed"), &json!(1)));
}

/// A list without what differs from day to day.
fn of_any_day(text: &str, folder: &str) -> String {
    let words = |line: &str| -> String {
        let word = |word: &str| match word {
            _ if word.len() == 36 && word.matches('-').count() == 4 => "[RUN]".to_owned(),
            _ if word.len() == 20 && word.ends_with('Z') => "[TIME]".to_owned(),
            _ => word.replace(folder, "[DATA]"),
        };
        line.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
    };
    text.lines().map(|line| words(line) + "\n").collect()
}

#[test]
fn names_of_targets_and_of_providers_choose() {
    let viewed = Viewed::new("");
    ends(&mut viewed.run(), 0);
    ends(&mut viewed.command(&["refresh", "sql.daily"]), 0);
    ends(&mut viewed.command(&["refresh", "sql"]), 0);
    let out = ends(&mut viewed.command(&["refresh", "dashboard"]), 0);
    assert!(out.starts_with("dashboard  skipped"), "{out}");
    assert_eq!(viewed.refreshes().len(), 3);
    let output = process::output(&mut viewed.command(&["refresh", "sql.daly"]));
    let printed = crate::support::refresh_probe::text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{printed}");
    assert!(
        printed.contains("sql.daly") && printed.contains("provider_month, dashboard, sql.daily"),
        "{printed}"
    );
    for both in [&["refresh", "--due", "sql"][..], &["refresh", "--list", "--due"]] {
        assert_eq!(process::output(&mut viewed.command(both)).status.code(), Some(2));
    }
}

#[test]
fn a_check_asks_every_target_and_starts_nothing() {
    let viewed = Viewed::new("");
    let check = |code: i32| ends(&mut process::reading(&viewed.env, &["check"]), code);
    let good = check(0);
    assert!(good.contains("✓ sql.daily: optional; 1 view\n"), "{good}");
    assert!(good.contains("✓ dashboard: switched off: refresh.dashboard.enabled"), "{good}");
    viewed.sql("ALTER MATERIALIZED VIEW public.shown RENAME TO hidden");
    let bad = check(0);
    assert!(bad.contains("✗ sql.daily: optional; there is no materialized view"), "{bad}");
    let file = fs::read_to_string(viewed.env.path("claims-etl.toml")).expect("text");
    viewed.configure(&format!("{file}required = true\n"));
    let bad = check(6);
    assert!(bad.contains("✗ sql.daily: required; there is no materialized view"), "{bad}");
    viewed.sql("ALTER MATERIALIZED VIEW public.hidden RENAME TO shown");
    check(0);
    assert_eq!(viewed.refreshes(), [] as [&str; 0]);
    assert_eq!(viewed.env.rows("SELECT to_regclass('claims_etl.runs')"), ["null"]);
}
