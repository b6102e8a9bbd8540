//! Jobs of the events: the whole run and its tasks.

use uuid::Uuid;

use super::event::{Event, EventType, Facets, Job, Name, Run};
use super::facets::{
    Documentation, ErrorMessage, JobType, NominalTime, Owner, Ownership, Parent, ProcessingEngine,
    Reference, RunReference,
};
use crate::config::{Moment, Settings};
use crate::event::RunId;

/// Job of the whole run: the DAG name.
pub(crate) const DAG: &str = "healthcare_claims_etl";
/// Task ids.
pub(crate) const CLAIMS: &str = "extract.extract_claims";
pub(crate) const PROVIDERS: &str = "extract.extract_providers";
pub(crate) const TRANSFORM: &str = "transform_join";
pub(crate) const LOAD: &str = "load.load_warehouse";
pub(crate) const REFRESH: &str = "load.refresh_bi";

/// The default namespace.
const NAMESPACE: &str = "claims-etl";

/// Scope of a [`super::Lineage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// A run with all its tasks, under the run id.
    Run,
    /// The remainder of a run that has already ended, under a new id.
    Resumed,
    /// One task of a run that is reported by an orchestrator.
    Task,
}

/// Shared by all events of a run.
pub(crate) struct Jobs {
    namespace: String,
    run: Uuid,
    nominal: Option<NominalTime>,
    ownership: Ownership,
    parent_of_run: Option<Parent>,
    parent_of_tasks: Parent,
}

impl Jobs {
    /// The jobs of a run, possibly started by `caller`.
    pub(crate) fn new(
        settings: &Settings,
        run: RunId,
        scope: Scope,
        caller: Option<Parent>,
    ) -> Self {
        let config = &settings.lineage;
        let namespace = config.namespace.clone().unwrap_or_else(|| NAMESPACE.into());
        let run = if scope == Scope::Resumed { Uuid::now_v7() } else { run.uuid() };
        let own = Reference {
            run: RunReference { run_id: run },
            job: Name { namespace: namespace.clone(), name: DAG.into() },
        };
        let root = caller
            .as_ref()
            .map(|caller| caller.root.clone().unwrap_or_else(|| caller.parent.clone()));
        let parent_of_tasks = match (&caller, scope) {
            (Some(caller), Scope::Task) => Parent { parent: caller.parent.clone(), root },
            _ => Parent { root: Some(root.unwrap_or_else(|| own.clone())), parent: own },
        };
        let owners = config.owners.iter().map(|name| Owner { name: name.clone() }).collect();
        Self {
            namespace,
            run,
            nominal: nominal(settings),
            ownership: Ownership { owners },
            parent_of_run: caller,
            parent_of_tasks,
        }
    }

    /// An event of the whole run.
    pub(crate) fn whole(&self, kind: EventType, error: Option<&ErrorMessage>) -> Event {
        let facets = self.run_facets(self.parent_of_run.as_ref(), error);
        let run = Run { run_id: self.run, facets };
        Event::now(kind, run, self.job(DAG.to_owned(), "DAG", "Loads healthcare claims."))
    }

    /// An event of a task's run.
    pub(crate) fn task(
        &self,
        task: &str,
        run_id: Uuid,
        kind: EventType,
        error: Option<&ErrorMessage>,
    ) -> Event {
        let facets = self.run_facets(Some(&self.parent_of_tasks), error);
        let description = match task {
            CLAIMS => "Finds, checks and fingerprints the claims.",
            PROVIDERS => "Finds, checks and fingerprints the directory of providers.",
            TRANSFORM => "Validates claims, replaces identifiers with tokens, joins the providers.",
            LOAD => "Scores claims and publishes them with the providers in one transaction.",
            REFRESH => "Refreshes the dashboards.",
            _ => "A task of the pipeline.",
        };
        let run = Run { run_id, facets };
        Event::now(kind, run, self.job(format!("{DAG}.{task}"), "TASK", description))
    }

    fn run_facets(&self, parent: Option<&Parent>, error: Option<&ErrorMessage>) -> Facets {
        let engine = ProcessingEngine { version: env!("CARGO_PKG_VERSION"), name: "claims-etl" };
        Facets::default()
            .with(&engine)
            .with_some(self.nominal.as_ref())
            .with_some(parent)
            .with_some(error)
    }

    fn job(&self, name: String, kind: &'static str, description: &str) -> Job {
        let kind = JobType { processing_type: "BATCH", integration: "CLAIMS_ETL", kind };
        let owned = Some(&self.ownership).filter(|ownership| !ownership.owners.is_empty());
        let facets = Facets::default()
            .with(&kind)
            .with(&Documentation { description: description.to_owned() })
            .with_some(owned);
        Job { namespace: self.namespace.clone(), name, facets }
    }
}

/// The data interval, if its start is known.
fn nominal(settings: &Settings) -> Option<NominalTime> {
    let interval = settings.interval();
    let written = |moment: &Moment| moment.format("%Y-%m-%dT%H:%M:%S%:z");
    Some(NominalTime {
        nominal_start_time: written(interval.start.as_ref()?)?,
        nominal_end_time: interval.end.as_ref().and_then(written),
    })
}
