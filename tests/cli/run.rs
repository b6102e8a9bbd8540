//! `run` from the command line to the tables: what people read, what programs read, exit codes,
//! signals. Each test has a database of its own.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Stdio};

use insta::{assert_snapshot, with_settings};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::support::program::{Call, KEY, Program};
use crate::support::server;
use crate::support::test_env::RUN_DATE;

/// Ten claims: six good ones (one of them without a known provider, one negative), a repeat, and
/// three that break a rule.
const CLAIMS: &str = "\
claim_id,patient_id,provider_id,procedure_code,amount,date_of_service
CLM-0001,PAT-1001,PRV-01,99213,120.50,2024-01-02
CLM-0002,PAT-1002,PRV-01,99214,80.00,2024-01-03
CLM-0003,PAT-1003,PRV-02,70450,1000.25,01/04/2024
CLM-0004,PAT-1001,PRV-99,99213,45.00,20240105
CLM-0005,PAT-1004,PRV-02,99213,-45.00,2024-01-06
CLM-0006,PAT-1005,,99213,0.00,2024-01-07
CLM-0001,PAT-1001,PRV-01,99213,120.50,2024-01-02
CLM-0007,PAT-1006,PRV-01,99213,a lot,2024-01-08
CLM-0008,PAT-1007,PRV-01,99213,10.00,someday
,PAT-1008,PRV-01,99213,10.00,2024-01-09
";

const PROVIDERS: &str = "\
provider_id,provider_name,specialty,location
PRV-01,Ada Example,Family Medicine,Springfield
PRV-02,Ben Example,Radiology,Shelbyville
";

/// Arguments that load the ten claims. Three of ten are rejected.
const RUN: &str = "run --claims claims.csv --providers providers.csv --max-reject-ratio 0.5";

/// The advisory lock that a run holds.
const RUN_LOCK: i64 = 0x636c_6169_6d65_746c;

/// The program beside the ten claims, with a database.
struct Site {
    program: Program,
    database: server::Database,
}

impl Site {
    fn new() -> Self {
        let program = Program::new();
        program.write("claims.csv", CLAIMS).write("providers.csv", PROVIDERS);
        Self { program, database: server::database() }
    }

    fn command(&self, arguments: &str) -> assert_cmd::Command {
        let mut command = self.program.command(arguments);
        command.env("CLAIMS_ETL_KEY", KEY).env("DATABASE_URL", self.database.url());
        command.env("CLAIMS_ETL_RUN_DATE", RUN_DATE);
        command
    }

    fn call(&self, arguments: &str) -> Call {
        Call::of(&mut self.command(arguments))
    }

    /// A number that the tables hold.
    fn number(&self, query: &str) -> i64 {
        let mut client = self.client();
        client.query_one(query, &[]).expect("a row").get(0)
    }

    fn client(&self) -> postgres::Client {
        self.database.connect()
    }

    /// Writes larger files and starts a run of them, which has begun to load when this returns.
    fn loading(&self) -> Loading {
        let made = self.call("generate --claims 400000 --providers 1000 --dirty 0 --out big");
        made.done();
        let mut child = self
            .program
            .process(LOAD_BIG)
            .env("CLAIMS_ETL_KEY", KEY)
            .env("DATABASE_URL", self.database.url())
            .env("CLAIMS_ETL_RUN_DATE", RUN_DATE)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut stderr_pipe = BufReader::new(child.stderr.take().expect("piped"));
        let mut stderr = String::new();
        while !stderr.contains("load.load_warehouse") {
            assert_ne!(
                stderr_pipe.read_line(&mut stderr).expect("text"),
                0,
                "ended early: {stderr}"
            );
        }
        Loading { child, stderr_pipe, stderr }
    }
}

const LOAD_BIG: &str = "run --claims big/claims.csv --providers big/providers.csv --format json";

/// A run at work.
struct Loading {
    child: Child,
    stderr_pipe: BufReader<ChildStderr>,
    stderr: String,
}

impl Loading {
    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(id), signal).expect("the run is alive");
    }

    fn end(mut self) -> Call {
        self.stderr_pipe.read_to_string(&mut self.stderr).expect("text");
        let mut stdout = String::new();
        self.child.stdout.take().expect("piped").read_to_string(&mut stdout).expect("text");
        let code = self.child.wait().expect("it ends").code();
        Call { code, stdout, stderr: self.stderr }
    }
}

