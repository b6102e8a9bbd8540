//! A Power BI that is a mock: the login, one model, its refreshes. It does what the reference says,
//! in the service's own shapes, and fails where a test sets it.
//!
//! It needs nothing but the mock of HTTP beside it, so that a demonstration can start it too.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::mock_http::{Heard, MockHttp, Reply};

/// The tenant that it knows.
pub(crate) const TENANT: &str = "contoso.example";
/// The application that it knows.
pub(crate) const CLIENT: &str = "c0ffee00-0000-4000-8000-000000000001";
/// The application's secret; it has characters that a form must escape.
pub(crate) const SECRET: &str = "s3cr&t=+ %";
/// The only workspace.
pub(crate) const WORKSPACE: &str = "f089354e-8366-4e18-aea3-4cb4a3a50b48";
/// What tokens are for.
const SCOPE: &str = "https://analysis.windows.net/powerbi/api/.default";

/// How a refresh ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Well.
    Completed,
    /// With this error code.
    Failed(&'static str),
    /// With this as its status, extended or not.
    With(&'static str),
    /// Never.
    Never,
    /// It is accepted and never seen again.
    Dropped,
}

/// What happens to a request.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// It has no effect and gets this answer.
    Instead(Reply),
    /// It has its effect and gets this answer.
    Afterwards(Reply),
    /// It has its effect and is answered late.
    Late(Duration),
    /// All refreshes end just before it has its effect.
    TooLate,
}

/// A mock of the service; all models of its workspace exist.
pub(crate) struct PowerBiServer {
    http: MockHttp,
    service: Arc<Mutex<Service>>,
}

#[derive(Default)]
struct Service {
    takes: Duration,
    ends: VecDeque<End>,
    faults: Vec<(String, String, Fault)>,
    refreshes: Vec<Refresh>,
    tokens: Vec<String>,
    issued: usize,
    good_for: Option<u64>,
    shows: Option<Value>,
    refreshable: Option<bool>,
}

struct Refresh {
    id: String,
    dataset: String,
    kind: &'static str,
    began: Instant,
    takes: Duration,
    end: End,
    cancelled: bool,
    objects: usize,
}

impl PowerBiServer {
    /// Starts it on a port of its own.
    pub(crate) fn start() -> Self {
        Self::start_at("127.0.0.1:0", Duration::ZERO)
    }

    /// Starts it at this address; a refresh takes this long.
    pub(crate) fn start_at(address: &str, takes: Duration) -> Self {
        let service = Service { takes, refreshable: Some(true), ..Service::default() };
        let service = Arc::new(Mutex::new(service));
        let shared = Arc::clone(&service);
        let http = MockHttp::start_at(address, move |heard| answer(&shared, heard));
        Self { http, service }
    }

    /// Its address, for both `login_url` and `api_url`.
    pub(crate) fn address(&self) -> &str {
        self.http.address()
    }

    /// What it has heard.
    pub(crate) fn http(&self) -> &MockHttp {
        &self.http
    }

    /// How many refreshes were requested, whatever their outcome.
    pub(crate) fn starts(&self) -> usize {
        self.http.heard().iter().filter(|heard| is_start(heard)).count()
    }

    /// The bodies of these requests.
    pub(crate) fn bodies(&self) -> Vec<Value> {
        let starts = self.http.heard().into_iter().filter(is_start);
        starts.map(|heard| serde_json::from_slice(&heard.body).expect("JSON")).collect()
    }

    /// How many refreshes it has begun.
    pub(crate) fn begun(&self) -> usize {
        self.state().refreshes.iter().filter(|refresh| refresh.kind != "Scheduled").count()
    }

    /// The ids of the refreshes that were cancelled.
    pub(crate) fn cancelled(&self) -> Vec<String> {
        let state = self.state();
        let cancelled = state.refreshes.iter().filter(|refresh| refresh.cancelled);
        cancelled.map(|refresh| refresh.id.clone()).collect()
    }

    /// How long a refresh takes from now on.
    pub(crate) fn takes(&self, time: Duration) -> &Self {
        self.state().takes = time;
        self
    }

    /// How the next refresh ends; after the last of them, all end well.
    pub(crate) fn ends(&self, end: End) -> &Self {
        self.state().ends.push_back(end);
        self
    }

