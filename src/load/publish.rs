//! The publish: one transaction makes the staged rows visible, or nothing.
//!
//! A first load and a `replace` attach the staged tables as the partitions of the fact, so rows are
//! written once; a `merge` or `append` into published data moves only the rows that differ, which
//! were found before. Dimension, statistics and ledger go into the same transaction, and the totals
//! are a condition of it.

use adbc_core::sync::Connection;

use super::attach::{attach, detach};
use super::risk::{self, Scope};
use super::session::Session;
use super::{date_dimension, ledger, outbox, provider_versions};
use crate::config::Mode;
use crate::error::{Error, Result};
use crate::failpoint;
use crate::load::aggregates::{self, LineTotals};
use crate::load::merge_diff::apply;
use crate::load::part::{Changes, Part};
use crate::load::provider_versions::{PublishedVersions, StagedProviders};
use crate::load::score_statistics::{Scored, write_statistics};
use crate::load::staging_tables::drop_stage;
use crate::schema::{CLAIMS_FACT, PUBLISHED};
use crate::totals::ControlTotals;
use crate::warehouse::load_strategy::{LoadStrategy, has_claims};
use crate::warehouse::relayout::Relayout;
use crate::warehouse::{lock, sql, table_layout, table_lock, views};

const CONTEXT: &str = "publish";

/// What was read into an empty warehouse finds rows there, or the other way round. Those rows stay.
#[must_use]
pub(crate) fn filled_meanwhile() -> Error {
    Error::warehouse(
        "the warehouse was filled or emptied while the claims were read; nothing was published",
    )
    .hint("run again")
}

/// Refuses to append claims that are published already: before anything is made of the others.
///
/// # Errors
/// `Quality` when there are such claims.
pub(crate) fn refuse_repeats(strategy: LoadStrategy, parts: &[Part]) -> Result<()> {
    let known: u64 = parts.iter().map(|part| part.rows - part.changes.new).sum();
    if strategy != LoadStrategy::Append || known == 0 {
        return Ok(());
    }
    Err(Error::quality(format!(
        "{known} of the claims to append are published already; nothing was published"
    ))
    .hint("--mode merge updates them and leaves equal ones alone"))
}

/// What is staged, to be published.
pub(crate) struct Publication<'a> {
    pub(crate) strategy: LoadStrategy,
    pub(crate) parts: &'a [Part],
    /// The sums of all lines, where they become the whole content.
    pub(crate) lines: Option<LineTotals>,
    pub(crate) providers: &'a StagedProviders,
    pub(crate) versions: PublishedVersions,
    pub(crate) scored: Scored<'a>,
    /// Whether the run's tables have what is added to the statistics of the score.
    pub(crate) counted: bool,
    /// The refresh targets that become due where anything has changed.
    pub(crate) targets: &'a [String],
}

