//! The tasks' log: every state change of every try becomes a row of the ledger.
//!
//! A file of its own because a run and its resumption write the same log, the second one going on
//! where the first one ended; and because a log must never fail what it writes about.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::warehouse::Warehouse;
use crate::adbc_postgres::PostgresConnection;
use crate::dag::{LogEntry, TaskLog};
use crate::error::{Error, Result};
use crate::event::{Observer, RunEvent, RunId};
use crate::failpoint;
use crate::load::ledger::{self, TaskEntry};

/// Writes the tasks' states into the ledger, over a connection of its own.
pub(super) struct LedgerLog<'a> {
    connection: Mutex<Option<PostgresConnection>>,
    /// None for a dry run, of which nothing is written.
    warehouse: Option<&'a Warehouse>,
    observer: &'a dyn Observer,
    run: RunId,
    /// Tries that the ledger holds already, of an earlier call for the same run.
    tries_before: u32,
    /// The same, of tasks that were not tried equally often.
    tries: BTreeMap<String, u32>,
}

impl<'a> LedgerLog<'a> {
    /// The log of `run`, none of whose tasks has been tried.
    pub(super) fn new(
        warehouse: Option<&'a Warehouse>,
        observer: &'a dyn Observer,
        run: RunId,
    ) -> Self {
        let tries = BTreeMap::new();
        Self { connection: Mutex::new(None), warehouse, observer, run, tries_before: 0, tries }
    }

    /// The same, where the run's remaining tasks have been tried so often.
    pub(super) fn after(self, tries_before: u32) -> Self {
        Self { tries_before, ..self }
    }

    /// The same, where each task has been tried so often.
    pub(super) fn after_each(self, tries: BTreeMap<String, u32>) -> Self {
        Self { tries, ..self }
    }
}

impl TaskLog for LedgerLog<'_> {
    fn record(&self, entry: &LogEntry<'_>) {
        let Some(warehouse) = self.warehouse else { return };
        let before = self.tries.get(entry.task).copied().unwrap_or(self.tries_before);
        if entry.try_number == 0 && before > 0 {
            // It was not tried again: the last try's row stands.
            return;
        }
        let leaked = failpoint::leak("leak.ledger");
        let entry = TaskEntry {
            task: entry.task,
            attempt: before + entry.try_number,
            state: entry.state.name(),
            started: entry.started_at,
            elapsed: entry.elapsed,
            result: entry.result,
            error: leaked.as_deref().or(entry.error),
        };
        let mut held = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let write =
            |connection: &mut PostgresConnection| ledger::record_task(connection, self.run, &entry);
        let written = match held.as_mut() {
            Some(connection) => write(connection),
            None => Err(Error::internal("no connection yet")),
        };
        // The connection may have been lost with the server: once more over a fresh one.
        let written: Result<()> = written.or_else(|_| {
            let mut fresh = warehouse.connect()?;
            write(&mut fresh)?;
            *held = Some(fresh);
            Ok(())
        });
        if let Err(error) = written {
            let state = entry.state;
            self.observer.observe(&RunEvent::Warning(format!(
                "the ledger has no entry for {} ({state}): {}",
                entry.task,
                error.message()
            )));
        }
    }
}
