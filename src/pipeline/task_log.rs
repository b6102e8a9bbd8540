//! The task log: writes every state change of every try to the ledger.
//!
//! Log failures do not fail a task: unwritten entries are kept and written at the end.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::task_runner::LogEntry;
use crate::adbc_postgres::PostgresConnection;
use crate::error::Result;
use crate::event::{Observer, RunEvent, RunId};
use crate::failpoint;
use crate::load::ledger::{self, TaskEntry};
use crate::warehouse::location::Warehouse;

/// Task id and try number.
type Try = (String, u32);

/// Writes task states to the ledger over its own connection.
pub(super) struct LedgerLog<'a> {
    connection: Mutex<Option<PostgresConnection>>,
    /// Last state of each try not yet in the ledger.
    unwritten: Mutex<BTreeMap<Try, TaskEntry>>,
    /// `None` for a dry run, which writes nothing.
    warehouse: Option<&'a Warehouse>,
    observer: &'a dyn Observer,
    run: RunId,
    /// Tries of each task in earlier calls of the run.
    tries_before: BTreeMap<String, u32>,
}

impl<'a> LedgerLog<'a> {
    pub(super) fn new(
        warehouse: Option<&'a Warehouse>,
        observer: &'a dyn Observer,
        run: RunId,
        tries_before: BTreeMap<String, u32>,
    ) -> Self {
        let (connection, unwritten) = (Mutex::default(), Mutex::default());
        Self { connection, unwritten, warehouse, observer, run, tries_before }
    }

    /// Writes the pending entries.
    ///
    /// # Errors
    /// `Warehouse` on another failure; a later call continues.
    pub(super) fn complete(&self) -> Result<()> {
        let mut unwritten = self.unwritten.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(warehouse) = self.warehouse.filter(|_| !unwritten.is_empty()) else {
            return Ok(());
        };
        let mut fresh = warehouse.connect()?;
        while let Some(first) = unwritten.first_entry() {
            ledger::record_task(&mut fresh, self.run, first.get())?;
            first.remove();
        }
        Ok(())
    }

    fn write(&self, warehouse: &Warehouse, entry: &TaskEntry) -> Result<()> {
        let mut held = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = held.as_mut()
            && ledger::record_task(connection, self.run, entry).is_ok()
        {
            return Ok(());
        }
        // The connection may be lost after a server restart: retry on a new one.
        let mut fresh = warehouse.connect()?;
        ledger::record_task(&mut fresh, self.run, entry)?;
        *held = Some(fresh);
        Ok(())
    }

    /// Writes a state change; on failure warns and keeps it for [`Self::complete`].
    pub(super) fn record(&self, entry: &LogEntry<'_>) {
        let Some(warehouse) = self.warehouse else { return };
        let before = self.tries_before.get(entry.task.id()).copied().unwrap_or(0);
        if entry.try_number == 0 && before > 0 {
            // Not retried: the row of the last try stays.
            return;
        }
        let leaked = failpoint::value("leak.ledger");
        let error = leaked.as_deref().or(entry.error).map(ToOwned::to_owned);
        let entry = TaskEntry {
            task: entry.task.id().to_owned(),
            attempt: before + entry.try_number,
            state: entry.state.name(),
            started: entry.started_at,
            elapsed: entry.elapsed,
            result: entry.result.cloned(),
            error,
        };
        let written = self.write(warehouse, &entry);
        let mut unwritten = self.unwritten.lock().unwrap_or_else(PoisonError::into_inner);
        let which = (entry.task.clone(), entry.attempt);
        match written {
            // A later state of a try replaces an earlier one.
            Ok(()) => drop(unwritten.remove(&which)),
            Err(error) => {
                let (task, state) = (&entry.task, entry.state);
                self.observer.observe(&RunEvent::Warning(format!(
                    "could not write to the run log that {task} is {state}: {}",
                    error.message()
                )));
                unwritten.insert(which, entry);
            }
        }
    }
}
