//! Which run and which of its tasks to execute.

use std::collections::BTreeMap;

use super::run_name::RunName;
use super::run_rules::day_of;
use super::task_id::Task;
use crate::adbc_postgres::PostgresConnection;
use crate::config::{Mode, Settings};
use crate::error::Result;
use crate::event::RunId;
use crate::load::identity::Identity;
use crate::load::task_progress::Progress;
use crate::load::{ledger, task_progress};
use crate::warehouse::{keys, table_layout};

pub(super) struct RunRequest {
    pub(super) id: RunId,
    /// The orchestrator's name.
    pub(super) name: Option<String>,
    /// Reference date in days since 1970-01-01, if the id does not contain one. Stored in the
    /// ledger.
    pub(super) day: Option<i32>,
    /// Progress from earlier calls.
    pub(super) before: Option<Progress>,
    /// The single task to run; `None` for all.
    pub(super) task: Option<Task>,
}

impl RunRequest {
    /// A new run with all tasks.
    pub(super) fn new(id: RunId) -> Self {
        Self { id, name: None, day: None, before: None, task: None }
    }

    /// A run with a fixed id and all tasks, with its progress from earlier calls.
    ///
    /// # Errors
    /// `Internal` when it has no reference date.
    pub(super) fn named(
        name: &RunName,
        settings: &Settings,
        before: Option<Progress>,
    ) -> Result<Self> {
        let id = name.id();
        let kept = before.as_ref().and_then(|before| before.run_date);
        let day = match (id.day(), kept) {
            (Some(_), _) => None,
            (None, Some(kept)) => Some(kept),
            (None, None) => Some(day_of(settings, id)?),
        };
        let name = name.text().map(ToOwned::to_owned);
        Ok(Self { id, name, day, before, task: None })
    }

    /// Tries of each task in earlier calls.
    pub(super) fn tries(&self) -> BTreeMap<String, u32> {
        self.before.as_ref().map(Progress::tries).unwrap_or_default()
    }

    /// Records the run in the ledger without locking the warehouse.
    pub(super) fn enter(
        &self,
        connection: &mut PostgresConnection,
        identity: &Identity,
    ) -> Result<()> {
        keys::check(connection, &identity.key(), identity.mode == Mode::Replace)?;
        table_layout::check(connection, &identity.layout, identity.mode)?;
        ledger::begin(connection, identity)?;
        self.close_tries(connection)
    }

    /// Closes earlier tries of these tasks that never reported an end.
    pub(super) fn close_tries(&self, connection: &mut PostgresConnection) -> Result<()> {
        match self.task {
            Some(task) => task_progress::close_tries(connection, self.id, task.id()),
            None => self
                .tries()
                .keys()
                .try_for_each(|task| task_progress::close_tries(connection, self.id, task)),
        }
    }
}