    /// What happens to the next request of this method whose path has this part. Faults of one
    /// kind of request happen in their order.
    pub(crate) fn fault(&self, method: &str, part: &str, fault: Fault) -> &Self {
        self.state().faults.push((method.into(), part.into(), fault));
        self
    }

    /// A token that another login gives is good here.
    pub(crate) fn accepts(&self, token: &str) -> &Self {
        self.state().tokens.push(token.into());
        self
    }

    /// Somebody else's refresh of a model begins.
    pub(crate) fn scheduled(&self, dataset: &str, takes: Duration) -> &Self {
        self.state().begin(dataset, "Scheduled", takes, End::Completed, 0);
        self
    }

    /// How long the next tokens are good for, in seconds.
    pub(crate) fn tokens_good_for(&self, seconds: u64) -> &Self {
        self.state().good_for = Some(seconds);
        self
    }

    /// The number that every query gives.
    pub(crate) fn shows(&self, number: Value) -> &Self {
        self.state().shows = Some(number);
        self
    }

    /// What the service shows of the models.
    pub(crate) fn refreshable(&self, refreshable: Option<bool>) -> &Self {
        self.state().refreshable = refreshable;
        self
    }

    fn state(&self) -> MutexGuard<'_, Service> {
        lock(&self.service)
    }
}

fn lock(service: &Mutex<Service>) -> MutexGuard<'_, Service> {
    service.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_start(heard: &Heard) -> bool {
    heard.method == "POST" && heard.path.ends_with("/refreshes")
}

fn answer(service: &Mutex<Service>, heard: &Heard) -> Reply {
    let mut service = lock(service);
    let faults = &service.faults;
    let next = faults.iter().position(|(method, part, _)| heard.is(method, part));
    match next.map(|place| service.faults.remove(place).2) {
        Some(Fault::Instead(reply)) => reply,
        Some(Fault::Afterwards(reply)) => {
            service.answer(heard);
            reply
        }
        Some(Fault::Late(wait)) => service.answer(heard).after(wait),
        Some(Fault::TooLate) => {
            service.refreshes.iter_mut().for_each(|refresh| refresh.takes = Duration::ZERO);
            service.answer(heard)
        }
        None => service.answer(heard),
    }
}

impl Service {
    fn answer(&mut self, heard: &Heard) -> Reply {
        let (path, query) = heard.path.split_once('?').unwrap_or((&heard.path, ""));
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        if let [tenant, "oauth2", "v2.0", "token"] = parts[..] {
            return self.token(tenant, heard);
        }
        let token = heard.header("authorization").and_then(|text| text.strip_prefix("Bearer "));
        if !token.is_some_and(|token| self.tokens.iter().any(|known| known == token)) {
            let text = "Access token has expired, resubmit with a new access token";
            return refuse(403, "TokenExpired", text);
        }
        let ["v1.0", "myorg", "groups", workspace, "datasets", dataset, ..] = parts[..] else {
            return Reply::status(404);
        };
        if workspace != WORKSPACE {
            return not_found();
        }
        match (heard.method.as_str(), &parts[6..]) {
            ("GET", []) => self.model(dataset),
            ("POST", ["refreshes"]) => self.start(dataset, heard),
            ("GET", ["refreshes"]) => self.history(dataset, query),
            ("GET", ["refreshes", id]) => self.details(dataset, id),
            ("DELETE", ["refreshes", id]) => self.cancel(dataset, id),
            ("POST", ["executeQueries"]) => self.query(),
            _ => Reply::status(405),
        }
    }

