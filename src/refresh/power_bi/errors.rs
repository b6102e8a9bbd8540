//! Power BI errors. Only codes are passed on: the texts can quote rows.

use std::time::Duration;

use serde_json::Value;

use crate::http::Answer;
use crate::refresh::outcome::{Failure, Outcome};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Another refresh of the model is running.
    AlreadyRunning,
    /// The model's daily refresh quota is used up.
    DailyLimit,
    RateLimited,
    TokenExpired,
    /// 408, 5xx.
    Transient,
    /// Does not exist, or is not visible to the principal.
    NotFound,
    /// Any other error.
    Refused,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) kind: Kind,
    status: u16,
    code: Option<String>,
    /// Required delay before the next request.
    pub(super) wait: Option<Duration>,
    /// Request id for Power BI support.
    request: Option<String>,
}

impl Refusal {
    /// The error in an unsuccessful response.
    pub(super) fn of(answer: &Answer) -> Self {
        let request = answer.header("requestid").and_then(clean);
        Self { request, ..Self::read(answer.status(), answer.retry_after(), answer.body()) }
    }

    fn read(status: u16, retry_after: Option<Duration>, body: &[u8]) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let error = &body["error"];
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let code = text(&error["code"]).or_else(|| text(&error["pbi.error"]["code"]));
        // The token endpoint's `error` is the code itself.
        let code = code.or_else(|| text(error)).and_then(|code| {
            // The only known code with a space.
            clean(if code == "Request Throttled" { "RequestThrottled" } else { &code })
        });
        let message = text(&error["message"]).or_else(|| text(&body["message"]));
        let message = message.unwrap_or_default().to_lowercase();
        let named =
            |name: &str| code.as_deref().is_some_and(|code| code.eq_ignore_ascii_case(name));
        let of_the_day = message.contains("24 hours") && message.contains("limit");
        let kind = match status {
            _ if named("RequestThrottled") || of_the_day => Kind::DailyLimit,
            429 => Kind::RateLimited,
            409 => Kind::AlreadyRunning,
            400 if message.contains("already executing") => Kind::AlreadyRunning,
            401 => Kind::TokenExpired,
            403 if named("TokenExpired") => Kind::TokenExpired,
            404 => Kind::NotFound,
            408 | 500.. => Kind::Transient,
            _ => Kind::Refused,
        };
        let wait = retry_after.or_else(|| wait_in(&message));
        Self { kind, status, code, wait, request: None }
    }

    /// The status and, if present, the code.
    pub(super) fn name(&self) -> String {
        match &self.code {
            Some(code) => format!("{} ({code})", self.status),
            None => self.status.to_string(),
        }
    }

    /// Converts it to a failure.
    pub(super) fn failure(&self, what: &str) -> Failure {
        let message = format!("{what}: Power BI answered {}", self.name());
        let message = match self.hint() {
            Some(hint) => format!("{message}: {hint}"),
            None => message,
        };
        let message = match &self.request {
            Some(request) => format!("{message}; request id {request}"),
            None => message,
        };
        match (self.kind, self.wait) {
            (Kind::RateLimited, Some(wait)) => Failure::rate_limited(message, wait),
            (Kind::RateLimited | Kind::DailyLimit, _) => {
                Failure::new(Outcome::RateLimited, message)
            }
            _ => Failure::failed(message),
        }
    }

    fn hint(&self) -> Option<&'static str> {
        self.code.as_deref().and_then(hint).or(match (self.kind, self.status) {
            (Kind::DailyLimit, _) => hint("RequestThrottled"),
            (Kind::TokenExpired, _) => Some(
                "it does not accept a new token either; allow service principals to use Power BI \
                 APIs in the tenant's settings, and check refresh.power_bi.scope",
            ),
            (Kind::NotFound, _) => hint("PowerBIEntityNotFound"),
            (Kind::AlreadyRunning, _) => Some("another refresh of this model is running"),
            (_, 403) => Some(
                "the service principal may not do this; make it a member or contributor of the \
                 workspace, and allow service principals to use Power BI APIs in the tenant's \
                 settings",
            ),
            (_, 300..400) => {
                Some("a redirect, which is not followed; is refresh.power_bi.api_url right?")
            }
            _ => None,
        })
    }
}

/// Suggested action for known codes.
pub(super) fn hint(code: &str) -> Option<&'static str> {
    Some(match code {
        "PowerBIEntityNotFound" | "ItemNotFound" | "DatasetNotFound" | "GroupNotFound" => {
            "there is no such model in this workspace, or the service principal is not a member of \
             the workspace; check the settings workspace and dataset"
        }
        "RequestThrottled" => {
            "the model has used up its refreshes of the last 24 hours, scheduled ones included (8 on \
             a shared capacity)"
        }
        "PowerBINotAuthorizedException" | "Unauthorized" => {
            "the service principal may not do this; make it a member or contributor of the workspace"
        }
        "ModelRefreshFailed_CredentialsNotSpecified"
        | "DM_GWPipeline_Gateway_InvalidConnectionCredentials" => {
            "the data source has no credentials; enter them in the model's settings in Power BI"
        }
        "ModelRefreshDisabled_CredentialNotSpecified" => {
            "Power BI has switched refreshes off because credentials are missing; enter them in the \
             model's settings in Power BI"
        }
        "DMTS_DatasourceHasNoCredentialError" | "DMTS_MonikerWithUnboundDataSources" => {
            "a data source is bound to no connection or gateway; bind it in the model's settings \
             in Power BI"
        }
        "DM_GWPipeline_Client_GatewayUnreachable" => {
            "the gateway does not answer; check that its machine is up"
        }
        "0xc11c0020" | "0xC11C0020" => {
            "the capacity had no memory left for the model; refresh fewer models at a time, or \
             take a larger capacity"
        }
        _ => return None,
    })
}