/// Runs `assertions` with ids, times and addresses made equal.
fn redacted(assertions: impl FnOnce()) {
    with_settings!({
        filters => vec![
            (r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "[RUN]"),
            (r#""fingerprint": "[0-9a-f]{64}""#, r#""fingerprint": "[FINGERPRINT]""#),
            (r#""(seconds|staging|key|score|publish|analyze)": [0-9.e-]+"#, r#""$1": 0.0"#),
            (r#""started_at": "[^"]+""#, r#""started_at": "[TIME]""#),
            (r"\d+\.\d s(, [\d,]+ rows/s)?", "[TIME]"),
            (r"(tables|psql) +.*", "$1  [PLACE]"),
        ],
        snapshot_path => "snapshots",
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, { assertions() });
}

#[test]
fn a_run_prints_a_summary() {
    let site = Site::new();
    let text = site.call(RUN).done();
    redacted(|| assert_snapshot!("run_summary", text));
    let again = site.call(RUN).done();
    redacted(|| assert_snapshot!("run_summary_already_loaded", again));
}

#[test]
fn a_run_prints_json() {
    let site = Site::new();
    let call = site.call(&format!("{RUN} --format json"));
    assert_eq!(call.code, Some(0), "{}", call.stderr);
    let report = serde_json::to_string_pretty(&call.json()).expect("JSON");
    redacted(|| assert_snapshot!("run_report", report));
    assert_eq!(site.number("SELECT count(*) FROM healthcare_analytics.claims_fact"), 6);
}

#[test]
fn no_output_holds_an_identifier() {
    let site = Site::new();
    let mut reported = String::new();
    for arguments in [RUN, "runs", "runs --format json"] {
        let call = site.call(&format!("{arguments} -vv --log-format json"));
        reported.extend([call.stdout, call.stderr]);
    }
    let run = site.call(&format!("{RUN} --force --format json")).json();
    let run = run["run_id"].as_str().expect("an id").to_owned();
    for arguments in [format!("runs {run}"), format!("quarantine {run}"), "check".into()] {
        let call = site.call(&arguments);
        reported.extend([call.stdout, call.stderr]);
    }
    for identifier in ["CLM-", "PAT-", "a lot", "someday", KEY] {
        assert!(!reported.contains(identifier), "{identifier} in: {reported}");
    }
}

#[test]
fn the_same_input_is_loaded_once() {
    let site = Site::new();
    let first = site.call(&format!("{RUN} --format json")).json();
    let again = site.call(&format!("{RUN} --format json --already-loaded-exit-code 99"));
    assert_eq!(again.code, Some(99), "{}", again.stderr);
    let report = again.json();
    assert_eq!(report["status"], "already_loaded");
    assert_eq!(report["loaded_by"], first["run_id"]);
    assert_eq!(report["fingerprint"], first["fingerprint"]);
    let forced = site.call(&format!("{RUN} --format json --force")).json();
    assert_eq!(forced["status"], "success");
    assert_eq!(forced["claims"]["unchanged"], first["claims"]["inserted"]);
}

#[test]
fn a_dry_run_publishes_nothing() {
    let site = Site::new();
    let dry = site.call(&format!("{RUN} --dry-run --format json")).json();
    assert_eq!((&dry["status"], &dry["claims"]["rejected"]), (&json!("success"), &json!(3)));
    let real = site.call(&format!("{RUN} --format json")).json();
    assert_eq!((&real["status"], &real["claims"]["inserted"]), (&json!("success"), &json!(6)));
}

#[test]
fn each_kind_of_failure_has_its_exit_code() {
    let site = Site::new();
    let failed = |call: Call, code: i32, kind: &str| {
        assert_eq!(call.code, Some(code), "{}", call.stderr);
        let report = call.json();
        assert_eq!((&report["status"], &report["error"]["kind"]), (&json!("failed"), &json!(kind)));
        assert!(call.stderr.contains("error: "), "{}", call.stderr);
    };
    let keyless = format!("{RUN} --key-file missing.key --format json");
    failed(Call::of(site.command(&keyless).env_remove("CLAIMS_ETL_KEY")), 2, "config");
    failed(site.call("run --providers providers.csv --format json"), 2, "config");
    let missing = "run --claims missing.csv --providers providers.csv --format json";
    failed(site.call(missing), 3, "source");
    failed(site.call(&format!("{RUN} --max-reject-rows 2 --format json")), 4, "quality");
    let nobody = "--warehouse postgres://127.0.0.1:1/none --retries 0";
    failed(site.call(&format!("{RUN} {nobody} --format json")), 5, "warehouse");
    assert_eq!(site.call(&format!("{RUN} --format json")).code, Some(0), "failures leave no trace");
}

#[test]
fn one_run_at_a_time() {
    let site = Site::new();
    let mut other = site.client();
    other.execute("SELECT pg_advisory_lock($1)", &[&RUN_LOCK]).expect("the lock");
    let refused = site.call(&format!("{RUN} --format json"));
    assert_eq!(refused.code, Some(75), "{}", refused.stderr);
    assert_eq!(refused.json()["error"]["kind"], "locked");
    drop(other);
    site.call(RUN).done();
}

#[test]
fn a_signal_stops_a_run_and_leaves_nothing_behind() {
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let site = Site::new();
        let loading = site.loading();
        loading.signal(signal);
        let stopped = loading.end();
        assert_eq!(stopped.code, Some(code), "{}", stopped.stderr);
        let report = stopped.json();
        assert_eq!(
            (&report["status"], &report["error"]["kind"]),
            (&json!("failed"), &json!("interrupted"))
        );
        assert_eq!(site.number("SELECT count(*) FROM healthcare_analytics.claims_fact"), 0);
        let again = site.call(LOAD_BIG);
        assert_eq!(again.json()["claims"]["inserted"], Value::from(400_000), "{}", again.stderr);
    }
}

#[test]
fn a_killed_run_leaves_the_tables_as_they_were() {
    let site = Site::new();
    let before = site.call(&format!("{RUN} --format json")).json();
    let loading = site.loading();
    loading.signal(Signal::SIGKILL);
    assert_eq!(loading.end().code, None);
    let rows = site.number("SELECT count(*) FROM healthcare_analytics.claims_fact");
    assert_eq!(Value::from(rows), before["claims"]["loaded"]);
    let again = site.call(LOAD_BIG);
    assert_eq!(again.json()["status"], "success", "{}", again.stderr);
}

#[test]
fn the_ledger_and_the_quarantine_can_be_read() {
    let site = Site::new();
    let run = site.call(&format!("{RUN} --format json")).json();
    let id = run["run_id"].as_str().expect("an id");
    let listed = site.call("runs --format json").json();
    assert_eq!(listed[0]["run_id"], id);
    assert_eq!(listed[0]["claims_loaded"], 6);
    assert!(site.call("runs").done().contains(id));
    let details: Value =
        serde_json::from_str(&site.call(&format!("runs {id}")).done()).expect("JSON");
    assert_eq!(details["status"], "success");
    let rejects = site.call(&format!("quarantine {id} --format json")).json();
    let mut rejects: Vec<_> = rejects
        .as_array()
        .expect("a list")
        .iter()
        .map(|reject| (reject["record"].as_u64(), reject["reason"].as_str()))
        .collect();
    rejects.sort_unstable();
    assert_eq!(
        rejects,
        [
            (Some(8), Some("amount_unparseable")),
            (Some(9), Some("date_unparseable")),
            (Some(10), Some("claim_id_missing")),
        ]
    );
    let other = "00000000-0000-7000-8000-000000000000";
    assert_eq!(site.call(&format!("runs {other}")).code, Some(2));
    assert_eq!(site.call("runs 7").code, Some(2));
}

#[test]
fn a_check_loads_nothing() {
    let site = Site::new();
    let good = site.call(
        "check --claims claims.csv --providers providers.csv --max-reject-ratio 0.5 --format json",
    );
    assert_eq!(good.code, Some(0), "{} {}", good.stdout, good.stderr);
    let findings = good.json();
    assert!(findings.as_array().is_some_and(|all| all.iter().all(|one| one["ok"] == true)));
    let missing = site.call("check --claims missing.csv --providers providers.csv");
    assert_eq!(missing.code, Some(3), "{}", missing.stdout);
    assert!(missing.stdout.contains('✗'), "{}", missing.stdout);
    let plan = site.call("explain --claims claims.csv --providers providers.csv").done();
    assert!(plan.contains("JOIN"), "{plan}");
    let made = site.number("SELECT count(*) FROM pg_tables WHERE schemaname = 'claims_etl'");
    assert_eq!(made, 0, "not even the tables");
}
