//! Refreshes Tableau extracts: data sources, workbooks, tasks.
//!
//! See Tableau's REST API reference; where it is silent, follows Tableau's own client
//! (tableauserverclient).

mod answer;
mod background_job;
mod call;
mod document;
mod object;
mod run;
mod search;
mod session;
mod sign_in;
mod version;

use std::sync::Arc;

use call::TRIES;
use object::Object;
use run::Run;
use session::Session;

use super::job::Job;
use super::outcome::{Done, Failure};
use super::target::Target;
use super::target_info::{TargetInfo, off};
use crate::config::{Settings, TableauTarget};

struct Extract {
    info: TargetInfo,
    settings: TableauTarget,
    object: Object,
    session: Arc<Session>,
}

/// The configured targets.
pub(super) fn targets(settings: &Settings) -> Vec<Box<dyn Target>> {
    let (refresh, tableau) = (&settings.refresh, &settings.refresh.tableau);
    let session = Arc::new(Session::new(tableau.clone()));
    let target = |(name, target): (&String, &TableauTarget)| {
        Box::new(Extract {
            info: TargetInfo {
                name: format!("tableau.{name}"),
                provider: "tableau",
                parallel: refresh.parallel(tableau.parallel),
                required: target.required,
                deadline: refresh.deadline(target.deadline_secs),
                skipped: off(target.enabled, &format!("refresh.tableau.targets.{name}")),
            },
            settings: target.clone(),
            object: Object::of(target),
            session: Arc::clone(&session),
        }) as Box<dyn Target>
    };
    tableau.targets.iter().map(target).collect()
}

impl Target for Extract {
    fn info(&self) -> &TargetInfo {
        &self.info
    }

    fn check(&self, job: &mut Job<'_>) -> Result<String, Failure> {
        let job = &*job;
        self.session.check(|| {
            let version = self.session.open(job)?.version;
            self.object.start_body(self.settings.incremental, version)?;
            let reply = self.session.get(job, &self.object.path(), TRIES)?;
            self.object.found(&reply)?;
            Ok(format!("{} is there; API {version}", self.object.noun()))
        })
    }

    fn refresh(&self, job: &mut Job<'_>) -> Result<Done, Failure> {
        let (incremental, on_conflict) = (self.settings.incremental, self.settings.on_conflict);
        let (session, object) = (&*self.session, &self.object);
        Run { session, object, incremental, on_conflict, job }.refresh()
    }

    fn finish(&self, _job: &mut Job<'_>) {
        self.session.close();
    }
}