/// Publishes in one transaction and completes the ledger's row. `account` comes with what was read, rejected
/// and dropped; it leaves with what was loaded, as Postgres counts.
///
/// # Errors
/// `Quality` when the totals do not balance, `Warehouse` when a statement fails; nothing is published
/// then.
pub(crate) fn publish<C: Connection>(
    session: &mut Session<C>,
    publication: Publication<'_>,
    account: &mut ControlTotals,
    scope: &Scope<'_>,
) -> Result<()> {
    let Publication { strategy, parts, lines, providers, versions, scored, counted, targets } =
        publication;
    let (run, run_no) = (session.identity.run, session.run_no);
    sql::in_transaction(&mut session.control, CONTEXT, |connection| {
        let timeout = format!("SET LOCAL lock_timeout = '{}'", table_lock::STATEMENT);
        sql::execute(connection, CONTEXT, &timeout)?;
        lock::check_held(connection)?;
        let layout = &session.identity.layout;
        let relayout = match strategy {
            LoadStrategy::Attach => Relayout::to(connection, layout)?,
            LoadStrategy::Merge | LoadStrategy::Append => None,
        };
        let StagedProviders { by_row, counts, .. } = providers;
        account.providers.inferred = counts.placeholders;
        let other_bands = table_layout::set_bands(connection, &session.identity.risk)?;
        let staged: u64 = parts.iter().map(|part| part.rows).sum();
        let new: u64 = parts.iter().map(|part| part.changes.new).sum();
        let changed: u64 = parts.iter().map(|part| part.changes.changed).sum();
        let differ = new + changed + counts.completed > 0;
        // Other bands change sums of lines that the merge leaves alone.
        let update = (strategy != LoadStrategy::Attach && differ && !other_bands)
            .then(|| aggregates::Update::begin(connection, parts, run_no, scope.shape))
            .transpose()?;
        let mut removed = 0;
        // The dimension is emptied first, while nobody reads.
        if relayout.is_none() {
            removed = provider_versions::publish(connection, run_no, layout.shape, versions)?;
        }
        failpoint::hit("publish.providers")?;
        write_statistics(connection, run_no, &scored, by_row)?;
        if counted {
            risk::save(connection, scope)?;
        }
        failpoint::hit("publish.statistics")?;
        if let Some(mut lines) = lines {
            aggregates::replace(connection, &mut lines)?;
        } else {
            sql::execute(connection, CONTEXT, "SET LOCAL enable_hashjoin = off")?;
            for part in parts.iter().filter(|part| part.changes != Changes::default()) {
                apply(connection, part, scope.shape)?;
                failpoint::hit("publish.applied")?;
            }
            match update {
                Some(update) => update.end(connection)?,
                None if other_bands => aggregates::rebuild(connection, scope.shape)?,
                None => {}
            }
        }
        date_dimension::update(connection)?;
        failpoint::hit("publish.aggregates")?;
        account.claims.inserted = new;
        account.claims.updated = changed;
        account.claims.unchanged = staged.saturating_sub(new + changed);
        account.claims.loaded = staged;
        account.amount.loaded = parts.iter().map(|part| part.amount).sum();
        account.reversals.overwritten = parts.iter().map(|part| part.changes.opposite.0).sum();
        account.reversals.overwritten_amount =
            parts.iter().map(|part| part.changes.opposite.1).sum();
        let imbalances = account.imbalances();
        if !imbalances.is_empty() {
            return Err(Error::quality(format!(
                "the totals do not balance: {}; rolled back",
                imbalances.join("; ")
            )));
        }
        ledger::complete(connection, run, "success", true, account)?;
        failpoint::hit("publish.ledger")?;
        if strategy == LoadStrategy::Attach {
            // Last, because readers wait from here to the commit.
            let fact = format!("LOCK TABLE {PUBLISHED}.{CLAIMS_FACT} IN ACCESS EXCLUSIVE MODE");
            let mut locks = relayout.as_ref().map_or(fact, Relayout::locks);
            if relayout.is_none()
                && versions == PublishedVersions::Replaced
                && !targets.iter().any(|target| target == views::MONTHS)
            {
                locks.extend(views::forget_months(connection, layout.shape)?);
            }
            table_lock::exclusively(connection, &locks, scope.cancel)?;
            failpoint::hit("publish.locked")?;
            if session.identity.mode != Mode::Replace && has_claims(connection)? {
                return Err(filled_meanwhile());
            }
            detach(connection)?;
            if let Some(relayout) = &relayout {
                relayout.alter(connection)?;
                provider_versions::publish(connection, run_no, layout.shape, versions)?;
                failpoint::hit("publish.reshaped")?;
            }
            attach(connection, run_no, parts)?;
            if let Some(relayout) = relayout {
                relayout.complete(connection)?;
            }
        } else {
            drop_stage(connection, run_no)?;
        }
        ledger::note_providers(connection, run, counts.updated)?;
        let providers_differ = counts.placeholders + counts.changed + removed > 0;
        if strategy == LoadStrategy::Attach || differ || providers_differ || other_bands {
            // After the wait for readers: a refresh that reads wants to note its end.
            outbox::note_change(connection, run, targets)?;
        }
        failpoint::hit("publish.commit")
    })
}
