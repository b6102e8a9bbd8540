//! Lineage of real loads: into a file, to a server that is well, slow, broken or not there.

use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use claims_etl::event::{Cancellation, Observer, RunEvent};
use claims_etl::pipeline::{self, RunOptions, RunReport, Status};
use claims_etl::secret::source::SecretSource;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::fixtures;
use crate::support::mock_http::{MockHttp, Reply};
use crate::support::openlineage::{Official, keys, lives};
use crate::support::process::{self, Running, until};
use crate::support::test_env::{TestEnv, succeeded};

/// Events of a run that loads: the run and its five tasks, each with a start and an end.
const EVENTS: usize = 12;

/// A listener that keeps warnings.
#[derive(Default)]
struct Warnings(Mutex<Vec<String>>);

impl Observer for Warnings {
    fn observe(&self, event: &RunEvent) {
        if let RunEvent::Warning(text) = event {
            self.0.lock().expect("no panic").push(text.clone());
        }
    }
}

fn env() -> TestEnv {
    let mut env = TestEnv::new()
        .claims(&[
            "A,P,V1,1,1.00,2024-01-01",
            "B,P,V1,1,2.00,2024-01-02",
            "C,Q,V9,2,3.00,2024-01-03",
            "D,Q,V1,2,,2024-01-03",
        ])
        .providers(&["V1,Ann,Cardiology,Boston", "V2,Bob,Oncology,Salem"]);
    env.settings.lineage.file = Some(events_file(&env));
    env
}

fn events_file(env: &TestEnv) -> PathBuf {
    env.path("events.ndjson")
}

fn events(env: &TestEnv) -> Vec<Value> {
    let text = fs::read_to_string(events_file(env)).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("one JSON object a line")).collect()
}

fn run(env: &TestEnv) -> (RunReport, Vec<String>) {
    let warnings = Warnings::default();
    let options = RunOptions::default();
    let report = pipeline::run(&env.settings, &options, &warnings, &Cancellation::default());
    (report, warnings.0.into_inner().expect("no panic"))
}

/// The events of a job.
fn of<'e>(events: &'e [Value], job: &str) -> Vec<&'e Value> {
    let name = format!("healthcare_claims_etl{job}");
    events.iter().filter(|event| event["job"]["name"] == name.as_str()).collect()
}

fn valid(events: &[Value]) {
    let Some(official) = Official::new() else { return };
    for event in events {
        let errors = official.errors(event);
        assert!(errors.is_empty(), "{errors:#?}\n{event:#}");
    }
}

#[test]
fn a_load_reports_what_it_read_and_wrote() {
    let env = env();
    let (report, warnings) = run(&env);
    succeeded(&report);
    assert_eq!(warnings, [] as [&str; 0]);
    let events = events(&env);
    let short = lives(&events);
    assert_eq!(short.len(), EVENTS, "{short:?}");
    assert!(short.iter().all(|(_, kind)| kind == "START" || kind == "COMPLETE"), "{short:?}");
    valid(&events);

    let whole = of(&events, "");
    assert_eq!(whole[0]["run"]["runId"], report.run_id.as_str());
    for task in events.iter().filter(|event| event["job"]["name"] != "healthcare_claims_etl") {
        let parent = &task["run"]["facets"]["parent"];
        assert_eq!(parent["run"]["runId"], report.run_id.as_str());
        assert_eq!(parent["root"]["job"]["name"], "healthcare_claims_etl");
    }
    let load = of(&events, ".load.load_warehouse")[1];
    let claims = &load["inputs"][0];
    assert_eq!(claims["namespace"], "file");
    assert_eq!(claims["name"], env.settings.claims.sources[0].as_str());
    let statistics = &claims["inputFacets"]["inputStatistics"];
    let size = fs::metadata(&env.settings.claims.sources[0]).expect("a file").len();
    assert_eq!((&statistics["rowCount"], &statistics["size"]), (&json!(4), &json!(size)));
    let assertions = claims["inputFacets"]["dataQualityAssertions"]["assertions"].as_array();
    let failed: Vec<&Value> =
        assertions.expect("assertions").iter().filter(|one| one["success"] == false).collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(
        (&failed[0]["assertion"], &failed[0]["column"]),
        (&json!("amount_missing"), &json!("amount"))
    );

    let (fact, dimension) = (&load["outputs"][0], &load["outputs"][1]);
    let name = fact["name"].as_str().expect("a name");
    assert!(name.ends_with(".healthcare_analytics.claims_fact"), "{name}");
    let namespace = fact["namespace"].as_str().expect("a namespace");
    assert!(namespace.starts_with("postgres://") && !namespace.contains('@'), "{namespace}");
    assert_eq!(fact["outputFacets"]["outputStatistics"]["rowCount"], 3);
    assert_eq!(dimension["outputFacets"]["outputStatistics"]["rowCount"], 3);
    let token = &fact["facets"]["columnLineage"]["fields"]["claim_token"]["inputFields"][0];
    assert_eq!(
        (&token["field"], &token["transformations"][0]["masking"]),
        (&json!("claim_id"), &json!(true))
    );
    let columns = fact["facets"]["schema"]["fields"].as_array().expect("columns");
    let in_database = env.rows(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'healthcare_analytics.claims_fact'::regclass
         AND attnum > 0 AND attname <> 'run_no' ORDER BY attname",
    );
    let mut names: Vec<&str> =
        columns.iter().filter_map(|column| column["name"].as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, in_database);
    let page = &of(&events, ".load.refresh_bi")[1]["outputs"][0];
    assert_eq!(page["name"], env.settings.dashboard_path().display().to_string());
}

