//! Log lines as a container's runtime collects them: one JSON object a line, and nothing else.

use std::fs;

use serde_json::Value;

use crate::support::process;
use crate::support::test_env::TestEnv;

fn env() -> TestEnv {
    TestEnv::new()
        .claims(&["A,P,V1,1,1.00,2024-01-01", "B,P,,1,,2024-01-02"])
        .providers(&["V1,Ann,Cardiology,Boston"])
}

/// Every line of standard error as an object with what every line must have; and the exit code.
fn lines(env: &TestEnv, options: &[&str]) -> (Vec<Value>, Option<i32>) {
    let mut command = process::reading(env, &["run"]);
    let output = process::output(command.args(["--log-format", "json"]).args(options));
    let printed = String::from_utf8(output.stderr).expect("UTF-8");
    let lines: Vec<Value> = printed
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect();
    for line in &lines {
        assert!(line.is_object(), "{line}");
        for field in ["timestamp", "level", "message"] {
            assert!(line[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {line}");
        }
    }
    (lines, output.status.code())
}

#[test]
fn every_line_of_a_run_is_an_object_with_the_runs_id() {
    let env = env();
    let (lines, code) = lines(&env, &["--format", "json"]);
    assert_eq!(code, Some(0));
    let run = &env.rows("SELECT run_id FROM claims_etl.runs")[0];
    for line in &lines {
        assert_eq!(line["run_id"], run.as_str(), "{line}");
    }
    let message = |text: &str| -> Vec<&Value> {
        lines.iter().filter(|line| line["message"] == text).collect()
    };
    assert_eq!((message("run started").len(), message("run finished").len()), (1, 1));
    assert_eq!(message("run finished")[0]["status"], "success");
    let finished = message("task finished");
    assert_eq!(finished.len(), 5);
    for line in finished {
        assert_eq!(line["state"], "success");
        assert!(line["task"].is_string() && line["seconds"].is_number(), "{line}");
    }
    for line in message("task started") {
        assert_eq!(line["attempt"], 1, "{line}");
    }
}

#[test]
fn failures_are_objects_too() {
    let mut env = env();
    let (log, code) = lines(&env, &["--max-reject-ratio", "0.1"]);
    assert_eq!(code, Some(4));
    let last = log.last().expect("a line");
    assert_eq!((&last["level"], &last["kind"]), (&"ERROR".into(), &"quality".into()), "{last}");
    assert!(last["run_id"].is_string() && last["hint"].is_string(), "{last}");
    let failed = log.iter().find(|line| line["state"] == "failed").expect("a failed task");
    assert!(failed["error"].as_str().is_some_and(|error| error.contains("rejected")), "{failed}");
    env.settings.claims.sources = vec!["/nowhere/claims.csv".into()];
    assert_eq!(lines(&env, &[]).1, Some(3));
    // Refused before there is a run.
    fs::write(env.path("claims-etl.toml"), "nonsense = 1").expect("written");
    let (log, code) = lines(&env, &[]);
    assert_eq!((log.len(), code), (1, Some(2)));
}

#[test]
fn a_refresh_that_is_made_up_for_has_the_runs_id() {
    let env = env();
    assert_eq!(lines(&env, &[]).1, Some(0));
    let (log, code) = lines(&env, &["--resume", "last"]);
    assert_eq!(code, Some(0));
    let run = &env.rows("SELECT run_id FROM claims_etl.runs")[0];
    assert!(log.iter().any(|line| line["run_id"] == run.as_str()), "{log:?}");
}
