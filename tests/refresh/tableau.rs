//! Tableau's extracts against a server that keeps to the protocol and goes wrong by a script. What is
//! counted each time is how often a refresh was requested.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use arrow::record_batch::RecordBatch;
use claims_etl::adbc_postgres::PostgresConnection;
use claims_etl::config;
use claims_etl::config::{OnConflict, Settings, TableauTarget};
use claims_etl::error::{Error, Result};
use claims_etl::event::Cancellation;
use claims_etl::refresh::{
    Failure, Job, Outcome, PublishedRun, Statements, TargetResult, refresh_all, targets,
};
use claims_etl::secret::source::SecretSource;

use crate::support::fixtures;
use crate::support::mock_http::Reply;
use crate::support::tableau_server::{
    DATASOURCE, Fault, SECRET_ROW, SITE, TASK, TOKEN, TOKEN_NAME, TableauServer, WORKBOOK,
    document, error, error_saying, page,
};

/// Longer than any test.
const LONG: Duration = Duration::from_hours(1);

fn data_source() -> TableauTarget {
    TableauTarget { datasource: Some(DATASOURCE.into()), ..TableauTarget::default() }
}

fn workbook() -> TableauTarget {
    TableauTarget { workbook: Some(WORKBOOK.into()), ..TableauTarget::default() }
}

fn task() -> TableauTarget {
    TableauTarget { task: Some(TASK.into()), ..TableauTarget::default() }
}

fn settings(server: &TableauServer, targets: &[(&str, TableauTarget)]) -> Settings {
    let mut settings = Settings::default();
    settings.refresh.dashboard.enabled = false;
    settings.refresh.provider_month.enabled = false;
    settings.refresh.deadline_secs = 60;
    let tableau = &mut settings.refresh.tableau;
    tableau.server = server.address().into();
    tableau.site = SITE.into();
    tableau.token_name = TOKEN_NAME.into();
    tableau.token = SecretSource::from_variable("TABLEAU_TOKEN", TOKEN);
    tableau.targets =
        targets.iter().map(|(name, target)| ((*name).to_owned(), target.clone())).collect();
    settings
}

fn no_warehouse() -> Result<PostgresConnection> {
    Err(Error::warehouse("no server here"))
}

fn run(settings: &Settings, cancel: &Cancellation) -> Vec<TargetResult> {
    let targets = targets(settings);
    let results = refresh_all(&targets, &PublishedRun::default(), &no_warehouse, cancel);
    for result in &results {
        for secret in [SECRET_ROW, "123-45", TOKEN, "session-", "Ressourcenkonflikt"] {
            assert!(!result.detail.contains(secret), "{}", result.detail);
        }
    }
    results.into_iter().filter(|result| result.target.starts_with("tableau.")).collect()
}

fn refreshed(settings: &Settings) -> Vec<TargetResult> {
    run(settings, &Cancellation::default())
}

/// One target's end.
fn one(server: &TableauServer, target: TableauTarget) -> TargetResult {
    refreshed(&settings(server, &[("one", target)])).remove(0)
}

/// Succeeded, with one request for the refresh, and one session.
fn assert_once(server: &TableauServer, result: &TargetResult) {
    assert_eq!(result.outcome, Outcome::Succeeded, "{}", result.detail);
    assert_eq!((server.starts(), result.attempts), (1, 1));
    assert_eq!(server.world().jobs.len(), 1);
    assert_signed_out(server, 1);
}

/// So many sign-ins, and one sign-out, after which no session is left.
fn assert_signed_out(server: &TableauServer, sign_ins: usize) {
    let world = server.world();
    assert_eq!((world.sign_ins, world.sign_outs), (sign_ins, 1));
    assert_eq!(world.session, None);
}

fn assert_failed(result: &TargetResult, outcome: Outcome, part: &str) {
    assert_eq!(result.outcome, outcome, "{}", result.detail);
    assert!(result.detail.contains(part), "{}", result.detail);
}

