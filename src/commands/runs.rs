//! `runs`: the run log.

use serde_json::Value;

use crate::config::Settings;
use crate::error::Result;
use crate::event::{Observer, RunId};
use crate::load::ledger::{self, RunRow};
use crate::warehouse::location::Warehouse;

/// All runs, latest first.
///
/// # Errors
/// `Warehouse` when the ledger cannot be read.
pub(crate) fn runs(settings: &Settings, observer: &dyn Observer) -> Result<Vec<RunRow>> {
    ledger::runs(&mut Warehouse::open(settings, observer)?.connect()?)
}

/// One run with its tasks.
///
/// # Errors
/// `Config` when there is no such run, `Warehouse` when the ledger cannot be read.
pub(crate) fn run_details(
    settings: &Settings,
    run: RunId,
    observer: &dyn Observer,
) -> Result<Value> {
    ledger::run_details(&mut Warehouse::open(settings, observer)?.connect()?, run)
}
