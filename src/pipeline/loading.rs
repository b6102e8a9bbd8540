//! The load, step by step: stage, judge, deduplicate, publish.
//!
//! A file of its own because here the tally of the plan and the counts of Postgres become one
//! account, and because every failure must leave nothing staged.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use adbc_core::sync::{CancelHandle, Connection};
use serde_json::json;

use super::warehouse::Warehouse;
use super::work::{Prepared, Work};
use crate::account::Account;
use crate::adbc_postgres::PostgresConnection;
use crate::dag::{Outcome, TaskContext};
use crate::error::{Error, Result};
use crate::event::{Cancellation, RunEvent};
use crate::extract;
use crate::load::quarantine::Quarantine;
use crate::load::{self, Repeats, Session, Staging, Tally};
use crate::rule::{Flag, RejectReason};

/// Stages and publishes; drops what was staged when it fails.
pub(super) fn load(
    work: &Work<'_>,
    warehouse: &Warehouse,
    session: &mut Session<PostgresConnection>,
    prepared: Prepared,
    task: &TaskContext<'_>,
) -> Result<Outcome> {
    let cancel = session.control.get_cancel_handle();
    let loaded = cancelling(work.cancel, cancel.as_ref(), || {
        stage_and_publish(work, warehouse, session, prepared, task)
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

/// Calls `cancel` once somebody asks to stop, again and again as long as `work` runs: a call between
/// two statements stops nothing, and the next one may wait for a lock.
fn cancelling<T>(token: &Cancellation, cancel: &dyn CancelHandle, work: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                if token.is_cancelled() {
                    // The statement may be over by now; the caller looks at the token anyway.
                    let _ = cancel.try_cancel();
                }
                thread::sleep(Duration::from_millis(50));
            }
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        result
    })
}

fn stage_and_publish(
    work: &Work<'_>,
    warehouse: &Warehouse,
    session: &mut Session<PostgresConnection>,
    prepared: Prepared,
    task: &TaskContext<'_>,
) -> Result<Outcome> {
    let settings = work.settings;
    let (run_no, control) = (session.run_no, &mut session.control);
    let route = load::route(control, settings.warehouse.mode)?;
    load::drop_stage(control, run_no)?;
    load::create_stage(control, run_no, route)?;

    let Prepared { plan, directory, statistics } = prepared;
    let mut connections = (0..settings.connections())
        .map(|_| warehouse.connect())
        .collect::<Result<Vec<PostgresConnection>>>()?;
    let table = load::claims_stage(run_no);
    let progress = |rows: u64| tell(task, rows);
    let staging = Staging {
        table: &table,
        batch_rows: settings.warehouse.batch_rows,
        progress: &progress,
        cancel: work.cancel,
    };
    let quarantine = quarantine(work)?;
    let (staged, providers) = thread::scope(|scope| {
        let providers = scope.spawn(|| load::stage_providers(control, run_no, directory.frame()));
        let staged = staging.run(plan, &mut connections, quarantine);
        (staged, providers.join())
    });
    let (tally, mut quarantine) = staged?;
    providers.map_err(|_| Error::internal("staging the providers panicked"))??;
    drop(connections);
    progress(tally.read());

    // Judge twice: before the key is built, and again with the conflicts that it finds.
    let refused = |rows: u64| too_many_rejects(settings, tally.read(), rows);
    let judged = refused(tally.rejected_rows());
    let repeats = match judged {
        None => load::deduplicate(&mut session.control, &table, settings.warehouse.on_duplicate)?,
        Some(_) => Repeats::default(),
    };
    let conflicts: Vec<_> = repeats
        .rejected
        .iter()
        .map(|&origin| (origin, RejectReason::DuplicateConflict, None))
        .collect();
    quarantine.append(&conflicts)?;
    let judged = judged.or_else(|| refused(quarantine.rows()));
    let mut account = account(&tally, &repeats);
    account.providers = directory.counts();
    if let Some(path) = quarantine.finish()? {
        work.quarantine.put(path);
    }
    work.account.put(account.clone());
    if let Some(error) = judged {
        return Err(error.hint(format!(
            "`claims-etl quarantine {}` lists them; raise --max-reject-ratio if this is as it should be",
            work.identity.run
        )));
    }
    // What was fingerprinted must be what was loaded.
    extract::unchanged(&work.claims.get()?)?;
    extract::unchanged(&work.providers.get()?)?;
    work.cancel.check()?;

    load::stage_inferred(&mut session.control, run_no, &tally.orphans)?;
    let published = load::publish(session, route, &statistics, &mut account);
    work.account.put(account.clone());
    published?;
    work.published.put(());
    if let Err(error) = load::analyze(&mut session.control) {
        task.observer.observe(&RunEvent::Warning(error.message().to_owned()));
    }
    Ok(Outcome::Done(json!({ "account": account, "route": route.name() })))
}

/// Executes the plan without a warehouse: what would be loaded and rejected.
pub(super) fn count_only(
    work: &Work<'_>,
    prepared: Prepared,
    task: &TaskContext<'_>,
) -> Result<Outcome> {
    let progress = |rows: u64| tell(task, rows);
    let staging = Staging {
        table: "",
        batch_rows: work.settings.warehouse.batch_rows,
        progress: &progress,
        cancel: work.cancel,
    };
    let none: &mut [PostgresConnection] = &mut [];
    let (tally, _) = staging.run(prepared.plan, none, Quarantine::nowhere())?;
    progress(tally.read());
    let mut account = account(&tally, &Repeats::default());
    // What would be loaded, repeats included: those are found in the warehouse only.
    (account.claims.loaded, account.amount.loaded) = (tally.accepted, tally.accepted_amount);
    account.providers = prepared.directory.counts();
    work.account.put(account.clone());
    match too_many_rejects(work.settings, tally.read(), tally.rejected_rows()) {
        Some(error) => Err(error),
        None => Ok(Outcome::Done(json!({ "account": account, "route": "none" }))),
    }
}

fn tell(task: &TaskContext<'_>, rows: u64) {
    task.observer.observe(&RunEvent::Progress { task: task.task.to_owned(), rows, total: None });
}

fn quarantine(work: &Work<'_>) -> Result<Quarantine> {
    let sources =
        work.claims.get()?.files.iter().map(|file| file.path.display().to_string()).collect();
    Quarantine::new(&work.settings.quarantine_dir(), work.identity.run, sources)
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
fn account(tally: &Tally, repeats: &Repeats) -> Account {
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
