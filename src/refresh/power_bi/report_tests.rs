//! Tests of refresh states and messages.

use serde_json::json;

use super::*;

#[test]
fn the_table_of_ends() {
    let going = || State::Running(None);
    let new = || State::Running(Some("its status Dreaming is not known here".into()));
    let ended = State::Ended;
    let table = [
        (202, "Completed", "Completed", false, going()),
        (202, "Failed", "Failed", true, going()),
        (202, "NotStarted", "Unknown", false, going()),
        (202, "Dreaming", "Unknown", false, new()),
        (200, "Completed", "Completed", true, ended(Outcome::Succeeded)),
        (200, "", "Completed", true, ended(Outcome::Succeeded)),
        (200, "", "succeeded", true, ended(Outcome::Succeeded)),
        (200, "COMPLETED", "completed", true, ended(Outcome::Succeeded)),
        (200, "Failed", "Failed", true, ended(Outcome::Failed)),
        (200, "Completed", "Failed", true, ended(Outcome::Failed)),
        (200, "Failed", "Completed", true, ended(Outcome::Failed)),
        (200, "TimedOut", "Failed", true, ended(Outcome::TimedOut)),
        (200, "timedout", "failed", true, ended(Outcome::TimedOut)),
        (200, "Disabled", "Disabled", false, ended(Outcome::Disabled)),
        (200, "", "Disabled", true, ended(Outcome::Disabled)),
        (200, "Cancelled", "Cancelled", true, ended(Outcome::Cancelled)),
        (200, "Canceled", "", true, ended(Outcome::Cancelled)),
        (200, "Unknown", "Unknown", false, going()),
        (200, "NotStarted", "NotStarted", false, going()),
        (200, "inProgress", "Unknown", false, going()),
        (200, "", "", false, going()),
        (200, "Unknown", "Unknown", true, ended(Outcome::Failed)),
        (200, "Dreaming", "Unknown", false, new()),
        (200, "", "Dreaming", false, new()),
        (200, "Dreaming", "Failed", true, ended(Outcome::Failed)),
        (200, "", "Dreaming", true, ended(Outcome::Failed)),
    ];
    for (http, extended, status, has_end, expected) in table {
        let mut body = json!({ "status": status, "extendedStatus": extended });
        if has_end {
            body["endTime"] = "2024-12-31T00:00:00".into();
        }
        let state = Report::of(&body).state(http);
        assert_eq!(state, expected, "{http} {extended} {status} {has_end}");
    }
}

#[test]
fn a_word_that_is_no_name_is_not_repeated() {
    let body = json!({ "status": "patient 123-45-6789 was here" });
    let state = Report::of(&body).state(200);
    assert!(!format!("{state:?}").contains("123"), "{state:?}");
}

#[test]
fn times_have_a_zone_or_are_in_utc() {
    let at = |text: &str| moment(text).map(|time| time.to_rfc3339());
    assert_eq!(at("2017-06-13T09:25:43.153Z").as_deref(), Some("2017-06-13T09:25:43.153+00:00"));
    assert_eq!(at("2021-12-10T08:40:31.57").as_deref(), Some("2021-12-10T08:40:31.570+00:00"));
    assert_eq!(at("2021-12-10T08:40:31").as_deref(), Some("2021-12-10T08:40:31+00:00"));
    assert_eq!(at("2021-12-10T08:40:31+02:00").as_deref(), Some("2021-12-10T06:40:31+00:00"));
    assert_eq!(at("yesterday"), None);
}

#[test]
fn a_success_counts_what_was_refreshed() {
    let body = json!({
        "startTime": "2021-12-10T08:40:31.57",
        "endTime": "2021-12-10T08:40:43.87",
        "status": "Completed",
        "objects": [{ "table": "a", "status": "Completed" }, { "table": "b", "status": "Failed" }],
    });
    assert_eq!(Report::of(&body).success(), "completed in 12 s, 1 of 2 objects");
    assert_eq!(Report::of(&json!({ "status": "Completed" })).success(), "completed");
}

#[test]
fn a_failure_has_codes_and_no_texts() {
    let inner = r#"{"errorCode":"ModelRefreshFailed_CredentialsNotSpecified",
        "errorDescription":"row 7: patient 123-45-6789"}"#;
    let body = json!({
        "status": "Failed",
        "serviceExceptionJson": inner,
        "refreshAttempts": [{ "serviceExceptionJson": inner }, { "type": "Query" }],
        "messages": [
            { "code": "0xC112001C", "message": "patient 123-45-6789", "type": "Error" },
            { "code": "0xAAAA", "message": "only a warning", "type": "Warning" },
            { "code": "one of patient 123", "type": "Error" },
            { "message": "patient 123-45-6789", "type": "Error" },
        ],
    });
    let report = Report::of(&body);
    let failure = report.failure("7", Outcome::Failed).to_string();
    assert_eq!(
        failure,
        "refresh 7: failed (0xC112001C, ModelRefreshFailed_CredentialsNotSpecified): the data \
         source has no credentials; enter them in the model's settings in Power BI"
    );
    assert!(!report.was_evicted());
    let unknown = Report::of(&json!({ "status": "Unknown", "endTime": "2024-12-31T00:00:00" }));
    let said = unknown.failure("7", Outcome::Failed).to_string();
    assert!(said.starts_with("refresh 7: it ended with an unknown result"), "{said}");
}

#[test]
fn an_evicted_model_is_told_by_its_code() {
    for body in [
        json!({ "messages": [{ "code": "0xC11C0020", "type": "Error" }] }),
        json!({ "messages": [{ "code": "0xc11c0020" }] }),
        json!({ "serviceExceptionJson": "{\"errorCode\":\"0xC11C0020\"}" }),
        json!({ "refreshAttempts": [{ "serviceExceptionJson": "{\"errorDescription\":\"0xC11C0020: x\"}" }] }),
    ] {
        assert!(Report::of(&body).was_evicted(), "{body}");
    }
    let warning = json!({ "messages": [{ "code": "0xC11C0020", "type": "Warning" }] });
    assert!(!Report::of(&warning).was_evicted());
}
