//! Refreshes after the commit, as a run's last task or on their own.

use std::collections::BTreeMap;

use serde_json::json;

use super::outbox_target::{Outbox, OutboxTarget};
use super::report::RefreshReport;
use super::task_runner::Outcome;
use crate::config::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Cancellation, Observer, RunEvent, RunId};
use crate::failpoint;
use crate::load::outbox;
use crate::refresh::{self, Done, Outcome as TargetOutcome, Target, TargetResult};
use crate::warehouse::connection;
use crate::warehouse::location::Warehouse;

/// Maximum refreshes of a target per call when new data keep being published; after that it stays
/// due.
const ROUNDS: usize = 3;

/// Targets to refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which<'a> {
    /// Targets that are out of date.
    Due,
    /// Targets or providers with these names, whether due or not.
    Named(&'a [String]),
    All,
}

/// Names of the enabled targets.
pub(crate) fn enabled(settings: &Settings) -> Vec<String> {
    let targets = refresh::targets(settings);
    let enabled = targets.iter().filter(|target| target.info().skipped.is_none());
    enabled.map(|target| target.name().to_owned()).collect()
}

/// `load.refresh_bi`: refreshes all due targets concurrently after the commit.
pub(super) fn refresh_bi(
    settings: &Settings,
    warehouse: &Warehouse,
    run: RunId,
    observer: &dyn Observer,
    cancel: &Cancellation,
    refreshed: &mut Vec<RefreshReport>,
) -> Result<Outcome<()>> {
    failpoint::hit("refresh.begin")?;
    let results = refresh_these(settings, warehouse, Which::Due, observer, cancel)?;
    let failed = results.iter().find(|result| result.required && result.outcome.is_failure());
    let again = format!("`claims-etl run --resume {run}` tries again");
    let stopped = results.iter().any(|result| result.outcome == TargetOutcome::Cancelled);
    let error = match (cancel.signal().filter(|_| stopped), failed) {
        (Some(signal), _) => Some(Error::new(
            ErrorKind::Interrupted(signal),
            "stopped by a signal; the data are loaded, the dashboards may be stale",
        )),
        (None, Some(result)) => Some(Error::new(
            ErrorKind::Refresh,
            format!("{} was not refreshed: {}; the data are loaded", result.target, result.detail),
        )),
        (None, None) => None,
    };
    let result = results.iter().map(|result| {
        json!({ "target": result.target, "outcome": result.outcome.as_str(),
                "remote_id": result.remote_id })
    });
    let result = result.collect();
    *refreshed = results.into_iter().map(RefreshReport::from).collect();
    match error {
        Some(error) => Err(error.hint(again)),
        None => Ok(Outcome::Done { value: (), result }),
    }
}

/// Refreshes targets outside a run. A failed target is reported, not an error.
///
/// # Errors
/// `Config` for an unknown name, `Warehouse` when it cannot be opened.
pub fn refresh(
    settings: &Settings,
    which: Which<'_>,
    observer: &dyn Observer,
    cancel: &Cancellation,
) -> Result<Vec<RefreshReport>> {
    known(settings, which)?;
    let warehouse = Warehouse::open(settings, observer)?;
    connection::migrate_if_needed(&mut warehouse.connect()?, settings.run.wait, observer, cancel)?;
    let mut results = refresh_these(settings, &warehouse, which, observer, cancel)?;
    if which == Which::Due {
        results.retain(|result| result.outcome != TargetOutcome::Skipped);
    }
    Ok(results.into_iter().map(RefreshReport::from).collect())
}

/// Refreshes the targets with unshown published data, from whichever run.
///
/// # Errors
/// `Warehouse` when it cannot be opened. A failed target is reported.
pub fn refresh_due(
    settings: &Settings,
    observer: &dyn Observer,
    cancel: &Cancellation,
) -> Result<Vec<RefreshReport>> {
    refresh(settings, Which::Due, observer, cancel)
}

