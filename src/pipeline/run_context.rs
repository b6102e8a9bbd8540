//! What the tasks of a run share: what is fixed when it begins, and what outlives a failed try.

use std::sync::Arc;

use super::report::RunReport;
use super::task_id::Task;
use crate::adbc_postgres::PostgresConnection;
use crate::config::Settings;
use crate::error::Result;
use crate::event::{Cancellation, Observer, RunEvent};
use crate::key::MasterKey;
use crate::load::Session;
use crate::load::identity::Identity;
use crate::quarantine::Quarantine;
use crate::transform::{DateFormats, RuleSet};
use crate::warehouse::location::Warehouse;

/// What a run does differently, beside the settings.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Load the input even if it is loaded already.
    pub force: bool,
    /// Read, validate and count, but touch no warehouse.
    pub dry_run: bool,
}

/// What is fixed when a run begins.
pub(crate) struct RunContext<'a> {
    pub(super) settings: &'a Settings,
    pub(super) options: &'a RunOptions,
    pub(super) observer: &'a dyn Observer,
    pub(super) cancel: &'a Cancellation,
    pub(super) identity: Identity,
    pub(super) key: &'a MasterKey,
    pub(super) formats: Arc<DateFormats>,
    pub(super) checks: Arc<RuleSet>,
    /// None for a dry run.
    pub(super) warehouse: Option<&'a Warehouse>,
}

impl RunContext<'_> {
    pub(super) fn note(&self, text: String) {
        self.observer.observe(&RunEvent::Note(text));
    }

    pub(super) fn warn(&self, text: String) {
        self.observer.observe(&RunEvent::Warning(text));
    }

    /// Reports how many rows a task has handled.
    pub(super) fn progress(&self, task: Task, rows: u64) {
        self.observer.observe(&RunEvent::Progress { task: task.id().into(), rows, total: None });
    }

    /// The run's session. Before another try the connection may be lost, and with it the lock: a new
    /// session is opened, which also removes what the last try has staged.
    pub(super) fn session<'s>(
        &self,
        held: &'s mut Option<Session<PostgresConnection>>,
        warehouse: &Warehouse,
        attempt: u32,
    ) -> Result<&'s mut Session<PostgresConnection>> {
        if attempt > 1 {
            *held = None;
        }
        match held {
            Some(session) => Ok(session),
            none => {
                let (identity, wait) = (self.identity.clone(), self.settings.run.wait);
                let (observer, cancel) = (self.observer, self.cancel);
                let opened = Session::open(&warehouse.database, identity, wait, observer, cancel)?;
                Ok(none.insert(opened))
            }
        }
    }
}

/// What outlives a failed try, beside the session.
pub(super) struct RunState<'r> {
    /// The rejects, until the file is complete.
    pub(super) quarantine: Option<Quarantine>,
    /// Whether the publish has been committed.
    pub(super) published: bool,
    /// Filled in as the run goes, so that a failed run reports what it knew.
    pub(super) report: &'r mut RunReport,
}