/// Whether the response is an HTML page instead of JSON.
pub(super) fn is_page(answer: &Answer) -> bool {
    let of_type = answer.header("content-type").is_some_and(|kind| kind.contains("html"));
    of_type || answer.body().trim_ascii_start().starts_with(b"<")
}

/// The text, if it is a code.
pub(super) fn clean(code: &str) -> Option<String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    ((1..=100).contains(&code.len()) && code.chars().all(fine)).then(|| code.to_owned())
}

/// The delay in "Retry in 3392 seconds."; expects lower-case text.
fn wait_in(text: &str) -> Option<Duration> {
    let rest = ["retry in ", "retry after ", "try again in "]
        .iter()
        .find_map(|words| text.split_once(words).map(|(_, rest)| rest))?;
    let mut words = rest.split_whitespace();
    let number: u64 = words.next()?.parse().ok()?;
    let unit = words.next().unwrap_or("seconds");
    let seconds = match unit.as_bytes().first() {
        Some(b'm') => number.checked_mul(60)?,
        Some(b'h') => number.checked_mul(3600)?,
        _ => number,
    };
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_of_a_refusal_is_read() {
        let read = |status, body: &str| Refusal::read(status, None, body.as_bytes());
        let pbi = r#"{"error":{"pbi.error":{"code":"Inner","parameters":{},"details":[]}}}"#;
        let both = r#"{"error":{"code":"PowerBIEntityNotFound","pbi.error":{"code":"Inner"}}}"#;
        let running = r#"{"error":{"code":"InvalidRequest","message":
            "Invalid dataset refresh request. Another refresh request is already executing"}}"#;
        let day = r#"{"error":{"code":"Request Throttled","message":
            "Number of refresh requests in last 24 hours exceeded limit"}}"#;
        let day_without_code =
            r#"{"message":"Number of requests in last 24 hours exceeded limit"}"#;
        let many =
            r#"{"message":"You have exceeded the amount of requests. Retry in 3392 seconds."}"#;
        let expired = r#"{"error":{"code":"TokenExpired","message":"Access token has expired"}}"#;
        let row = r#"{"error":{"code":"row 7: 'patient 123-45-6789'","message":"…"}}"#;
        let table = [
            (400, running, Kind::AlreadyRunning, "400 (InvalidRequest)"),
            (409, "", Kind::AlreadyRunning, "409"),
            (400, day, Kind::DailyLimit, "400 (RequestThrottled)"),
            (429, day, Kind::DailyLimit, "429 (RequestThrottled)"),
            (429, day_without_code, Kind::DailyLimit, "429"),
            (429, many, Kind::RateLimited, "429"),
            (403, expired, Kind::TokenExpired, "403 (TokenExpired)"),
            (401, "", Kind::TokenExpired, "401"),
            (403, "", Kind::Refused, "403"),
            (404, both, Kind::NotFound, "404 (PowerBIEntityNotFound)"),
            (400, pbi, Kind::Refused, "400 (Inner)"),
            (400, r#"{"error":"invalid_scope"}"#, Kind::Refused, "400 (invalid_scope)"),
            (400, row, Kind::Refused, "400"),
            (502, "<html>Bad Gateway</html>", Kind::Transient, "502"),
            (408, "", Kind::Transient, "408"),
            (500, "[1]", Kind::Transient, "500"),
            (302, "", Kind::Refused, "302"),
        ];
        for (status, body, kind, name) in table {
            let refusal = read(status, body);
            assert_eq!((refusal.kind, refusal.name().as_str()), (kind, name), "{status} {body}");
            let failure = refusal.failure("the refresh").to_string();
            assert!(!failure.contains("123-45"), "{failure}");
        }
        assert_eq!(read(429, many).wait, Some(Duration::from_secs(3392)));
        assert!(read(429, many).failure("x").until.is_some());
        assert!(read(400, day).failure("x").until.is_none());
        // The header takes precedence over the text.
        let both = Refusal::read(429, Some(Duration::from_secs(7)), many.as_bytes());
        assert_eq!(both.wait, Some(Duration::from_secs(7)));
    }

    #[test]
    fn a_wait_is_read_from_a_text() {
        for (text, seconds) in [
            ("retry in 3392 seconds.", Some(3392)),
            ("please retry after 29 minutes", Some(29 * 60)),
            ("try again in 2 hours", Some(7200)),
            ("retry in 5", Some(5)),
            ("retry in a while", None),
            ("no", None),
        ] {
            assert_eq!(wait_in(text), seconds.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn what_is_known_says_what_to_do() {
        let failure = |status, body: &str| {
            Refusal::read(status, None, body.as_bytes()).failure("the model").to_string()
        };
        assert_eq!(
            failure(404, ""),
            "the model: Power BI answered 404: there is no such model in this workspace, or the \
             service principal is not a member of the workspace; check the settings workspace and \
             dataset"
        );
        assert!(failure(403, "").contains("member or contributor"));
        assert!(failure(401, "").contains("tenant's settings"));
        assert!(failure(302, "").contains("api_url"));
        assert_eq!(failure(418, ""), "the model: Power BI answered 418");
    }
}
