//! The refresh of Superset against a server that asks for what the real one asks for, and that is
//! slow, busy, broken or forgetful.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use claims_etl::event::Cancellation;
use claims_etl::refresh::{Outcome, PublishedRun};
use serde_json::Value;

use crate::support::fixtures;
use crate::support::mock_http::{Heard, Reply};
use crate::support::superset_server::{SIGN_IN, Superset, WARM_UP, chart, dashboard, page, warmed};
use crate::support::web_refresh::{check, refresh, refresh_on};

fn no_fault(_: &Heard, _: usize) -> Option<Reply> {
    None
}

/// The answer to the first warm-up is another one.
fn first_warm_up(reply: Reply) -> impl Fn(&Heard, usize) -> Option<Reply> {
    move |request, nth| (request.is("PUT", WARM_UP) && nth == 1).then(|| reply.clone())
}

/// The answer to every warm-up of this chart is another one.
fn always(one: u64, reply: Reply) -> impl Fn(&Heard, usize) -> Option<Reply> {
    move |request, _| (request.is("PUT", WARM_UP) && chart(request) == one).then(|| reply.clone())
}

#[test]
fn the_charts_of_a_dashboard_are_warmed_at_the_same_time() {
    // None is answered before all three are there.
    let all = Barrier::new(3);
    let superset = Superset::start(&[3, 5, 4], move |request, _| {
        if request.is("PUT", WARM_UP) {
            all.wait();
        }
        None
    });
    let result = refresh(&superset.settings());
    assert_eq!((result.outcome, result.attempts), (Outcome::Succeeded, 3), "{}", result.detail);
    assert_eq!(result.detail, "3 charts of dashboard 1");
    let heard = superset.server.heard();
    let mut charts: Vec<u64> =
        heard.iter().filter(|heard| heard.is("PUT", WARM_UP)).map(chart).collect();
    charts.sort_unstable();
    assert_eq!(charts, [3, 4, 5]);
    for warm_up in heard.iter().filter(|heard| heard.is("PUT", WARM_UP)) {
        let body: Value = serde_json::from_slice(&warm_up.body).expect("JSON");
        assert_eq!(body["dashboard_id"], 1);
    }
    assert_eq!((superset.sign_ins(), superset.server.count("GET", "csrf_token")), (1, 1));
    assert!(!heard.iter().any(|heard| heard.path.contains("dataset")), "no schema has changed");
}

#[test]
fn all_targets_share_one_session_and_one_limit() {
    let (now, most) = (AtomicUsize::new(0), std::sync::Arc::new(AtomicUsize::new(0)));
    let seen = std::sync::Arc::clone(&most);
    let superset = Superset::start(&[1, 2, 3], move |request, _| {
        if request.is("PUT", WARM_UP) {
            seen.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(30));
            now.fetch_sub(1, Ordering::SeqCst);
        }
        None
    });
    let mut settings = superset.settings();
    settings.refresh.superset.parallel = Some(2);
    settings.refresh.superset.targets.insert("two".into(), dashboard("claims"));
    settings.refresh.superset.targets.insert("off".into(), dashboard("1"));
    settings.refresh.superset.targets.get_mut("off").expect("there").enabled = false;
    let results = refresh_on(&settings, &PublishedRun::default(), &Cancellation::default());
    let ends: Vec<(&str, Outcome)> =
        results.iter().map(|one| (one.target.as_str(), one.outcome)).collect();
    let expected = [
        ("superset.off", Outcome::Skipped),
        ("superset.one", Outcome::Succeeded),
        ("superset.two", Outcome::Succeeded),
    ];
    assert_eq!(ends, expected);
    assert_eq!((superset.sign_ins(), superset.warm_ups()), (1, 6));
    assert_eq!(most.load(Ordering::SeqCst), 2, "as many as the limit, whoever asks");
}

