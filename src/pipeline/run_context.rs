//! State shared by the tasks of a run: constants, and what survives a failed try.

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

/// Options of a run besides the settings.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Load the input even if already loaded.
    pub force: bool,
    /// Read, validate and count without touching a warehouse.
    pub dry_run: bool,
}

/// Constants of a run.
pub(crate) struct RunContext<'a> {
    pub(super) settings: &'a Settings,
    pub(super) options: &'a RunOptions,
    pub(super) observer: &'a dyn Observer,
    pub(super) cancel: &'a Cancellation,
    pub(super) identity: Identity,
    pub(super) key: &'a MasterKey,
    pub(super) formats: Arc<DateFormats>,
    pub(super) checks: Arc<RuleSet>,
    /// `None` for a dry run.
    pub(super) warehouse: Option<&'a Warehouse>,
}

impl RunContext<'_> {
    pub(super) fn note(&self, text: String) {
        self.observer.observe(&RunEvent::Note(text));
    }

    pub(super) fn warn(&self, text: String) {
        self.observer.observe(&RunEvent::Warning(text));
    }

    /// Reports a task's row count.
    pub(super) fn progress(&self, task: Task, rows: u64) {
        self.observer.observe(&RunEvent::Progress { task: task.id().into(), rows, total: None });
    }

    /// The run's session. On a retry the connection, and so the lock, may be lost: opens a new
    /// session, which also removes the previous try's staging data.
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

/// State that survives a failed try, besides the session.
pub(super) struct RunState<'r> {
    /// Rejects, until the file is complete.
    pub(super) quarantine: Option<Quarantine>,
    /// Whether the publish has committed.
    pub(super) published: bool,
    /// Filled in progressively, so that a failed run has a partial report.
    pub(super) report: &'r mut RunReport,
}
