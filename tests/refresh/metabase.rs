//! The refresh of Metabase against a server that answers in the shapes that its documentation and
//! its own tests name; no live Metabase was at hand.

use std::sync::Barrier;
use std::time::Duration;

use claims_etl::config::{MetabaseTarget, Settings};
use claims_etl::event::Cancellation;
use claims_etl::refresh::{Outcome, PublishedRun};

use crate::support::mock_http::{Heard, MockHttp, Reply};
use crate::support::web_refresh::{self, check, refresh, refresh_on};

/// A dashboard with two questions, one of them twice, and a text.
const DASHBOARD: &str = r#"{"id":15,"name":"Claims","dashcards":[
    {"id":1,"card_id":4,"card":{"id":4}},{"id":2,"card_id":9},{"id":3,"card_id":4},
    {"id":4,"card_id":null,"visualization_settings":{"text":"claims"}}]}"#;

fn completed() -> Reply {
    Reply::json(202, r#"{"status":"completed","row_count":1,"data":{"rows":[[7]],"cols":[]}}"#)
}

fn answer(request: &Heard) -> Reply {
    if request.header("x-api-key") != Some("hunter2") {
        return Reply::with(401, "text/plain", "Unauthenticated");
    }
    match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/api/user/current") => Reply::json(200, r#"{"id":1,"common_name":"k"}"#),
        ("GET", "/api/dashboard/15") => Reply::json(200, DASHBOARD),
        ("GET", "/api/card/4") => Reply::json(200, r#"{"id":4,"name":"claims"}"#),
        ("GET", "/api/database/2") => Reply::json(200, r#"{"id":2,"engine":"postgres"}"#),
        ("POST", "/api/card/4/query" | "/api/card/9/query") => {
            assert_eq!(request.text(), r#"{"ignore_cache":true}"#);
            completed()
        }
        ("POST", "/api/database/2/sync_schema") => Reply::json(200, r#"{"status":"ok"}"#),
        _ => Reply::with(404, "text/plain", "Not found."),
    }
}

fn metabase(fault: impl Fn(&Heard) -> Option<Reply> + Send + Sync + 'static) -> MockHttp {
    MockHttp::start(move |request| fault(request).unwrap_or_else(|| answer(request)))
}

fn settings(server: &MockHttp, target: MetabaseTarget) -> Settings {
    let mut settings = web_refresh::settings();
    let metabase = &mut settings.refresh.metabase;
    server.address().clone_into(&mut metabase.url);
    metabase.api_key = web_refresh::secret();
    metabase.targets.insert("one".into(), target);
    settings
}

fn dashboard(id: u64) -> MetabaseTarget {
    MetabaseTarget { dashboard: Some(id), ..MetabaseTarget::default() }
}

fn card(id: u64) -> MetabaseTarget {
    MetabaseTarget { card: Some(id), ..MetabaseTarget::default() }
}

fn database(id: u64) -> MetabaseTarget {
    MetabaseTarget { database: Some(id), ..MetabaseTarget::default() }
}

#[test]
fn the_questions_of_a_dashboard_are_run_at_the_same_time_each_once() {
    // Neither is answered before both are there.
    let both = Barrier::new(2);
    let server = metabase(move |request| {
        if request.method == "POST" {
            both.wait();
        }
        None
    });
    let result = refresh(&settings(&server, dashboard(15)));
    assert_eq!((result.outcome, result.attempts), (Outcome::Succeeded, 2), "{}", result.detail);
    assert_eq!(result.detail, "2 questions of dashboard 15");
    assert_eq!(server.count("POST", "/query"), 2);
    assert_eq!(server.count("POST", "/api/card/4/query"), 1);
}

#[test]
fn a_question_and_a_database_are_refreshed() {
    let server = metabase(|_| None);
    let result = refresh(&settings(&server, card(4)));
    assert_eq!((result.outcome, result.attempts), (Outcome::Succeeded, 1), "{}", result.detail);
    let result = refresh(&settings(&server, database(2)));
    assert_eq!((result.outcome, result.attempts), (Outcome::Succeeded, 1), "{}", result.detail);
    assert_eq!(server.count("POST", "/api/database/2/sync_schema"), 1);
    let mut off = settings(&server, card(4));
    off.refresh.metabase.targets.get_mut("one").expect("there").enabled = false;
    assert_eq!(refresh(&off).outcome, Outcome::Skipped);
    assert_eq!(server.heard().len(), 2);
}

#[test]
fn an_accepted_question_that_fails_is_a_failure_without_words() {
    let failed = r#"{"status":"failed","error":"invalid input: \"patient 123-45-6789\""}"#;
    let cases = [
        (202, failed, "question 4: its query fails; open it in Metabase"),
        (202, r#"{"row_count":1}"#, "question 4: Metabase does not report a result"),
        (403, "You don't have permissions", "question 4: the API key's group may not see it"),
        (404, "Not found.", "question 4: Metabase has none"),
        (401, "Unauthenticated", "Metabase does not accept the API key"),
        (400, "patient 123-45-6789", "question 4: Metabase answers with status 400"),
        (200, "<html>patient</html>", "answers with a page: it is not Metabase"),
        (302, "", "to that one, with https"),
    ];
    for (status, body, expected) in cases {
        let server = metabase(move |request| {
            request.is("POST", "/api/card/4/query").then(|| Reply::json(status, body))
        });
        let result = refresh(&settings(&server, dashboard(15)));
        assert_eq!(result.outcome, Outcome::Failed, "{expected}");
        assert!(result.detail.starts_with("1 of 2 questions not renewed: "), "{}", result.detail);
        assert!(result.detail.contains(expected), "{}: not found: {expected}", result.detail);
        assert!(!result.detail.contains("patient"), "{}", result.detail);
        assert_eq!((result.attempts, server.count("POST", "/query")), (2, 2), "{expected}");
    }
}

#[test]
fn a_database_that_metabase_cannot_reach_is_reported() {
    for (status, body, expected) in [
        (422, r#"{"errors":"FATAL: role \"x\""}"#, "Metabase cannot connect to it"),
        (200, r#"{"status":"no"}"#, "database 2: Metabase answers with status 200"),
        (403, "", "the API key's group may not see it"),
    ] {
        let server =
            metabase(move |request| (request.method == "POST").then(|| Reply::json(status, body)));
        let result = refresh(&settings(&server, database(2)));
        assert_eq!((result.outcome, result.attempts), (Outcome::Failed, 1));
        assert!(result.detail.contains(expected), "{}", result.detail);
        assert!(!result.detail.contains("role"), "{}", result.detail);
        assert_eq!(server.count("POST", "/sync_schema"), 1);
    }
}

#[test]
fn a_question_is_tried_again_and_a_sync_is_not() {
    for reply in [Reply::status(502), Reply::cut()] {
        let again = reply.clone();
        let server = metabase(move |request| (request.method == "POST").then(|| again.clone()));
        let result = refresh(&settings(&server, card(4)));
        assert_eq!((result.outcome, result.attempts), (Outcome::Failed, 3), "{}", result.detail);
        assert!(result.detail.starts_with("question 4: Metabase"), "{}", result.detail);
        assert_eq!(server.count("POST", "/query"), 3);

        // The sync may have begun: a second one would be started blindly.
        let server = metabase(move |request| (request.method == "POST").then(|| reply.clone()));
        let result = refresh(&settings(&server, database(2)));
        assert_eq!((result.outcome, result.attempts), (Outcome::Failed, 1), "{}", result.detail);
        assert_eq!(server.count("POST", "/sync_schema"), 1);
    }
}

#[test]
fn retry_after_is_obeyed() {
    let busy = |wait: &'static str, times: usize| {
        let server = std::sync::atomic::AtomicUsize::new(0);
        metabase(move |request| {
            let first = request.method == "POST"
                && server.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < times;
            first.then(|| Reply::status(429).header("Retry-After", wait))
        })
    };
    let server = busy("1", 1);
    let result = refresh(&settings(&server, database(2)));
    assert_eq!((result.outcome, result.attempts), (Outcome::Succeeded, 2), "{}", result.detail);
    assert!(result.elapsed >= Duration::from_secs(1));
    let server = busy("3600", 9);
    let result = refresh(&settings(&server, card(4)));
    assert_eq!((result.outcome, result.attempts), (Outcome::RateLimited, 1), "{}", result.detail);
    assert_eq!(server.count("POST", ""), 1);
}

#[test]
fn a_question_without_end_is_ended_by_the_deadline_and_by_a_signal() {
    let server = metabase(|request| {
        (request.is("POST", "/card/4/")).then(|| completed().after(Duration::from_mins(5)))
    });
    let mut slow = settings(&server, dashboard(15));
    slow.refresh.metabase.targets.get_mut("one").expect("there").deadline_secs = Some(1);
    let result = refresh(&slow);
    assert_eq!((result.outcome, result.attempts), (Outcome::TimedOut, 2), "{}", result.detail);
    assert_eq!(server.count("POST", "/query"), 2);

    let cancel = Cancellation::default();
    let signal = cancel.clone();
    let server = metabase(move |request| {
        (request.method == "POST").then(|| {
            signal.cancel(2);
            completed().after(Duration::from_mins(5))
        })
    });
    let results = refresh_on(&settings(&server, card(4)), &PublishedRun::default(), &cancel);
    assert_eq!((results[0].outcome, results[0].attempts), (Outcome::Cancelled, 1));
}

#[test]
fn a_check_proves_what_is_needed_and_starts_nothing() {
    let server = metabase(|_| None);
    assert_eq!(
        check(&settings(&server, dashboard(15))).expect("there"),
        "dashboard 15, 2 questions"
    );
    assert_eq!(check(&settings(&server, card(4))).expect("there"), "question 4");
    assert_eq!(check(&settings(&server, database(2))).expect("there"), "database 2");
    assert_eq!(server.count("GET", "/api/user/current"), 3);
    let failure = check(&settings(&server, dashboard(16))).expect_err("none");
    assert_eq!(failure.message, "dashboard 16: Metabase has none");
    let mut wrong = settings(&server, card(4));
    wrong.refresh.metabase.api_key =
        claims_etl::secret::source::SecretSource::from_variable("SECRET", "other");
    let failure = check(&wrong).expect_err("another key");
    assert!(failure.message.contains("does not accept the API key"), "{failure}");
    assert_eq!(server.count("POST", ""), 0);
}
