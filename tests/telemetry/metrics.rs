//! Metrics: the file after runs of every kind, read line by line as strictly as node_exporter reads
//! it, and the endpoint.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use claims_etl::pipeline::{RunOptions, Status};
use claims_etl::telemetry::metrics::{Endpoint, Figures, Health, Totals};
use serde_json::{Value, json};

use crate::support::process;
use crate::support::test_env::{TestEnv, succeeded};

/// The samples of an exposition, by name and labels; refuses what Prometheus' text format does not
/// allow.
fn parse(text: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    let (mut helped, mut typed) = (BTreeSet::new(), BTreeMap::new());
    assert!(text.ends_with("# EOF\n"), "it is whole");
    for line in text.lines() {
        if line == "# EOF" {
            continue;
        }
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').expect("a name and a text");
            assert!(is_name(name) && !help.is_empty(), "{line}");
            assert!(helped.insert(name.to_owned()), "helped twice: {line}");
            continue;
        }
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a name and a type");
            assert!(matches!(kind, "gauge" | "counter"), "{line}");
            assert!(helped.contains(name), "help comes first: {line}");
            assert!(typed.insert(name.to_owned(), kind.to_owned()).is_none(), "{line}");
            continue;
        }
        assert!(!line.starts_with('#') && !line.is_empty(), "{line:?}");
        let (series, value) = line.rsplit_once(' ').expect("a sample");
        let name = series.split('{').next().expect("a name");
        assert!(is_name(name) && name.starts_with("claims_etl_"), "{line}");
        let base = name.strip_suffix("_total").filter(|base| typed.contains_key(*base));
        let kind = typed.get(base.unwrap_or(name)).expect("a type comes before its samples");
        assert_eq!(kind == "counter", base.is_some(), "{line}");
        if let Some(labels) = series.strip_prefix(name).filter(|labels| !labels.is_empty()) {
            let inner = labels.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
            for label in inner.expect("braces").split(',') {
                let (name, value) = label.split_once('=').expect("a label");
                assert!(is_name(name), "{line}");
                let value = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
                let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
                assert!(value.expect("quotes").chars().all(plain), "{line}");
            }
        }
        let value: f64 = value.parse().expect("a number");
        assert!(value.is_finite());
        assert!(samples.insert(series.to_owned(), value).is_none(), "duplicate sample: {line}");
    }
    assert_eq!(helped.len(), typed.len());
    samples
}

fn is_name(text: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !text.is_empty() && text.chars().all(fine) && !text.starts_with(|c: char| c.is_ascii_digit())
}

fn env() -> TestEnv {
    let mut env = TestEnv::new()
        .claims(&["A,P,V1,1,1.25,2024-01-01", "B,P,V9,1,2.00,2024-01-02", "C,P,V1,1,,2024-01-02"])
        .providers(&["V1,Ann,Cardiology,Boston"]);
    env.settings.metrics.textfile = Some(env.path("claims.prom"));
    env
}

fn samples(env: &TestEnv) -> BTreeMap<String, f64> {
    let text = fs::read_to_string(env.path("claims.prom")).expect("a file");
    assert!(!text.contains(" counter\n"), "gauges only");
    parse(&text)
}

#[track_caller]
fn is(samples: &BTreeMap<String, f64>, series: &str, value: f64) {
    let found = samples.get(&format!("claims_etl_{series}"));
    assert_eq!(found, Some(&value), "{series} in {samples:#?}");
}

#[test]
fn the_file_reports_a_run_that_has_loaded() {
    let env = env();
    succeeded(&env.run());
    let samples = samples(&env);
    for (series, value) in [
        ("last_run_success", 1.0),
        ("last_run_exit_code", 0.0),
        ("last_run_status{status=\"success\"}", 1.0),
        ("last_run_status{status=\"failed\"}", 0.0),
        ("last_run_claims{class=\"read\"}", 3.0),
        ("last_run_claims{class=\"loaded\"}", 2.0),
        ("last_run_claims{class=\"inserted\"}", 2.0),
        ("last_run_claims{class=\"rejected\"}", 1.0),
        ("last_run_amount_cents{class=\"loaded\"}", 325.0),
        ("last_run_providers{class=\"inferred\"}", 1.0),
        ("last_run_rejects{rule=\"amount_missing\"}", 1.0),
        ("last_run_flags{rule=\"provider_not_in_directory\"}", 1.0),
        ("last_run_task_tries{task=\"load.load_warehouse\"}", 1.0),
        ("last_run_task_success{task=\"load.refresh_bi\"}", 1.0),
        ("last_run_refresh_success{target=\"dashboard\"}", 1.0),
        ("last_run_refresh_outcome{target=\"dashboard\",outcome=\"succeeded\"}", 1.0),
    ] {
        is(&samples, series, value);
    }
    let bytes = fs::metadata(&env.settings.claims.sources[0]).expect("a file").len();
    #[expect(clippy::cast_precision_loss, reason = "a small file")]
    is(&samples, "last_run_input_bytes{input=\"claims\"}", bytes as f64);
    let time = |name: &str| samples[&format!("claims_etl_last_run_{name}_timestamp_seconds")];
    assert!(time("end") >= time("start") && time("start") > 1_700_000_000.0);
    let success = samples["claims_etl_last_success_timestamp_seconds"];
    assert!((success - time("end")).abs() < 0.001);
}