#[test]
fn everything_is_refreshed_in_one_session() {
    let server = TableauServer::start_at("127.0.0.1:0", Duration::from_millis(300));
    let all = [("data", data_source()), ("off", workbook()), ("task", task())];
    let mut settings = settings(&server, &all);
    settings.refresh.tableau.targets.get_mut("off").expect("there").enabled = false;
    let results = refreshed(&settings);
    let outcomes: Vec<_> =
        results.iter().map(|result| (result.target.as_str(), result.outcome)).collect();
    assert_eq!(
        outcomes,
        [
            ("tableau.data", Outcome::Succeeded),
            ("tableau.off", Outcome::Skipped),
            ("tableau.task", Outcome::Succeeded)
        ]
    );
    assert_eq!(results[1].detail, "refresh.tableau.targets.off.enabled is false");
    for result in [&results[0], &results[2]] {
        let id = result.remote_id.as_deref().expect("an id");
        let detail = format!("job {}: completed in ", &id[..8]);
        assert!(result.detail.starts_with(&detail), "{}", result.detail);
    }
    assert_eq!(server.starts(), 2);
    let bodies = |part: &str| {
        let heard = server.heard().into_iter().find(|heard| heard.is("POST", part));
        heard.expect("a request").text()
    };
    assert_eq!(bodies("/refresh"), "<tsRequest><extractRefresh/></tsRequest>");
    assert_eq!(bodies("/runNow"), "<tsRequest></tsRequest>");
    assert_signed_out(&server, 1);
}

#[test]
fn whoever_is_first_signs_in_for_all() {
    let server = TableauServer::start();
    server.fault("POST", "/auth/signin", Fault::Slow(Duration::from_millis(400)));
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let all: Vec<_> = names.into_iter().map(|name| (name, data_source())).collect();
    let mut settings = settings(&server, &all);
    settings.refresh.tableau.parallel = Some(8);
    let results = refreshed(&settings);
    assert!(results.iter().all(|result| result.outcome == Outcome::Succeeded), "{results:?}");
    assert_eq!((server.starts(), server.count("GET", "/serverinfo")), (8, 1));
    assert_signed_out(&server, 1);
}

#[test]
fn what_is_sent_depends_on_the_version() {
    let incremental = || TableauTarget { incremental: true, ..workbook() };
    let server = TableauServer::start();
    assert_once(&server, &one(&server, incremental()));
    let heard = server.heard().into_iter().find(|heard| heard.is("POST", "/refresh"));
    assert_eq!(
        heard.expect("a request").text(),
        "<tsRequest><extractRefresh incremental=\"true\"/></tsRequest>"
    );

    let older = TableauServer::start();
    older.world().version = "3.24";
    let refused = one(&older, incremental());
    assert_failed(&refused, Outcome::Failed, "incremental refreshes need API 3.25; this is 3.24");
    assert_eq!((older.starts(), refused.attempts), (0, 0));
    assert_signed_out(&older, 1);

    let mut settings = settings(&older, &[("one", workbook())]);
    settings.refresh.tableau.api_version = "3.24".into();
    let result = refreshed(&settings).remove(0);
    assert_eq!(result.outcome, Outcome::Succeeded, "{}", result.detail);
    assert_eq!(older.count("GET", "/serverinfo"), 1, "a configured version is not queried");
    let heard = older.heard().into_iter().find(|heard| heard.is("POST", "/refresh"));
    assert_eq!(heard.expect("a request").text(), "<tsRequest></tsRequest>");
}

#[test]
fn a_server_without_tokens_is_named_as_such() {
    let server = TableauServer::start();
    server.fault("GET", "/serverinfo", Fault::Instead(error(404, "404003")));
    assert_failed(&one(&server, workbook()), Outcome::Failed, "does not report its version");
    let server = TableauServer::start();
    server.world().version = "3.5";
    assert_failed(&one(&server, workbook()), Outcome::Failed, "personal access tokens need 3.6");
    assert_eq!(server.count("POST", ""), 0, "no token was sent");
}

#[test]
fn a_wrong_token_is_tried_once_for_all() {
    let server = TableauServer::start();
    let mut settings = settings(&server, &[("a", data_source()), ("b", workbook()), ("c", task())]);
    settings.refresh.tableau.token = SecretSource::from_variable("T", "expired-secret");
    for result in refreshed(&settings) {
        assert_failed(
            &result,
            Outcome::Failed,
            "refused the personal access token (HTTP 401, code 401001)",
        );
        assert!(!result.detail.contains("expired-secret"));
    }
    assert_eq!((server.count("POST", "/auth/signin"), server.starts()), (1, 0));
    assert_eq!(server.count("POST", "/auth/signout"), 0);
}

#[test]
fn a_sign_in_moves_with_the_site() {
    let (front, pod) = (TableauServer::start(), TableauServer::start());
    let location = format!("{}/api/3.27/auth/signin", pod.address());
    let moved = Reply::status(308).header("Location", &location);
    front.fault("POST", "/auth/signin", Fault::Instead(moved));
    assert_once(&pod, &one(&front, workbook()));
    assert_eq!((front.count("POST", ""), front.starts()), (1, 0));
}

