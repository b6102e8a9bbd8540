//! The load, step by step: judge, stage, publish.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use adbc_core::sync::{CancelHandle, Connection};
use polars::prelude::{DataFrame, IntoLazy};
use serde_json::json;

use super::reject_advice::{Refusal, Rejects, refusal};
use super::scoring::one_token_each;
use super::tasks::{collect, tell};
use crate::adbc_postgres::PostgresConnection;
use crate::dag::{Outcome, TaskContext};
use crate::error::Result;
use crate::event::{Cancellation, RunEvent, with_ticker};
use crate::interchange::record_batch;
use crate::load::risk::{Scope, score_differing};
use crate::load::{FirstPassTotals, Score, Scored, Session, Staging};
use crate::pipeline::line_lookup::find_lines;
use crate::pipeline::quality_gates;
use crate::pipeline::refresh_stage::enabled;
use crate::pipeline::run_context::{Prepared, Work};
use crate::quarantine::Rejected;
use crate::rule::Rule;
use crate::schema::{origin_file, origin_record, staged_schema};
use crate::shuffle::Resolved;
use crate::totals::{ControlTotals, Example};
use crate::warehouse::load_strategy::LoadStrategy;
use crate::warehouse::location::Warehouse;
use crate::warehouse::{load_strategy, table_layout};
use crate::worker::Worker;
use crate::{failpoint, load, transform};

