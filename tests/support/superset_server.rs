//! A Superset for the tests: it asks for token, forgery token, cookie and `Referer` as the real one
//! does, and answers in the shapes of Superset 6.1.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use claims_etl::config::{Settings, SupersetTarget};

use crate::support::mock_http::{Heard, MockHttp, Reply};
use crate::support::web_refresh;

/// The path of the warm-up.
pub(crate) const WARM_UP: &str = "/api/v1/chart/warm_up_cache";
/// The path of the sign-in.
pub(crate) const SIGN_IN: &str = "/api/v1/security/login";

/// A Superset with one dashboard.
pub(crate) struct Superset {
    pub(crate) server: MockHttp,
}

impl Superset {
    /// With these charts; `fault` may answer in its place, by the request and by how many of the same
    /// method and path there have been, this one counted.
    pub(crate) fn start(
        charts: &[u64],
        fault: impl Fn(&Heard, usize) -> Option<Reply> + Send + Sync + 'static,
    ) -> Self {
        let charts = charts.to_vec();
        let (heard, sessions) = (Mutex::new(BTreeMap::<String, usize>::new()), AtomicUsize::new(0));
        let server = MockHttp::start(move |request| {
            let nth = {
                let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                let count = heard.entry(format!("{} {}", request.method, request.path));
                *count.and_modify(|count| *count += 1).or_insert(1)
            };
            fault(request, nth).unwrap_or_else(|| answer(request, &charts, &sessions))
        });
        Self { server }
    }

    /// Settings that name its dashboard as `superset.one`.
    pub(crate) fn settings(&self) -> Settings {
        let mut settings = web_refresh::settings();
        let superset = &mut settings.refresh.superset;
        superset.url = format!("{}/", self.server.address());
        superset.username = "claims-etl".into();
        superset.password = web_refresh::secret();
        superset.targets.insert("one".into(), dashboard("1"));
        settings
    }

    /// How many warm-ups were heard.
    pub(crate) fn warm_ups(&self) -> usize {
        self.server.count("PUT", WARM_UP)
    }

    /// How many sign-ins were heard.
    pub(crate) fn sign_ins(&self) -> usize {
        self.server.count("POST", SIGN_IN)
    }
}

/// A target.
pub(crate) fn dashboard(id: &str) -> SupersetTarget {
    SupersetTarget { dashboard: id.into(), ..SupersetTarget::default() }
}

/// The chart that a warm-up is about.
pub(crate) fn chart(request: &Heard) -> u64 {
    let body: serde_json::Value = serde_json::from_slice(&request.body).expect("JSON");
    body["chart_id"].as_u64().expect("a number")
}

/// A page for people.
pub(crate) fn page() -> Reply {
    Reply::with(200, "text/html; charset=utf-8", "<!DOCTYPE html><title>Superset</title>")
}

/// A warm-up's answer.
pub(crate) fn warmed(chart: u64, error: &str, status: &str) -> Reply {
    let item = format!(r#"{{"chart_id":{chart},"viz_error":{error},"viz_status":{status}}}"#);
    Reply::json(200, &format!(r#"{{"result":[{item}]}}"#))
}

fn answer(request: &Heard, charts: &[u64], sessions: &AtomicUsize) -> Reply {
    let (method, path) = (request.method.as_str(), request.path.as_str());
    if (method, path) == ("POST", SIGN_IN) {
        let body: serde_json::Value = serde_json::from_slice(&request.body).expect("JSON");
        if body["username"] != "claims-etl" || body["password"] != "hunter2" {
            return Reply::json(401, r#"{"message":"Not authorized"}"#);
        }
        assert_eq!((&body["provider"], &body["refresh"]), (&"db".into(), &true.into()));
        let number = sessions.fetch_add(1, Ordering::SeqCst) + 1;
        let tokens = format!(r#"{{"access_token":"access-{number}","refresh_token":"again"}}"#);
        return Reply::json(200, &tokens).header("Set-Cookie", "node=b; Path=/");
    }
    let token = request.header("authorization").unwrap_or_default();
    if (method, path) == ("POST", "/api/v1/security/refresh") {
        assert_eq!(token, "Bearer again");
        return Reply::json(200, r#"{"access_token":"access-renewed"}"#);
    }
    if !token.starts_with("Bearer access-") {
        return Reply::json(401, r#"{"msg":"Missing Authorization Header"}"#);
    }
    if method == "PUT" {
        let cookies = request.header("cookie").unwrap_or_default();
        let good = request.header("x-csrftoken") == Some("forgery")
            && cookies.contains("session=s.1-_")
            && cookies.contains("node=b")
            && request.header("referer").is_some_and(|page| page.starts_with("http://127."));
        // As the real one does: words where there is a body, a page where there is none.
        if !good && request.body.is_empty() {
            return Reply::status(302).header("Location", "/login/");
        }
        if !good {
            let text = r#"{"errors":[{"message":"400 Bad Request: The CSRF token is missing."}]}"#;
            return Reply::json(400, text);
        }
    }
    let dashboard = ["/api/v1/dashboard/1", "/api/v1/dashboard/claims"];
    match (method, path) {
        ("GET", "/api/v1/security/csrf_token/") => Reply::json(200, r#"{"result":"forgery"}"#)
            .header("Set-Cookie", "session=s.1-_; HttpOnly; Path=/; SameSite=Lax")
            .header("Set-Cookie", "old=; Expires=Thu, 01 Jan 1970 00:00:00 GMT"),
        ("GET", path) if dashboard.contains(&path) => {
            Reply::json(200, r#"{"result":{"id":1,"slug":"claims","dashboard_title":"Claims"}}"#)
        }
        ("GET", path) if dashboard.iter().any(|one| path == format!("{one}/charts")) => {
            let items: Vec<String> = charts
                .iter()
                .map(|id| format!(r#"{{"id":{id},"slice_name":"n","form_data":{{}}}}"#))
                .collect();
            Reply::json(200, &format!(r#"{{"result":[{}]}}"#, items.join(",")))
        }
        ("GET", "/api/v1/chart/_info?q=(keys:!(permissions))") => {
            Reply::json(200, r#"{"permissions":["can_read","can_warm_up_cache"]}"#)
        }
        ("GET", "/api/v1/dataset/7") => Reply::json(200, r#"{"id":7,"result":{"id":7}}"#),
        ("PUT", "/api/v1/dataset/7/refresh") => Reply::json(200, r#"{"message":"OK"}"#),
        ("PUT", WARM_UP) if charts.contains(&chart(request)) => {
            warmed(chart(request), "null", r#""success""#)
        }
        ("PUT", WARM_UP) => Reply::json(404, r#"{"message":"Chart not found"}"#),
        _ => Reply::json(404, r#"{"message":"Not found"}"#),
    }
}