    fn token(&mut self, tenant: &str, heard: &Heard) -> Reply {
        let form: Vec<(String, String)> = heard
            .text()
            .split('&')
            .filter_map(|field| field.split_once('='))
            .map(|(name, value)| (unescape(name), unescape(value)))
            .collect();
        let field = |name: &str| {
            form.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
        };
        let refused = |status: u16, error: &str, number: u64| {
            let body = json!({
                "error": error,
                "error_description": format!("AADSTS{number}: something with {SECRET}"),
                "error_codes": [number],
                "timestamp": "2024-12-31 00:00:00Z",
                "trace_id": "255d1aef-8c98-452f-ac51-23d051240864",
                "correlation_id": "fb3d2015-bc17-4bb9-bb85-30c5cf1aaaa7",
            });
            Reply::json(status, &body.to_string())
        };
        let assertion_type = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        let proven = match field("client_secret") {
            Some(secret) => secret == SECRET && field("client_assertion").is_none(),
            None => {
                field("client_assertion_type") == Some(assertion_type)
                    && field("client_assertion").is_some_and(|token| !token.is_empty())
            }
        };
        if tenant != TENANT {
            return refused(400, "invalid_request", 90_002);
        }
        if field("grant_type") != Some("client_credentials") || field("scope") != Some(SCOPE) {
            return refused(400, "invalid_scope", 70_011);
        }
        if field("client_id") != Some(CLIENT) {
            return refused(400, "unauthorized_client", 700_016);
        }
        if !proven {
            return refused(401, "invalid_client", 7_000_215);
        }
        self.issued += 1;
        let token = format!("token-{}", self.issued);
        self.tokens.push(token.clone());
        let seconds = self.good_for.unwrap_or(3599);
        let body = json!({ "token_type": "Bearer", "expires_in": seconds, "access_token": token });
        Reply::json(200, &body.to_string())
    }

    fn model(&self, dataset: &str) -> Reply {
        let mut body = json!({ "id": dataset, "name": "Claims", "addRowsAPIEnabled": false });
        if let Some(refreshable) = self.refreshable {
            body["isRefreshable"] = refreshable.into();
        }
        Reply::json(200, &body.to_string())
    }

    fn start(&mut self, dataset: &str, heard: &Heard) -> Reply {
        let Ok(Value::Object(body)) = serde_json::from_slice::<Value>(&heard.body) else {
            return refuse(400, "InvalidRequest", "no JSON object");
        };
        let notify = body.contains_key("notifyOption");
        let enhanced = body.keys().any(|field| field != "notifyOption");
        if notify && enhanced {
            return refuse(400, "InvalidRequest", "notifyOption");
        }
        let running = |one: &Refresh| one.dataset == dataset && one.is_at_work();
        if self.refreshes.iter().any(running) {
            return refuse(
                400,
                "InvalidRequest",
                "Invalid dataset refresh request. Another refresh request is already executing",
            );
        }
        let kind = if enhanced { "ViaEnhancedApi" } else { "ViaApi" };
        let end = self.ends.pop_front().unwrap_or(End::Completed);
        let objects = body.get("objects").and_then(Value::as_array).map_or(2, Vec::len);
        let id = self.begin(dataset, kind, self.takes, end, objects);
        if !enhanced {
            return Reply::status(202).header("RequestId", &id);
        }
        let place = format!("https://api.example{}/{id}", heard.path);
        // The request's own id is not the refresh's.
        Reply::status(202)
            .header("RequestId", "00000000-0000-4000-8000-00000000beef")
            .header("x-ms-request-id", &id)
            .header("Location", &place)
    }

    fn begin(
        &mut self,
        dataset: &str,
        kind: &'static str,
        takes: Duration,
        end: End,
        objects: usize,
    ) -> String {
        let id = format!("7d{:06}-0000-4000-8000-000000000000", self.refreshes.len() + 1);
        self.refreshes.push(Refresh {
            id: id.clone(),
            dataset: dataset.to_owned(),
            kind,
            began: Instant::now(),
            takes,
            end,
            cancelled: false,
            objects,
        });
        id
    }

    fn history(&self, dataset: &str, query: &str) -> Reply {
        let top = query.split('&').find_map(|part| part.strip_prefix("$top="));
        let top = top.and_then(|top| top.parse().ok()).unwrap_or(60);
        let seen = |one: &&Refresh| one.dataset == dataset && one.end != End::Dropped;
        let items: Vec<Value> =
            self.refreshes.iter().rev().filter(seen).take(top).map(Refresh::item).collect();
        Reply::json(200, &json!({ "value": items }).to_string())
    }

    fn find(&mut self, dataset: &str, id: &str) -> Option<&mut Refresh> {
        self.refreshes.iter_mut().find(|one| {
            let enhanced = one.kind == "ViaEnhancedApi" && one.end != End::Dropped;
            one.dataset == dataset && one.id == id && enhanced
        })
    }