#[test]
fn facets_are_on_the_right_events() {
    let mut env = env();
    env.settings.run.interval_start = Some("2024-01-01".parse().expect("a date"));
    env.settings.run.interval_end = Some("2024-02-01".parse().expect("a date"));
    succeeded(&run(&env).0);
    let events = events(&env);
    valid(&events);
    let last = keys(of(&events, ".load.load_warehouse")[1]);
    for key in [
        "nominalTime",
        "parent",
        "processing_engine",
        "jobType",
        "documentation",
        "ownership",
        "schema",
        "dataSource",
        "datasetType",
        "columnLineage",
        "inputStatistics",
        "dataQualityMetrics",
        "dataQualityAssertions",
        "outputStatistics",
    ] {
        assert!(last.iter().any(|known| known == key), "{key} is not among {last:?}");
    }
    // At the start it is not known yet.
    assert!(!keys(of(&events, "")[0]).iter().any(|key| key == "dataQualityAssertions"));
}

#[test]
fn the_official_schemas_find_what_is_wrong() {
    let Some(official) = Official::new() else { return };
    let folder = fixtures::folder("openlineage/examples").expect("beside the schemas");
    let example = fixtures::read(&folder, "claims_complete_validated.json");
    let example = serde_json::from_str(&example).expect("JSON");
    assert_eq!(official.errors(&example), [] as [&str; 0], "what is right");
    let env = env();
    succeeded(&run(&env).0);
    let load = of(&events(&env), ".load.load_warehouse")[1].clone();
    assert!(official.errors(&load).is_empty());
    let broken = |pointer: &str, key: &str, value: Option<Value>| {
        let mut event = load.clone();
        let place = event.pointer_mut(pointer).expect(pointer).as_object_mut().expect("an object");
        match value {
            Some(value) => place.insert(key.to_owned(), value),
            None => place.remove(key),
        };
        official.errors(&event)
    };
    // The top-level schema takes every facet as it is: only its own finds this.
    let facet = broken("/job/facets/jobType", "processingType", None);
    assert!(facet.len() == 1 && facet[0].starts_with("JobFacet jobType"), "{facet:?}");
    let swapped = load.pointer("/run/facets/parent").cloned();
    assert!(!broken("/job/facets", "documentation", swapped).is_empty(), "another's schema");
    assert!(!broken("/run", "runId", Some(json!("7"))).is_empty(), "no UUID");
    assert!(!broken("", "eventTime", Some(json!("today"))).is_empty(), "no time");
    assert!(!broken("", "producer", None).is_empty());
    // How a private server is named is an address to them.
    let socket = json!("postgres://%2Fdata%2Fwarehouse:5432/db");
    assert!(broken("/outputs/0/facets/dataSource", "uri", Some(socket)).is_empty());
    assert!(!broken("/outputs/0/facets/dataSource", "uri", Some(json!("no address"))).is_empty());
    let metrics = "/inputs/0/inputFacets/dataQualityMetrics";
    assert!(!broken(metrics, "rowCount", Some(json!("many"))).is_empty());
}

