//! Refreshes Metabase: runs questions without its cache, and synchronises a database's schema.
//!
//! A failed question also returns 202, so the status in the body counts. Metabase's messages are
//! not passed on: they can quote rows.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::deadline::Deadline;
use super::fan_out::{counted, failures, summed};
use super::job::Job;
use super::outcome::{Done, Failure};
use super::retry::{self, Call};
use super::target::Target;
use super::target_info::{TargetInfo, off};
use crate::config::{Metabase, MetabaseTarget, Settings};
use crate::error::Error;
use crate::http::{Answer, Request, runtime};

/// Timeout of requests other than questions.
const LIMIT: Duration = Duration::from_mins(1);

/// Subject of the first check.
const KEY: &str = "the API key's account";

/// State shared by all targets.
struct Server {
    settings: Metabase,
    url: String,
    http: retry::Server,
    /// Limits concurrent questions across targets.
    questions: Semaphore,
}

struct Object {
    info: TargetInfo,
    settings: MetabaseTarget,
    server: Arc<Server>,
}

/// The kind of object.
#[derive(Debug, Clone, Copy)]
enum ObjectKind {
    Dashboard(u64),
    Card(u64),
    Database(u64),
}

/// The configured targets.
pub(super) fn targets(settings: &Settings) -> Vec<Box<dyn Target>> {
    let metabase = &settings.refresh.metabase;
    let parallel = settings.refresh.parallel(metabase.parallel).max(1);
    let server = Arc::new(Server {
        settings: metabase.clone(),
        url: metabase.url.trim_end_matches('/').to_owned(),
        http: retry::Server::new("Metabase"),
        questions: Semaphore::new(parallel.min(Semaphore::MAX_PERMITS)),
    });
    metabase
        .targets
        .iter()
        .map(|(name, target)| -> Box<dyn Target> {
            Box::new(Object {
                info: TargetInfo {
                    name: format!("metabase.{name}"),
                    provider: "metabase",
                    parallel,
                    required: target.required,
                    deadline: settings.refresh.deadline(target.deadline_secs),
                    skipped: off(target.enabled, &format!("refresh.metabase.targets.{name}")),
                },
                settings: target.clone(),
                server: Arc::clone(&server),
            })
        })
        .collect()
}

impl Target for Object {
    fn info(&self) -> &TargetInfo {
        &self.info
    }

    fn check(&self, job: &mut Job<'_>) -> Result<String, Failure> {
        runtime()?.block_on(self.describe(job.deadline()))
    }

    fn refresh(&self, job: &mut Job<'_>) -> Result<Done, Failure> {
        let (what, sent) = (self.what()?, AtomicU32::new(0));
        let done = runtime()?.block_on(self.renew(job.deadline(), what, &sent));
        job.count_attempts(sent.into_inner());
        done.map(Done::succeeded)
    }
}

impl Object {
    fn what(&self) -> Result<ObjectKind, Failure> {
        let MetabaseTarget { dashboard, card, database, .. } = self.settings;
        dashboard
            .map(ObjectKind::Dashboard)
            .or(card.map(ObjectKind::Card))
            .or(database.map(ObjectKind::Database))
            .ok_or_else(|| Error::internal("a Metabase target without an id").into())
    }

    async fn describe(&self, deadline: &Deadline) -> Result<String, Failure> {
        let what = self.what()?;
        let account = self.server.read(deadline, KEY, "/api/user/current").await?;
        found(KEY, &account)?;
        let answer = self.server.read(deadline, &what.subject(), &what.path()).await?;
        let object = found(&what.subject(), &answer)?;
        match what {
            ObjectKind::Dashboard(_) => {
                let cards = cards(&object).ok_or_else(|| unexpected(&what.subject(), &answer))?;
                Ok(format!("{}, {}", what.subject(), counted(cards.len(), "question")))
            }
            ObjectKind::Card(_) | ObjectKind::Database(_) => Ok(what.subject()),
        }
    }

    async fn renew(
        &self,
        deadline: &Deadline,
        what: ObjectKind,
        sent: &AtomicU32,
    ) -> Result<String, Failure> {
        match what {
            ObjectKind::Dashboard(_) => return self.dashboard(deadline, what, sent).await,
            ObjectKind::Card(card) => self.server.run(deadline, card, sent).await?,
            ObjectKind::Database(_) => self.server.sync_schema(deadline, what, sent).await?,
        }
        Ok(what.subject())
    }