/// Rejects a name that is neither a target nor a provider.
fn known(settings: &Settings, which: Which<'_>) -> Result<()> {
    let Which::Named(names) = which else { return Ok(()) };
    let targets = refresh::targets(settings);
    let unknown = |name: &&String| !targets.iter().any(|target| is_called(target.as_ref(), name));
    let Some(name) = names.iter().find(unknown) else { return Ok(()) };
    let known: Vec<&str> = targets.iter().map(|target| target.name()).collect();
    Err(Error::config(format!("there is no refresh target {name:?}"))
        .hint(format!("the targets are: {}", known.join(", "))))
}

fn is_called(target: &dyn Target, name: &str) -> bool {
    target.name() == name || target.info().provider == name
}

/// Refreshes targets, and again those for which newer data were published meanwhile. Every selected
/// target has a result; skipped ones include the reason.
fn refresh_these(
    settings: &Settings,
    warehouse: &Warehouse,
    which: Which<'_>,
    observer: &dyn Observer,
    cancel: &Cancellation,
) -> Result<Vec<TargetResult>> {
    let outbox = Outbox::new(warehouse, observer);
    let enabled = enabled(settings);
    let due = || outbox.with(|connection| outbox::due(connection, &enabled));
    let is_selected = |target: &dyn Target| match which {
        Which::Named(names) => names.iter().any(|name| is_called(target, name)),
        Which::Due | Which::All => true,
    };
    let mut selected = refresh::targets(settings);
    selected.retain(|target| is_selected(target.as_ref()));
    let order: Vec<String> = selected.iter().map(|target| target.name().to_owned()).collect();

    let at_first = due()?;
    let (wanted, left_out): (Vec<_>, Vec<_>) = selected
        .into_iter()
        .partition(|target| which != Which::Due || at_first.iter().any(|due| due == target.name()));
    let mut results: BTreeMap<String, TargetResult> =
        left_out.iter().map(|target| (target.name().to_owned(), left(target.as_ref()))).collect();
    let mut round = all(wanted, &outbox, which == Which::Due, cancel);
    for rounds in 1.. {
        let shown = |result: &&TargetResult| result.outcome == TargetOutcome::Succeeded;
        let shown: Vec<String> =
            round.iter().filter(shown).map(|result| result.target.clone()).collect();
        for result in round {
            warn_of_failure(observer, &result);
            let before = results.remove(&result.target);
            results.insert(result.target.clone(), added_up(before, result));
        }
        if rounds == ROUNDS || shown.is_empty() || cancel.is_cancelled() {
            break;
        }
        let due = due()?;
        // New objects, because the shared state of the previous ones is gone.
        let mut again = refresh::targets(settings);
        again.retain(|target| {
            [&shown, &due].iter().all(|names| names.iter().any(|name| name == target.name()))
        });
        if again.is_empty() {
            break;
        }
        round = all(again, &outbox, true, cancel);
    }
    Ok(order.iter().filter_map(|name| results.remove(name)).collect())
}

/// One round.
fn all(
    targets: Vec<Box<dyn Target>>,
    outbox: &Outbox<'_>,
    only_due: bool,
    cancel: &Cancellation,
) -> Vec<TargetResult> {
    let targets: Vec<Box<dyn Target + '_>> = targets
        .into_iter()
        .map(|target| Box::new(OutboxTarget::new(target, outbox, only_due)) as Box<dyn Target + '_>)
        .collect();
    let published = refresh::PublishedRun::default();
    refresh::refresh_all(&targets, &published, &|| outbox.connect(), cancel)
}

/// Result of a skipped target.
fn left(target: &dyn Target) -> TargetResult {
    let detail = target.info().skipped.clone().unwrap_or_else(|| "nothing changed".to_owned());
    TargetResult::without_refresh(
        target.info(),
        Ok(Done { outcome: TargetOutcome::Skipped, detail }),
    )
}

/// Merges two refreshes of a target: the last outcome, the summed effort.
fn added_up(before: Option<TargetResult>, last: TargetResult) -> TargetResult {
    match before {
        Some(before) => TargetResult {
            started: before.started,
            elapsed: before.elapsed + last.elapsed,
            attempts: before.attempts + last.attempts,
            ..last
        },
        None => last,
    }
}

fn warn_of_failure(observer: &dyn Observer, result: &TargetResult) {
    if result.outcome.is_failure() {
        let text = format!("{}: {}", result.target, result.detail);
        observer.observe(&RunEvent::Warning(text));
    }
}