#[test]
fn a_chart_whose_query_fails_is_a_failure_without_words() {
    let error = r#""Error: invalid input syntax: \"patient 123-45-6789\" LINE 3""#;
    let superset = Superset::start(&[1, 2], always(1, warmed(1, error, "null")));
    let result = refresh(&superset.settings());
    assert_eq!(result.outcome, Outcome::Failed);
    let expected =
        "1 of 2 charts not renewed: chart 1: its query fails; open it in Superset to see why";
    assert_eq!(result.detail, expected);
    assert_eq!((superset.warm_ups(), result.attempts), (2, 2), "a failed query is not tried again");
}

#[test]
fn every_answer_to_a_warm_up_is_distinguished() {
    let legacy = r#""Error: Chart's query context does not exist""#;
    let cases = [
        (warmed(1, legacy, "null"), "chart 1 has no saved query: open it in Superset and save"),
        (warmed(1, "null", "\"timed_out\""), "chart 1: its query fails"),
        (warmed(1, "[{\"message\":\"x\"}]", "\"failed\""), "chart 1: its query fails"),
        (warmed(2, "null", "\"success\""), "chart 1: Superset does not report a result"),
        (Reply::json(200, r#"{"result":[{"chart_id":1}]}"#), "does not report a result"),
        (Reply::json(200, "[]"), "does not report a result"),
        (Reply::json(404, r#"{"message":"Chart not found"}"#), "no such chart any more"),
        (Reply::json(403, r#"{"message":"Forbidden"}"#), "`can warm up cache on Chart`"),
        (Reply::json(400, r#"{"message":{"chart":["patient"]}}"#), "answers with status 400"),
    ];
    for (reply, expected) in cases {
        let superset = Superset::start(&[1], always(1, reply));
        let result = refresh(&superset.settings());
        assert_eq!(result.outcome, Outcome::Failed, "{expected}");
        assert!(result.detail.contains(expected), "{}: not found: {expected}", result.detail);
        assert!(!result.detail.contains("patient"), "{}", result.detail);
        assert_eq!((superset.warm_ups(), superset.sign_ins()), (1, 1), "{expected}");
    }
    // Charts of several layers have no status of their own.
    let superset = Superset::start(&[1], always(1, warmed(1, "null", "null")));
    assert_eq!(refresh(&superset.settings()).outcome, Outcome::Succeeded);
}

#[test]
fn an_expired_token_is_renewed_and_the_request_sent_once_more() {
    for (status, body) in [
        (401, r#"{"msg":"Token has expired"}"#),
        (422, r#"{"msg":"Signature verification failed"}"#),
    ] {
        let superset = Superset::start(&[1], first_warm_up(Reply::json(status, body)));
        let result = refresh(&superset.settings());
        assert_eq!(result.outcome, Outcome::Succeeded, "{}", result.detail);
        assert_eq!((superset.sign_ins(), superset.warm_ups()), (1, 2));
        assert_eq!(superset.server.count("POST", "/security/refresh"), 1);
        let heard = superset.server.heard();
        let last = heard.iter().rfind(|heard| heard.is("PUT", WARM_UP)).expect("two");
        assert_eq!(last.header("authorization"), Some("Bearer access-renewed"));
    }
}

#[test]
fn a_token_that_cannot_be_renewed_is_one_more_sign_in() {
    let superset = Superset::start(&[1], |request, nth| {
        let expired = || Reply::json(401, r#"{"msg":"Token has expired"}"#);
        let first = request.is("PUT", WARM_UP) && nth == 1;
        (first || request.is("POST", "/security/refresh")).then(expired)
    });
    let result = refresh(&superset.settings());
    assert_eq!(result.outcome, Outcome::Succeeded, "{}", result.detail);
    assert_eq!((superset.sign_ins(), superset.warm_ups()), (2, 2));
}

#[test]
fn a_page_for_people_means_one_more_sign_in() {
    let forged =
        r#"{"errors":[{"message":"400 Bad Request: The CSRF session token is missing."}]}"#;
    let to_the_page = || Reply::status(302).header("Location", "/login/?next=%2Fapi");
    for reply in [to_the_page(), page(), Reply::json(400, forged)] {
        let superset = Superset::start(&[1], first_warm_up(reply));
        let result = refresh(&superset.settings());
        assert_eq!(result.outcome, Outcome::Succeeded, "{}", result.detail);
        assert_eq!((superset.sign_ins(), superset.warm_ups()), (2, 2));
        assert_eq!(superset.server.count("GET", "/login/"), 0, "no redirect is followed");
    }
}

#[test]
fn a_session_that_is_never_accepted_is_given_up() {
    let superset = Superset::start(&[1, 2, 3], |request, _| {
        let lost = || Reply::status(302).header("Location", "/login/");
        request.is("PUT", WARM_UP).then(lost)
    });
    let mut settings = superset.settings();
    settings.refresh.superset.parallel = Some(1);
    let result = refresh(&settings);
    assert_eq!(result.outcome, Outcome::Failed);
    assert!(result.detail.contains("does a proxy drop cookies"), "{}", result.detail);
    assert_eq!(result.detail.matches("proxy").count(), 1, "reported once: {}", result.detail);
    assert_eq!((superset.sign_ins(), superset.warm_ups()), (2, 2));
}

#[test]
fn a_refused_account_is_tried_once() {
    let superset = Superset::start(&[1], no_fault);
    let mut settings = superset.settings();
    settings.refresh.superset.username = "somebody".into();
    settings.refresh.superset.targets.insert("two".into(), dashboard("1"));
    settings.refresh.superset.targets.insert("three".into(), dashboard("1"));
    let results = refresh_on(&settings, &PublishedRun::default(), &Cancellation::default());
    for result in results {
        assert_eq!((result.outcome, result.attempts), (Outcome::Failed, 0));
        assert!(result.detail.contains("refuses the sign-in"), "{}", result.detail);
    }
    // An account that is tried often with a wrong password is locked.
    assert_eq!(superset.sign_ins(), 1);
    assert_eq!(superset.server.heard().len(), 1);
}

#[test]
fn a_read_only_account_is_reported() {
    let superset = Superset::start(&[1], |request, _| {
        let forbidden = || Reply::json(403, r#"{"message":"Forbidden"}"#);
        request.is("GET", "csrf_token").then(forbidden)
    });
    let mut settings = superset.settings();
    settings.refresh.superset.targets.insert("two".into(), dashboard("1"));
    for result in refresh_on(&settings, &PublishedRun::default(), &Cancellation::default()) {
        assert_eq!(result.outcome, Outcome::Failed);
        assert!(result.detail.contains("`can read on SecurityRestApi`"), "{}", result.detail);
    }
    assert_eq!((superset.sign_ins(), superset.server.heard().len()), (1, 2));
}

#[test]
fn an_address_without_superset_is_reported() {
    let moved = || Reply::status(301).header("Location", "https://other/");
    for (reply, expected) in
        [(page(), "there is no sign-in of Superset"), (moved(), "redirects to another address")]
    {
        let superset = Superset::start(&[1], move |_, _| Some(reply.clone()));
        let result = refresh(&superset.settings());
        assert_eq!(result.outcome, Outcome::Failed);
        assert!(result.detail.contains(expected), "{}", result.detail);
        assert_eq!(superset.server.heard().len(), 1);
    }
}

#[test]
fn a_server_that_fails_is_retried_a_few_times() {
    let once = Superset::start(&[1], first_warm_up(Reply::status(500)));
    let result = refresh(&once.settings());
    assert_eq!((result.outcome, result.attempts), (Outcome::Succeeded, 2), "{}", result.detail);
    assert_eq!(once.warm_ups(), 2);

    let broken = Reply::with(503, "text/html", "<h1>patient 123-45-6789</h1>");
    let always = Superset::start(&[1, 2], always(1, broken));
    let result = refresh(&always.settings());
    assert_eq!((result.outcome, result.attempts), (Outcome::Failed, 4));
    assert!(result.detail.starts_with("1 of 2 charts not renewed: chart 1: Superset answers with"));
    assert!(result.detail.contains("status 503; its own log"), "{}", result.detail);
    assert!(!result.detail.contains("patient"), "{}", result.detail);
    assert_eq!((always.warm_ups(), always.sign_ins()), (4, 1));
}

#[test]
fn a_lost_answer_is_requested_a_few_times() {
    let once = Superset::start(&[1], first_warm_up(Reply::cut()));
    let result = refresh(&once.settings());
    assert_eq!((result.outcome, result.attempts), (Outcome::Succeeded, 2), "{}", result.detail);
    assert_eq!(once.warm_ups(), 2);

    let always = Superset::start(&[1], always(1, Reply::cut()));
    let result = refresh(&always.settings());
    assert_eq!((result.outcome, result.attempts), (Outcome::Failed, 3));
    assert!(result.detail.contains("chart 1: Superset: the connection ended before the answer"));
    assert_eq!(always.warm_ups(), 3);
}

#[test]
fn retry_after_is_obeyed() {
    let busy =
        |wait: &str| Reply::json(429, r#"{"message":"rate limit"}"#).header("Retry-After", wait);
    let short = Superset::start(&[1], first_warm_up(busy("1")));
    let result = refresh(&short.settings());
    assert_eq!((result.outcome, result.attempts), (Outcome::Succeeded, 2), "{}", result.detail);
    assert!(result.elapsed >= Duration::from_secs(1), "{:?}", result.elapsed);

    // Nobody else disturbs it either.
    let long = Superset::start(&[1, 2, 3], first_warm_up(busy("3392")));
    let mut settings = long.settings();
    settings.refresh.superset.parallel = Some(1);
    let result = refresh(&settings);
    assert_eq!((result.outcome, result.attempts), (Outcome::RateLimited, 1), "{}", result.detail);
    assert!(result.detail.contains("takes no more requests before the deadline"));
    assert!(result.detail.contains("; again from 20"), "{}", result.detail);
    assert_eq!(long.warm_ups(), 1);
}

#[test]
fn a_warm_up_without_end_is_ended_by_the_deadline() {
    let never = warmed(1, "null", "\"success\"").after(Duration::from_mins(5));
    let superset = Superset::start(&[1, 2], always(1, never));
    let mut settings = superset.settings();
    settings.refresh.superset.targets.get_mut("one").expect("there").deadline_secs = Some(1);
    let result = refresh(&settings);
    assert_eq!((result.outcome, result.attempts), (Outcome::TimedOut, 2));
    assert_eq!(result.detail, "1 of 2 charts not renewed: chart 1: the deadline came first");
    assert_eq!(superset.warm_ups(), 2);
}

#[test]
fn a_signal_ends_the_refresh() {
    let cancel = Cancellation::default();
    let signal = cancel.clone();
    let superset = Superset::start(&[1, 2, 3], move |request, _| {
        request.is("PUT", WARM_UP).then(|| {
            signal.cancel(15);
            warmed(1, "null", "\"success\"").after(Duration::from_mins(5))
        })
    });
    let mut settings = superset.settings();
    settings.refresh.superset.parallel = Some(1);
    let results = refresh_on(&settings, &PublishedRun::default(), &cancel);
    assert_eq!((results[0].outcome, results[0].attempts), (Outcome::Cancelled, 1));
    assert_eq!(superset.warm_ups(), 1);
}

#[test]
fn columns_are_read_again_when_the_schema_has_changed() {
    let superset = Superset::start(&[1, 2], no_fault);
    let mut settings = superset.settings();
    let target = settings.refresh.superset.targets.get_mut("one").expect("there");
    target.datasets = vec![7];
    assert_eq!(refresh(&settings).detail, "2 charts of dashboard 1");
    assert_eq!(superset.server.count("PUT", "/dataset/"), 0);

    let changed = PublishedRun { schema_changed: true, ..PublishedRun::default() };
    let results = refresh_on(&settings, &changed, &Cancellation::default());
    assert_eq!(results[0].detail, "2 charts and 1 dataset of dashboard 1");
    assert_eq!(results[0].attempts, 2);
    let puts: Vec<String> = superset
        .server
        .heard()
        .into_iter()
        .skip_while(|heard| !heard.is("PUT", "/dataset/"))
        .filter(|heard| heard.method == "PUT")
        .map(|heard| heard.path)
        .collect();
    assert_eq!(puts, ["/api/v1/dataset/7/refresh", WARM_UP, WARM_UP], "before the charts");

    for (status, expected) in [
        (403, "dataset 7: only its owners may have its columns read again"),
        (404, "dataset 7: Superset has no such dataset"),
        (422, "dataset 7: its columns cannot be read: is its table gone"),
    ] {
        let body = r#"{"message":"patient 123-45-6789"}"#;
        let superset = Superset::start(&[1, 2], move |request, _| {
            request.is("PUT", "/dataset/").then(|| Reply::json(status, body))
        });
        settings.refresh.superset.url = superset.server.address().to_owned();
        let results = refresh_on(&settings, &changed, &Cancellation::default());
        assert_eq!(results[0].outcome, Outcome::Failed);
        let head = "1 of 2 charts and 1 dataset not renewed: ";
        assert!(
            results[0].detail.starts_with(&format!("{head}{expected}")),
            "{}",
            results[0].detail
        );
        assert!(!results[0].detail.contains("patient"), "{}", results[0].detail);
        assert_eq!(superset.warm_ups(), 2, "the charts are warmed all the same");
    }
}

#[test]
fn a_dashboard_is_found_by_its_slug() {
    let superset = Superset::start(&[4], no_fault);
    let mut settings = superset.settings();
    settings.refresh.superset.targets.insert("one".into(), dashboard("claims"));
    assert_eq!(refresh(&settings).detail, "1 chart of dashboard claims");
    settings.refresh.superset.targets.insert("one".into(), dashboard("a/b?c"));
    let result = refresh(&settings);
    assert!(result.detail.contains("dashboard a/b?c: Superset has none"), "{}", result.detail);
    assert_eq!(superset.server.count("GET", "/api/v1/dashboard/a%2Fb%3Fc"), 1);
}

#[test]
fn a_check_proves_what_is_needed_and_starts_nothing() {
    let superset = Superset::start(&[4, 5], no_fault);
    let mut settings = superset.settings();
    settings.refresh.superset.targets.get_mut("one").expect("there").datasets = vec![7];
    assert_eq!(check(&settings).expect("all there"), "dashboard 1, 2 charts");
    assert_eq!(superset.server.heard().iter().filter(|heard| heard.method == "PUT").count(), 0);
    assert_eq!((superset.sign_ins(), superset.server.count("GET", "/dataset/7")), (1, 1));

    settings.refresh.superset.targets.get_mut("one").expect("there").datasets = vec![7, 8];
    let failure = check(&settings).expect_err("no dataset 8");
    assert!(failure.message.starts_with("dataset 8: Superset has none"), "{failure}");
    settings.refresh.superset.targets.insert("one".into(), dashboard("2"));
    let failure = check(&settings).expect_err("no dashboard 2");
    assert!(failure.message.starts_with("dashboard 2: Superset has none"), "{failure}");
    settings.refresh.superset.username = "somebody".into();
    let failure = check(&settings).expect_err("no such account");
    assert!(failure.message.contains("refuses the sign-in"), "{failure}");

    let rights = Superset::start(&[4], |request, _| {
        let reading = || Reply::json(200, r#"{"permissions":["can_read"]}"#);
        request.is("GET", "/chart/_info").then(reading)
    });
    let failure = check(&rights.settings()).expect_err("no right");
    assert!(failure.message.contains("`can warm up cache on Chart`"), "{failure}");
}

/// The recorded answer of this name.
fn recorded(all: &Value, name: &str) -> Reply {
    let all = all.as_array().expect("a list");
    let one = all.iter().find(|one| one["name"] == name).expect(name);
    let status = u16::try_from(one["status"].as_u64().expect("a status")).expect("a status");
    let body = match &one["body"] {
        Value::String(text) => text.clone(),
        body => body.to_string(),
    };
    let headers = one["headers"].as_object().expect("headers");
    let content_type = headers["Content-Type"].as_str().expect("text");
    let reply = Reply::with(status, content_type, body);
    headers
        .iter()
        .filter(|(name, _)| *name != "Content-Type")
        .fold(reply, |reply, header| reply.header(header.0, header.1.as_str().expect("text")))
}

/// Where a recorded exchange takes place.
fn recorded_path(all: &Value, name: &str) -> String {
    let all = all.as_array().expect("a list");
    let one = all.iter().find(|one| one["name"] == name).expect(name);
    one["request"]["path"].as_str().expect("text").to_owned()
}

#[test]
fn what_the_real_superset_has_answered_is_understood() {
    let Some(folder) = fixtures::folder("bi/superset") else { return };
    let text = fixtures::read(&folder, "recorded_6.1.0.json");
    let all: Value = serde_json::from_str(&text).expect("JSON");
    // The whole conversation in recorded answers, and what the report says of each warm-up.
    let forged = "does not accept the session that it has just given";
    let cases = [
        ("warm_up_cache", Outcome::Succeeded, "1 chart of dashboard 1", 1, 1),
        ("warm_up_viz_error", Outcome::Failed, "chart 1: its query fails", 1, 1),
        ("warm_up_404", Outcome::Failed, "chart 1: Superset has no such chart any more", 1, 1),
        ("warm_up_400", Outcome::Failed, "chart 1: Superset answers with status 400", 1, 1),
        ("warm_up_jwt_only_no_csrf", Outcome::Failed, forged, 2, 2),
        ("dataset_refresh_no_csrf", Outcome::Failed, forged, 2, 2),
        ("bad_token", Outcome::Failed, forged, 2, 1),
        ("no_token", Outcome::Failed, forged, 2, 1),
    ];
    for (name, outcome, expected, warm_ups, sign_ins) in cases {
        let answers = all.clone();
        let superset = Superset::start(&[1], move |request, _| {
            let reply = |name| Some(recorded(&answers, name));
            match (request.method.as_str(), request.path.as_str()) {
                ("POST", SIGN_IN) => reply("login_ok"),
                ("POST", "/api/v1/security/refresh") => reply("token_refresh"),
                ("GET", "/api/v1/security/csrf_token/") => reply("csrf_token"),
                ("GET", "/api/v1/dashboard/1/charts") => reply("dashboard_charts"),
                ("GET", "/api/v1/dashboard/1") => Some(Reply::json(200, r#"{"result":{"id":1}}"#)),
                ("PUT", WARM_UP) => reply(name),
                _ => None,
            }
        });
        let result = refresh(&superset.settings());
        assert_eq!(result.outcome, outcome, "{name}: {}", result.detail);
        assert!(result.detail.contains(expected), "{name}: {}", result.detail);
        assert!(!result.detail.contains("relation"), "{name}: {}", result.detail);
        assert_eq!((superset.warm_ups(), superset.sign_ins()), (warm_ups, sign_ins), "{name}");
    }
    assert_eq!(recorded_path(&all, "warm_up_cache"), WARM_UP);
    assert_eq!(recorded_path(&all, "login_ok"), SIGN_IN);

    let bad = all.clone();
    let superset = Superset::start(&[1], move |_, _| Some(recorded(&bad, "login_bad")));
    let result = refresh(&superset.settings());
    assert!(result.detail.contains("refuses the sign-in"), "{}", result.detail);

    let changed = PublishedRun { schema_changed: true, ..PublishedRun::default() };
    for (name, outcome) in [
        ("dataset_refresh", Outcome::Succeeded),
        ("dataset_refresh_404", Outcome::Failed),
        ("dataset_refresh_missing_table", Outcome::Failed),
    ] {
        let answers = all.clone();
        let superset = Superset::start(&[1], move |request, _| {
            request.is("PUT", "/dataset/").then(|| recorded(&answers, name))
        });
        let mut settings = superset.settings();
        settings.refresh.superset.targets.get_mut("one").expect("there").datasets = vec![1];
        let results = refresh_on(&settings, &changed, &Cancellation::default());
        assert_eq!(results[0].outcome, outcome, "{name}: {}", results[0].detail);
    }
}