#[test]
fn a_token_is_sent_nowhere_that_is_not_safe() {
    for location in [
        "http://example.invalid/api/3.27/auth/signin",
        "https://example.invalid/login?next=/api/3.27/auth/signin",
    ] {
        let server = TableauServer::start();
        let moved = Reply::status(301).header("Location", location);
        server.fault("POST", "/auth/signin", Fault::Instead(moved));
        assert_failed(&one(&server, workbook()), Outcome::Failed, "not safe for a token");
        assert_eq!(server.count("POST", ""), 1);
    }
    // Nor is any other redirect followed.
    let server = TableauServer::start();
    let found = Reply::status(302).header("Location", server.address());
    server.fault("POST", "/auth/signin", Fault::Instead(found));
    assert_failed(
        &one(&server, workbook()),
        Outcome::Failed,
        "redirects to another address (HTTP 302)",
    );
    assert_eq!(server.count("POST", ""), 1);
}

#[test]
fn slow_answers_are_waited_for() {
    let server = TableauServer::start();
    for (method, part) in [("POST", "/auth/signin"), ("POST", "/refresh"), ("GET", "/jobs/")] {
        server.fault(method, part, Fault::Slow(Duration::from_millis(700)));
    }
    assert_once(&server, &one(&server, workbook()));
}

#[test]
fn reading_again_does_no_harm() {
    let server = TableauServer::start();
    server.fault("GET", "/serverinfo", Fault::Instead(Reply::cut()));
    server.fault("POST", "/auth/signin", Fault::Instead(error(500, "500000")));
    server.fault("GET", "/jobs/", Fault::Instead(page()));
    server.fault("GET", "/jobs/", Fault::Instead(Reply::status(503)));
    server.fault("GET", "/jobs/", Fault::Instead(Reply::cut()));
    assert_once(&server, &one(&server, workbook()));
}

#[test]
fn a_web_page_in_place_of_tableau_is_reported() {
    let server = TableauServer::start();
    for _ in 0..4 {
        server.fault("GET", "/serverinfo", Fault::Instead(page()));
    }
    assert_failed(&one(&server, workbook()), Outcome::Failed, "not Tableau's REST interface");
    assert_eq!(server.count("POST", ""), 0);
}

/// The answer to the request that starts a refresh is lost in all ways there are.
#[test]
fn a_lost_answer_is_made_good_by_finding_the_job() {
    let lost = [Reply::cut(), page(), error(500, "500000"), Reply::status(502), document("")];
    thread::scope(|scope| {
        for (answer, target, ahead) in [
            (&lost[0], workbook(), 0),
            (&lost[1], data_source(), -7200),
            (&lost[2], task(), 7200),
            (&lost[3], workbook(), 7200),
            (&lost[4], data_source(), 0),
        ] {
            scope.spawn(move || {
                let server = TableauServer::start();
                server.world().ahead = ahead;
                // Earlier refreshes of the same object, and one of another, are not taken for ours.
                server.refreshed_elsewhere(WORKBOOK, Duration::from_mins(1), Duration::ZERO);
                server.refreshed_elsewhere(DATASOURCE, Duration::from_mins(1), Duration::ZERO);
                server.fault("POST", "/refresh", Fault::Then(answer.clone()));
                server.fault("POST", "/runNow", Fault::Then(answer.clone()));
                let result = one(&server, target);
                assert_eq!(result.outcome, Outcome::Succeeded, "{}", result.detail);
                assert_eq!((server.starts(), result.attempts), (1, 1));
                let ours = "00000003-aa0c-41c4-8662-a76d89ed7336";
                assert_eq!(result.remote_id.as_deref(), Some(ours));
                assert_signed_out(&server, 1);
            });
        }
    });
}

#[test]
fn a_request_that_may_have_arrived_is_never_sent_again() {
    thread::scope(|scope| {
        for answer in [Reply::cut(), error(500, "500000"), page()] {
            scope.spawn(move || {
                let server = TableauServer::start();
                server.refreshed_elsewhere(WORKBOOK, Duration::from_mins(1), Duration::ZERO);
                server.fault("POST", "/refresh", Fault::Instead(answer));
                let result = one(&server, workbook());
                assert_failed(
                    &result,
                    Outcome::Failed,
                    "not started again: no job of it was found",
                );
                assert_eq!((server.starts(), result.attempts), (1, 1));
                assert_signed_out(&server, 1);
            });
        }
        scope.spawn(|| {
            let server = TableauServer::start();
            server.world().lists_jobs = false;
            server.fault("POST", "/refresh", Fault::Then(Reply::cut()));
            let result = one(&server, workbook());
            let expected = "not started again: the token's user may not do that: the list of jobs \
                        (HTTP 403, code 403004)";
            assert_failed(&result, Outcome::Failed, expected);
            assert_eq!(server.starts(), 1);
        });
    });
}

