//! `load.load_warehouse`: the second pass into staging tables, the quality gates, and the publish.

use std::time::{Duration, Instant};

use adbc_core::sync::{CancelHandle, Connection};
use serde_json::json;

use super::extract_stage::Inputs;
use super::line_lookup::find_lines;
use super::quality_gates;
use super::refresh_stage::enabled;
use super::reject_advice::{Refusal, Rejects, refusal};
use super::run_context::{RunContext, RunState};
use super::run_totals::totals;
use super::scoring::one_token_each;
use super::task_id::Task;
use super::task_runner::Outcome;
use super::transform_stage::Transformed;
use crate::adbc_postgres::PostgresConnection;
use crate::config::Mode;
use crate::error::{Error, Result};
use crate::event::{Cancellation, with_ticker};
use crate::load::risk::{Scope, score_differing};
use crate::load::{
    Publication, PublishedVersions, Score, Scored, Session, Staged, StagedDirectory,
    StagedProviders, Staging, ledger_read, provider_versions,
};
use crate::quarantine::Rejected;
use crate::rule::Rule;
use crate::shuffle::Resolved;
use crate::transform::ProviderKeys;
use crate::warehouse::load_strategy::LoadStrategy;
use crate::warehouse::location::Warehouse;
use crate::warehouse::{load_strategy, table_layout};
use crate::{failpoint, load};

/// The task. It is done where an earlier try of the run has published, whose answer was lost.
pub(super) fn load_warehouse(
    context: &RunContext<'_>,
    session: &mut Option<Session<PostgresConnection>>,
    state: &mut RunState<'_>,
    (inputs, transformed): (&Inputs, &Transformed),
    attempt: u32,
) -> Result<Outcome<()>> {
    let load = Load { context, inputs, transformed };
    let Some(warehouse) = context.warehouse else { return load.count_only(state) };
    let session = context.session(session, warehouse, attempt)?;
    if session.published {
        return already_published(context, session, state);
    }
    load.run(warehouse, session, state)
}

/// The result of a run that has published, from the ledger.
pub(super) fn already_published(
    context: &RunContext<'_>,
    session: &mut Session<PostgresConnection>,
    state: &mut RunState<'_>,
) -> Result<Outcome<()>> {
    let run = context.identity.run;
    let record = ledger_read::record(&mut session.control, run, Task::RefreshBi.id())?;
    let totals = record
        .and_then(|record| record.account)
        .ok_or_else(|| Error::internal("the ledger has no totals of a run that is published"))?;
    state.published = true;
    state.report.set_account(totals.clone());
    Ok(Outcome::Done { value: (), result: json!({ "account": totals }) })
}

/// What a run has staged.
struct StagedRun {
    claims: Staged,
    providers: StagedProviders,
    versions: PublishedVersions,
}

/// One load.
struct Load<'a> {
    context: &'a RunContext<'a>,
    inputs: &'a Inputs,
    transformed: &'a Transformed,
}

