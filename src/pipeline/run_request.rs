//! Which run is to be done, and how much of it.

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

/// A run that is to be done.
pub(super) struct RunRequest {
    pub(super) id: RunId,
    /// What an orchestrator calls it.
    pub(super) name: Option<String>,
    /// The day with which dates are compared, in days since 1970-01-01, where the id has none. The
    /// ledger keeps it.
    pub(super) day: Option<i32>,
    /// How far the run has come in earlier calls.
    pub(super) before: Option<Progress>,
    /// The one task that is to be done; none: all.
    pub(super) task: Option<Task>,
}

impl RunRequest {
    /// A run that begins now, with all its tasks.
    pub(super) fn new(id: RunId) -> Self {
        Self { id, name: None, day: None, before: None, task: None }
    }

    /// A run whose id was given to it, with all its tasks, as far as it has come `before`.
    ///
    /// # Errors
    /// `Internal` when it has no day.
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

    /// How often each task was tried in earlier calls.
    pub(super) fn tries(&self) -> BTreeMap<String, u32> {
        self.before.as_ref().map(Progress::tries).unwrap_or_default()
    }

    /// Enters the run into the ledger without locking the warehouse.
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

    /// Closes earlier tries of what is to be done that have not reported their end.
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
