//! Claims from an object store and over HTTP: the same account as from files, and failures that
//! name the place, but no secret.

use std::io::Write as _;

use serde_json::Value;

use crate::support::program::{Call, KEY, Program};
use crate::support::s3_server::{S3Server, SECRET, USER};
use crate::support::server;
use crate::support::web_server::{Answer, WebServer};

const HEADER: &str = "claim_id,patient_id,provider_id,procedure_code,amount,date_of_service\n";
const MONDAY: &str = "C1,P1,V1,99213,10.00,2024-01-01\nC2,P2,V1,99214,20.10,2024-01-01\n";
const TUESDAY: &str = "C3,P1,V1,99213,-30.05,2024-01-02\nC4,P1,V1,99213,x,2024-01-02\n";
const PROVIDERS: &str = "provider_id,provider_name,specialty,location\nV1,Ann,Cardiology,Boston\n";

/// The program with a database of its own and providers beside it.
struct Site {
    program: Program,
    database: server::Database,
}

impl Site {
    fn new() -> Self {
        let program = Program::new();
        program.write("providers.csv", PROVIDERS);
        program.write("monday.csv", &format!("{HEADER}{MONDAY}"));
        program.write("tuesday.csv", &format!("{HEADER}{TUESDAY}"));
        Self { program, database: server::database() }
    }

    fn load(&self, claims: &str, variables: &[(&str, &str)]) -> Call {
        let arguments = format!(
            "run --dry-run --providers providers.csv --max-reject-ratio 1 --format json -vv --claims {claims}"
        );
        self.call(&arguments, variables)
    }

    fn call(&self, arguments: &str, variables: &[(&str, &str)]) -> Call {
        let mut command = self.program.command(arguments);
        command.env("CLAIMS_ETL_KEY", KEY).env("DATABASE_URL", self.database.url());
        command.envs(variables.iter().copied());
        Call::of(&mut command)
    }
}

/// What must be equal, whatever the claims came from.
fn account(call: &Call) -> [Value; 3] {
    assert_eq!(call.code, Some(0), "{}", call.stderr);
    let report = call.json();
    ["claims", "amount", "reject_reasons"].map(|part| report[part].clone())
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).expect("packed");
    encoder.finish().expect("packed")
}

fn access(s3: &S3Server) -> Vec<(&str, &str)> {
    vec![
        ("AWS_ENDPOINT_URL", s3.address()),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_ACCESS_KEY_ID", USER),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
        ("AWS_REGION", "us-east-1"),
    ]
}

#[test]
fn objects_give_the_same_account_as_files() {
    let (site, s3) = (Site::new(), S3Server::new());
    let (monday, tuesday) = (format!("{HEADER}{MONDAY}"), format!("{HEADER}{TUESDAY}"));
    s3.put("monday.csv", &monday).put("packed", gzip(&tuesday));
    s3.put("in/a/monday.csv", &monday).put("in/b/tuesday.csv", &tuesday);
    s3.put("in/b/_x.csv", "no claims").put("in/b/empty.csv", "").put("in/_tmp/x.csv", "no claims");
    s3.put("days/date=2024-01-01/b.csv.part", "no claims");
    s3.put("in/b/notes.txt", "no claims").put("days/.hidden.csv", "no claims");
    s3.put("days/date=2024-01-01/a.csv", &monday).put("days/date=2024-01-02/a.csv", &tuesday);
    s3.put("days/date=2024-01-03/a.csv", "no claims").put("days/_SUCCESS", "");
    let access = access(&s3);

    let both = account(&site.load("monday.csv tuesday.csv", &[]));
    let interval = "--interval-start 2024-01-01 --interval-end 2024-01-03";
    for claims in [
        "s3://claims/monday.csv s3://claims/packed",
        "s3://claims/in/*/*day.csv",
        "s3://claims/in/**/*.csv",
        &format!("s3://claims/days/ {interval}"),
        &format!("s3://claims/days/*/*.csv {interval}"),
        &format!("s3://claims/days/date={{interval_start}}/ s3://claims/packed {interval}"),
    ] {
        assert_eq!(account(&site.load(claims, &access)), both, "{claims}");
    }
    s3.put("table/_delta_log/0.json", "{}").put("table/monday.csv", &monday);
    for claims in ["s3://claims/table/", "s3://claims/table/*.csv"] {
        let call = site.load(claims, &access);
        assert_eq!(call.code, Some(3), "{}", call.stderr);
        assert!(
            call.stderr.contains("s3://claims/table is a table of Delta Lake"),
            "{}",
            call.stderr
        );
    }
    let one = account(&site.load("monday.csv", &[]));
    let day = "s3://claims/days/ --interval-start 2024-01-01 --interval-end 2024-01-02";
    assert_eq!(account(&site.load(day, &access)), one);
}