    async fn dashboard(
        &self,
        deadline: &Deadline,
        what: ObjectKind,
        sent: &AtomicU32,
    ) -> Result<String, Failure> {
        let subject = what.subject();
        let answer = self.server.read(deadline, &subject, &what.path()).await?;
        let dashboard = found(&subject, &answer)?;
        let cards = cards(&dashboard).ok_or_else(|| unexpected(&subject, &answer))?;
        let failed = failures(&cards, self.info.parallel, async |card| {
            let _permit = deadline.wait(self.server.questions.acquire()).await?;
            self.server.run(deadline, card, sent).await
        })
        .await;
        if failed.is_empty() {
            return Ok(format!("{} of {subject}", counted(cards.len(), "question")));
        }
        let what = format!("{} of {} not renewed", failed.len(), counted(cards.len(), "question"));
        Err(summed(&what, &failed))
    }
}

impl ObjectKind {
    fn subject(self) -> String {
        match self {
            Self::Dashboard(id) => format!("dashboard {id}"),
            Self::Card(id) => format!("question {id}"),
            Self::Database(id) => format!("database {id}"),
        }
    }

    fn path(self) -> String {
        match self {
            Self::Dashboard(id) => format!("/api/dashboard/{id}"),
            Self::Card(id) => format!("/api/card/{id}"),
            Self::Database(id) => format!("/api/database/{id}"),
        }
    }
}

impl Server {
    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Runs a question, which also fills Metabase's cache, if enabled.
    async fn run(&self, deadline: &Deadline, card: u64, sent: &AtomicU32) -> Result<(), Failure> {
        let subject = format!("question {card}");
        let request = Request::post(self.url(&format!("/api/card/{card}/query")))
            .json(&json!({ "ignore_cache": true }));
        // Running a query again has no side effects.
        let answer = self.send(deadline, &subject, request, Duration::MAX, true, sent).await?;
        let body = found(&subject, &answer)?;
        match body.get("status").and_then(Value::as_str) {
            Some("completed") => Ok(()),
            Some("failed") => Err(Failure::failed(format!(
                "{subject}: its query fails; open it in Metabase to see why"
            ))),
            _ => Err(Failure::failed(format!("{subject}: Metabase does not report a result"))),
        }
    }

    /// Requests a schema sync, which Metabase does asynchronously without a report.
    async fn sync_schema(
        &self,
        deadline: &Deadline,
        what: ObjectKind,
        sent: &AtomicU32,
    ) -> Result<(), Failure> {
        let subject = what.subject();
        let request = Request::post(self.url(&format!("{}/sync_schema", what.path())));
        let answer = self.send(deadline, &subject, request, LIMIT, false, sent).await?;
        if answer.status() == 422 {
            return Err(Failure::failed(format!(
                "{subject}: Metabase cannot connect to it; see its settings in Metabase"
            )));
        }
        let body = found(&subject, &answer)?;
        match body.get("status").and_then(Value::as_str) {
            Some("ok") => Ok(()),
            _ => Err(unexpected(&subject, &answer)),
        }
    }

    async fn read(
        &self,
        deadline: &Deadline,
        subject: &str,
        path: &str,
    ) -> Result<Answer, Failure> {
        let request = Request::get(self.url(path));
        self.send(deadline, subject, request, LIMIT, true, &AtomicU32::new(0)).await
    }

    async fn send(
        &self,
        deadline: &Deadline,
        subject: &str,
        request: Request,
        limit: Duration,
        is_idempotent: bool,
        sent: &AtomicU32,
    ) -> Result<Answer, Failure> {
        let key = self.settings.api_key.read("refresh.metabase.api_key")?;
        let request = request.header("X-API-Key", key.expose());
        let request = request.header("Accept", "application/json");
        let call = Call { request: &request, limit, is_idempotent, sent };
        self.http.send(deadline, call).await.map_err(|failure| failure.about(subject))
    }
}

/// Distinct question ids of a dashboard; text and link cards are skipped.
fn cards(dashboard: &Value) -> Option<Vec<u64>> {
    let dashcards = dashboard.get("dashcards")?.as_array()?;
    let mut cards: Vec<u64> =
        dashcards.iter().filter_map(|card| card.get("card_id")?.as_u64()).collect();
    cards.sort_unstable();
    cards.dedup();
    Some(cards)
}

/// The body of a success response.
fn found(subject: &str, answer: &Answer) -> Result<Value, Failure> {
    let message = match answer.status() {
        401 => "Metabase does not accept the API key (refresh.metabase.api_key)".to_owned(),
        403 => format!("{subject}: the API key's group may not see it"),
        404 => format!("{subject}: Metabase has none"),
        300..=399 => {
            "Metabase redirects to another address: set refresh.metabase.url to that one, with \
             https where it has it"
                .to_owned()
        }
        200..=299 => {
            return answer.json().ok_or_else(|| {
                Failure::failed("refresh.metabase.url answers with a page: it is not Metabase")
            });
        }
        _ => return Err(unexpected(subject, answer)),
    };
    Err(Failure::failed(message))
}

/// Error for an unexpected response, without its text.
fn unexpected(subject: &str, answer: &Answer) -> Failure {
    retry::status("Metabase", answer).about(subject)
}
