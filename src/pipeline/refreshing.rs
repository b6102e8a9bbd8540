//! The task that comes after the commit.
//!
//! A file of its own because it is the one task that needs neither sources nor key nor session: a
//! run that is resumed after its commit has only this one left.

use serde_json::json;

use super::warehouse::Warehouse;
use super::work::Slot;
use crate::config::Settings;
use crate::dag::{Outcome, TaskContext};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{RunEvent, RunId};
use crate::failpoint;
use crate::refresh::{self, TargetResult};

/// The task's id.
pub(super) const REFRESH: &str = "load.refresh_bi";

/// `load.refresh_bi`: all targets at once, after the commit.
pub(super) fn refresh_bi(
    settings: &Settings,
    warehouse: &Warehouse,
    run: RunId,
    refreshed: &Slot<Vec<TargetResult>>,
    task: &TaskContext<'_>,
) -> Result<Outcome> {
    failpoint::hit("refresh.begin")?;
    let targets = refresh::targets(settings);
    let results = refresh::refresh_all(&targets, &|| warehouse.connect());
    let failed: Vec<&refresh::TargetResult> =
        results.iter().filter(|result| result.outcome == refresh::Outcome::Failed).collect();
    for result in &failed {
        task.observer.observe(&RunEvent::Warning(format!("{}: {}", result.target, result.detail)));
    }
    let required = failed.iter().find(|result| result.required).map(|result| {
        Error::new(
            ErrorKind::Refresh,
            format!("{} was not refreshed: {}; the data are loaded", result.target, result.detail),
        )
        .hint(format!("`claims-etl run --resume {run}` tries again"))
    });
    let outcome: Vec<_> = results
        .iter()
        .map(|result| json!({ "target": result.target, "outcome": result.outcome.as_str() }))
        .collect();
    refreshed.put(results);
    match required {
        Some(error) => Err(error),
        None => Ok(Outcome::Done(json!(outcome))),
    }
}
