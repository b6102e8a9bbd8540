//! The load, step by step: judge, stage, publish.
//!
//! A file of its own because here the tally of the first pass and the counts of Postgres become one
//! account, and because every failure must leave nothing staged.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use adbc_core::sync::{CancelHandle, Connection};
use polars::prelude::{DataFrame, IntoLazy};
use serde_json::json;

use super::tasks::{collect, tell};
use super::warehouse::Warehouse;
use super::work::{Prepared, Work};
use crate::account::Account;
use crate::adbc_postgres::PostgresConnection;
use crate::dag::{Outcome, TaskContext};
use crate::error::{Error, Result};
use crate::event::{Cancellation, RunEvent, meanwhile};
use crate::failpoint;
use crate::interchange::record_batch;
use crate::load::{self, Repeats, Route, Score, Session, Staging, Tally};
use crate::rule::{Flag, RejectReason};
use crate::schema::staged_schema;
use crate::transform;

/// Stages and publishes; drops what was staged when it fails.
pub(super) fn load(
    work: &Work<'_>,
    warehouse: &Warehouse,
    session: &mut Session<PostgresConnection>,
    prepared: &Prepared,
    task: &TaskContext<'_>,
) -> Result<Outcome> {
    judge(work, &prepared.tally, 0)?;
    let mut connections = (0..work.settings.connections())
        .map(|_| warehouse.connect())
        .collect::<Result<Vec<PostgresConnection>>>()?;
    let cancel: Vec<_> = std::iter::once(&session.control)
        .chain(&connections)
        .map(Connection::get_cancel_handle)
        .collect();
    let loaded = cancelling(work.cancel, &cancel, || {
        stage_and_publish(work, &mut connections, session, prepared, task)
    });
    if loaded.is_err() {
        // Best effort: the next run removes what a lost connection leaves behind. Twice, because a
        // late cancel can hit the first.
        let (control, run_no) = (&mut session.control, session.run_no);
        let _ = load::drop_stage(control, run_no).or_else(|_| load::drop_stage(control, run_no));
        // A cancelled statement fails as a warehouse error; the reason is the signal.
        work.cancel.check()?;
    }
    loaded
}

/// Cancels what all connections do once somebody asks to stop, again and again as long as `work`
/// runs: a call between two statements stops nothing, and the next one may wait for a lock.
fn cancelling<T>(
    token: &Cancellation,
    handles: &[Box<dyn CancelHandle>],
    work: impl FnOnce() -> T,
) -> T {
    let cancel = || {
        if token.is_cancelled() {
            for handle in handles {
                // The statement may be over by now; the caller looks at the token anyway.
                let _ = handle.try_cancel();
            }
        }
    };
    meanwhile(Duration::from_millis(50), cancel, work)
}

fn stage_and_publish(
    work: &Work<'_>,
    connections: &mut [PostgresConnection],
    session: &mut Session<PostgresConnection>,
    prepared: &Prepared,
    task: &TaskContext<'_>,
) -> Result<Outcome> {
    let settings = work.settings;
    let Prepared { tally, directory, statistics, .. } = prepared;
    let (run_no, control) = (session.run_no, &mut session.control);
    let route = load::route(control, settings.warehouse.mode)?;
    load::drop_stage(control, run_no)?;
    load::create_stage(control, run_no)?;
    failpoint::hit("stage.begin")?;

    let score = score(prepared);
    let progress = |rows: u64| tell(task, rows);
    let staging = Staging { run_no, ..staging(work, prepared, &score, &progress, route) };
    let (staged, providers) = thread::scope(|scope| {
        let providers = scope.spawn(|| {
            load::stage_providers(control, run_no, directory.frame())?;
            load::stage_inferred(control, run_no, &tally.orphans)
        });
        let staged = staging.run(connections);
        (staged, providers.join())
    });
    let staged = staged?;
    providers.map_err(|_| Error::internal("staging the providers panicked"))??;

    failpoint::hit("stage.done")?;
    let mut account = account(tally, &staged.repeats);
    account.providers = directory.counts();
    complete_quarantine(work, &staged.repeats.rejected)?;
    work.account.put(account.clone());
    // Once more, with the conflicts that only the second pass finds.
    judge(work, tally, staged.repeats.rejected.len() as u64)?;
    work.cancel.check()?;

    failpoint::hit("publish.before")?;
    let publishing = Instant::now();
    let published =
        load::publish(session, route, &staged.parts, statistics, &mut account, work.cancel);
    work.account.put(account.clone());
    published?;
    work.published.put(());
    failpoint::hit("publish.committed")?;
    let publishing = publishing.elapsed();
    let analyzing = Instant::now();
    if let Err(error) = load::analyze(&mut session.control) {
        task.observer.observe(&RunEvent::Warning(error.message().to_owned()));
    }
    let phases = json!({
        "staging": staged.copying.as_secs_f64(),
        "key": staged.finishing.as_secs_f64(),
        "publish": publishing.as_secs_f64(),
        "analyze": analyzing.elapsed().as_secs_f64(),
    });
    work.phases.put(phases.clone());
    Ok(Outcome::Done(json!({ "account": account, "route": route.name(), "phases": phases })))
}

