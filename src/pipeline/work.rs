//! The desk on which the tasks of one run lay what they hand to each other.
//!
//! A file of its own because tasks run in threads and may be tried again: each slot is filled by
//! one task and read by a later one. Descriptions lie here, and the shuffle that holds the rows.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::account::Account;
use crate::adbc_postgres::PostgresConnection;
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::event::{Cancellation, Observer};
use crate::extract::Extracted;
use crate::key::MasterKey;
use crate::load::ledger::Identity;
use crate::load::quarantine::Quarantine;
use crate::load::{ScoredBy, Session, Shuffle, Tally};
use crate::refresh::TargetResult;
use crate::transform::{Checks, DateFormats, Directory, Scorer};

use super::RunOptions;
use super::warehouse::Warehouse;

/// A value that one task leaves for another.
pub(super) struct Slot<T>(Mutex<Option<T>>);

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> Slot<T> {
    /// Leaves a value, in place of an earlier try's.
    pub(super) fn put(&self, value: T) {
        *self.lock() = Some(value);
    }

    /// The slot itself.
    pub(super) fn lock(&self) -> MutexGuard<'_, Option<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is there, if anything.
    pub(super) fn into_inner(self) -> Option<T> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone> Slot<T> {
    /// A copy of what an earlier task left.
    pub(super) fn get(&self) -> Result<T> {
        self.lock().clone().ok_or_else(|| Error::internal("a task ran before what it needs"))
    }
}

/// How the rows of a run are scored.
#[derive(Clone)]
pub(super) enum Scoring {
    /// By the statistics of all rows of the run: they are all that there will be.
    Own(Arc<Scorer>),
    /// Not on their way into the stage, where their score and components are 0, but once it is known
    /// what they change: by the statistics of all that is published.
    History,
}

impl Scoring {
    /// What scores rows on their way, if anything does.
    pub(super) fn scorer(&self) -> Option<&Arc<Scorer>> {
        match self {
            Self::Own(scorer) => Some(scorer),
            Self::History => None,
        }
    }
}

/// What the transform hands to the load: the shuffled rows, what they add up to, and what they are
/// scored with.
#[derive(Clone)]
pub(super) struct Prepared {
    pub(super) shuffle: Arc<Shuffle>,
    pub(super) tally: Tally,
    /// Files of claims that hold no record.
    pub(super) without_records: Vec<String>,
    pub(super) directory: Directory,
    pub(super) checks: Arc<Checks>,
    pub(super) scoring: Scoring,
    pub(super) scored_by: ScoredBy,
}

/// Everything the five tasks share.
pub(super) struct Work<'a> {
    pub(super) settings: &'a Settings,
    pub(super) options: &'a RunOptions,
    pub(super) observer: &'a dyn Observer,
    pub(super) cancel: &'a Cancellation,
    pub(super) identity: Identity,
    pub(super) key: &'a MasterKey,
    pub(super) formats: Arc<DateFormats>,
    pub(super) checks: Arc<Checks>,
    /// None for a dry run.
    pub(super) warehouse: Option<&'a Warehouse>,
    pub(super) session: Slot<Session<PostgresConnection>>,
    pub(super) claims: Slot<Extracted>,
    pub(super) providers: Slot<Extracted>,
    pub(super) prepared: Slot<Prepared>,
    /// The quarantine's file, as long as it is not complete.
    pub(super) rejects: Slot<Quarantine>,
    pub(super) fingerprint: Slot<String>,
    pub(super) loaded_by: Slot<String>,
    pub(super) account: Slot<Account>,
    /// Seconds of the steps inside the load.
    pub(super) phases: Slot<serde_json::Value>,
    pub(super) quarantine: Slot<PathBuf>,
    pub(super) published: Slot<()>,
    pub(super) refreshed: Slot<Vec<TargetResult>>,
}
