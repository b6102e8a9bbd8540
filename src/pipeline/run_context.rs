//! The desk on which the tasks of one run lay what they hand to each other.
//!
//! Descriptions lie here, and the shuffle that holds the rows.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::RunOptions;
use crate::adbc_postgres::PostgresConnection;
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::event::{Cancellation, Observer};
use crate::extract::Extracted;
use crate::key::MasterKey;
use crate::load::identity::Identity;
use crate::load::{FirstPassTotals, ScoredBy, Session};
use crate::quarantine::Quarantine;
use crate::refresh::TargetResult;
use crate::shuffle::Shuffle;
use crate::totals::ControlTotals;
use crate::transform::{DateFormats, Directory, RuleSet, Scorer};
use crate::warehouse::location::Warehouse;

/// A value that one task leaves for another.
pub(crate) struct Slot<T>(Mutex<Option<T>>);

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> Slot<T> {
    /// Leaves a value, in place of an earlier try's.
    pub(crate) fn put(&self, value: T) {
        *self.lock() = Some(value);
    }

    /// The slot itself.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Option<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is there, if anything.
    pub(crate) fn into_inner(self) -> Option<T> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone> Slot<T> {
    /// A copy of what an earlier task left.
    pub(crate) fn get(&self) -> Result<T> {
        self.lock().clone().ok_or_else(|| Error::internal("a task ran before what it needs"))
    }
}

/// How the rows of a run are scored.
#[derive(Clone)]
pub(crate) enum Scoring {
    /// By the statistics of all rows of the run: they are all that there will be.
    Own(Arc<Scorer>),
    /// Not on their way into the stage, where their score and components are 0, but once it is known
    /// what they change: by the statistics of all that is published.
    History,
}

impl Scoring {
    /// What scores rows on their way, if anything does.
    pub(crate) fn scorer(&self) -> Option<&Arc<Scorer>> {
        match self {
            Self::Own(scorer) => Some(scorer),
            Self::History => None,
        }
    }
}

/// What the transform hands to the load: the shuffled rows, what they add up to, and what they are
/// scored with.
#[derive(Clone)]
pub(crate) struct Prepared {
    pub(crate) shuffle: Arc<Shuffle>,
    pub(crate) tally: FirstPassTotals,
    /// Files of claims that hold no record.
    pub(crate) without_records: Vec<String>,
    pub(crate) directory: Directory,
    pub(crate) checks: Arc<RuleSet>,
    pub(crate) scoring: Scoring,
    pub(crate) scored_by: ScoredBy,
}

/// Everything the five tasks share.
pub(crate) struct Work<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) options: &'a RunOptions,
    pub(crate) observer: &'a dyn Observer,
    pub(crate) cancel: &'a Cancellation,
    pub(crate) identity: Identity,
    pub(crate) key: &'a MasterKey,
    pub(crate) formats: Arc<DateFormats>,
    pub(crate) checks: Arc<RuleSet>,
    /// None for a dry run.
    pub(crate) warehouse: Option<&'a Warehouse>,
    pub(crate) session: Slot<Session<PostgresConnection>>,
    pub(crate) claims: Slot<Extracted>,
    pub(crate) providers: Slot<Extracted>,
    pub(crate) prepared: Slot<Prepared>,
    /// The quarantine's file, as long as it is not complete.
    pub(crate) rejects: Slot<Quarantine>,
    pub(crate) fingerprint: Slot<String>,
    pub(crate) loaded_by: Slot<String>,
    pub(crate) account: Slot<ControlTotals>,
    /// Seconds of the steps inside the load.
    pub(crate) phases: Slot<serde_json::Value>,
    pub(crate) quarantine: Slot<PathBuf>,
    pub(crate) published: Slot<()>,
    pub(crate) refreshed: Slot<Vec<TargetResult>>,
}
