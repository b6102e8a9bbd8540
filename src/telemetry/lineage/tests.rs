//! Tests of a run's events.

use std::path::Path;

use serde_json::json;

use super::*;
use crate::config::LineageCaller;

const CALLER: &str = "0193513a-7a31-7c10-8a55-2f1b0c9a0001";

fn settings(file: &Path) -> Settings {
    let mut settings = Settings::default();
    settings.lineage.file = Some(file.to_owned());
    settings.run.interval_start = Some("2024-01-01".parse().expect("a date"));
    settings.run.interval_end = Some("2024-01-02".parse().expect("a date"));
    settings
}

#[expect(clippy::unnecessary_wraps, reason = "the signature that `observe` expects")]
fn warehouse() -> Option<WarehouseAddress> {
    Some(WarehouseAddress {
        host: "db.example.org".into(),
        port: 5432,
        database: "warehouse".into(),
    })
}

fn started(task: &str) -> RunEvent {
    RunEvent::TaskStarted { task: task.into(), attempt: 1 }
}

fn finished(task: &str, result: Option<Value>, error: Option<Error>) -> RunEvent {
    let state = if error.is_some() { "failed" } else { "success" };
    RunEvent::TaskFinished { task: task.into(), state, elapsed: Duration::ZERO, result, error }
}

fn extracted(path: &str, columns: &[&str]) -> Value {
    let mapping: Value = columns.iter().map(|name| ((*name).to_owned(), json!(name))).collect();
    json!({ "files": [
        { "path": path, "bytes": 64, "format": "csv", "header": columns, "columns": mapping },
    ] })
}

fn account() -> ControlTotals {
    let mut account = ControlTotals::default();
    account.claims.read = 3;
    account.claims.loaded = 2;
    account.claims.inserted = 2;
    account.claims.rejected = 1;
    account.reject_reasons.insert("amount_missing".into(), 1);
    account.providers.loaded = 1;
    account
}

/// The events of a run with these settings.
fn events(
    settings: &Settings,
    scope: Scope,
    run: impl FnOnce(&Lineage<'_>) -> End<'static>,
) -> Vec<Value> {
    let id = RunId::parse("0193513a-7a31-7c10-8a55-2f1b0c9a77d1").expect("an id");
    let (lineage, warnings) = Lineage::start(settings, id, scope);
    assert!(warnings.is_empty(), "{warnings:?}");
    let lineage = lineage.expect("lineage to a file");
    let end = run(&lineage);
    let warnings = lineage.finish(&end);
    assert!(warnings.is_empty(), "{warnings:?}");
    let path = settings.lineage.file.as_ref().expect("a file");
    let text = std::fs::read_to_string(path).expect("events");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn in_short(events: &[Value]) -> Vec<(&str, &str)> {
    events
        .iter()
        .map(|event| {
            let job = event["job"]["name"].as_str().expect("a name");
            let job = job.strip_prefix("healthcare_claims_etl").expect("the DAG's name");
            (job, event["eventType"].as_str().expect("a type"))
        })
        .collect()
}

fn well() -> End<'static> {
    End { error: None, account: account() }
}

#[test]
fn a_run_is_reported_from_start_to_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = settings(&folder.path().join("events.ndjson"));
    let events = events(&settings, Scope::Run, |lineage| {
        let observe = |event: RunEvent| lineage.observe(&event, &warehouse);
        let claims = [
            "claim_id",
            "patient_id",
            "provider_id",
            "procedure_code",
            "amount",
            "date_of_service",
        ];
        let providers = ["provider_id", "provider_name", "specialty", "location"];
        observe(started(jobs::CLAIMS));
        observe(finished(jobs::CLAIMS, Some(extracted("/in/claims.csv", &claims)), None));
        observe(started(jobs::PROVIDERS));
        observe(finished(jobs::PROVIDERS, Some(extracted("/in/providers.csv", &providers)), None));
        observe(started(jobs::LOAD));
        // A retry is not a second run.
        observe(started(jobs::LOAD));
        observe(finished(
            jobs::LOAD,
            Some(json!({ "account": account(), "route": "merge" })),
            None,
        ));
        observe(finished(jobs::REFRESH, None, None));
        well()
    });
    let expected = [
        ("", "START"),
        (".extract.extract_claims", "START"),
        (".extract.extract_claims", "COMPLETE"),
        (".extract.extract_providers", "START"),
        (".extract.extract_providers", "COMPLETE"),
        (".load.load_warehouse", "START"),
        (".load.load_warehouse", "COMPLETE"),
        ("", "COMPLETE"),
    ];
    assert_eq!(in_short(&events), expected, "a task that never started has no events");
    let (start, load) = (&events[0], &events[6]);
    assert_eq!(start["run"]["runId"], "0193513a-7a31-7c10-8a55-2f1b0c9a77d1");
    let nominal = &start["run"]["facets"]["nominalTime"];
    assert_eq!(nominal["nominalStartTime"], "2024-01-01T00:00:00+00:00");
    assert_eq!(
        load["run"]["facets"]["parent"]["run"],
        start["run"].as_object().map(|run| json!({"runId": run["runId"]})).expect("a run")
    );
    assert_eq!(load["run"]["runId"], events[5]["run"]["runId"]);
    let names: Vec<&str> = load["outputs"]
        .as_array()
        .expect("outputs")
        .iter()
        .filter_map(|o| o["name"].as_str())
        .collect();
    assert_eq!(
        names,
        [
            "warehouse.healthcare_analytics.claims_fact",
            "warehouse.healthcare_analytics.providers_dim"
        ]
    );
    assert_eq!(load["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"], 2);
    assert_eq!(events[5]["inputs"].as_array().map(Vec::len), Some(2), "known at the start");
    assert_eq!(events[7]["outputs"], load["outputs"]);
}

