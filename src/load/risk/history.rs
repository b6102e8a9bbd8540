//! The rows of a load that differ from what is published are scored against all history.
//!
//! Nothing that is published changes here.

use std::thread;

use adbc_core::sync::Connection;

use super::scoring::{Counts, Scoring};
use super::{Scope, indexes, model};
use crate::error::Result;
use crate::failpoint;
use crate::load::Part;
use crate::load::risk::related_claims::COMPLETED;
use crate::load::risk::scored_rows::ScoredRows;
use crate::load::risk::work_mem::with_memory;
use crate::load::risk::{delta, rebuild, related_claims};
use crate::risk::RiskModel;
use crate::schema::INTERNAL;
use crate::worker::Worker;

const CONTEXT: &str = "scoring against the history";
/// What the threads are named by.
const SCORING: &str = "scoring the claims";

/// The table with the scores of a table's rows.
#[must_use]
pub(in crate::load) fn scores_of(table: &str) -> String {
    format!("{table}_scores")
}

/// Scores the staged rows that differ from what is published, each part over a connection, and counts what
/// they change; whether anything changes. The history includes them: rows that they change count as they will be.
///
/// # Errors
/// `Warehouse` when a statement fails, `Interrupted` when cancelled.
pub(crate) fn score_differing<C: Connection + Send>(
    control: &mut C,
    connections: &mut [C],
    scope: &Scope<'_>,
    parts: &[Part],
    completes_placeholders: bool,
) -> Result<bool> {
    let differing: Vec<String> = parts
        .iter()
        .filter(|part| part.changes.new + part.changes.changed > 0)
        .map(|part| part.table.clone())
        .collect();
    if differing.is_empty() && !completes_placeholders {
        return Ok(false);
    }
    rebuild::where_incomplete(control, scope)?;
    indexes::make(control, connections, scope)?;
    let mut tables = differing.clone();
    if completes_placeholders && related_claims::completed(control, scope, &differing)? {
        tables.push(scope.name(COMPLETED));
    }
    if tables.is_empty() {
        return Ok(false);
    }
    related_claims::peers(control, scope, &tables)?;
    let rows = ScoredRows::Differing(&tables);
    look_around(control, connections, scope, &rows)?;
    let model = with_memory(control, CONTEXT, |control| {
        let change = delta::count(control, scope, &rows)?;
        if scope.kept().provider_totals {
            delta::totals(control, scope, &rows)?;
        }
        let mut counts = model::read(control, scope)?;
        counts.merge(&change);
        delta::lay_down(control, scope, &change, &counts)?;
        let model = model::fit(control, scope, &counts, true)?;
        failpoint::hit("risk.counted").map(|()| model)
    })?;
    let tables: Vec<Scoring<'_>> = differing
        .iter()
        .map(|table| Scoring {
            scope,
            model: &model,
            from: format!("{INTERNAL}.{table}"),
            peers: rows.peers(scope),
            into: scores_of(table),
            scored: false,
        })
        .collect();
    side_by_side(connections, &tables)?;
    failpoint::hit("risk.scored").map(|()| true)
}

/// Makes the tables of what is around the rows; two of them at once.
pub(super) fn look_around<C: Connection + Send>(
    control: &mut C,
    connections: &mut [C],
    scope: &Scope<'_>,
    rows: &ScoredRows<'_>,
) -> Result<()> {
    let twins = |connection: &mut C| {
        with_memory(connection, CONTEXT, |connection| {
            related_claims::twins(connection, scope, rows)
        })
    };
    let days = |control: &mut C| {
        with_memory(control, CONTEXT, |control| related_claims::days(control, scope, rows))
    };
    if !scope.kept().twins {
        return days(control);
    }
    let Some(other) = connections.first_mut() else {
        return days(control).and_then(|()| twins(control));
    };
    let (days, twins) = thread::scope(|threads| {
        let twins = Worker::start(threads, SCORING, || twins(other))?;
        Ok((days(control), twins.end()))
    })?;
    days.and(twins)
}

/// Scores tables, each connection one after the other of its share.
pub(super) fn side_by_side<C: Connection + Send>(
    connections: &mut [C],
    tables: &[Scoring<'_>],
) -> Result<Vec<Counts>> {
    let share = tables.len().div_ceil(connections.len().max(1)).max(1);
    let counts: Vec<Result<Vec<Counts>>> = thread::scope(|threads| {
        let workers: Vec<_> = connections
            .iter_mut()
            .zip(tables.chunks(share))
            .map(|(connection, tables)| {
                Worker::start(threads, SCORING, || {
                    tables.iter().map(|table| table.run(connection)).collect()
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.and_then(Worker::end)).collect()
    });
    let counts: Result<Vec<Vec<Counts>>> = counts.into_iter().collect();
    Ok(counts?.concat())
}

/// The model of what is stored.
pub(super) fn stored_model(control: &mut impl Connection, scope: &Scope<'_>) -> Result<RiskModel> {
    with_memory(control, CONTEXT, |control| {
        let counts = model::read(control, scope)?;
        model::fit(control, scope, &counts, false)
    })
}
