//! Power BI's models are refreshed, once: whatever the service answers, however it fails, and
//! whoever wants it to end. The service is a mock; what requests to it are counted.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fs, thread};

use arrow::array::{ArrayRef, Int64Array};
use arrow::record_batch::RecordBatch;
use boon::{Compiler, Schemas};
use claims_etl::adbc_postgres::PostgresConnection;
use claims_etl::config::{
    OnConflict, PowerBiCommit, PowerBiMode, PowerBiObject, PowerBiTarget, PowerBiType, Settings,
};
use claims_etl::error::{Error, Result};
use claims_etl::event::Cancellation;
use claims_etl::refresh::{
    Failure, Job, Outcome, PublishedRun, Statements, Target, TargetResult, refresh_all, targets,
};
use claims_etl::secret::source::SecretSource;
use serde_json::{Value, json};

use crate::support::fixtures;
use crate::support::mock_http::{MockHttp, Reply};
use crate::support::power_bi_server::{
    CLIENT, End, Fault, PowerBiServer, SECRET, TENANT, WORKSPACE, refuse,
};
use crate::support::process::{output, reading};
use crate::support::test_env::TestEnv;

const DATASET: &str = "cfafbeb1-8037-4d0c-896e-a46fb27ff229";
const FIRST: &str = "7d000001-0000-4000-8000-000000000000";

fn settings(server: &PowerBiServer) -> Settings {
    let mut settings = Settings::default();
    settings.refresh.dashboard.enabled = false;
    settings.refresh.provider_month.enabled = false;
    settings.refresh.deadline_secs = 30;
    let power_bi = &mut settings.refresh.power_bi;
    power_bi.tenant = TENANT.into();
    power_bi.client_id = CLIENT.into();
    power_bi.client_secret = SecretSource::from_variable("POWER_BI_SECRET", SECRET);
    power_bi.login_url = server.address().into();
    power_bi.api_url = format!("{}/", server.address());
    let target = PowerBiTarget {
        workspace: WORKSPACE.into(),
        dataset: DATASET.into(),
        appear_secs: 1,
        ..PowerBiTarget::default()
    };
    power_bi.targets.insert("claims".into(), target);
    settings
}

fn with(server: &PowerBiServer, change: impl FnOnce(&mut PowerBiTarget)) -> Settings {
    let mut settings = settings(server);
    change(settings.refresh.power_bi.targets.get_mut("claims").expect("a target"));
    settings
}

fn standard(target: &mut PowerBiTarget) {
    target.mode = PowerBiMode::Standard;
}

fn no_server() -> Result<PostgresConnection> {
    Err(Error::warehouse("no server here"))
}

fn all(targets: &[Box<dyn Target>], cancel: &Cancellation) -> Vec<TargetResult> {
    let mut results = refresh_all(targets, &PublishedRun::default(), &no_server, cancel);
    results.retain(|result| result.target.starts_with("power_bi."));
    results
}

fn refresh(settings: &Settings) -> TargetResult {
    all(&targets(settings), &Cancellation::default()).remove(0)
}

fn refreshed(server: &PowerBiServer) -> TargetResult {
    refresh(&settings(server))
}

/// A refresh that shows the data, with so many requests for it.
#[track_caller]
fn assert_shown(server: &PowerBiServer, result: &TargetResult, starts: usize) {
    assert_eq!(result.outcome, Outcome::Succeeded, "{result:?}");
    assert_eq!(server.starts(), starts, "{result:?}");
    assert_eq!(result.attempts as usize, starts, "{result:?}");
}

/// A refresh that ended otherwise, with so many requests for it; the reason has these words.
#[track_caller]
fn assert_ended(
    server: &PowerBiServer,
    result: &TargetResult,
    outcome: Outcome,
    starts: usize,
    words: &str,
) {
    assert_eq!(result.outcome, outcome, "{result:?}");
    assert!(result.detail.contains(words), "{}", result.detail);
    assert_eq!(server.starts(), starts, "{result:?}");
    assert_eq!(result.attempts as usize, starts, "{result:?}");
    for secret in [SECRET, "patient", "token-"] {
        assert!(!result.detail.contains(secret), "{}", result.detail);
    }
}

fn tokens(server: &PowerBiServer) -> usize {
    server.http().count("POST", "/oauth2/")
}

/// An answer that a proxy gives.
fn page(status: u16) -> Reply {
    Reply::with(status, "text/html", "<html><body>Please sign in</body></html>")
}

fn expired() -> Fault {
    Fault::Instead(refuse(403, "TokenExpired", "Access token has expired"))
}

#[test]
fn an_enhanced_refresh_is_followed_by_its_id() {
    let server = PowerBiServer::start();
    let result = refreshed(&server);
    assert_shown(&server, &result, 1);
    assert_eq!(result.target, "power_bi.claims");
    assert_eq!(result.remote_id.as_deref(), Some(FIRST));
    assert_eq!(result.detail, format!("refresh {FIRST}: completed in 12 s, 2 of 2 objects"));
    assert_eq!(server.bodies(), [json!({ "type": "Full" })]);
    assert_eq!((tokens(&server), server.begun()), (1, 1));
    assert!(server.http().count("GET", &format!("/refreshes/{FIRST}")) >= 1);
    let bearer = server.http().heard().into_iter().filter(|heard| heard.path.contains("/v1.0/"));
    for heard in bearer {
        assert_eq!(heard.header("authorization"), Some("Bearer token-1"), "{}", heard.path);
    }
}

#[test]
fn a_standard_refresh_is_followed_in_the_history() {
    let server = PowerBiServer::start();
    let result = refresh(&with(&server, standard));
    assert_shown(&server, &result, 1);
    assert_eq!(result.remote_id.as_deref(), Some(FIRST));
    assert_eq!(result.detail, format!("refresh {FIRST}: completed in 12 s"));
    assert_eq!(server.bodies(), [json!({})]);
    assert_eq!(server.http().count("GET", "/refreshes/"), 0, "it has no details");
}

