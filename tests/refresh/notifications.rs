//! Webhooks and mail of whole runs: each reports the outcome of the run once, and none
//! of them changes how it ends.

use std::fs;

use claims_etl::config::Webhook;
use claims_etl::pipeline::Status;
use claims_etl::secret::source::SecretSource;
use serde_json::{Value, json};

use crate::support::failpoints::Failpoints as _;
use crate::support::mock_http::{MockHttp, Reply};
use crate::support::process;
use crate::support::smtp_server::{Act, Protection, SmtpServer};
use crate::support::test_env::{TestEnv, succeeded};

const SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// An environment with identifiers that are found wherever they are.
fn env() -> TestEnv {
    TestEnv::new()
        .claims(&[
            "CANARY-CLAIM1,CANARY-PATIENT,V1,99213,10.00,2024-01-01",
            "CANARY-CLAIM2,CANARY-PATIENT,V1,99213,CANARY-AMOUNT,2024-01-01",
        ])
        .providers(&["V1,CANARY-NAME,Cardiology,Boston"])
}

fn hook(address: &str) -> Webhook {
    Webhook {
        url: format!("{address}/hook"),
        secrets: vec![SecretSource::from_variable("HOOK", SECRET)],
        retry_delays_secs: Vec::new(),
        required: true,
        ..Webhook::default()
    }
}

#[test]
fn a_run_notifies_its_webhook_once() {
    let receiver = MockHttp::start(|_| Reply::status(204));
    let mut env = env();
    env.settings.refresh.webhook.insert("ops".into(), hook(receiver.address()));
    let report = env.run();
    succeeded(&report);
    let heard = receiver.heard();
    assert_eq!(heard.len(), 1);
    assert!(!heard[0].text().contains("CANARY"), "{}", heard[0].text());
    let body: Value = serde_json::from_slice(&heard[0].body).expect("JSON");
    let data = &body["data"];
    assert_eq!(
        (&body["type"], &data["run_id"]),
        (&json!("claims_etl.run.completed"), &json!(report.run_id))
    );
    let claims = &data["row_counts"]["claims"];
    assert_eq!(
        (&claims["read"], &claims["loaded"], &claims["rejected"]),
        (&json!(2), &json!(1), &json!(1))
    );
    assert_eq!(data["bi"], json!([{ "target": "dashboard", "outcome": "succeeded" }]));
    // Nothing new, no notification.
    assert_eq!(env.run().status, Status::AlreadyLoaded);
    assert_eq!(receiver.heard().len(), 1);
}

#[test]
fn an_undelivered_notification_is_sent_by_the_next_run_as_the_same_event() {
    let server = MockHttp::start({
        let first = std::sync::atomic::AtomicBool::new(true);
        move |_| {
            let down = first.swap(false, std::sync::atomic::Ordering::SeqCst);
            Reply::status(if down { 503 } else { 200 })
        }
    });
    let mut env = env();
    env.settings.refresh.webhook.insert("ops".into(), hook(server.address()));
    let report = env.run();
    assert_eq!(report.exit_code, 6, "{:?}", report.error);
    assert_eq!(env.rows("SELECT count(*) FROM healthcare_analytics.claims_fact"), ["1"]);
    let next = env.run();
    assert_eq!((next.status, next.exit_code), (Status::AlreadyLoaded, 0), "{:?}", next.error);
    let ids: Vec<String> = server
        .heard()
        .iter()
        .map(|one| one.header("webhook-id").expect("an id").to_owned())
        .collect();
    assert_eq!(ids.len(), 2);
    assert_eq!(ids[0], ids[1]);
    let runs: Vec<Value> = server
        .heard()
        .iter()
        .map(|one| {
            serde_json::from_slice::<Value>(&one.body).expect("JSON")["data"]["run_id"].clone()
        })
        .collect();
    assert_eq!(runs, [json!(report.run_id), json!(report.run_id)]);
}

/// A run with mail, by the program itself; its exit code and stderr.
fn run(env: &TestEnv, server: &SmtpServer, (place, action): (&str, &str)) -> (Option<i32>, String) {
    let toml = format!(
        "[mail]\non_failure = true\non_retry = true\nto = [\"ops@example.org\"]\n\
         from = \"etl@example.org\"\nhost = \"localhost\"\nport = {}\nencryption = \"starttls\"\n\
         ca_file = \"{}\"\nusername = \"etl\"\npassword = {{ env = \"MAIL_PASSWORD\" }}\n\
         timeout_secs = 2\nretry_delays_secs = []\n",
        server.port,
        env.path("ca.crt").display()
    );
    fs::write(env.path("claims-etl.toml"), toml).expect("written");
    fs::write(env.path("ca.crt"), &server.authority).expect("written");
    let mut command = process::reading(env, &["run"]);
    command.env("MAIL_PASSWORD", "CANARY-password").once_at(place, action);
    let output = process::output(&mut command);
    let printed = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(!printed.contains("CANARY"), "{printed}");
    (output.status.code(), printed)
}

#[test]
fn a_failure_and_a_retry_are_mailed() {
    let server = SmtpServer::start(Protection::Starttls, Some(("etl", "CANARY-password")));
    let subjects = || -> Vec<String> {
        let mails = server.mails();
        assert!(mails.iter().all(|mail| !mail.body().contains("CANARY") && mail.signed_in));
        mails.iter().filter_map(|mail| mail.header("Subject")).collect()
    };
    let env = env();
    // Once, then well: the run has not failed.
    let (code, printed) = run(&env, &server, ("publish.ledger", "error"));
    assert_eq!(code, Some(0), "{printed}");
    let retry = "[claims-etl] retrying: load.load_warehouse";
    let failure = "[claims-etl] run failed: load.load_warehouse";
    assert_eq!(subjects(), [retry]);
    // For good.
    let other = self::env();
    let (code, printed) = run(&other, &server, ("publish.ledger", "refusal"));
    assert_eq!(code, Some(5), "{printed}");
    assert_eq!(subjects(), [retry, failure]);
    assert!(
        server.mails()[1].body().contains("kind   warehouse\n"),
        "{}",
        server.mails()[1].body()
    );
    // A run that does its work writes nobody.
    assert_eq!(run(&other, &server, ("nowhere", "error")).0, Some(0));
    assert_eq!(subjects().len(), 2);
}

#[test]
fn a_mail_server_that_is_silent_or_down_changes_nothing() {
    let silent = SmtpServer::start_with(Protection::Starttls, None, "", |line, _| {
        line.is_empty().then_some(Act::Hang)
    });
    let env = env();
    let (code, printed) = run(&env, &silent, ("publish.ledger", "error"));
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("a mail was not sent: the mail server localhost:"), "{printed}");
    assert_eq!(env.rows("SELECT count(*) FROM healthcare_analytics.claims_fact"), ["1"]);
    let other = self::env();
    let mut gone = silent;
    gone.port = 1;
    let (code, printed) = run(&other, &gone, ("publish.ledger", "refusal"));
    assert_eq!(code, Some(5), "{printed}");
    assert!(printed.contains("a mail was not sent: no connection to the mail server"), "{printed}");
}