#[test]
fn a_request_that_cannot_have_arrived_is_sent_again() {
    // Whoever takes the sign-in is gone when the refresh is requested, and comes back.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let coming_back = thread::spawn(move || {
        let (mut socket, address) = (listener.accept().expect("a caller").0, listener.local_addr());
        drop(listener);
        let mut request = [0; 4096];
        while !String::from_utf8_lossy(&request).contains("</tsRequest>") {
            let place = request.iter().position(|byte| *byte == 0).expect("a short request");
            assert!(socket.read(&mut request[place..]).expect("a request") > 0);
        }
        let body = "<tsResponse><credentials token='session-0'>\
                    <site id='6b7179ba-b82b-4f0f-91ed-812074ac5da6'/></credentials></tsResponse>";
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        socket.write_all(format!("{head}{body}").as_bytes()).expect("an answer");
        thread::sleep(Duration::from_millis(300));
        let address = address.expect("an address").to_string();
        let server = TableauServer::start_at(&address, Duration::ZERO);
        server.world().session = Some("session-0".into());
        server
    });
    let nobody = TableauServer::start();
    let mut settings = settings(&nobody, &[("one", workbook())]);
    settings.refresh.tableau.server = format!("http://{address}");
    settings.refresh.tableau.api_version = "3.27".into();
    let result = refreshed(&settings).remove(0);
    let server = coming_back.join().expect("no panic");
    assert_eq!(result.outcome, Outcome::Succeeded, "{}", result.detail);
    assert!(result.attempts > 1, "{}", result.attempts);
    assert_eq!((server.starts(), server.world().jobs.len()), (1, 1));
}

#[test]
fn a_short_wait_is_waited_and_a_long_one_is_not() {
    let later = |seconds: &str| Reply::status(429).header("Retry-After", seconds);
    let server = TableauServer::start();
    server.fault("POST", "/refresh", Fault::Instead(later("1")));
    server.fault("GET", "/jobs/", Fault::Instead(later("0")));
    let soon = error_saying(429, "429000", "Please retry after 0 minutes.");
    server.fault("GET", "/jobs/", Fault::Instead(soon));
    let result = one(&server, workbook());
    assert_eq!(result.outcome, Outcome::Succeeded, "{}", result.detail);
    assert_eq!((server.starts(), result.attempts, server.world().jobs.len()), (2, 2, 1));
    assert!(result.elapsed >= Duration::from_secs(1));

    let minutes =
        "Too many requests for 'api.rest.refresh_extracts'. Please retry after 29 minutes.";
    for answer in [
        later("3392"),
        error_saying(429, "429000", minutes),
        error_saying(429, "429000", minutes).header("Retry-After", "1"),
    ] {
        let server = TableauServer::start();
        server.fault("POST", "/refresh", Fault::Instead(answer));
        let result = one(&server, workbook());
        assert_failed(&result, Outcome::RateLimited, "takes no more requests (HTTP 429");
        assert!(result.detail.contains("; again from 20"), "{}", result.detail);
        assert_eq!(server.starts(), 1);
        assert_signed_out(&server, 1);
    }

    let server = TableauServer::start();
    let reported = error_saying(429, "429000", "29 requests of 60 users");
    server.fault("POST", "/refresh", Fault::Instead(reported));
    let result = one(&server, workbook());
    assert_failed(&result, Outcome::RateLimited, "HTTP 429, code 429000");
    assert!(!result.detail.contains("again"), "{}", result.detail);
}