#[test]
fn a_failure_is_reported_with_its_cause() {
    let mut env = env();
    env.settings.claims.sources = vec!["/nowhere/claims.csv".into()];
    let (report, _) = run(&env);
    assert_eq!((report.status, report.exit_code), (Status::Failed, 3));
    let events = events(&env);
    let short = lives(&events);
    valid(&events);
    let ends: Vec<&str> =
        short.iter().filter(|(_, kind)| kind == "FAIL").map(|(job, _)| job.as_str()).collect();
    assert_eq!(ends, [".extract.extract_claims", ""], "{short:?}");
    assert_eq!(short.len(), 6, "no task after it began");
    let facet = &of(&events, ".extract.extract_claims")[1]["run"]["facets"]["errorMessage"];
    let message = facet["message"].as_str().expect("a message");
    assert!(message.contains("/nowhere/claims.csv"), "{message}");
}

#[test]
fn a_refused_run_reports_the_broken_rules_and_no_output() {
    let mut env = env();
    env.settings.quality.max_reject_ratio = 0.0;
    let (report, _) = run(&env);
    assert_eq!(report.exit_code, 4);
    let events = events(&env);
    lives(&events);
    valid(&events);
    let end = of(&events, "")[1];
    assert_eq!((&end["eventType"], &end["outputs"]), (&json!("FAIL"), &json!([])));
    let quality = end["inputs"][0]["inputFacets"]["dataQualityAssertions"].to_string();
    assert!(quality.contains("amount_missing"), "{quality}");
}

#[test]
fn input_that_is_already_loaded_is_reported_without_a_load() {
    let env = env();
    succeeded(&run(&env).0);
    fs::remove_file(events_file(&env)).expect("removed");
    assert_eq!(run(&env).0.status, Status::AlreadyLoaded);
    let events = events(&env);
    let short = lives(&events);
    valid(&events);
    assert_eq!(short.len(), 8, "{short:?}");
    assert!(of(&events, ".load.load_warehouse").is_empty());
    assert_eq!(of(&events, "")[1]["outputs"], json!([]));
}

#[test]
fn a_dry_run_has_no_lineage() {
    let env = env();
    let options = RunOptions { dry_run: true, ..RunOptions::default() };
    assert_eq!(env.run_with(&options).status, Status::Success);
    assert!(!events_file(&env).exists());
}

#[test]
fn a_signal_aborts_what_was_at_work() {
    let env = env();
    // By the same program, which has its own key.
    assert!(process::output(&mut process::reading(&env, &["run"])).status.success());
    let toml = format!("[lineage]\nfile = '{}'\n", events_file(&env).display());
    fs::write(env.path("claims-etl.toml"), toml).expect("written");
    let mut client = env.database.connect();
    let lock = "BEGIN; LOCK TABLE healthcare_analytics.claims_fact IN SHARE MODE";
    client.batch_execute(lock).expect("locked");
    let mut running =
        Running::start(process::reading(&env, &["run"]).args(["--force", "--mode", "replace"]));
    let mut looking = env.database.connect();
    let waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND database = (
        SELECT oid FROM pg_database WHERE datname = current_database()))";
    until("the publish to wait", || {
        assert!(running.goes_on());
        looking.query_one(waits, &[]).expect("an answer").get(0)
    });
    running.signal(Signal::SIGTERM);
    let (status, stderr) = running.end();
    assert_eq!(status.code(), Some(143), "{stderr}");
    let events = events(&env);
    let short = lives(&events);
    valid(&events);
    let ends: Vec<&str> =
        short.iter().filter(|(_, kind)| kind == "ABORT").map(|(job, _)| job.as_str()).collect();
    assert_eq!(ends, [".load.load_warehouse", ""], "{short:?}");
}

#[test]
fn an_orchestrator_names_the_parent_and_can_switch_all_off() {
    const PARENT: &str = "0193513a-7a31-7c10-8a55-2f1b0c9a0001";
    const ROOT: &str = "0193513a-7a31-7c10-8a55-2f1b0c9a0002";
    let env = env();
    let toml = format!("[lineage]\nfile = '{}'\n", events_file(&env).display());
    fs::write(env.path("claims-etl.toml"), toml).expect("written");
    let mut off = process::reading(&env, &["run"]);
    assert!(process::output(off.env("OPENLINEAGE_DISABLED", "true")).status.success());
    assert!(!events_file(&env).exists());
    let mut command = process::reading(&env, &["run", "--force"]);
    command
        .env("OPENLINEAGE_PARENT_ID", format!("airflow/daily.load/{PARENT}"))
        .env("OPENLINEAGE_ROOT_PARENT_ID", format!("airflow/daily/{ROOT}"))
        .env("OPENLINEAGE_NAMESPACE", "warehouse-team");
    assert!(process::output(&mut command).status.success());
    let events = events(&env);
    assert_eq!(lives(&events).len(), EVENTS);
    valid(&events);
    let parent = &of(&events, "")[0]["run"]["facets"]["parent"];
    assert_eq!(
        (&parent["run"]["runId"], &parent["job"]["name"]),
        (&json!(PARENT), &json!("daily.load"))
    );
    for event in &events {
        assert_eq!(event["job"]["namespace"], "warehouse-team");
        assert_eq!(event["run"]["facets"]["parent"]["root"]["run"]["runId"], ROOT);
    }
}