/// Stages and publishes; drops what was staged when it fails.
pub(crate) fn load(
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
pub(crate) fn cancelling<T>(
    token: &Cancellation,
    handles: &[Box<dyn CancelHandle>],
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let cancel = || {
        if token.is_cancelled() {
            for handle in handles {
                // The statement may be over by now; the caller looks at the token anyway.
                let _ = handle.try_cancel();
            }
        }
    };
    with_ticker(Duration::from_millis(50), cancel, work)?
}

fn stage_and_publish(
    work: &Work<'_>,
    connections: &mut [PostgresConnection],
    session: &mut Session<PostgresConnection>,
    prepared: &Prepared,
    task: &TaskContext<'_>,
) -> Result<Outcome> {
    let settings = work.settings;
    let Prepared { tally, directory, shuffle, scored_by, .. } = prepared;
    let (run_no, control) = (session.run_no, &mut session.control);
    let strategy = load_strategy::strategy(control, settings.warehouse.mode)?;
    if scored_by.own.is_some() != (strategy == LoadStrategy::Attach) {
        return Err(load::filled_meanwhile());
    }
    load::drop_stage(control, run_no)?;
    load::create_stage(control, run_no)?;
    failpoint::hit("stage.begin")?;

    let score = score(prepared);
    let progress = |rows: u64| tell(task, rows);
    let alike = table_layout::is_shaped(control, directory.shape())?;
    let staging = Staging { run_no, alike, ..staging(work, prepared, &score, &progress, strategy) };
    let (staged, providers) = thread::scope(|scope| {
        let providers = Worker::start(scope, "staging the providers", || {
            load::stage_providers(control, run_no, directory.frame(), directory.shape())?;
            load::stage_inferred(control, run_no, &tally.orphans)
        })?;
        let staged = staging.run(connections);
        Ok((staged, providers.end()))
    })?;
    let staged = staged?;
    providers?;

    failpoint::hit("stage.done")?;
    one_token_each("claim", staged.resolved.claims)?;
    let mut account = account(tally, &staged.resolved);
    account.reject_examples = examples(work, tally, &staged.resolved)?;
    account.providers = directory.counts();
    complete_quarantine(work, &staged.resolved.rejected)?;
    work.account.put(account.clone());
    // Once more, with the rejects that only the second pass finds.
    judge(work, tally, staged.resolved.rejected.len() as u64)?;
    quality_gates::check_conflicts(work, &account)?;
    let loaded = staged.parts.iter().map(|part| part.rows).sum();
    quality_gates::check(&mut session.control, work, &account, Some(loaded))?;
    work.cancel.check()?;

    let statistics = Scope::new(run_no, &settings.risk, &settings.privacy, work.cancel);
    let scoring = Instant::now();
    if strategy != LoadStrategy::Attach {
        load::refuse_repeats(strategy, &staged.parts)?;
        score_differing(&mut session.control, connections, &statistics, &staged.parts)?;
    }
    let scoring = scoring.elapsed();
    work.cancel.check()?;
    failpoint::hit("publish.before")?;
    let publishing = Instant::now();
    let targets = enabled(settings);
    let published = load::publish(
        session,
        strategy,
        &staged.parts,
        &Scored { by: scored_by, claims: staged.resolved.claims, shuffle },
        &mut account,
        &targets,
        &statistics,
    );
    work.account.put(account.clone());
    published?;
    work.published.put(());
    failpoint::hit("publish.committed")?;
    let publishing = publishing.elapsed();
    let analyzing = Instant::now();
    if let Err(error) = load::analyze(&mut session.control, strategy) {
        task.observer.observe(&RunEvent::Warning(error.message().to_owned()));
    }
    let phases = json!({
        "staging": staged.copying.as_secs_f64(),
        "key": staged.finishing.as_secs_f64(),
        "score": scoring.as_secs_f64(),
        "publish": publishing.as_secs_f64(),
        "analyze": analyzing.elapsed().as_secs_f64(),
    });
    work.phases.put(phases.clone());
    Ok(Outcome::Done(json!({ "account": account, "route": strategy.name(), "phases": phases })))
}

/// The second pass without a warehouse: what would be loaded and rejected.
pub(crate) fn count_only(
    work: &Work<'_>,
    prepared: &Prepared,
    task: &TaskContext<'_>,
) -> Result<Outcome> {
    let score = score(prepared);
    let progress = |rows: u64| tell(task, rows);
    let none: &mut [PostgresConnection] = &mut [];
    let staged = staging(work, prepared, &score, &progress, LoadStrategy::Attach).run(none)?;
    one_token_each("claim", staged.resolved.claims)?;
    let tally = &prepared.tally;
    let mut account = account(tally, &staged.resolved);
    let resolved = &staged.resolved;
    account.reject_examples = examples(work, tally, resolved)?;
    let removed = resolved.dropped() + resolved.rejected.len() as u64;
    account.claims.loaded = tally.accepted - removed;
    account.amount.loaded = account.amount.read - account.amount.not_loaded();
    account.providers = prepared.directory.counts();
    work.account.put(account.clone());
    judge(work, tally, resolved.rejected.len() as u64)?;
    quality_gates::check_conflicts(work, &account)?;
    Ok(Outcome::Done(json!({ "account": account, "route": "none" })))
}

fn staging<'a>(
    work: &'a Work<'_>,
    prepared: &'a Prepared,
    score: &'a Score,
    progress: &'a (dyn Fn(u64) + Sync),
    strategy: LoadStrategy,
) -> Staging<'a> {
    Staging {
        run_no: 0,
        strategy,
        shape: prepared.directory.shape(),
        alike: true,
        shuffle: &prepared.shuffle,
        policy: work.settings.warehouse.duplicate_policy(),
        score,
        batch_rows: work.settings.warehouse.batch_rows,
        progress,
        cancel: work.cancel,
    }
}

/// The score of shuffled rows, and the fact's columns of them.
pub(crate) fn score(prepared: &Prepared) -> Score {
    let (directory, scoring) = (prepared.directory.clone(), prepared.scoring.clone());
    let severities = *prepared.checks.severities();
    Arc::new(move |rows: DataFrame| {
        let rows =
            collect(transform::scored(rows.lazy(), &directory, scoring.scorer(), &severities))?;
        record_batch(&rows, &staged_schema(directory.shape()))
    })
}

/// Adds rejects that only the second pass finds, and completes the file; once a run.
fn complete_quarantine(work: &Work<'_>, rejected: &[(i64, Rule)]) -> Result<()> {
    let Some(mut quarantine) = work.rejects.lock().take() else { return Ok(()) };
    let mut rejected: Vec<_> =
        rejected.iter().map(|&(origin, rule)| Rejected::of(rule, origin)).collect();
    if quarantine.keeps() {
        find_lines(&work.claims.get()?, &mut rejected)?;
    }
    quarantine.append(&rejected)?;
    if let Some(path) = quarantine.finish()? {
        work.quarantine.put(path);
    }
    Ok(())
}