#[test]
fn a_lost_session_is_renewed_once_for_all() {
    // Both have requested before either is answered.
    let server = TableauServer::start();
    let gone = error(401, "401002").after(Duration::from_millis(600));
    server.fault("GET", "/jobs/", Fault::Instead(gone.clone()));
    server.fault("GET", "/jobs/", Fault::Instead(gone));
    let results = refreshed(&settings(&server, &[("a", data_source()), ("b", workbook())]));
    assert!(results.iter().all(|result| result.outcome == Outcome::Succeeded), "{results:?}");
    assert_eq!((server.starts(), server.world().jobs.len()), (2, 2));
    let spent = server.heard().into_iter().filter(|heard| {
        heard.is("GET", "/jobs/") && heard.header("x-tableau-auth") == Some("session-1")
    });
    assert_eq!((spent.count(), server.count("GET", "/jobs/")), (2, 4));
    assert_signed_out(&server, 2);
}

#[test]
fn a_refresh_that_outlives_its_session_is_polled_in_another() {
    let server = TableauServer::start();
    server.fault("POST", "/refresh", Fault::SessionGone);
    let result = one(&server, workbook());
    assert_eq!(result.outcome, Outcome::Succeeded, "{}", result.detail);
    assert_eq!((server.starts(), server.world().jobs.len()), (2, 1));
    assert_signed_out(&server, 2);
}

#[test]
fn two_runs_do_not_end_each_others_session_for_ever() {
    let server = TableauServer::start();
    server.world().jobs_take = LONG;
    server.fault("GET", "/jobs/", Fault::SessionGone);
    server.fault("GET", "/jobs/", Fault::SessionGone);
    let result = one(&server, workbook());
    assert_failed(&result, Outcome::Failed, "two tokens");
    assert!(result.detail.ends_with("job 00000001 may be running"), "{}", result.detail);
    assert_eq!((server.starts(), server.world().sign_ins), (1, 2));
}

#[test]
fn the_finish_code_decides() {
    for (code, outcome, part) in [
        (0, Outcome::Succeeded, "job 00000001: completed in 0 s"),
        (1, Outcome::Failed, "job 00000001 failed"),
        (2, Outcome::Cancelled, "job 00000001 was cancelled in Tableau"),
        (3, Outcome::Succeeded, "job 00000001: completed in 0 s"),
        (9, Outcome::Failed, "an unknown result"),
    ] {
        let server = TableauServer::start();
        server.world().finish_code = code;
        let result = one(&server, TableauTarget { required: true, ..workbook() });
        assert_failed(&result, outcome, part);
        assert!(result.required);
        assert_eq!(server.starts(), 1);
        assert_signed_out(&server, 1);
    }
}

#[test]
fn a_refresh_in_the_way_is_waited_for() {
    let server = TableauServer::start();
    server.refreshed_elsewhere(WORKBOOK, Duration::from_mins(1), Duration::from_secs(61));
    let result = one(&server, task());
    assert_eq!(result.outcome, Outcome::Succeeded, "{}", result.detail);
    assert_eq!((server.starts(), server.world().jobs.len()), (2, 2));
    assert!(result.elapsed >= Duration::from_secs(1));
    assert!(result.detail.starts_with("job 00000002: "), "the second one, too, was waited for");
}

#[test]
fn whoever_may_not_list_jobs_sees_by_the_workbook_that_a_refresh_has_ended() {
    let server = TableauServer::start();
    server.world().lists_jobs = false;
    server.refreshed_elsewhere(WORKBOOK, Duration::from_mins(1), Duration::from_secs(61));
    let result = one(&server, workbook());
    assert_eq!(result.outcome, Outcome::Succeeded, "{}", result.detail);
    assert_eq!((server.starts(), server.world().jobs.len()), (2, 2));
}

#[test]
fn a_refresh_in_the_way_may_have_ended_before_anybody_looked() {
    let server = TableauServer::start();
    server.fault("POST", "/refresh", Fault::Instead(error(409, "409093")));
    let result = one(&server, workbook());
    assert_eq!(result.outcome, Outcome::Succeeded, "{}", result.detail);
    assert_eq!((server.starts(), server.world().jobs.len()), (2, 1));
}

#[test]
fn a_refresh_in_the_way_is_left_alone_or_is_a_failure() {
    for (on_conflict, outcome, part) in [
        (OnConflict::Skip, Outcome::AlreadyRunning, "another refresh of the workbook is running"),
        (OnConflict::Fail, Outcome::Failed, "is running (HTTP 409, code 409093)"),
    ] {
        let server = TableauServer::start();
        server.refreshed_elsewhere(WORKBOOK, Duration::ZERO, LONG);
        let result = one(&server, TableauTarget { on_conflict, ..workbook() });
        assert_failed(&result, outcome, part);
        assert_eq!((server.starts(), server.count("PUT", "")), (1, 0));
        assert_signed_out(&server, 1);
    }
}

