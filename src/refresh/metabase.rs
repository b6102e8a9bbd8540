//! Refreshes Metabase: questions are run without its cache, a database's schema is read anew.
//!
//! A question that fails is answered with 202 like one that succeeds, so the answer's own status
//! counts; what Metabase says in words is never repeated.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::outcome::{Done, Failure};
use super::{Job, Target};
use crate::config::{MetabaseTarget, Settings};
use crate::error::Error;
use crate::http::{Answer, Request};
use crate::refresh::concurrency_limit::Gates;
use crate::refresh::deadline::Waiter;
use crate::refresh::fan_out::{counted, summed, together};
use crate::refresh::retry;
use crate::refresh::retry::{Patient, Question};
use crate::refresh::target_info::{About, off};

/// The turns of those who run a question.
const PIECE: &str = "piece";
/// How long an answer to anything but a question may take.
const LIMIT: Duration = Duration::from_mins(1);

/// What the first step of a check is about.
const KEY: &str = "the API key's account";

/// What all targets share.
struct Server {
    settings: crate::config::Metabase,
    url: String,
    patient: Patient,
    gates: Gates,
}

/// A dashboard, a question or a database.
struct Object {
    about: About,
    settings: MetabaseTarget,
    server: Arc<Server>,
}

/// The one thing that a target's settings name.
#[derive(Debug, Clone, Copy)]
enum What {
    Dashboard(u64),
    Card(u64),
    Database(u64),
}