impl Load<'_> {
    /// Stages and publishes; drops what was staged when it fails.
    fn run(
        &self,
        warehouse: &Warehouse,
        session: &mut Session<PostgresConnection>,
        state: &mut RunState<'_>,
    ) -> Result<Outcome<()>> {
        let context = self.context;
        judge_first_pass(context, state, self.inputs, self.transformed)?;
        let mut connections = (0..context.settings.connections())
            .map(|_| warehouse.connect())
            .collect::<Result<Vec<PostgresConnection>>>()?;
        let cancel: Vec<_> = std::iter::once(&session.control)
            .chain(&connections)
            .map(Connection::get_cancel_handle)
            .collect();
        let loaded = cancelling(context.cancel, &cancel, || {
            self.stage_and_publish(&mut connections, session, state)
        });
        if loaded.is_err() {
            // Best effort: the next run removes what a lost connection leaves behind. Twice, because a
            // late cancel can hit the first.
            let (control, run_no) = (&mut session.control, session.run_no);
            let _ =
                load::drop_stage(control, run_no).or_else(|_| load::drop_stage(control, run_no));
            // A cancelled statement fails as a warehouse error; the reason is the signal.
            context.cancel.check()?;
        }
        loaded
    }

    fn stage_and_publish(
        &self,
        connections: &mut [PostgresConnection],
        session: &mut Session<PostgresConnection>,
        state: &mut RunState<'_>,
    ) -> Result<Outcome<()>> {
        let RunContext { settings, cancel, .. } = self.context;
        let strategy = load_strategy::strategy(&mut session.control, settings.warehouse.mode)?;
        let mut staged = self.stage(connections, session, strategy)?;
        failpoint::hit("stage.done")?;
        self.check(session, state, &staged.claims)?;
        cancel.check()?;

        let statistics = Scope::new(session.run_no, &settings.risk, &settings.privacy, cancel);
        let scoring = Instant::now();
        let mut counted = false;
        if strategy != LoadStrategy::Attach {
            load::refuse_repeats(strategy, &staged.claims.parts)?;
            counted = score_differing(
                &mut session.control,
                connections,
                &statistics,
                &staged.claims.parts,
                staged.providers.counts.completed > 0,
            )?;
        }
        let scoring = scoring.elapsed();
        cancel.check()?;
        failpoint::hit("publish.before")?;
        let publishing = Instant::now();
        self.publish(session, state, (strategy, counted), &mut staged, &statistics)?;
        let publishing = publishing.elapsed();
        let analyzing = Instant::now();
        let account = state.report.account().claims;
        let changed = account.inserted + account.updated;
        if let Err(error) = load::analyze(&mut session.control, strategy, changed) {
            self.context.warn(error.message().to_owned());
        }
        let phases = json!({
            "staging": staged.claims.copying.as_secs_f64(),
            "key": staged.claims.finishing.as_secs_f64(),
            "score": scoring.as_secs_f64(),
            "publish": publishing.as_secs_f64(),
            "analyze": analyzing.elapsed().as_secs_f64(),
        });
        state.report.phases = Some(phases.clone());
        let totals = state.report.account();
        let result = json!({ "account": totals, "route": strategy.name(), "phases": phases });
        Ok(Outcome::Done { value: (), result })
    }

    /// The second pass: claims and providers into staging tables, side by side.
    fn stage(
        &self,
        connections: &mut [PostgresConnection],
        session: &mut Session<PostgresConnection>,
        strategy: LoadStrategy,
    ) -> Result<StagedRun> {
        let Transformed { tally, directory, scored_by, .. } = self.transformed;
        let (run_no, control) = (session.run_no, &mut session.control);
        if scored_by.own.is_some() != (strategy == LoadStrategy::Attach) {
            return Err(load::filled_meanwhile());
        }
        load::drop_stage(control, run_no)?;
        failpoint::hit("stage.begin")?;
        let versions = self.versions(control, strategy)?;
        let staged = StagedDirectory {
            frame: directory.frame(),
            shape: directory.shape(),
            peer_specialties: directory.peer_specialties(),
            others: &tally.orphans,
        };
        let providers = provider_versions::stage(control, run_no, &staged, versions)?;
        failpoint::hit("stage.providers")?;
        let keys = ProviderKeys::new(providers.by_row.clone(), providers.others.clone());
        let score = self.transformed.score(Some(&keys));
        let progress = |rows: u64| self.context.progress(Task::LoadWarehouse, rows);
        let alike = table_layout::is_shaped(control, directory.shape())?;
        let risk = &self.context.settings.risk;
        let lines = (strategy == LoadStrategy::Attach)
            .then(|| self.transformed.line_totals(providers.by_row.clone(), risk));
        let staging = Staging {
            run_no,
            alike,
            lines: lines.as_ref(),
            ..self.staging(&score, &progress, strategy)
        };
        Ok(StagedRun { claims: staging.run(connections)?, providers, versions })
    }

    /// What becomes of the versions of providers that are published.
    fn versions(
        &self,
        control: &mut PostgresConnection,
        strategy: LoadStrategy,
    ) -> Result<PublishedVersions> {
        let identity = &self.context.identity;
        if strategy != LoadStrategy::Attach {
            return Ok(PublishedVersions::Kept);
        }
        Ok(if table_layout::stored(control)?.layout != identity.layout {
            PublishedVersions::Emptied
        } else if identity.mode == Mode::Replace {
            PublishedVersions::Replaced
        } else {
            PublishedVersions::Kept
        })
    }

    /// Completes the quarantine and the totals, and refuses what must not be published.
    fn check(
        &self,
        session: &mut Session<PostgresConnection>,
        state: &mut RunState<'_>,
        staged: &Staged,
    ) -> Result<()> {
        let (context, resolved) = (self.context, &staged.resolved);
        one_token_each("claim", resolved.claims)?;
        let totals = totals(self.inputs, self.transformed, resolved);
        complete_quarantine(state, self.inputs, &resolved.rejected)?;
        state.report.set_account(totals.clone());
        self.judge_both_passes(resolved)?;
        quality_gates::check_conflicts(context, &self.inputs.claims, &totals)?;
        let loaded = staged.parts.iter().map(|part| part.rows).sum();
        quality_gates::check(&mut session.control, context, &totals, Some(loaded))
    }

    fn publish(
        &self,
        session: &mut Session<PostgresConnection>,
        state: &mut RunState<'_>,
        (strategy, counted): (LoadStrategy, bool),
        staged: &mut StagedRun,
        statistics: &Scope<'_>,
    ) -> Result<()> {
        let Transformed { scored_by, shuffle, .. } = self.transformed;
        let StagedRun { claims, providers, versions } = staged;
        let targets = enabled(self.context.settings);
        let mut totals = state.report.account();
        let publication = Publication {
            strategy,
            lines: claims.lines.take(),
            parts: &claims.parts,
            providers,
            versions: *versions,
            scored: Scored { by: scored_by, claims: claims.resolved.claims, shuffle },
            counted,
            targets: &targets,
        };
        let published = load::publish(session, publication, &mut totals, statistics);
        state.report.set_account(totals);
        published?;
        state.published = true;
        failpoint::hit("publish.committed")
    }

    /// The second pass without a warehouse: what would be loaded and rejected.
    fn count_only(&self, state: &mut RunState<'_>) -> Result<Outcome<()>> {
        let score = self.transformed.score(None);
        let progress = |rows: u64| self.context.progress(Task::LoadWarehouse, rows);
        let none: &mut [PostgresConnection] = &mut [];
        let resolved = self.staging(&score, &progress, LoadStrategy::Attach).run(none)?.resolved;
        one_token_each("claim", resolved.claims)?;
        let mut totals = totals(self.inputs, self.transformed, &resolved);
        let dropped = resolved.dropped() + resolved.rejected.len() as u64;
        totals.claims.loaded = self.transformed.tally.accepted - dropped;
        totals.amount.loaded = totals.amount.read - totals.amount.not_loaded();
        state.report.set_account(totals.clone());
        self.judge_both_passes(&resolved)?;
        quality_gates::check_conflicts(self.context, &self.inputs.claims, &totals)?;
        Ok(Outcome::Done { value: (), result: json!({ "account": totals, "route": "none" }) })
    }

    fn staging<'s>(
        &'s self,
        score: &'s Score,
        progress: &'s (dyn Fn(u64) + Sync),
        strategy: LoadStrategy,
    ) -> Staging<'s> {
        let warehouse = &self.context.settings.warehouse;
        Staging {
            run_no: 0,
            strategy,
            shape: self.transformed.directory.shape(),
            alike: true,
            shuffle: &self.transformed.shuffle,
            policy: warehouse.duplicate_policy(),
            score,
            lines: None,
            batch_rows: warehouse.batch_rows,
            progress,
            cancel: self.context.cancel,
        }
    }

    fn judge_both_passes(&self, resolved: &Resolved) -> Result<()> {
        let more = resolved.rejected.len() as u64;
        judge(self.context, self.inputs, self.transformed, more)?.map_or(Ok(()), Err)
    }
}