#[test]
fn what_is_configured_wrongly_is_not_tried_again() {
    for (status, code, part) in [
        (409, "409090", "the workbook has no extract that could be refreshed"),
        (404, "404006", "does not know the workbook (HTTP 404, code 404006)"),
        (403, "403004", "may not do that: the workbook (HTTP 403, code 403004)"),
        (400, "400000", "refused the workbook (HTTP 400, code 400000)"),
        (400, "a row: 123-45", "refused the workbook (HTTP 400)"),
    ] {
        let server = TableauServer::start();
        server.fault("POST", "/refresh", Fault::Instead(error(status, code)));
        assert_failed(&one(&server, workbook()), Outcome::Failed, part);
        assert_eq!((server.starts(), server.world().jobs.len()), (1, 0));
        assert_signed_out(&server, 1);
    }
}

#[test]
fn a_job_that_cannot_be_read_is_polled_a_few_times() {
    let server = TableauServer::start();
    server.fault("GET", "/jobs/", Fault::Instead(error(400, "400031")));
    server.fault("GET", "/jobs/", Fault::Instead(error(400, "400031")));
    assert_once(&server, &one(&server, workbook()));
}

#[test]
fn a_job_that_is_never_shown_is_given_up() {
    let server = TableauServer::start();
    server.world().shows_jobs = false;
    let result = one(&server, workbook());
    assert_failed(&result, Outcome::Failed, "(HTTP 400, code 400031); its result is unknown");
    assert_eq!((server.starts(), server.count("GET", "/jobs/")), (1, 4));
    assert_signed_out(&server, 1);
}

#[test]
fn a_job_that_does_not_end_is_cancelled_at_the_deadline() {
    let server = TableauServer::start_at("127.0.0.1:0", LONG);
    let result = one(&server, TableauTarget { deadline_secs: Some(2), ..workbook() });
    assert_failed(
        &result,
        Outcome::TimedOut,
        "the deadline came first; job 00000001 was cancelled",
    );
    assert_eq!((server.starts(), server.count("PUT", "/jobs/00000001")), (1, 1));
    assert!(server.world().jobs[0].cancelled);
    assert_signed_out(&server, 1);
}

#[test]
fn a_job_that_cannot_be_cancelled_is_reported() {
    let server = TableauServer::start_at("127.0.0.1:0", LONG);
    server.fault("PUT", "/jobs/", Fault::Instead(error(403, "403001")));
    server.fault("PUT", "/jobs/", Fault::Instead(Reply::cut()));
    let result = one(&server, TableauTarget { deadline_secs: Some(2), ..workbook() });
    assert_failed(&result, Outcome::TimedOut, "could not be cancelled and may be running");
    assert_eq!(server.count("PUT", ""), 2);
    assert_signed_out(&server, 1);
}

#[test]
fn somebody_elses_job_is_not_cancelled() {
    let server = TableauServer::start();
    server.refreshed_elsewhere(WORKBOOK, Duration::ZERO, LONG);
    let result = one(&server, TableauTarget { deadline_secs: Some(2), ..workbook() });
    let expected = "the deadline came first; another refresh of the workbook was waited for";
    assert_failed(&result, Outcome::TimedOut, expected);
    assert_eq!((server.starts(), server.count("PUT", "")), (1, 0));
    assert!(!server.world().jobs[0].cancelled);
    assert_signed_out(&server, 1);
}

/// Sends a signal when a refresh has been requested.
fn stopped(server: &TableauServer) -> TargetResult {
    let cancel = Cancellation::default();
    thread::scope(|scope| {
        scope.spawn(|| {
            let until = Instant::now() + Duration::from_secs(20);
            while server.starts() == 0 && Instant::now() < until {
                thread::sleep(Duration::from_millis(10));
            }
            thread::sleep(Duration::from_millis(50));
            cancel.cancel(15);
        });
        run(&settings(server, &[("one", workbook())]), &cancel).remove(0)
    })
}

#[test]
fn a_signal_cancels_what_was_started() {
    let server = TableauServer::start_at("127.0.0.1:0", LONG);
    let result = stopped(&server);
    assert_failed(&result, Outcome::Cancelled, "stopped by a signal; job 00000001 was cancelled");
    assert_eq!((server.starts(), server.count("PUT", "/jobs/00000001")), (1, 1));
    assert!(server.world().jobs[0].cancelled);
    assert_signed_out(&server, 1);

    // Also where the answer to the request has not come yet.
    let server = TableauServer::start_at("127.0.0.1:0", LONG);
    server.fault("POST", "/refresh", Fault::Slow(Duration::from_secs(30)));
    let result = stopped(&server);
    assert_failed(&result, Outcome::Cancelled, "stopped by a signal; job 00000001 was cancelled");
    assert_eq!(server.starts(), 1);
    assert!(server.world().jobs[0].cancelled);
    assert_signed_out(&server, 1);
}