    fn details(&mut self, dataset: &str, id: &str) -> Reply {
        match self.find(dataset, id) {
            Some(one) => Reply::json(if one.is_at_work() { 202 } else { 200 }, &one.details()),
            None => not_found(),
        }
    }

    fn cancel(&mut self, dataset: &str, id: &str) -> Reply {
        match self.find(dataset, id) {
            Some(one) if one.is_at_work() => {
                one.cancelled = true;
                Reply::status(200)
            }
            Some(_) => refuse(400, "InvalidRequest", "it has ended"),
            None => not_found(),
        }
    }

    fn query(&self) -> Reply {
        match &self.shows {
            Some(number) => {
                let body = json!({ "results": [{ "tables": [{ "rows": [{ "[n]": number }] }] }] });
                Reply::json(200, &body.to_string())
            }
            None => refuse(400, "DatasetExecuteQueriesError", "Failed to execute the DAX query."),
        }
    }
}

impl Refresh {
    fn is_at_work(&self) -> bool {
        let over = self.end != End::Never && self.began.elapsed() >= self.takes;
        !self.cancelled && self.end != End::Dropped && !over
    }

    /// Status, and error code where there is one.
    fn status(&self) -> (&'static str, Option<&'static str>) {
        match self.end {
            _ if self.cancelled => ("Cancelled", None),
            _ if self.is_at_work() => ("Unknown", None),
            End::Completed => ("Completed", None),
            End::Failed(code) => ("Failed", Some(code)),
            End::With(status) => (status, None),
            End::Never | End::Dropped => ("Unknown", None),
        }
    }

    fn item(&self) -> Value {
        let (status, code) = self.status();
        let mut item = json!({
            "requestId": self.id,
            "refreshType": self.kind,
            "startTime": "2024-12-31T00:00:00.153Z",
            "status": status,
        });
        if !self.is_at_work() {
            item["endTime"] = "2024-12-31T00:00:12.453Z".into();
        }
        if let Some(code) = code {
            item["serviceExceptionJson"] = error_json(code).into();
        }
        item
    }

    fn details(&self) -> String {
        let (status, code) = self.status();
        let mut details = json!({
            "startTime": "2024-12-31T00:00:00.57",
            "type": "Full",
            "commitMode": "Transactional",
            "status": status,
            "extendedStatus": if status == "Unknown" { "InProgress" } else { status },
            "currentRefreshType": "Full",
            "numberOfAttempts": 0,
        });
        if self.is_at_work() {
            return details.to_string();
        }
        details["endTime"] = "2024-12-31T00:00:12.87".into();
        match code {
            Some(code) if code.starts_with("0x") => {
                let text = "a driver quotes patient 123-45-6789";
                details["messages"] = json!([{ "code": code, "message": text, "type": "Error" }]);
            }
            Some(code) => {
                details["refreshAttempts"] = json!([
                    { "attemptId": 1, "serviceExceptionJson": error_json(code), "type": "Data" }
                ]);
            }
            None => {
                let object =
                    |number: usize| json!({ "table": format!("table{number}"), "status": status });
                details["objects"] = (0..self.objects).map(object).collect();
            }
        }
        details.to_string()
    }
}

fn error_json(code: &str) -> String {
    let text = "a driver quotes patient 123-45-6789";
    json!({ "errorCode": code, "errorDescription": text }).to_string()
}

/// An error as the service words it.
pub(crate) fn refuse(status: u16, code: &str, message: &str) -> Reply {
    let body = json!({ "error": { "code": code, "message": message } });
    Reply::json(status, &body.to_string())
}

fn not_found() -> Reply {
    let code = "PowerBIEntityNotFound";
    let inner = json!({ "code": code, "parameters": {}, "details": [], "exceptionCulprit": 1 });
    let body = json!({ "error": { "code": code, "pbi.error": inner } });
    Reply::json(404, &body.to_string())
}

fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, more)) = rest.split_first() {
        let hex = more.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match (first, hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &more[2..];
            }
            (b'+', _) => {
                bytes.push(b' ');
                rest = more;
            }
            _ => {
                bytes.push(first);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