/// Refuses a run whose first pass rejects too many rows; its quarantine and totals are complete then.
pub(super) fn judge_first_pass(
    context: &RunContext<'_>,
    state: &mut RunState<'_>,
    inputs: &Inputs,
    transformed: &Transformed,
) -> Result<()> {
    let Some(refused) = judge(context, inputs, transformed, 0)? else { return Ok(()) };
    complete_quarantine(state, inputs, &[])?;
    state.report.set_account(totals(inputs, transformed, &Resolved::default()));
    Err(refused)
}

/// The refusal of a run with too many rejects: those of the first pass and `more`.
fn judge(
    context: &RunContext<'_>,
    inputs: &Inputs,
    transformed: &Transformed,
    more: u64,
) -> Result<Option<Error>> {
    let tally = &transformed.tally;
    let marked = tally.examples.get(&Rule::AmountDecimalMark).map_or(&[][..], Vec::as_slice);
    let rejects = Rejects { rows: tally.rejected_rows() + more, reasons: &tally.rejected, marked };
    let refusal = refusal(context.settings, &inputs.claims, tally.read(), &rejects)?;
    Ok(refusal.map(|Refusal { error, advice }| {
        let listed = format!("`claims-etl quarantine {}` lists them", context.identity.run);
        error.hint(match advice {
            Some(advice) => format!("{advice}\n  {listed}"),
            None => format!("{listed}; raise --max-reject-ratio if so many rejects are expected"),
        })
    }))
}

/// Adds rejects that only the second pass finds, and completes the file; once a run.
fn complete_quarantine(
    state: &mut RunState<'_>,
    inputs: &Inputs,
    rejected: &[(i64, Rule)],
) -> Result<()> {
    let Some(mut quarantine) = state.quarantine.take() else { return Ok(()) };
    let mut rejected: Vec<_> =
        rejected.iter().map(|&(origin, rule)| Rejected::of(rule, origin)).collect();
    if quarantine.keeps() {
        find_lines(&inputs.claims, &mut rejected)?;
    }
    quarantine.append(&rejected)?;
    if let Some(path) = quarantine.finish()? {
        state.report.places.quarantine = Some(path);
    }
    Ok(())
}

/// Cancels what all connections do once the run is asked to stop, again and again as long as `work`
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