#[test]
fn what_was_loaded_from_objects_is_verified_and_not_loaded_twice() {
    let (site, s3) = (Site::new(), S3Server::new());
    s3.put("monday.csv", format!("{HEADER}{MONDAY}"));
    let access = access(&s3);
    let run = "run --providers providers.csv --claims s3://claims/monday.csv --format json";
    let first = site.call(run, &access);
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    assert_eq!(site.call(run, &access).json()["status"], "already_loaded");
    let by_file = site.call(&run.replace("s3://claims/", ""), &[]);
    assert_eq!(by_file.json()["status"], "already_loaded", "the bytes count, not the place");
    let id = first.json()["run_id"].as_str().expect("an id").to_owned();
    let verified = site.call(&format!("verify {id}"), &access);
    assert_eq!(verified.code, Some(0), "{} {}", verified.stdout, verified.stderr);
    s3.put("monday.csv", format!("{HEADER}{TUESDAY}"));
    let verified = site.call(&format!("verify {id}"), &access);
    assert_eq!(verified.code, Some(4), "{} {}", verified.stdout, verified.stderr);
    assert!(verified.stdout.contains("s3://claims/monday.csv"), "{}", verified.stdout);
}

#[test]
fn a_store_that_refuses_is_named_without_secrets() {
    let (site, s3) = (Site::new(), S3Server::new());
    s3.put("monday.csv", format!("{HEADER}{MONDAY}"));
    let with = |name: &'static str, value: &'static str| {
        let mut access = access(&s3);
        access.retain(|(known, _)| *known != name);
        access.push((name, value));
        access
    };
    let right = access(&s3);
    let wrong_secret = with("AWS_SECRET_ACCESS_KEY", "wrong-canary-secret");
    let wrong_user = with("AWS_ACCESS_KEY_ID", "NOBODY");
    let nobody = with("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
    for (claims, access, message) in [
        ("s3://claims/monday.csv", &wrong_secret, "s3://claims/monday.csv may not be read"),
        ("s3://claims/*.csv", &wrong_user, "s3://claims/*.csv may not be read"),
        ("s3://claims/sunday.csv", &right, "s3://claims/sunday.csv is not there"),
        ("s3://other/monday.csv", &right, "s3://other/monday.csv is not there"),
        ("s3://claims/*.parquet", &right, "no object matches s3://claims/*.parquet"),
        ("s3://claims/none/", &right, "there is no file below s3://claims/none/"),
        ("s3://claims/monday.csv", &nobody, "s3://claims/monday.csv cannot be reached"),
    ] {
        let call = site.load(claims, access);
        assert_eq!(call.code, Some(3), "{claims}: {}", call.stderr);
        let message = format!("extract.extract_claims: claims: {message}");
        assert_eq!(call.json()["error"]["message"], message, "{}", call.stderr);
        for secret in ["canary-secret", USER, "NOBODY"] {
            assert!(
                !call.stderr.contains(secret) && !call.stdout.contains(secret),
                "{}",
                call.stderr
            );
        }
    }
    let inside = site.load("s3://AKID:canary-secret@claims/monday.csv", &right);
    assert_eq!(inside.code, Some(2), "{}", inside.stderr);
    assert!(!inside.stderr.contains("canary-secret"), "{}", inside.stderr);
}

#[test]
fn web_files_give_the_same_account_as_files() {
    let site = Site::new();
    let monday = format!("{HEADER}{MONDAY}");
    let expected = account(&site.load("monday.csv", &[]));
    let plain = WebServer::new(vec![Answer::Ok(monday.clone().into_bytes())]);
    let url = format!("{}/monday.csv?sig=canary", plain.address());
    let call = site.load(&url, &[]);
    assert_eq!(account(&call), expected);
    assert!(!call.stderr.contains("canary"), "{}", call.stderr);

    // Once busy, once broken, then a redirect to what is packed.
    let packed = WebServer::new(vec![Answer::Ok(gzip(&monday))]);
    let answers =
        vec![Answer::Status(429), Answer::Status(500), Answer::To(packed.address().into())];
    let slow = WebServer::new(answers);
    let call = site.load(&format!("{}/?sig=canary", slow.address()), &[]);
    assert_eq!(account(&call), expected);
    assert_eq!(slow.requests().len(), 3);
    let requests = packed.requests().concat();
    assert!(!requests.contains("canary"), "the next server learns nothing: {requests}");
}

#[test]
fn a_web_server_that_fails_ends_the_run() {
    let site = Site::new();
    let half = || Answer::Cut(format!("{HEADER}{MONDAY}").into_bytes());
    let forever = "/claims.csv?again".to_owned();
    for (answers, requests, message) in [
        (vec![Answer::Status(404)], 1, "is not there (HTTP 404)"),
        (vec![Answer::Status(403)], 1, "may not be read (HTTP 403)"),
        (vec![Answer::Status(418)], 1, "was refused (HTTP 418)"),
        (vec![Answer::Status(503)], 3, "failed on the server (HTTP 503)"),
        (vec![Answer::To(forever)], 6, "redirects too often or to plain http"),
        (vec![half()], 1, "broke off after 134 bytes"),
    ] {
        let web = WebServer::new(answers);
        let place = format!("{}/claims.csv", web.address());
        let arguments =
            format!("run --providers providers.csv --format json -vv --claims {place}?sig=canary");
        let call = site.call(&arguments, &[]);
        assert_eq!(call.code, Some(3), "{message}: {}", call.stderr);
        let reported = call.json()["error"]["message"].as_str().expect("a message").to_owned();
        assert_eq!(reported, format!("extract.extract_claims: claims: {place}?… {message}"));
        assert!(!call.stderr.contains("canary") && !call.stdout.contains("canary"));
        assert_eq!(web.requests().len(), requests, "{message}");
    }
    let count = "SELECT count(*) FROM healthcare_analytics.claims_fact";
    let mut client = site.database.connect();
    let rows: i64 = client.query_one(count, &[]).expect("the tables").get(0);
    assert_eq!(rows, 0, "nothing was published");
    let ledger = "SELECT count(*) FROM claims_etl.runs r WHERE r::text LIKE '%canary%'";
    assert_eq!(client.query_one(ledger, &[]).expect("the ledger").get::<_, i64>(0), 0);

    let nobody = site.load("http://127.0.0.1:1/claims.csv", &[]);
    assert_eq!(nobody.code, Some(3), "{}", nobody.stderr);
    assert!(nobody.stderr.contains("cannot be reached"), "{}", nobody.stderr);
    let typed = site.load("https://me:hunter2@127.0.0.1:1/claims.csv", &[]);
    assert_eq!(typed.code, Some(2), "{}", typed.stderr);
    assert!(!typed.stderr.contains("hunter2"), "{}", typed.stderr);
}