#[test]
fn a_sign_out_that_fails_changes_nothing() {
    let server = TableauServer::start();
    server.fault("POST", "/auth/signout", Fault::Instead(Reply::cut()));
    let results = refreshed(&settings(&server, &[("a", data_source()), ("b", workbook())]));
    assert!(results.iter().all(|result| result.outcome == Outcome::Succeeded), "{results:?}");
    assert_eq!(server.count("POST", "/auth/signout"), 1);
}

struct NoWarehouse;

impl Statements for NoWarehouse {
    fn query(&mut self, _: &str, _: &str) -> Result<RecordBatch> {
        Err(Error::warehouse("no server here"))
    }

    fn execute(&mut self, _: &str, _: &str, _: Instant) -> Result<u64> {
        Err(Error::warehouse("no server here"))
    }
}

/// Checks all targets at the same time.
fn checked(settings: &Settings) -> Vec<Result<String, Failure>> {
    let (published, cancel) = (PublishedRun::default(), Cancellation::default());
    let targets = targets(settings);
    let until = Instant::now() + Duration::from_secs(30);
    thread::scope(|scope| {
        let of_tableau = targets.iter().filter(|target| target.info().provider == "tableau");
        let running: Vec<_> = of_tableau
            .map(|target| {
                let (published, cancel) = (&published, &cancel);
                scope.spawn(move || {
                    let mut no_warehouse = NoWarehouse;
                    let mut job = Job::new(published, &[], &mut no_warehouse, until, cancel);
                    target.check(&mut job)
                })
            })
            .collect();
        running.into_iter().map(|check| check.join().expect("no panic")).collect()
    })
}

#[test]
fn a_check_starts_nothing() {
    let server = TableauServer::start();
    let wrong = TableauTarget { workbook: Some("no/such".into()), ..TableauTarget::default() };
    let all = [("a", data_source()), ("b", task()), ("c", workbook()), ("d", wrong)];
    let checked = checked(&settings(&server, &all));
    let reported: Vec<_> = checked.iter().map(|one| one.as_ref().map(String::as_str)).collect();
    assert_eq!(
        reported[..3],
        [
            Ok("the data source is there; API 3.27"),
            Ok("the task is there; API 3.27"),
            Ok("the workbook is there; API 3.27")
        ]
    );
    let failure = reported[3].expect_err("no such workbook");
    assert_eq!(
        failure.to_string(),
        "Tableau does not know the workbook (HTTP 404, code 404000); are id and site right?"
    );
    assert_eq!(server.count("GET", "/workbooks/no%2Fsuch"), 1);
    assert_eq!((server.starts(), server.count("PUT", "")), (0, 0));
    let world = server.world();
    assert_eq!((world.sign_ins, &world.session), (world.sign_outs, &None));
    assert!(world.sign_ins >= 1);
}

#[test]
fn the_example_of_the_documentation_is_accepted() {
    let text = include_str!("../../docs/tableau.md");
    let example = text.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next());
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("claims-etl.toml");
    std::fs::write(&file, example.expect("an example")).expect("written");
    let settings = config::load(Some(&file), toml::Table::new()).expect("settings");
    let targets = targets(&settings);
    let names = targets.iter().map(|target| (target.name(), target.info().required));
    let names: Vec<_> = names.filter(|(name, _)| name.starts_with("tableau.")).collect();
    assert_eq!(
        names,
        [("tableau.claims", true), ("tableau.nightly", false), ("tableau.overview", false)]
    );
}

