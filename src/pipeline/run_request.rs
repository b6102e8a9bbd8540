//! Which run is to be done, and how much of it.

use std::collections::BTreeMap;

use super::run_name::RunName;
use super::task_id::Task;
use crate::adbc_postgres::PostgresConnection;
use crate::config::{Mode, Settings};
use crate::error::Result;
use crate::event::RunId;
use crate::load::identity::Identity;
use crate::load::task_progress::Progress;
use crate::load::{ledger, task_progress};
use crate::pipeline::single_task::Alone;
use crate::pipeline::transform_stage::day_of;
use crate::warehouse::{keys, table_layout};

/// A run that is to be done.
pub(crate) struct Way {
    pub(crate) id: RunId,
    /// What an orchestrator calls it.
    pub(crate) named: Option<String>,
    /// The day with which dates are compared, where the id does not tell it.
    day: Option<i32>,
    /// How often its tasks have been tried before.
    pub(crate) tries: BTreeMap<String, u32>,
    /// The one task that is to be done; none: all.
    pub(crate) only: Option<Alone>,
}

impl Way {
    /// A run that begins now, with all its tasks.
    pub(crate) fn whole(id: RunId) -> Self {
        Self { id, named: None, day: None, tries: BTreeMap::new(), only: None }
    }

    /// A run whose id was given to it, with all its tasks, as far as it has come `before`.
    ///
    /// # Errors
    /// `Internal` when it has no day.
    pub(crate) fn named(
        name: &RunName,
        settings: &Settings,
        before: Option<&Progress>,
    ) -> Result<Self> {
        let id = name.id();
        let kept = before.and_then(|before| before.run_date);
        let day = match (id.day(), kept) {
            (Some(_), _) => None,
            (None, Some(kept)) => Some(kept),
            (None, None) => Some(day_of(settings, id)?),
        };
        let named = name.text().map(ToOwned::to_owned);
        let tries = before.map(Progress::tries).unwrap_or_default();
        Ok(Self { id, named, day, tries, only: None })
    }

    pub(crate) fn only(self, task: Task, before: Option<Progress>) -> Self {
        Self { only: Some(Alone::new(task, before)), ..self }
    }

    /// The one task that is to be done.
    pub(crate) fn task(&self) -> Option<Task> {
        self.only.as_ref().map(Alone::task)
    }

    /// The day with which dates are compared.
    pub(crate) fn day(&self, settings: &Settings) -> Result<i32> {
        self.day.map_or_else(|| day_of(settings, self.id), Ok)
    }

    /// That day, where the ledger has to keep it.
    pub(crate) fn date_to_keep(&self) -> Option<i32> {
        self.day
    }

    /// Enters the run into the ledger without holding the warehouse.
    pub(crate) fn enter(
        &self,
        connection: &mut PostgresConnection,
        identity: &Identity,
    ) -> Result<()> {
        keys::check(connection, &identity.key(), identity.mode == Mode::Replace)?;
        table_layout::check(connection, &identity.layout, identity.mode)?;
        ledger::begin(connection, identity)?;
        self.close_tries(connection)
    }

    /// Closes earlier tries of what is to be done that never told their end.
    pub(crate) fn close_tries(&self, connection: &mut PostgresConnection) -> Result<()> {
        match self.task() {
            Some(task) => task_progress::close_tries(connection, self.id, task.id()),
            None => self
                .tries
                .keys()
                .try_for_each(|task| task_progress::close_tries(connection, self.id, task)),
        }
    }
}
