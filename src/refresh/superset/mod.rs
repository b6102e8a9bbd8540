//! Refreshes Apache Superset: the caches of a dashboard's charts are filled anew.
//!
//! Measured on Superset 6.1: reading a dataset's columns anew and invalidating its cache keys both
//! leave the old numbers on the screen; only warming a chart's cache shows the new ones. A warm-up
//! that is sent again costs the warehouse a query and changes nothing else, so it is tried again
//! where the server fails.

mod answer;
mod session;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use session::{Sending, Session};

use super::outcome::{Done, Failure};
use super::{Job, Target};
use crate::config::{Settings, SupersetTarget};
use crate::http::{Request, escape};
use crate::refresh::deadline::Waiter;
use crate::refresh::fan_out::{counted, summed, together};
use crate::refresh::target_info::{About, off};

struct Dashboard {
    about: About,
    settings: SupersetTarget,
    session: Arc<Session>,
}

/// The targets that the settings name; they share one session.
pub(super) fn targets(settings: &Settings) -> Vec<Box<dyn Target>> {
    let superset = &settings.refresh.superset;
    let parallel = settings.refresh.parallel(superset.parallel).max(1);
    let session = Arc::new(Session::new(superset, parallel));
    superset
        .targets
        .iter()
        .map(|(name, target)| -> Box<dyn Target> {
            Box::new(Dashboard {
                about: About {
                    name: format!("superset.{name}"),
                    provider: "superset",
                    parallel,
                    required: target.required,
                    deadline: settings.refresh.deadline(target.deadline_secs),
                    skipped: off(target.enabled, &format!("refresh.superset.targets.{name}")),
                },
                settings: target.clone(),
                session: Arc::clone(&session),
            })
        })
        .collect()
}

impl Target for Dashboard {
    fn about(&self) -> &About {
        &self.about
    }

    fn check(&self, job: &mut Job<'_>) -> Result<String, Failure> {
        let waiter = job.waiter();
        self.number(waiter)?;
        let charts = self.charts(waiter)?.len();
        for dataset in &self.settings.datasets {
            let (subject, path) =
                (format!("dataset {dataset}"), format!("/api/v1/dataset/{dataset}"));
            let answer = self.session.read(waiter, &subject, &path)?;
            answer::found(&subject, "Dataset", &answer)?;
        }
        self.may_warm_up(waiter)?;
        Ok(format!("dashboard {}, {}", self.settings.dashboard, counted(charts, "chart")))
    }

    fn refresh(&self, job: &mut Job<'_>) -> Result<Done, Failure> {
        let (waiter, sent) = (job.waiter(), AtomicU32::new(0));
        let renew_datasets = job.occasion.schema_changed;
        let done = self.renew(waiter, renew_datasets, &sent);
        for _ in 0..sent.into_inner() {
            job.count_attempt();
        }
        done
    }
}

impl Dashboard {
    fn renew(
        &self,
        waiter: Waiter<'_>,
        renew_datasets: bool,
        sent: &AtomicU32,
    ) -> Result<Done, Failure> {
        let dashboard = self.number(waiter)?;
        let charts = self.charts(waiter)?;
        let datasets: &[u64] = if renew_datasets { &self.settings.datasets } else { &[] };
        // Columns first: a chart of a new one needs it.
        let mut ends = together(datasets, self.about.parallel, |dataset| {
            self.session.in_turn(waiter, || self.reread(waiter, *dataset))
        });
        ends.extend(together(&charts, self.about.parallel, |chart| {
            self.session.in_turn(waiter, || self.warm(waiter, *chart, dashboard, sent))
        }));
        let failures: Vec<Failure> = ends.into_iter().filter_map(Result::err).collect();
        let what = match datasets.len() {
            0 => counted(charts.len(), "chart"),
            some => format!("{} and {}", counted(charts.len(), "chart"), counted(some, "dataset")),
        };
        if failures.is_empty() {
            return Ok(Done::succeeded(format!("{what} of dashboard {}", self.settings.dashboard)));
        }
        let what = format!("{} of {what} not renewed", failures.len());
        Err(summed(&what, &failures))
    }

    /// The dashboard's number; the settings may have its slug or its UUID.
    fn number(&self, waiter: Waiter<'_>) -> Result<u64, Failure> {
        let subject = format!("dashboard {}", self.settings.dashboard);
        let path = format!("/api/v1/dashboard/{}", escape(&self.settings.dashboard));
        let answer = self.session.read(waiter, &subject, &path)?;
        let found = answer::found(&subject, "Dashboard", &answer)?;
        let number = found.get("id").and_then(Value::as_u64);
        number.ok_or_else(|| answer::unexpected(&subject, &answer))
    }

    /// The numbers of its charts, each once.
    fn charts(&self, waiter: Waiter<'_>) -> Result<Vec<u64>, Failure> {
        let subject = format!("the charts of dashboard {}", self.settings.dashboard);
        let path = format!("/api/v1/dashboard/{}/charts", escape(&self.settings.dashboard));
        let answer = self.session.read(waiter, &subject, &path)?;
        let found = answer::found(&subject, "Dashboard", &answer)?;
        let numbers = |charts: &Vec<Value>| {
            charts.iter().map(|chart| chart.get("id").and_then(Value::as_u64)).collect()
        };
        let charts: Option<Vec<u64>> = found.as_array().and_then(numbers);
        let mut charts = charts.ok_or_else(|| answer::unexpected(&subject, &answer))?;
        charts.sort_unstable();
        charts.dedup();
        Ok(charts)
    }

    fn warm(
        &self,
        waiter: Waiter<'_>,
        chart: u64,
        dashboard: u64,
        sent: &AtomicU32,
    ) -> Result<(), Failure> {
        let subject = format!("chart {chart}");
        let request = Request::put(self.session.url("/api/v1/chart/warm_up_cache"))
            .json(&json!({ "chart_id": chart, "dashboard_id": dashboard }));
        let count = || {
            sent.fetch_add(1, Ordering::Relaxed);
        };
        let sending =
            Sending { subject: &subject, request: &request, limit: Duration::MAX, sent: &count };
        let answer = self.session.send(waiter, sending)?;
        answer::warmed(&subject, chart, &answer)
    }

    fn reread(&self, waiter: Waiter<'_>, dataset: u64) -> Result<(), Failure> {
        let subject = format!("dataset {dataset}");
        let path = format!("/api/v1/dataset/{dataset}/refresh");
        let request = Request::put(self.session.url(&path));
        let sending =
            Sending { subject: &subject, request: &request, limit: Duration::MAX, sent: &|| () };
        let answer = self.session.send(waiter, sending)?;
        answer::reread(&subject, &answer)
    }

    /// Whether the account may do what a refresh does, as far as Superset tells.
    fn may_warm_up(&self, waiter: Waiter<'_>) -> Result<(), Failure> {
        let path = "/api/v1/chart/_info?q=(keys:!(permissions))";
        let answer = self.session.read(waiter, "the account's rights", path)?;
        let body = answer.json().filter(|_| answer.is_success());
        let rights = body.as_ref().and_then(|body| body.get("permissions")?.as_array());
        let has = |rights: &Vec<Value>| rights.iter().any(|right| right == "can_warm_up_cache");
        if rights.is_none_or(has) {
            return Ok(());
        }
        Err(Failure::failed("the account lacks the right `can warm up cache on Chart`"))
    }
}