#[test]
fn the_file_reports_a_failed_run_and_the_last_success() {
    let mut env = env();
    succeeded(&env.run());
    let before = samples(&env);
    env.settings.claims.sources = vec!["/nowhere/claims.csv".into()];
    assert_eq!(env.run().exit_code, 3);
    let after = samples(&env);
    is(&after, "last_run_success", 0.0);
    is(&after, "last_run_exit_code", 3.0);
    is(&after, "last_run_task_success{task=\"extract.extract_claims\"}", 0.0);
    is(&after, "last_run_task_success{task=\"load.load_warehouse\"}", 0.0);
    is(&after, "last_run_claims{class=\"loaded\"}", 0.0);
    is(
        &after,
        "last_success_timestamp_seconds",
        before["claims_etl_last_success_timestamp_seconds"],
    );
    // Before any task: no key, no warehouse.
    env.settings.claims.date_formats = vec!["%H".into()];
    assert_eq!(env.run().exit_code, 2);
    is(&samples(&env), "last_run_exit_code", 2.0);
}

#[test]
fn input_that_is_already_loaded_is_not_a_failure() {
    let env = env();
    succeeded(&env.run());
    assert_eq!(env.run().status, Status::AlreadyLoaded);
    let samples = samples(&env);
    is(&samples, "last_run_status{status=\"already_loaded\"}", 1.0);
    is(&samples, "last_run_success", 1.0);
    is(&samples, "last_run_task_success{task=\"load.load_warehouse\"}", 1.0);
}

#[test]
fn a_dry_run_leaves_the_file_alone() {
    let env = env();
    let options = RunOptions { dry_run: true, ..RunOptions::default() };
    assert_eq!(env.run_with(&options).status, Status::Success);
    assert!(!env.path("claims.prom").exists());
}

#[test]
fn a_variable_names_the_file_and_a_wrong_place_only_warns() {
    let env = env();
    let mut command = process::reading(&env, &["run"]);
    command.env("CLAIMS_ETL_METRICS_TEXTFILE", env.path("other.prom"));
    assert!(process::output(&mut command).status.success());
    let text = fs::read_to_string(env.path("other.prom")).expect("a file");
    is(&parse(&text), "last_run_success", 1.0);
    let mut command = process::reading(&env, &["run", "--force"]);
    let output = process::output(command.env("CLAIMS_ETL_METRICS_TEXTFILE", "/nowhere/x.prom"));
    assert!(output.status.success());
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(printed.contains("no metrics were written: /nowhere/x.prom"), "{printed}");
}

fn endpoint(healthy: Arc<AtomicBool>) -> Endpoint {
    let source = move || {
        let totals = Totals {
            runs: BTreeMap::from([("success".into(), 2), ("failed".into(), 1)]),
            intervals: BTreeMap::from([("done".into(), 2)]),
            next_run: None,
        };
        Health {
            healthy: healthy.load(Ordering::SeqCst),
            detail: json!({ "lease": "held" }),
            figures: Figures { totals: Some(totals), ..Figures::default() },
        }
    };
    Endpoint::start(SocketAddr::from(([127, 0, 0, 1], 0)), Arc::new(source)).expect("a port")
}

/// The answer to some bytes: status line with headers, and body.
fn ask(address: SocketAddr, bytes: &[u8]) -> (String, String) {
    let mut socket = TcpStream::connect(address).expect("somebody listens");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
    // A server that has heard enough may have closed already.
    let _ = socket.write_all(bytes);
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    (head.to_lowercase(), body.to_owned())
}

/// Head (in lower case) and body of the answer to a GET.
pub(crate) fn get(address: SocketAddr, path: &str) -> (String, String) {
    ask(address, format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes())
}

#[test]
fn the_endpoint_serves_metrics_and_health() {
    let healthy = Arc::new(AtomicBool::new(true));
    let endpoint = endpoint(Arc::clone(&healthy));
    let (head, body) = get(endpoint.address(), "/metrics");
    assert!(head.starts_with("http/1.1 200") && head.contains("openmetrics-text"), "{head}");
    let samples = parse(&body);
    is(&samples, "runs_total{status=\"success\"}", 2.0);
    is(&samples, "intervals_total{state=\"done\"}", 2.0);
    let (head, body) = get(endpoint.address(), "/healthz");
    assert!(head.starts_with("http/1.1 200") && head.contains("application/json"), "{head}");
    let health: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(health, json!({ "status": "ok", "lease": "held" }));
    healthy.store(false, Ordering::SeqCst);
    let (head, body) = get(endpoint.address(), "/healthz?x=1");
    assert!(head.starts_with("http/1.1 503") && body.contains("unhealthy"), "{head} {body}");
    assert!(get(endpoint.address(), "/secret").0.starts_with("http/1.1 404"));
}

#[test]
fn bad_requests_do_no_harm() {
    let endpoint = endpoint(Arc::new(AtomicBool::new(true)));
    let address = endpoint.address();
    let long = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(1 << 20));
    for bytes in [
        &b"POST /metrics HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"[..],
        b"\0\x01\x02\r\n\r\n",
        b"GET /metrics SMTP/9.9\r\n\r\n",
        b"GET /../../etc/passwd HTTP/1.1\r\nHost: h\r\n\r\n",
        long.as_bytes(),
    ] {
        let (head, _) = ask(address, bytes);
        assert!(head.is_empty() || head.starts_with("http/1.1 4"), "{head}");
    }
    // A silent connection does not delay others.
    let silent = TcpStream::connect(address).expect("somebody listens");
    assert!(get(address, "/metrics").0.starts_with("http/1.1 200"));
    drop(endpoint);
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
    drop(silent);
}

#[test]
fn a_port_that_is_taken_is_an_error() {
    let first = endpoint(Arc::new(AtomicBool::new(true)));
    let second = Endpoint::start(first.address(), Arc::new(Health::default));
    let error = second.err().expect("taken");
    assert_eq!(error.kind().exit_code(), 2);
    assert!(error.message().contains("cannot listen on 127.0.0.1:"), "{error}");
}