/// Refuses a run with too many rejects: those of the first pass and `more`.
pub(crate) fn judge(work: &Work<'_>, tally: &FirstPassTotals, more: u64) -> Result<()> {
    let rejected = tally.rejected_rows() + more;
    let marked = tally.examples.get(&Rule::AmountDecimalMark).map_or(&[][..], Vec::as_slice);
    let rejects = Rejects { rows: rejected, reasons: &tally.rejected, marked };
    let claims = work.claims.get()?;
    let Some(Refusal { error, advice }) = refusal(work.settings, &claims, tally.read(), &rejects)?
    else {
        return Ok(());
    };
    if more == 0 {
        complete_quarantine(work, &[])?;
        let none = Resolved::default();
        let mut account = account(tally, &none);
        account.reject_examples = examples(work, tally, &none)?;
        account.providers = work.prepared.get()?.directory.counts();
        work.account.put(account);
    }
    let listed = format!("`claims-etl quarantine {}` lists them", work.identity.run);
    Err(error.hint(match advice {
        Some(advice) => format!("{advice}\n  {listed}"),
        None => format!("{listed}; raise --max-reject-ratio if so many rejects are expected"),
    }))
}

/// The first rejected records of each rule, for people who look for the cause.
fn examples(
    work: &Work<'_>,
    tally: &FirstPassTotals,
    resolved: &Resolved,
) -> Result<BTreeMap<String, Vec<Example>>> {
    let files = work.claims.get()?.files;
    let example = |origin: i64| {
        let file = usize::try_from(origin_file(origin)).ok().and_then(|file| files.get(file));
        let source = file.map_or_else(String::new, |file| file.path.display().to_string());
        Example { source, record: u64::try_from(origin_record(origin)).unwrap_or(0) }
    };
    let mut found = tally.examples.clone();
    for &(origin, rule) in &resolved.rejected {
        load::add_examples(found.entry(rule).or_default(), [origin]);
    }
    let named = found.into_iter().map(|(rule, origins)| {
        (rule.name().to_owned(), origins.into_iter().map(example).collect())
    });
    Ok(named.collect())
}

/// What was read, rejected and dropped; what was loaded is for Postgres to say.
pub(crate) fn account(tally: &FirstPassTotals, resolved: &Resolved) -> ControlTotals {
    let mut account = ControlTotals::default();
    account.claims.read = tally.read();
    account.claims.filtered = tally.filtered;
    account.claims.rejected = tally.rejected_rows() + resolved.rejected.len() as u64;
    account.claims.duplicates = resolved.duplicates;
    account.claims.conflicts = resolved.conflicts;
    account.amount.read = tally.accepted_amount + tally.generalized + tally.rejected_amount;
    account.amount.generalized = tally.generalized;
    account.amount.rejected = tally.rejected_amount + resolved.rejected_amount;
    account.amount.duplicates = resolved.duplicates_amount;
    account.amount.conflicts = resolved.conflicts_amount;
    account.reversals = resolved.reversals;
    account.amount.unparsed_rows = tally.unparsed_rows;
    let mut reasons = tally.rejected.clone();
    for &(_, rule) in &resolved.rejected {
        *reasons.entry(rule).or_default() += 1;
    }
    account.reject_reasons =
        reasons.into_iter().map(|(rule, rows)| (rule.name().to_owned(), rows)).collect();
    let removed = tally.flags.iter().zip(resolved.removed);
    account.flags = Rule::FLAGS
        .iter()
        .zip(removed.zip(resolved.found))
        .map(|(rule, ((&accepted, removed), found))| {
            (rule.name().to_owned(), accepted.saturating_sub(removed) + found)
        })
        .filter(|(_, rows)| *rows > 0)
        .collect();
    account
}