#[test]
fn what_is_switched_off_gets_no_request() {
    let server = PowerBiServer::start();
    let result = refresh(&with(&server, |target| target.enabled = false));
    assert_ended(
        &server,
        &result,
        Outcome::Skipped,
        0,
        "refresh.power_bi.targets.claims.enabled is false",
    );
    assert!(server.http().heard().is_empty());
}

#[test]
fn slow_answers_are_waited_for() {
    let server = PowerBiServer::start();
    let late = || Fault::Late(Duration::from_millis(700));
    server.fault("POST", "/oauth2/", late()).fault("POST", "/refreshes", late());
    server.fault("GET", "/refreshes/", late()).takes(Duration::from_millis(900));
    assert_shown(&server, &refreshed(&server), 1);
}

#[test]
fn reads_are_tried_again() {
    let server = PowerBiServer::start();
    let now_and_then = || Reply::status(429).header("Retry-After", "1");
    for reply in [Reply::status(500), Reply::cut()] {
        server.fault("GET", "/refreshes?", Fault::Instead(reply));
    }
    for reply in [Reply::status(503), Reply::status(408), now_and_then(), page(200), Reply::cut()] {
        server.fault("GET", "/refreshes/", Fault::Instead(reply));
    }
    assert_shown(&server, &refreshed(&server), 1);
    assert_eq!(server.http().count("GET", "/refreshes/"), 6);
}

#[test]
fn pages_for_ever_end_the_refresh_and_say_so() {
    let server = PowerBiServer::start();
    for _ in 0..4 {
        server.fault("GET", "/refreshes/", Fault::Instead(page(200)));
    }
    let result = refreshed(&server);
    assert_ended(&server, &result, Outcome::Failed, 1, "a page came instead of JSON");
    assert!(
        result.detail.ends_with("the refresh itself may still be running"),
        "{}",
        result.detail
    );
}

#[test]
fn a_server_error_is_examined_before_a_retry() {
    let server = PowerBiServer::start();
    server.fault("POST", "/refreshes", Fault::Instead(Reply::status(500)));
    assert_shown(&server, &refreshed(&server), 2);
    // What was there before, three looks, then the second request.
    assert_eq!((server.http().count("GET", "/refreshes?"), server.begun()), (4, 1));
}

#[test]
fn a_refresh_that_a_server_error_hid_is_found() {
    for reply in [Reply::status(500), page(502), Reply::status(408)] {
        let server = PowerBiServer::start();
        server.fault("POST", "/refreshes", Fault::Afterwards(reply));
        let result = refreshed(&server);
        assert_shown(&server, &result, 1);
        assert_eq!((result.remote_id.as_deref(), server.begun()), (Some(FIRST), 1));
    }
}

#[test]
fn a_service_that_only_fails_gets_three_requests() {
    let server = PowerBiServer::start();
    for _ in 0..5 {
        server.fault("POST", "/refreshes", Fault::Instead(Reply::status(503)));
    }
    let result = refreshed(&server);
    assert_ended(&server, &result, Outcome::Failed, 3, "Power BI answered 503");
}

#[test]
fn a_refresh_whose_answer_was_lost_is_found() {
    for mode in [PowerBiMode::Enhanced, PowerBiMode::Standard] {
        let server = PowerBiServer::start();
        server.fault("POST", "/refreshes", Fault::Afterwards(Reply::cut()));
        let result = refresh(&with(&server, |target| target.mode = mode));
        assert_shown(&server, &result, 1);
        assert_eq!((result.remote_id.as_deref(), server.begun()), (Some(FIRST), 1));
    }
}

#[test]
fn a_lost_request_is_not_sent_again() {
    let server = PowerBiServer::start();
    server.fault("POST", "/refreshes", Fault::Instead(Reply::cut()));
    let result = refreshed(&server);
    assert_ended(&server, &result, Outcome::Failed, 1, "the request was dropped or never arrived");
    assert_eq!(server.begun(), 0);
}

#[test]
fn a_page_or_nothing_as_the_answer_is_no_success() {
    let server = PowerBiServer::start();
    server.fault("POST", "/refreshes", Fault::Instead(page(200)));
    let result = refreshed(&server);
    assert_ended(&server, &result, Outcome::Failed, 1, "a page came as the answer");

    // Accepted, but without an id: the history has it.
    let other_id = Reply::status(202).header("RequestId", "00000000-0000-4000-8000-00000000beef");
    for reply in [page(200), Reply::status(202), other_id] {
        let server = PowerBiServer::start();
        server.fault("POST", "/refreshes", Fault::Afterwards(reply));
        let result = refreshed(&server);
        assert_shown(&server, &result, 1);
        assert_eq!(result.remote_id.as_deref(), Some(FIRST));
    }
}