/// The second pass without a warehouse: what would be loaded and rejected.
pub(super) fn count_only(
    work: &Work<'_>,
    prepared: &Prepared,
    task: &TaskContext<'_>,
) -> Result<Outcome> {
    let score = score(prepared);
    let progress = |rows: u64| tell(task, rows);
    let none: &mut [PostgresConnection] = &mut [];
    let staged = staging(work, prepared, &score, &progress, Route::Attach).run(none)?;
    let tally = &prepared.tally;
    let mut account = account(tally, &staged.repeats);
    let repeats = &staged.repeats;
    let repeated = repeats.duplicates + repeats.rejected.len() as u64;
    account.claims.loaded = tally.accepted - repeated;
    account.amount.loaded =
        account.amount.read - account.amount.rejected - account.amount.duplicates;
    account.providers = prepared.directory.counts();
    work.account.put(account.clone());
    judge(work, tally, repeats.rejected.len() as u64)?;
    Ok(Outcome::Done(json!({ "account": account, "route": "none" })))
}

fn staging<'a>(
    work: &'a Work<'_>,
    prepared: &'a Prepared,
    score: &'a Score,
    progress: &'a (dyn Fn(u64) + Sync),
    route: Route,
) -> Staging<'a> {
    Staging {
        run_no: 0,
        route,
        shuffle: &prepared.shuffle,
        policy: work.settings.warehouse.on_duplicate,
        score,
        batch_rows: work.settings.warehouse.batch_rows,
        progress,
        cancel: work.cancel,
    }
}

/// The score of shuffled rows, and the fact's columns of them.
pub(super) fn score(prepared: &Prepared) -> Score {
    let (directory, model) = (prepared.directory.clone(), Arc::clone(&prepared.model));
    Arc::new(move |rows: DataFrame| {
        let rows = collect(transform::scored(rows.lazy(), &directory, &model))?;
        record_batch(&rows, &staged_schema())
    })
}

/// Adds rejects that only the second pass finds, and completes the file; once a run.
fn complete_quarantine(work: &Work<'_>, conflicts: &[i64]) -> Result<()> {
    let Some(mut quarantine) = work.rejects.lock().take() else { return Ok(()) };
    let conflicts: Vec<_> =
        conflicts.iter().map(|&origin| (origin, RejectReason::DuplicateConflict, None)).collect();
    quarantine.append(&conflicts)?;
    if let Some(path) = quarantine.finish()? {
        work.quarantine.put(path);
    }
    Ok(())
}

/// Refuses a run with too many rejects: those of the first pass and `conflicts`.
fn judge(work: &Work<'_>, tally: &Tally, conflicts: u64) -> Result<()> {
    let rejected = tally.rejected_rows() + conflicts;
    let Some(error) = too_many_rejects(work.settings, tally.read(), rejected) else {
        return Ok(());
    };
    if conflicts == 0 {
        complete_quarantine(work, &[])?;
        let mut account = account(tally, &Repeats::default());
        account.providers = work.prepared.get()?.directory.counts();
        work.account.put(account);
    }
    Err(error.hint(format!(
        "`claims-etl quarantine {}` lists them; raise --max-reject-ratio if this is as it should be",
        work.identity.run
    )))
}

/// The refusal of a run with too many rejects.
fn too_many_rejects(settings: &crate::config::Settings, read: u64, rejected: u64) -> Option<Error> {
    let quality = &settings.quality;
    #[expect(clippy::cast_precision_loss, reason = "a ratio needs no more than 53 bits")]
    let ratio = if read == 0 { 0.0 } else { rejected as f64 / read as f64 };
    let limit = if ratio > quality.max_reject_ratio {
        format!("max_reject_ratio is {}", quality.max_reject_ratio)
    } else if let Some(limit) = quality.max_reject_rows.filter(|&limit| rejected > limit) {
        format!("max_reject_rows is {limit}")
    } else {
        return None;
    };
    Some(Error::quality(format!(
        "{rejected} of {read} claims were rejected ({:.1} %), but {limit}; nothing was published",
        ratio * 100.0
    )))
}

/// What was read, rejected and dropped; what was loaded is for Postgres to say.
pub(super) fn account(tally: &Tally, repeats: &Repeats) -> Account {
    let mut account = Account::default();
    let conflicts = repeats.rejected.len() as u64;
    account.claims.read = tally.read();
    account.claims.rejected = tally.rejected_rows() + conflicts;
    account.claims.duplicates = repeats.duplicates;
    account.claims.conflicts = repeats.conflicts;
    account.amount.read = tally.accepted_amount + tally.rejected_amount;
    account.amount.rejected = tally.rejected_amount + repeats.rejected_amount;
    account.amount.duplicates = repeats.duplicates_amount;
    account.amount.unparsed_rows = tally.unparsed_rows;
    account.reject_reasons =
        tally.rejected.iter().map(|(reason, &rows)| (reason.name().to_owned(), rows)).collect();
    if conflicts > 0 {
        account.reject_reasons.insert(RejectReason::DuplicateConflict.name().to_owned(), conflicts);
    }
    account.flags = Flag::ALL
        .iter()
        .zip(tally.flags.iter().zip(repeats.flags))
        .map(|(flag, (&accepted, removed))| {
            (flag.name().to_owned(), accepted.saturating_sub(removed))
        })
        .filter(|(_, rows)| *rows > 0)
        .collect();
    account
}