#[test]
fn an_error_fails_and_a_stop_aborts() {
    for (error, kind) in [
        (Error::source("gone"), "FAIL"),
        (Error::new(ErrorKind::Interrupted(15), "stopped by a signal"), "ABORT"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = settings(&folder.path().join("events.ndjson"));
        let events = events(&settings, Scope::Run, |lineage| {
            lineage.observe(&started(jobs::CLAIMS), &warehouse);
            lineage.observe(&started(jobs::PROVIDERS), &warehouse);
            lineage.observe(&finished(jobs::CLAIMS, None, Some(error.clone())), &warehouse);
            // The other task is still running.
            let stopped = kind == "ABORT";
            End { error: Some(("it ended", stopped)), account: ControlTotals::default() }
        });
        let ends: Vec<(&str, &str)> = in_short(&events).split_off(3);
        let expected =
            [(".extract.extract_claims", kind), (".extract.extract_providers", kind), ("", kind)];
        assert_eq!(ends, expected);
        let message = &events[3]["run"]["facets"]["errorMessage"];
        assert_eq!(
            (&message["message"], &message["programmingLanguage"]),
            (&json!(error.message()), &json!("RUST"))
        );
    }
}

#[test]
fn a_long_task_is_reported_every_half_minute() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = settings(&folder.path().join("events.ndjson"));
    let events = events(&settings, Scope::Run, |lineage| {
        lineage.observe(&started(jobs::LOAD), &warehouse);
        let began = Instant::now();
        for second in 0..95 {
            lineage.task_progressed(jobs::LOAD, began + Duration::from_secs(second));
        }
        lineage.task_progressed("unknown", began);
        lineage.observe(&finished(jobs::LOAD, None, None), &warehouse);
        well()
    });
    let running = in_short(&events).iter().filter(|(_, kind)| *kind == "RUNNING").count();
    assert_eq!(running, 3);
}

#[test]
fn an_orchestrator_is_the_parent() {
    let folder = tempfile::tempdir().expect("a folder");
    let of = |scope: Scope, file: &str| {
        let mut settings = settings(&folder.path().join(file));
        settings.lineage.caller = LineageCaller {
            parent: Some(format!("airflow/dag.task/{CALLER}")),
            ..LineageCaller::default()
        };
        events(&settings, scope, |lineage| {
            lineage.observe(&started(jobs::CLAIMS), &warehouse);
            lineage.observe(&finished(jobs::CLAIMS, None, None), &warehouse);
            well()
        })
    };
    let parent = |event: &Value, way: &str| event["run"]["facets"]["parent"].pointer(way).cloned();
    let whole = of(Scope::Run, "whole");
    assert_eq!(parent(&whole[0], "/run/runId"), Some(json!(CALLER)));
    assert_eq!(parent(&whole[1], "/run/runId"), Some(whole[0]["run"]["runId"].clone()));
    assert_eq!(parent(&whole[1], "/root/run/runId"), Some(json!(CALLER)));
    let task = of(Scope::Task, "task");
    assert_eq!(in_short(&task).len(), 2, "the orchestrator reports the run");
    assert_eq!(parent(&task[0], "/job/name"), Some(json!("dag.task")));
    let rest = of(Scope::Resumed, "rest");
    assert_ne!(rest[0]["run"]["runId"], whole[0]["run"]["runId"], "that one has ended");
}

#[test]
fn without_a_target_there_is_no_lineage() {
    let silent = Settings::default();
    let (lineage, warnings) = Lineage::start(&silent, RunId::now(), Scope::Run);
    assert!(lineage.is_none() && warnings.is_empty());
    let folder = tempfile::tempdir().expect("a folder");
    let mut settings = settings(&folder.path().join("events.ndjson"));
    settings.lineage.disabled = true;
    assert!(Lineage::start(&settings, RunId::now(), Scope::Run).0.is_none());
    settings.lineage.disabled = false;
    settings.lineage.url = Some("http://127.0.0.1:1".into());
    settings.lineage.api_key = crate::secret::source::SecretSource::from_file("/nowhere/key");
    settings.lineage.caller.parent = Some("nonsense".into());
    let (lineage, warnings) = Lineage::start(&settings, RunId::now(), Scope::Run);
    assert!(lineage.is_some(), "lineage to the file");
    assert!(
        warnings[0].starts_with("no lineage is sent to the server: lineage.api_key"),
        "{warnings:?}"
    );
    assert_eq!(warnings[1], "OPENLINEAGE_PARENT_ID cannot be read");
}