/// The answers that Tableau's own client is tested with, each where it belongs.
#[test]
fn the_answers_of_tableaus_own_client_are_understood() {
    let Some(folder) = fixtures::folder("bi/tableau/assets") else { return };
    let xml = |status, name: &str| {
        Fault::Instead(Reply::with(status, "application/xml", fixtures::read(&folder, name)))
    };
    let started = |start: &str, part: &'static str, then: &[&str], target: TableauTarget| {
        let server = TableauServer::start();
        server.world().version = "3.10";
        server.world().session = Some("TOKEN-PLACEHOLDER".into());
        server.fault("GET", "/serverinfo", xml(200, "server_info_get.xml"));
        server.fault("POST", "/auth/signin", xml(200, "auth_sign_in.xml"));
        let status = if start.ends_with("duplicate.xml") { 409 } else { 200 };
        server.fault("POST", part, xml(status, start));
        for answer in then {
            server.fault("GET", "/jobs/", xml(200, answer));
        }
        let result = one(&server, target);
        assert_eq!((server.starts(), server.world().jobs.len()), (1, 0));
        assert_signed_out(&server, 0);
        (result.outcome, result.detail, result.remote_id.unwrap_or_default())
    };
    let job = "7c3d599e-949f-44c3-94a1-f30ba85757e4";
    let in_progress = "job_get_by_id_inprogress.xml";
    assert_eq!(
        started("datasource_refresh.xml", "/refresh", &["job_get_by_id.xml"], data_source()),
        (Outcome::Succeeded, "job 2eef4225: completed in 93 s".into(), job.into())
    );
    assert_eq!(
        started(
            "workbook_refresh.xml",
            "/refresh",
            &[in_progress, "job_get_by_id_completed.xml"],
            workbook()
        ),
        (Outcome::Succeeded, "job 2eef4225: completed in 93 s".into(), job.into())
    );
    let (outcome, detail, id) =
        started("tasks_run_now_response.xml", "/runNow", &["job_get_by_id_failed.xml"], task());
    assert_eq!((outcome, id.as_str()), (Outcome::Failed, "7b6b59a8-ac3c-4d1d-2e9e-0b5b4ba8a7b6"));
    assert!(detail.starts_with("job 777bf7c4 failed"), "{detail}");
    let (outcome, detail, _) = started(
        "workbook_refresh.xml",
        "/refresh",
        &["job_get_by_id_failed_workbook.xml"],
        workbook(),
    );
    assert_eq!(outcome, Outcome::Failed);
    assert!(detail.starts_with("job bb1aab79 failed") && !detail.contains("Login"), "{detail}");
    let skip = |target| TableauTarget { on_conflict: OnConflict::Skip, ..target };
    for (name, target) in [
        ("datasource_refresh_duplicate.xml", data_source()),
        ("workbook_refresh_duplicate.xml", workbook()),
    ] {
        assert_eq!(
            started(name, "/refresh", &[], skip(target)).0,
            Outcome::AlreadyRunning,
            "{name}"
        );
    }

    // A list without a job of ours is none.
    let server = TableauServer::start();
    for _ in 0..4 {
        server.fault("GET", "/jobs?", xml(200, "job_get.xml"));
    }
    server.fault("POST", "/refresh", Fault::Instead(Reply::cut()));
    assert_failed(&one(&server, workbook()), Outcome::Failed, "no job of it was found");
    assert_eq!((server.starts(), server.count("GET", "/jobs/")), (1, 0));

    // Servers and tokens that will not do.
    let server = TableauServer::start();
    server.fault("GET", "/serverinfo", xml(404, "server_info_404.xml"));
    assert_failed(
        &one(&server, workbook()),
        Outcome::Failed,
        "(HTTP 404, code 404003): it is too old",
    );
    let server = TableauServer::start();
    server.fault("POST", "/auth/signin", xml(401, "auth_sign_in_error.xml"));
    assert_failed(&one(&server, workbook()), Outcome::Failed, "401001");

    // Tasks, one or many in a document.
    let checked_task = |name: &str, id: &str| {
        let server = TableauServer::start();
        server.fault("GET", "/tasks/", xml(200, name));
        let task = TableauTarget { task: Some(id.into()), ..TableauTarget::default() };
        checked(&settings(&server, &[("one", task)])).remove(0).map_err(|failure| failure.message)
    };
    let there = Ok("the task is there; API 3.27".to_owned());
    assert_eq!(checked_task("tasks_with_workbook.xml", TASK), there);
    assert_eq!(checked_task("tasks_with_datasource.xml", TASK), there);
    let second = "6e8255f1-142b-4e17-bd9a-9fe6736812a1";
    assert_eq!(checked_task("tasks_with_workbook_and_datasource.xml", second), there);
    let silent = Err("Tableau's answer does not show the task".to_owned());
    assert_eq!(checked_task("tasks_with_workbook_and_datasource.xml", "9"), silent);
    assert_eq!(checked_task("schedule_get_extract_refresh_tasks.xml", "task1"), silent);
}