#[test]
fn a_server_gets_the_same_events_as_the_file() {
    let server = MockHttp::start(|_| Reply::status(201));
    let mut env = env();
    let lineage = &mut env.settings.lineage;
    lineage.url = Some(server.address().to_owned());
    lineage.api_key = SecretSource::from_variable("OPENLINEAGE_API_KEY", "hunter2");
    lineage.flush_secs = 30;
    let (report, warnings) = run(&env);
    succeeded(&report);
    assert_eq!(warnings, [] as [&str; 0]);
    let heard = server.heard();
    assert_eq!(server.count("POST", ""), EVENTS);
    let posted: Vec<Value> =
        heard.iter().map(|request| serde_json::from_str(&request.text()).expect("JSON")).collect();
    assert_eq!(posted, events(&env));
    for request in &heard {
        assert_eq!(request.path, "/api/v1/lineage");
        assert_eq!(request.header("authorization"), Some("Bearer hunter2"));
        assert_eq!(request.header("content-type"), Some("application/json"));
    }
}

/// Loads while the lineage server answers like this; the posts that it heard.
fn with_server(
    reply: impl Fn() -> Reply + Send + Sync + 'static,
    flush: u64,
    warning: &str,
) -> usize {
    let server = MockHttp::start(move |_| reply());
    let mut env = env();
    env.settings.lineage.url = Some(server.address().to_owned());
    env.settings.lineage.flush_secs = flush;
    let (report, warnings) = run(&env);
    succeeded(&report);
    assert_eq!(env.rows("SELECT count(*) FROM healthcare_analytics.claims_fact"), ["3"]);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with(warning), "{warnings:?}");
    assert!(!warnings[0].contains("127.0.0.1"), "{warnings:?}");
    assert_eq!(events(&env).len(), EVENTS, "the file gets them all the same");
    server.count("POST", "/api/v1/lineage")
}

#[test]
fn a_broken_server_gets_five_requests_and_then_one_an_event() {
    let warning =
        "12 of 12 lineage events did not get to the lineage server: the server answers 503";
    assert_eq!(with_server(|| Reply::json(503, "{\"patient\":1}"), 30, warning), 5 + EVENTS - 1);
}

#[test]
fn a_server_that_refuses_gets_one_request_an_event() {
    let warning =
        "12 of 12 lineage events did not get to the lineage server: the server answers 422";
    assert_eq!(with_server(|| Reply::status(422), 30, warning), EVENTS);
    let warning = "12 of 12 lineage events did not get to the lineage server: the connection ended";
    assert_eq!(with_server(Reply::cut, 30, warning), EVENTS);
}

#[test]
fn a_server_that_does_not_answer_costs_no_more_than_the_flush() {
    let silent = || Reply::status(200).after(Duration::from_mins(1));
    let warning = "12 of 12 lineage events did not get to the lineage server";
    assert_eq!(with_server(silent, 1, warning), 1, "the second event was never sent");
}

#[test]
fn a_server_that_is_not_there_is_a_warning() {
    let mut env = env();
    env.settings.lineage.url = Some("http://127.0.0.1:1".into());
    let (report, warnings) = run(&env);
    succeeded(&report);
    assert_eq!(warnings.len(), 1);
    assert!(
        warnings[0].ends_with("the lineage server: no connection could be made"),
        "{warnings:?}"
    );
}

#[test]
fn a_file_that_cannot_be_written_is_a_warning() {
    let mut env = env();
    env.settings.lineage.file = Some(env.path("none/events.ndjson"));
    let (report, warnings) = run(&env);
    succeeded(&report);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with("12 of 12 lineage events did not get to /"), "{warnings:?}");
}