/// The targets that the settings name.
pub(super) fn targets(settings: &Settings) -> Vec<Box<dyn Target>> {
    let metabase = &settings.refresh.metabase;
    let parallel = settings.refresh.parallel(metabase.parallel).max(1);
    let server = Arc::new(Server {
        settings: metabase.clone(),
        url: metabase.url.trim_end_matches('/').to_owned(),
        patient: Patient::new("Metabase"),
        gates: Gates::new([(PIECE, parallel)].into_iter()),
    });
    metabase
        .targets
        .iter()
        .map(|(name, target)| -> Box<dyn Target> {
            Box::new(Object {
                about: About {
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
    fn about(&self) -> &About {
        &self.about
    }

    fn check(&self, job: &mut Job<'_>) -> Result<String, Failure> {
        let waiter = job.waiter();
        let what = self.what()?;
        let account = self.server.read(waiter, KEY, "/api/user/current")?;
        found(KEY, &account)?;
        let answer = self.server.read(waiter, &what.subject(), &what.path())?;
        let object = found(&what.subject(), &answer)?;
        match what {
            What::Dashboard(_) => {
                let cards = cards(&object).ok_or_else(|| unexpected(&what.subject(), &answer))?;
                Ok(format!("{}, {}", what.subject(), counted(cards.len(), "question")))
            }
            What::Card(_) | What::Database(_) => Ok(what.subject()),
        }
    }

    fn refresh(&self, job: &mut Job<'_>) -> Result<Done, Failure> {
        let (waiter, sent) = (job.waiter(), AtomicU32::new(0));
        let done = self.what().and_then(|what| match what {
            What::Dashboard(_) => self.dashboard(waiter, what, &sent),
            What::Card(card) => self.card(waiter, card, &sent).map(|()| what.subject()),
            What::Database(_) => self.database(waiter, what, &sent).map(|()| what.subject()),
        });
        for _ in 0..sent.into_inner() {
            job.count_attempt();
        }
        done.map(Done::succeeded)
    }
}

impl Object {
    fn what(&self) -> Result<What, Failure> {
        let MetabaseTarget { dashboard, card, database, .. } = self.settings;
        dashboard
            .map(What::Dashboard)
            .or(card.map(What::Card))
            .or(database.map(What::Database))
            .ok_or_else(|| Error::internal("a Metabase target without an id").into())
    }

    fn dashboard(
        &self,
        waiter: Waiter<'_>,
        what: What,
        sent: &AtomicU32,
    ) -> Result<String, Failure> {
        let answer = self.server.read(waiter, &what.subject(), &what.path())?;
        let subject = what.subject();
        let dashboard = found(&subject, &answer)?;
        let cards = cards(&dashboard).ok_or_else(|| unexpected(&subject, &answer))?;
        let ends = together(&cards, self.about.parallel, |card| {
            let turn = self.server.gates.enter_unless(PIECE, || waiter.check().is_err());
            waiter.check()?;
            let end = self.card(waiter, *card, sent);
            drop(turn);
            end
        });
        let failures: Vec<Failure> = ends.into_iter().filter_map(Result::err).collect();
        if failures.is_empty() {
            return Ok(format!("{} of {subject}", counted(cards.len(), "question")));
        }
        let what =
            format!("{} of {} not renewed", failures.len(), counted(cards.len(), "question"));
        Err(summed(&what, &failures))
    }

    /// Runs a question; its answer fills Metabase's cache, where it has one.
    fn card(&self, waiter: Waiter<'_>, card: u64, sent: &AtomicU32) -> Result<(), Failure> {
        let subject = format!("question {card}");
        let request = Request::post(self.server.url(&format!("/api/card/{card}/query")))
            .json(&json!({ "ignore_cache": true }));
        // A query that is run once more changes nothing.
        let answer = self.server.send(waiter, &subject, &request, Duration::MAX, true, sent)?;
        let body = found(&subject, &answer)?;
        match body.get("status").and_then(Value::as_str) {
            Some("completed") => Ok(()),
            Some("failed") => Err(Failure::failed(format!(
                "{subject}: its query fails; open it in Metabase to see why"
            ))),
            _ => Err(Failure::failed(format!("{subject}: Metabase does not say how it went"))),
        }
    }

    /// Has a database's schema read anew. Metabase does it later and tells nobody how it went.
    fn database(&self, waiter: Waiter<'_>, what: What, sent: &AtomicU32) -> Result<(), Failure> {
        let path = format!("{}/sync_schema", what.path());
        let request = Request::post(self.server.url(&path));
        let answer = self.server.send(waiter, &what.subject(), &request, LIMIT, false, sent)?;
        if answer.status() == 422 {
            return Err(Failure::failed(format!(
                "{}: Metabase cannot connect to it; see its settings in Metabase",
                what.subject()
            )));
        }
        let body = found(&what.subject(), &answer)?;
        match body.get("status").and_then(Value::as_str) {
            Some("ok") => Ok(()),
            _ => Err(unexpected(&what.subject(), &answer)),
        }
    }
}

impl What {
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

    fn read(&self, waiter: Waiter<'_>, subject: &str, path: &str) -> Result<Answer, Failure> {
        let request = Request::get(self.url(path));
        self.send(waiter, subject, &request, LIMIT, true, &AtomicU32::new(0))
    }

    fn send(
        &self,
        waiter: Waiter<'_>,
        subject: &str,
        request: &Request,
        limit: Duration,
        harmless: bool,
        sent: &AtomicU32,
    ) -> Result<Answer, Failure> {
        let key = self.settings.api_key.read("refresh.metabase.api_key")?;
        let request = request.clone().header("X-API-Key", key.expose());
        let request = request.header("Accept", "application/json");
        let count = || {
            sent.fetch_add(1, Ordering::Relaxed);
        };
        let question = Question { request: &request, limit, harmless, sent: &count };
        self.patient.ask(waiter, question).map_err(|failure| Failure {
            message: format!("{subject}: {}", failure.message),
            ..failure
        })
    }
}

/// The questions of a dashboard, each once; texts and links have none.
fn cards(dashboard: &Value) -> Option<Vec<u64>> {
    let places = dashboard.get("dashcards")?.as_array()?;
    let mut cards: Vec<u64> =
        places.iter().filter_map(|place| place.get("card_id")?.as_u64()).collect();
    cards.sort_unstable();
    cards.dedup();
    Some(cards)
}

/// The body of a successful answer.
fn found(subject: &str, answer: &Answer) -> Result<Value, Failure> {
    let told = match answer.status() {
        401 => "Metabase does not accept the API key (refresh.metabase.api_key)".to_owned(),
        403 => format!("{subject}: the API key's group may not see it"),
        404 => format!("{subject}: Metabase has none"),
        300..=399 => {
            "Metabase's address leads to another one: write that one, with https where it \
                     has it, into refresh.metabase.url"
                .to_owned()
        }
        200..=299 => {
            return answer.json().ok_or_else(|| {
                Failure::failed("at refresh.metabase.url no Metabase answers, but a page")
            });
        }
        _ => return Err(unexpected(subject, answer)),
    };
    Err(Failure::failed(told))
}

/// An answer that nobody expects; its words are left out.
fn unexpected(subject: &str, answer: &Answer) -> Failure {
    let failure = retry::status("Metabase", answer);
    Failure { message: format!("{subject}: {}", failure.message), ..failure }
}