#[test]
fn what_did_not_arrive_is_sent_again() {
    // Something answers the first question and is gone before the next.
    let gate = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = gate.local_addr().expect("an address").to_string();
    let again = address.clone();
    let starting = thread::spawn(move || {
        let (mut socket, _) = gate.accept().expect("a connection");
        let _ = socket.read(&mut [0; 4096]).expect("a request");
        drop(gate);
        let body = r#"{"value":[]}"#;
        let head = "HTTP/1.1 200 X\r\nConnection: close\r\nContent-Length:";
        write!(socket, "{head} {}\r\n\r\n{body}", body.len()).expect("an answer");
        drop(socket);
        thread::sleep(Duration::from_millis(600));
        let server = PowerBiServer::start_at(&again, Duration::ZERO);
        server.accepts("elsewhere");
        server
    });
    let login =
        MockHttp::start(|_| Reply::json(200, r#"{"access_token":"elsewhere","expires_in":3599}"#));
    let placeholder = PowerBiServer::start();
    let mut settings = settings(&placeholder);
    settings.refresh.power_bi.api_url = format!("http://{address}");
    settings.refresh.power_bi.login_url = login.address().into();
    let running = thread::spawn(move || refresh(&settings));
    let server = starting.join().expect("a server");
    let result = running.join().expect("a result");
    assert_eq!(result.outcome, Outcome::Succeeded, "{result:?}");
    assert_eq!((server.starts(), server.begun()), (1, 1), "{result:?}");
    assert!(result.attempts >= 2, "{result:?}");
}

/// Somebody else's refresh, as the service words it.
fn conflict() -> Reply {
    let message = "Invalid dataset refresh request. Another refresh request is already executing";
    refuse(400, "InvalidRequest", message)
}

#[test]
fn our_own_lost_refresh_is_no_conflict() {
    let server = PowerBiServer::start();
    server.fault("POST", "/refreshes", Fault::Afterwards(Reply::status(500)));
    server.fault("POST", "/refreshes", Fault::Instead(conflict()));
    // What was there before, and three looks that come too early.
    for _ in 0..4 {
        let empty = Reply::json(200, r#"{"value":[]}"#);
        server.fault("GET", "/refreshes?", Fault::Instead(empty));
    }
    let result = refresh(&with(&server, |target| target.on_conflict = OnConflict::Fail));
    assert_shown(&server, &result, 2);
    assert_eq!((result.remote_id.as_deref(), server.begun()), (Some(FIRST), 1));
}

#[test]
fn a_short_wait_is_waited() {
    let text = r#"{"message":"You have exceeded the amount of requests. Retry in 1 seconds."}"#;
    for reply in [Reply::status(429).header("Retry-After", "1"), Reply::json(429, text)] {
        let server = PowerBiServer::start();
        server.fault("POST", "/refreshes", Fault::Instead(reply));
        let began = Instant::now();
        let result = refreshed(&server);
        assert_shown(&server, &result, 2);
        assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
        assert_eq!(server.begun(), 1);
    }
}

#[test]
fn a_wait_beyond_the_deadline_is_not() {
    let text = r#"{"message":"You have exceeded the amount of requests. Retry in 3392 seconds."}"#;
    for reply in [Reply::status(429).header("Retry-After", "3392"), Reply::json(429, text)] {
        let server = PowerBiServer::start();
        server.fault("POST", "/refreshes", Fault::Instead(reply));
        let result = refreshed(&server);
        assert_ended(&server, &result, Outcome::RateLimited, 1, "Power BI answered 429");
        assert!(result.detail.contains("; again from 20"), "{}", result.detail);
    }
    let server = PowerBiServer::start();
    let long = Reply::status(429).header("Retry-After", "3392");
    server.fault("GET", "/refreshes/", Fault::Instead(long));
    let result = refreshed(&server);
    assert_ended(
        &server,
        &result,
        Outcome::RateLimited,
        1,
        "the refresh itself may still be running",
    );
}

#[test]
fn the_limit_of_the_day_is_not_tried_again() {
    let server = PowerBiServer::start();
    let message = "Invalid dataset refresh request. Number of refresh requests in last 24 hours \
                   exceeded limit";
    server.fault("POST", "/refreshes", Fault::Instead(refuse(400, "Request Throttled", message)));
    let result = refresh(&with(&server, standard));
    assert_ended(&server, &result, Outcome::RateLimited, 1, "400 (RequestThrottled)");
    assert!(result.detail.contains("last 24 hours"), "{}", result.detail);
}

#[test]
fn an_expired_token_is_renewed_once() {
    for reply in [refuse(403, "TokenExpired", "Access token has expired"), Reply::status(401)] {
        let server = PowerBiServer::start();
        server.fault("POST", "/refreshes", Fault::Instead(reply.clone()));
        server.fault("GET", "/refreshes/", Fault::Instead(reply));
        assert_shown(&server, &refreshed(&server), 2);
        assert_eq!((tokens(&server), server.begun()), (3, 1));
    }
    let server = PowerBiServer::start();
    server.fault("POST", "/refreshes", expired()).fault("POST", "/refreshes", expired());
    let result = refreshed(&server);
    assert_ended(&server, &result, Outcome::Failed, 2, "403 (TokenExpired)");
    assert_eq!((tokens(&server), server.begun()), (2, 0));
}

#[test]
fn a_403_that_is_no_expired_token_says_what_to_do() {
    let server = PowerBiServer::start();
    server.fault("GET", "/refreshes?", Fault::Instead(Reply::status(403)));
    let result = refreshed(&server);
    assert_ended(&server, &result, Outcome::Failed, 0, "member or contributor of the workspace");
    assert_eq!(tokens(&server), 1);
}

#[test]
fn a_wrong_secret_is_tried_once_by_all_models_together() {
    let server = PowerBiServer::start();
    let mut settings = settings(&server);
    let power_bi = &mut settings.refresh.power_bi;
    power_bi.client_secret = SecretSource::from_variable("POWER_BI_SECRET", "wrong");
    let other = power_bi.targets["claims"].clone();
    power_bi.targets.insert("other".into(), other);
    let results = all(&targets(&settings), &Cancellation::default());
    for result in &results {
        assert_ended(
            &server,
            result,
            Outcome::Failed,
            0,
            "the token endpoint answered 401 (invalid_client, AADSTS7000215): the client secret is \
             wrong; use the secret's value, not its id; trace id \
             255d1aef-8c98-452f-ac51-23d051240864",
        );
    }
    assert_eq!((results.len(), server.http().heard().len()), (2, 1));
}

#[test]
fn one_token_serves_all_models() {
    let server = PowerBiServer::start();
    server.fault("POST", "/oauth2/", Fault::Instead(Reply::status(503)));
    let mut settings = settings(&server);
    let power_bi = &mut settings.refresh.power_bi;
    for name in ["a", "b", "c"] {
        let target = PowerBiTarget { dataset: name.into(), ..power_bi.targets["claims"].clone() };
        power_bi.targets.insert(name.into(), target);
    }
    let results = all(&targets(&settings), &Cancellation::default());
    assert!(results.iter().all(|result| result.outcome == Outcome::Succeeded), "{results:?}");
    assert_eq!((tokens(&server), server.starts(), server.begun()), (2, 4, 4));
}

#[test]
fn a_login_without_a_token_is_a_failure() {
    let server = PowerBiServer::start();
    server.fault("POST", "/oauth2/", Fault::Instead(page(200)));
    let result = refreshed(&server);
    assert_ended(&server, &result, Outcome::Failed, 0, "answered with a page without a token");

    let server = PowerBiServer::start();
    let moved = Reply::status(302).header("Location", "http://127.0.0.1:9/");
    server.fault("POST", "/oauth2/", Fault::Instead(moved));
    let result = refreshed(&server);
    assert_ended(&server, &result, Outcome::Failed, 0, "a redirect, which is not followed");
}

#[test]
fn what_the_login_refuses_is_not_sent_again() {
    let described = r#"{"error":"invalid_client","error_description":"AADSTS7000222: expired"}"#;
    let busy = Reply::status(429).header("Retry-After", "60");
    let later = "the token endpoint answered 429; again from 20";
    let table = [
        (Reply::json(401, described), Outcome::Failed, "AADSTS7000222): the client secret has exp"),
        (Reply::status(400), Outcome::Failed, "the token endpoint answered 400"),
        (busy, Outcome::RateLimited, later),
    ];
    for (reply, outcome, words) in table {
        let server = PowerBiServer::start();
        server.fault("POST", "/oauth2/", Fault::Instead(reply));
        assert_ended(&server, &refreshed(&server), outcome, 0, words);
        assert_eq!(server.http().heard().len(), 1);
    }
}

#[test]
fn a_federated_token_is_read_each_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("token");
    let write = |token: &str| {
        fs::write(&path, token).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("a mode");
    };
    let server = PowerBiServer::start();
    // Good for less than the margin: never kept.
    server.tokens_good_for(300);
    let mut settings = settings(&server);
    settings.refresh.power_bi.client_secret = SecretSource::default();
    settings.refresh.power_bi.federated_token = SecretSource::from_file(&path);
    let targets = targets(&settings);
    for token in ["first.of.them", "second.of.them"] {
        write(token);
        let results = all(&targets, &Cancellation::default());
        assert_eq!(results[0].outcome, Outcome::Succeeded, "{results:?}");
        let mut forms =
            server.http().heard().into_iter().filter(|heard| heard.path.contains("oauth2"));
        let form = forms.next_back().expect("a form").text();
        assert!(form.contains(&format!("client_assertion={token}")), "{token}");
        assert!(form.contains("client-assertion-type%3Ajwt-bearer"));
        assert!(!form.contains("client_secret"));
    }
}

#[test]
fn a_certificate_signs_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let (certificate, key) = (folder.path().join("certificate"), folder.path().join("key"));
    fs::write(&certificate, include_str!("../support/power_bi_certificate.pem")).expect("written");
    fs::write(&key, include_str!("../support/power_bi_key.pem")).expect("written");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("a mode");
    let server = PowerBiServer::start();
    let mut settings = settings(&server);
    let power_bi = &mut settings.refresh.power_bi;
    power_bi.client_secret = SecretSource::default();
    power_bi.certificate = Some(certificate);
    power_bi.private_key = SecretSource::from_file(&key);
    assert_shown(&server, &refresh(&settings), 1);
    let form = server.http().heard()[0].text();
    let assertion = form.split('&').find_map(|field| field.strip_prefix("client_assertion="));
    assert_eq!(assertion.expect("an assertion").split('.').count(), 3);
    assert!(form.contains("client-assertion-type%3Ajwt-bearer") && !form.contains("client_secret"));

    fs::write(&key, "hunter2").expect("written");
    let result = refresh(&settings);
    assert_eq!(result.outcome, Outcome::Failed);
    assert!(result.detail.contains("no PKCS #8 PEM key"), "{}", result.detail);
    assert!(!result.detail.contains("hunter2"), "{}", result.detail);
}

#[test]
fn a_refresh_without_end_is_cancelled_at_the_deadline() {
    let server = PowerBiServer::start();
    server.ends(End::Never);
    let result = refresh(&with(&server, |target| target.deadline_secs = Some(3)));
    let words = format!("refresh {FIRST}: the deadline came first; it was cancelled");
    assert_ended(&server, &result, Outcome::TimedOut, 1, &words);
    assert_eq!(server.cancelled(), [FIRST]);
    assert_eq!(server.http().count("DELETE", &format!("/refreshes/{FIRST}")), 1);
}

#[test]
fn a_standard_refresh_cannot_be_cancelled() {
    let server = PowerBiServer::start();
    server.ends(End::Never);
    let result = refresh(&with(&server, |target| {
        standard(target);
        target.deadline_secs = Some(3);
    }));
    let words = "a standard refresh cannot be cancelled and is still running";
    assert_ended(&server, &result, Outcome::TimedOut, 1, words);
    assert_eq!(server.http().count("DELETE", "/"), 0);
}

#[test]
fn a_signal_cancels_the_refresh() {
    let server = PowerBiServer::start();
    server.ends(End::Never);
    let cancel = Cancellation::default();
    let settings = settings(&server);
    let result = thread::scope(|scope| {
        let running = scope.spawn(|| all(&targets(&settings), &cancel).remove(0));
        let began = Instant::now();
        while server.http().count("GET", "/refreshes/") == 0 {
            assert!(began.elapsed() < Duration::from_secs(20), "it was never requested");
            thread::sleep(Duration::from_millis(10));
        }
        cancel.cancel(15);
        running.join().expect("a result")
    });
    let words = format!("refresh {FIRST}: stopped by a signal; it was cancelled");
    assert_ended(&server, &result, Outcome::Cancelled, 1, &words);
    assert_eq!((server.cancelled().len(), server.http().count("DELETE", "/")), (1, 1));
}

#[test]
fn a_refresh_whose_answer_came_too_late_is_cancelled_too() {
    let server = PowerBiServer::start();
    server.ends(End::Never).fault("POST", "/refreshes", Fault::Late(Duration::from_secs(20)));
    let result = refresh(&with(&server, |target| target.deadline_secs = Some(3)));
    assert_ended(&server, &result, Outcome::TimedOut, 1, "it was cancelled");
    assert_eq!(server.cancelled(), [FIRST]);
    assert_eq!(result.remote_id.as_deref(), Some(FIRST));
}

#[test]
fn a_refresh_that_ended_before_it_could_be_cancelled_counts() {
    let server = PowerBiServer::start();
    server.takes(Duration::from_hours(1)).fault("DELETE", "/refreshes/", Fault::TooLate);
    let result = refresh(&with(&server, |target| target.deadline_secs = Some(3)));
    assert_shown(&server, &result, 1);
    assert_eq!((server.cancelled().len(), server.http().count("DELETE", "/")), (0, 1));
}

#[test]
fn a_refresh_that_cannot_be_cancelled_is_reported_as_running() {
    let server = PowerBiServer::start();
    server.ends(End::Never);
    server.fault("DELETE", "/refreshes/", Fault::Instead(Reply::status(500)));
    let result = refresh(&with(&server, |target| target.deadline_secs = Some(3)));
    let words = "it could not be cancelled (500) and is still running";
    assert_ended(&server, &result, Outcome::TimedOut, 1, words);
    assert_eq!(server.http().count("DELETE", "/"), 1);
}

#[test]
fn another_refresh_is_waited_for() {
    for reply in [conflict(), Reply::status(409)] {
        for mode in [PowerBiMode::Enhanced, PowerBiMode::Standard] {
            let server = PowerBiServer::start();
            server.fault("POST", "/refreshes", Fault::Instead(reply.clone()));
            let at_work = json!({ "requestId": "other", "refreshType": "Scheduled",
                "startTime": "2024-12-31T00:00:00Z", "status": "Unknown" });
            for list in [json!([]), json!([at_work])] {
                let body = json!({ "value": list }).to_string();
                server.fault("GET", "/refreshes?", Fault::Instead(Reply::json(200, &body)));
            }
            let result = refresh(&with(&server, |target| target.mode = mode));
            assert_shown(&server, &result, 2);
            assert_eq!(server.begun(), 1);
            // What was there before, one look that finds the other at work, one that does not.
            let looks = server.http().heard();
            let second = looks.iter().rposition(|heard| heard.is("POST", "/refreshes"));
            let looks = looks.iter().take(second.expect("a second request"));
            assert_eq!(looks.filter(|heard| heard.is("GET", "/refreshes?")).count(), 3);
        }
    }
}

#[test]
fn another_refresh_is_not_waited_for_beyond_the_deadline() {
    let server = PowerBiServer::start();
    server.scheduled(DATASET, Duration::from_mins(1));
    let result = refresh(&with(&server, |target| target.deadline_secs = Some(3)));
    let words = "the deadline came first: another refresh was still running";
    assert_ended(&server, &result, Outcome::TimedOut, 1, words);
    assert_eq!((server.begun(), server.http().count("DELETE", "/")), (0, 0));
}

#[test]
fn another_refresh_is_left_alone_or_a_failure() {
    let ended = [
        (OnConflict::Skip, Outcome::AlreadyRunning, "left alone"),
        (OnConflict::Fail, Outcome::Failed, "another refresh of this model is running"),
    ];
    for (on_conflict, outcome, words) in ended {
        let server = PowerBiServer::start();
        server.scheduled(DATASET, Duration::from_mins(1));
        let result = refresh(&with(&server, |target| target.on_conflict = on_conflict));
        assert_ended(&server, &result, outcome, 1, words);
        assert_eq!(result.remote_id, None);
    }
}

#[test]
fn a_dropped_refresh_is_a_failure() {
    for mode in [PowerBiMode::Enhanced, PowerBiMode::Standard] {
        let server = PowerBiServer::start();
        server.ends(End::Dropped);
        let result = refresh(&with(&server, |target| target.mode = mode));
        assert_ended(&server, &result, Outcome::Failed, 1, "it was dropped");
    }
}

#[test]
fn an_evicted_model_is_refreshed_once_more() {
    for mode in [PowerBiMode::Enhanced, PowerBiMode::Standard] {
        let server = PowerBiServer::start();
        server.ends(End::Failed("0xC11C0020"));
        let result = refresh(&with(&server, |target| target.mode = mode));
        assert_shown(&server, &result, 2);
        assert_ne!(result.remote_id.as_deref(), Some(FIRST));
    }
    let server = PowerBiServer::start();
    server.ends(End::Failed("0xC11C0020")).ends(End::Failed("0xC11C0020"));
    let result = refreshed(&server);
    assert_ended(&server, &result, Outcome::Failed, 2, "(0xC11C0020): the capacity had no memory");
}

#[test]
fn every_end_has_its_outcome() {
    let credentials = "ModelRefreshFailed_CredentialsNotSpecified";
    let ends = [
        (End::Failed(credentials), Outcome::Failed, "the data source has no credentials"),
        (End::Failed("0xC112001C"), Outcome::Failed, "failed (0xC112001C)"),
        (End::With("Disabled"), Outcome::Disabled, "has switched refreshes of this model off"),
        (End::With("TimedOut"), Outcome::TimedOut, "it exceeded its time limit at the service"),
        (End::With("Cancelled"), Outcome::Cancelled, "it was cancelled in Power BI"),
        (End::With("Unknown"), Outcome::Failed, "an unknown result"),
        (End::With("Dreaming"), Outcome::Failed, "an unknown result"),
    ];
    thread::scope(|scope| {
        for mode in [PowerBiMode::Enhanced, PowerBiMode::Standard] {
            for (end, outcome, words) in ends {
                scope.spawn(move || {
                    let server = PowerBiServer::start();
                    server.ends(end);
                    let result = refresh(&with(&server, |target| target.mode = mode));
                    assert_ended(&server, &result, outcome, 1, words);
                    assert_eq!(server.http().count("DELETE", "/"), 0);
                });
            }
        }
    });
}

#[test]
fn a_state_that_is_not_known_is_at_work() {
    let server = PowerBiServer::start();
    for _ in 0..9 {
        let body = r#"{"status":"Unknown","extendedStatus":"Dreaming"}"#;
        server.fault("GET", "/refreshes/", Fault::Instead(Reply::json(200, body)));
    }
    let result = refresh(&with(&server, |target| target.deadline_secs = Some(3)));
    let words = "its status Dreaming is not known here";
    assert_ended(&server, &result, Outcome::TimedOut, 1, words);
}

/// A warehouse of which only the number of claims is known.
struct Claims(i64);

impl Statements for Claims {
    fn query(&mut self, _: &str, sql: &str) -> Result<RecordBatch> {
        assert!(sql.contains("count(*) AS claims"), "{sql}");
        let column: ArrayRef = Arc::new(Int64Array::from(vec![self.0]));
        Ok(RecordBatch::try_from_iter([("claims", column)]).expect("a batch"))
    }

    fn execute(&mut self, _: &str, _: &str, _: Instant) -> Result<u64> {
        Err(Error::internal("no statement here"))
    }
}

/// Does something with the only model, in a warehouse with 3000 claims.
fn alone<T>(
    settings: &Settings,
    work: impl Fn(&dyn Target, &mut Job<'_>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let targets = targets(settings);
    let target = targets.iter().find(|one| one.name() == "power_bi.claims").expect("a target");
    let (published, cancel, mut claims) =
        (PublishedRun::default(), Cancellation::default(), Claims(3000));
    let until = Instant::now() + Duration::from_secs(30);
    work(target.as_ref(), &mut Job::new(&published, &[], &mut claims, until, &cancel))
}

#[test]
fn what_the_model_shows_is_compared_with_the_warehouse() {
    let verify = |server: &PowerBiServer| {
        let query = "EVALUATE ROW(\"n\", COUNTROWS(claims_fact))";
        let settings = with(server, |target| target.verify_query = Some(query.into()));
        alone(&settings, |target, job| target.refresh(job))
    };
    let server = PowerBiServer::start();
    server.shows(json!(3000));
    server.fault("POST", "/executeQueries", Fault::Instead(Reply::status(503)));
    let done = verify(&server).expect("the same");
    assert!(done.detail.ends_with("objects; shows 3000 rows, as the warehouse has"), "{done:?}");
    let asked = server.http().heard().into_iter().rfind(|heard| heard.is("POST", "/executeQ"));
    let asked: Value = serde_json::from_slice(&asked.expect("a query").body).expect("JSON");
    assert_eq!(asked["queries"][0]["query"], "EVALUATE ROW(\"n\", COUNTROWS(claims_fact))");

    server.shows(json!(2999));
    let failure = verify(&server).expect_err("another number");
    let words = "refreshed, but shows 2999 rows, the warehouse has 3000";
    assert!(failure.message.contains(words), "{failure}");
    assert_eq!(failure.outcome, Outcome::Failed);

    server.shows(json!("many"));
    let failure = verify(&server).expect_err("no number").to_string();
    assert!(failure.contains("one row with one whole number"), "{failure}");

    let failure = verify(&PowerBiServer::start()).expect_err("a wrong query").to_string();
    assert!(failure.contains("400 (DatasetExecuteQueriesError)"), "{failure}");
}

#[test]
fn a_check_starts_nothing() {
    let check = |server: &PowerBiServer| {
        let ended = alone(&settings(server), |target, job| target.check(job));
        assert_eq!((server.starts(), server.begun()), (0, 0));
        ended.map_err(|failure| failure.to_string())
    };
    let server = PowerBiServer::start();
    assert_eq!(check(&server).expect("there"), "a model that can be refreshed");
    server.refreshable(None);
    assert!(check(&server).expect("there").contains("does not report"));
    server.refreshable(Some(false));
    assert!(check(&server).expect_err("not refreshable").contains("cannot be refreshed"));
    server.fault("GET", DATASET, Fault::Instead(refuse(404, "PowerBIEntityNotFound", "x")));
    assert!(check(&server).expect_err("not there").contains("settings workspace and dataset"));
    server.fault("POST", "/oauth2/", Fault::Instead(Reply::json(400, r#"{"error":"x y"}"#)));
    assert_eq!(check(&server).expect_err("no token"), "the token endpoint answered 400");
}

/// The program with a configuration that names the model; its result and its stderr.
fn program(env: &TestEnv, secret: &str) -> (Option<i32>, Value, String) {
    let mut command = reading(env, &["run", "--format", "json"]);
    let output = output(command.env("POWER_BI_SECRET", secret).env("RUST_LOG", "trace"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    let result = stdout.lines().last().and_then(|line| serde_json::from_str(line).ok());
    (output.status.code(), result.expect("JSON"), stdout + &stderr)
}

#[test]
fn the_program_refreshes_the_model_after_the_load() {
    let rows = ["C1,P1,V1,99213,10.00,2024-01-01", "C2,P2,V1,99214,20.00,2024-01-02"];
    let mut env = TestEnv::new().claims(&rows[..1]);
    let server = PowerBiServer::start();
    let configuration = format!(
        "[refresh.power_bi]
        tenant = \"{TENANT}\"
        client_id = \"{CLIENT}\"
        client_secret = {{ env = \"POWER_BI_SECRET\" }}
        login_url = \"{address}\"
        api_url = \"{address}\"
        [refresh.power_bi.targets.claims]
        workspace = \"{WORKSPACE}\"
        dataset = \"{DATASET}\"
        required = true
        objects = [{{ table = \"claims_fact\" }}]
        verify_query = 'EVALUATE ROW(\"n\", COUNTROWS(claims_fact))'",
        address = server.address()
    );
    fs::write(env.path("claims-etl.toml"), configuration).expect("written");
    let model = |result: &Value| {
        let targets = result["refresh"].as_array().expect("targets");
        targets.iter().find(|one| one["target"] == "power_bi.claims").cloned().expect("the model")
    };

    server.shows(json!(1));
    let (code, result, printed) = program(&env, SECRET);
    assert_eq!(code, Some(0), "{printed}");
    let shown = format!(
        "refresh {FIRST}: completed in 12 s, 1 of 1 objects; shows 1 rows, as the warehouse has"
    );
    assert_eq!(model(&result)["detail"], shown.as_str(), "{printed}");
    assert_eq!(
        server.bodies(),
        [json!({ "type": "Full", "objects": [{ "table": "claims_fact" }] })]
    );

    // One more claim, which the model does not show: the run fails, the data are loaded.
    env = env.claims(&rows);
    let (code, result, more) = program(&env, SECRET);
    assert_eq!((code, &result["error"]["kind"]), (Some(6), &json!("refresh")), "{more}");
    let detail = model(&result)["detail"].as_str().expect("text").to_owned();
    assert!(detail.contains("shows 1 rows, the warehouse has 2"), "{detail}");
    assert_eq!(env.rows("SELECT count(*) FROM healthcare_analytics.claims_fact"), ["2"]);
    for secret in [SECRET, "s3cr", "token-1", "client_secret="] {
        assert!(!printed.contains(secret) && !more.contains(secret), "{secret}");
    }
}

#[test]
fn the_bodies_are_those_of_the_official_schema() {
    let Some(folder) = fixtures::folder("bi/powerbi") else { return };
    let text = fixtures::read(&folder, "swagger_refresh_subset.json");
    let mut schema: Value = serde_json::from_str(&text).expect("JSON");
    let request = &mut schema["definitions"]["DatasetRefreshRequest"];
    // The service forbids in an enhanced refresh what the schema requires, and the reference has a
    // field that is younger than the schema.
    request.as_object_mut().expect("an object").remove("required");
    request["properties"]["timeout"] = json!({
        "type": "string", "pattern": "^([0-1]?[0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]$"
    });
    request["additionalProperties"] = false.into();
    let schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$ref": "#/definitions/DatasetRefreshRequest",
        "definitions": schema["definitions"],
    });
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    compiler.enable_format_assertions();
    compiler.add_resource("refresh.json", schema).expect("a schema");
    let index = compiler.compile("refresh.json", &mut schemas).expect("compiles");
    let valid = |body: &Value| schemas.validate(body, index).map_err(|error| error.to_string());

    let everything = |target: &mut PowerBiTarget| {
        target.refresh_type = Some(PowerBiType::ClearValues);
        target.commit_mode = Some(PowerBiCommit::PartialBatch);
        target.max_parallelism = Some(4);
        target.retry_count = Some(2);
        target.apply_refresh_policy = Some(false);
        target.effective_date = Some("2024-12-31".parse().expect("a date"));
        target.timeout = Some("2:00:00".into());
        let object = |partition| PowerBiObject { table: "claims_fact".into(), partition };
        target.objects = vec![object(None), object(Some("p".into()))];
    };
    let server = PowerBiServer::start();
    for change in [everything, standard, |_: &mut PowerBiTarget| ()] {
        assert_eq!(refresh(&with(&server, change)).outcome, Outcome::Succeeded);
    }
    let bodies = server.bodies();
    assert_eq!(bodies.len(), 3);
    assert_eq!(bodies[0].as_object().map(serde_json::Map::len), Some(8));
    for body in &bodies {
        valid(body).expect("valid");
    }
    for wrong in [json!({ "type": "full" }), json!({ "applyRefreshPolicy": "false" })] {
        assert!(valid(&wrong).is_err(), "{wrong}");
    }
}

/// What the service answers in an official example, with its status.
fn example(name: &str) -> Option<(u16, Value)> {
    let folder = fixtures::folder("bi/powerbi/samples")?;
    let text = fixtures::read(&folder, &format!("Datasets_{name}.json"));
    let example: Value = serde_json::from_str(&text).expect("JSON");
    let (status, answer) = example["responses"].as_object()?.iter().next()?;
    Some((status.parse().ok()?, answer.clone()))
}

#[test]
fn the_official_examples_are_understood() {
    let started = "RefreshDatasetInGroup.example_of_refreshing_a_dataset";
    let details = |name: &str| example(&format!("GetRefreshExecutionDetailsInGroup.{name}"));
    let history = |name: &str| example(&format!("GetRefreshHistoryInGroup.{name}"));
    let Some((status, start)) = example(started) else { return };
    let reply = |(status, answer): (u16, Value)| {
        Fault::Instead(Reply::json(status, &answer["body"].to_string()))
    };
    let id = start["headers"]["x-ms-request-id"].as_str().expect("an id");
    let place = start["headers"]["Location"].as_str().expect("a place");
    let accepted =
        |name: &str, value: &str| Fault::Instead(Reply::status(status).header(name, value));

    // Enhanced: started, at work, at its end.
    let enhanced = |name: &str, (header, value): (&str, &str), outcome, words: &str| {
        let server = PowerBiServer::start();
        server.fault("POST", "/refreshes", accepted(header, value));
        let at_work = details("in_progress_refresh_example").expect("an example");
        server.fault("GET", id, reply(at_work));
        server.fault("GET", id, reply(details(name).expect("an example")));
        let result = refreshed(&server);
        assert_ended(&server, &result, outcome, 1, words);
        assert_eq!(result.remote_id.as_deref(), Some(id));
        assert!(!result.detail.contains("Forced Error"), "{}", result.detail);
    };
    // Standard: found in the history by the id.
    let standard = |name: &str, outcome, words: &str| {
        let (status, answer) = history(name).expect("an example");
        let id = answer["body"]["value"][0]["requestId"].as_str().expect("an id").to_owned();
        let (_, mut at_work) = history("in-progress_refresh_example").expect("an example");
        at_work["body"]["value"][0]["requestId"] = id.clone().into();
        let server = PowerBiServer::start();
        let nothing = Reply::json(200, r#"{"value":[]}"#);
        server.fault("GET", "/refreshes?", Fault::Instead(nothing));
        server.fault("GET", "/refreshes?", reply((200, at_work)));
        server.fault("GET", "/refreshes?", reply((status, answer)));
        server.fault("POST", "/refreshes", accepted("RequestId", &id.to_uppercase()));
        let result = refresh(&with(&server, standard));
        assert_ended(&server, &result, outcome, 1, words);
    };
    let (done, failed) = ("completed_refresh_example", "failed_refresh_example");
    let code = "(ModelRefresh_ShortMessage_ProcessingError)";
    let objects = "completed in 12 s, 18 of 18 objects";
    let credentials = "the data source has no credentials";
    thread::scope(|scope| {
        for header in [("x-ms-request-id", id), ("Location", place)] {
            scope.spawn(move || enhanced(done, header, Outcome::Succeeded, objects));
            scope.spawn(move || enhanced(failed, header, Outcome::Failed, code));
        }
        scope.spawn(move || standard(done, Outcome::Succeeded, "completed in 360 s"));
        scope.spawn(move || standard(failed, Outcome::Failed, credentials));
    });

    // Cancelled, and queried.
    let server = PowerBiServer::start();
    server.fault("POST", "/refreshes", accepted("x-ms-request-id", id));
    for _ in 0..9 {
        let at_work = details("in_progress_refresh_example").expect("an example");
        server.fault("GET", id, reply(at_work));
    }
    let (status, _) = example("CancelRefreshInGroup.example").expect("an example");
    server.fault("DELETE", id, Fault::Instead(Reply::status(status)));
    let result = refresh(&with(&server, |target| target.deadline_secs = Some(3)));
    assert_ended(&server, &result, Outcome::TimedOut, 1, "it was cancelled");
    let server = PowerBiServer::start();
    let model = example("GetDatasetInGroup.example").expect("an example");
    server.fault("GET", DATASET, reply(model));
    let checked = alone(&settings(&server), |target, job| target.check(job));
    assert_eq!(checked.expect("there"), "a model that can be refreshed");
}

#[test]
fn the_errors_that_people_have_recorded_are_understood() {
    let Some(folder) = fixtures::folder("bi/powerbi") else { return };
    let text = fixtures::read(&folder, "recorded_errors.json");
    let recorded: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    let reply = |name: &str, otherwise: u16| {
        let one = recorded.iter().find(|one| one["name"] == name).expect("recorded");
        let status = one["status"].as_u64().and_then(|status| u16::try_from(status).ok());
        let mut reply = Reply::json(status.unwrap_or(otherwise), &one["body"].to_string());
        for (name, value) in one["headers"].as_object().into_iter().flatten() {
            reply = reply.header(name, value.as_str().expect("text"));
        }
        Fault::Instead(reply)
    };
    let (login, start, details) = ("/oauth2/", "/refreshes", "/refreshes/");
    let table = [
        ("token_invalid_scope", "POST", login, Outcome::Failed, 0, "(invalid_scope, AADSTS70011)"),
        ("access_token_expired", "POST", start, Outcome::Succeeded, 2, "completed"),
        ("refresh_already_running", "POST", start, Outcome::AlreadyRunning, 1, "left alone"),
        ("daily_limit", "POST", start, Outcome::RateLimited, 1, "(RequestThrottled)"),
        ("rate_limited", "POST", start, Outcome::RateLimited, 1, "; again from 20"),
        ("not_found", "POST", start, Outcome::Failed, 1, "404 (PowerBIEntityNotFound)"),
        ("model_evicted", "GET", details, Outcome::Succeeded, 2, "completed"),
    ];
    for (name, method, part, outcome, starts, words) in table {
        let server = PowerBiServer::start();
        if name == "model_evicted" {
            // The documentation has only the messages of it.
            let one = recorded.iter().find(|one| one["name"] == name).expect("recorded");
            let mut body = one["body"].clone();
            body["status"] = "Failed".into();
            let body = Reply::json(200, &body.to_string());
            server.fault(method, part, Fault::Instead(body));
        } else {
            server.fault(method, part, reply(name, 400));
        }
        let settings = with(&server, |target| target.on_conflict = OnConflict::Skip);
        assert_ended(&server, &refresh(&settings), outcome, starts, words);
    }
}
