//! Refreshes Apache Superset by warming the caches of a dashboard's charts.
//!
//! As measured on Superset 6.1, refreshing a dataset's columns or invalidating cache keys still
//! leaves old numbers on screen; only warming a chart's cache shows new ones. A repeated warm-up
//! costs one warehouse query and has no other effect, so it is retried on server errors.

mod answer;
mod session;

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use serde_json::{Value, json};
use session::Session;
use tokio::sync::Semaphore;

use super::deadline::Deadline;
use super::fan_out::{counted, failures, summed};
use super::job::Job;
use super::outcome::{Done, Failure};
use super::target::Target;
use super::target_info::{TargetInfo, off};
use crate::config::{Settings, SupersetTarget};
use crate::http::{Request, escape, runtime};

struct Dashboard {
    info: TargetInfo,
    settings: SupersetTarget,
    server: Arc<Server>,
}

/// State shared by all targets.
struct Server {
    session: Session,
    /// Limits concurrent charts and datasets across targets.
    slots: Semaphore,
}

/// The configured targets.
pub(super) fn targets(settings: &Settings) -> Vec<Box<dyn Target>> {
    let superset = &settings.refresh.superset;
    let parallel = settings.refresh.parallel(superset.parallel).max(1);
    let slots = Semaphore::new(parallel.min(Semaphore::MAX_PERMITS));
    let server = Arc::new(Server { session: Session::new(superset), slots });
    superset
        .targets
        .iter()
        .map(|(name, target)| -> Box<dyn Target> {
            Box::new(Dashboard {
                info: TargetInfo {
                    name: format!("superset.{name}"),
                    provider: "superset",
                    parallel,
                    required: target.required,
                    deadline: settings.refresh.deadline(target.deadline_secs),
                    skipped: off(target.enabled, &format!("refresh.superset.targets.{name}")),
                },
                settings: target.clone(),
                server: Arc::clone(&server),
            })
        })
        .collect()
}

impl Target for Dashboard {
    fn info(&self) -> &TargetInfo {
        &self.info
    }

    fn check(&self, job: &mut Job<'_>) -> Result<String, Failure> {
        runtime()?.block_on(self.describe(job.deadline()))
    }

    fn refresh(&self, job: &mut Job<'_>) -> Result<Done, Failure> {
        let sent = AtomicU32::new(0);
        // A chart with a new column needs that column first.
        let datasets: &[u64] =
            if job.published.schema_changed { &self.settings.datasets } else { &[] };
        let done = runtime()?.block_on(self.renew(job.deadline(), datasets, &sent));
        job.count_attempts(sent.into_inner());
        done
    }
}

impl Dashboard {
    async fn describe(&self, deadline: &Deadline) -> Result<String, Failure> {
        self.id(deadline).await?;
        let charts = self.charts(deadline).await?.len();
        for dataset in &self.settings.datasets {
            let (subject, path) =
                (format!("dataset {dataset}"), format!("/api/v1/dataset/{dataset}"));
            let answer = self.server.session.read(deadline, &subject, &path).await?;
            answer::found(&subject, "Dataset", &answer)?;
        }
        self.may_warm_up(deadline).await?;
        Ok(format!("dashboard {}, {}", self.settings.dashboard, counted(charts, "chart")))
    }

    async fn renew(
        &self,
        deadline: &Deadline,
        datasets: &[u64],
        sent: &AtomicU32,
    ) -> Result<Done, Failure> {
        let dashboard = self.id(deadline).await?;
        let charts = self.charts(deadline).await?;
        let parallel = self.info.parallel;
        let mut failed = failures(datasets, parallel, async |dataset| {
            let _permit = deadline.wait(self.server.slots.acquire()).await?;
            self.reread(deadline, dataset).await
        })
        .await;
        failed.extend(
            failures(&charts, parallel, async |chart| {
                let _permit = deadline.wait(self.server.slots.acquire()).await?;
                self.warm_up(deadline, chart, dashboard, sent).await
            })
            .await,
        );
        let what = match datasets.len() {
            0 => counted(charts.len(), "chart"),
            some => format!("{} and {}", counted(charts.len(), "chart"), counted(some, "dataset")),
        };
        if failed.is_empty() {
            return Ok(Done::succeeded(format!("{what} of dashboard {}", self.settings.dashboard)));
        }
        Err(summed(&format!("{} of {what} not renewed", failed.len()), &failed))
    }

    /// The dashboard's numeric id; the settings may have its slug or UUID.
    async fn id(&self, deadline: &Deadline) -> Result<u64, Failure> {
        let subject = format!("dashboard {}", self.settings.dashboard);
        let path = format!("/api/v1/dashboard/{}", escape(&self.settings.dashboard));
        let answer = self.server.session.read(deadline, &subject, &path).await?;
        let found = answer::found(&subject, "Dashboard", &answer)?;
        let id = found.get("id").and_then(Value::as_u64);
        id.ok_or_else(|| answer::unexpected(&subject, &answer))
    }

    /// Distinct chart ids.
    async fn charts(&self, deadline: &Deadline) -> Result<Vec<u64>, Failure> {
        let subject = format!("the charts of dashboard {}", self.settings.dashboard);
        let path = format!("/api/v1/dashboard/{}/charts", escape(&self.settings.dashboard));
        let answer = self.server.session.read(deadline, &subject, &path).await?;
        let found = answer::found(&subject, "Dashboard", &answer)?;
        let ids = |charts: &Vec<Value>| {
            charts.iter().map(|chart| chart.get("id").and_then(Value::as_u64)).collect()
        };
        let charts: Option<Vec<u64>> = found.as_array().and_then(ids);
        let mut charts = charts.ok_or_else(|| answer::unexpected(&subject, &answer))?;
        charts.sort_unstable();
        charts.dedup();
        Ok(charts)
    }

    async fn warm_up(
        &self,
        deadline: &Deadline,
        chart: u64,
        dashboard: u64,
        sent: &AtomicU32,
    ) -> Result<(), Failure> {
        let (subject, session) = (format!("chart {chart}"), &self.server.session);
        let request = Request::put(session.url("/api/v1/chart/warm_up_cache"))
            .json(&json!({ "chart_id": chart, "dashboard_id": dashboard }));
        let answer = session.send(deadline, &subject, &request, Duration::MAX, sent).await?;
        answer::warmed(&subject, chart, &answer)
    }

    /// Refreshes a dataset's columns.
    async fn reread(&self, deadline: &Deadline, dataset: u64) -> Result<(), Failure> {
        let (subject, session) = (format!("dataset {dataset}"), &self.server.session);
        let request = Request::put(session.url(&format!("/api/v1/dataset/{dataset}/refresh")));
        let sent = AtomicU32::new(0);
        let answer = session.send(deadline, &subject, &request, Duration::MAX, &sent).await?;
        answer::reread(&subject, &answer)
    }

    /// Fails if the account lacks permission to warm the cache.
    async fn may_warm_up(&self, deadline: &Deadline) -> Result<(), Failure> {
        let path = "/api/v1/chart/_info?q=(keys:!(permissions))";
        let session = &self.server.session;
        let answer = session.read(deadline, "the account's permissions", path).await?;
        let body = answer.json().filter(|_| answer.is_success());
        let permissions = body.as_ref().and_then(|body| body.get("permissions")?.as_array());
        let has =
            |permissions: &Vec<Value>| permissions.iter().any(|one| one == "can_warm_up_cache");
        if permissions.is_none_or(has) {
            return Ok(());
        }
        Err(Failure::failed(answer::NO_PERMISSION))
    }
}
