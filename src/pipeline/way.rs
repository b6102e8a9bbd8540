//! Which run is to be done, and how much of it.
//!
//! A file of its own because a run begins in several ways: under a new id, under one that was given
//! to it, where an earlier process has left it, or with one of its tasks only.

use std::collections::BTreeMap;

use super::alone::Alone;
use super::preparing::day_of;
use super::run_name::RunName;
use super::task_id::Task;
use crate::adbc_postgres::PostgresConnection;
use crate::config::{Mode, Settings};
use crate::error::Result;
use crate::event::RunId;
use crate::load::apart::{self, Progress};
use crate::load::check_shape;
use crate::load::keys;
use crate::load::ledger::{self, Identity};

/// A run that is to be done.
pub(super) struct Way {
    pub(super) id: RunId,
    /// What an orchestrator calls it.
    pub(super) named: Option<String>,
    /// The day with which dates are compared, where the id does not tell it.
    day: Option<i32>,
    /// How often its tasks have been tried before.
    pub(super) tries: BTreeMap<String, u32>,
    /// The one task that is to be done; none: all.
    pub(super) only: Option<Alone>,
}

impl Way {
    /// A run that begins now, with all its tasks.
    pub(super) fn whole(id: RunId) -> Self {
        Self { id, named: None, day: None, tries: BTreeMap::new(), only: None }
    }

    /// A run whose id was given to it, with all its tasks, as far as it has come `before`.
    ///
    /// # Errors
    /// `Internal` when it has no day.
    pub(super) fn named(
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

    /// One task of it.
    pub(super) fn only(self, task: Task, before: Option<Progress>) -> Self {
        Self { only: Some(Alone::new(task, before)), ..self }
    }

    /// The one task that is to be done.
    pub(super) fn task(&self) -> Option<Task> {
        self.only.as_ref().map(Alone::task)
    }

    /// The day with which dates are compared.
    pub(super) fn day(&self, settings: &Settings) -> Result<i32> {
        self.day.map_or_else(|| day_of(settings, self.id), Ok)
    }

    /// That day, where the ledger has to keep it.
    pub(super) fn date_to_keep(&self) -> Option<i32> {
        self.day
    }

    /// Enters the run into the ledger without holding the warehouse.
    pub(super) fn enter(
        &self,
        connection: &mut PostgresConnection,
        identity: &Identity,
    ) -> Result<()> {
        keys::check(connection, &identity.key(), identity.mode == Mode::Replace)?;
        check_shape(connection, &identity.treatment, identity.mode)?;
        ledger::begin(connection, identity)?;
        self.close_tries(connection)
    }

    /// Closes earlier tries of what is to be done that never told their end.
    pub(super) fn close_tries(&self, connection: &mut PostgresConnection) -> Result<()> {
        match self.task() {
            Some(task) => apart::close_tries(connection, self.id, task.id()),
            None => {
                self.tries.keys().try_for_each(|task| apart::close_tries(connection, self.id, task))
            }
        }
    }
}
