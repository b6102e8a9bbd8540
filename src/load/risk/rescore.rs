//! All stored scores are computed again with today's statistics.

use adbc_core::sync::Connection;

use super::Scope;
use super::history::{look_around, scores_of, side_by_side, stored_model};
use super::scoring::{Counts, Scoring};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::load::risk::rebuild;
use crate::load::risk::scored_rows::ScoredRows;
use crate::load::{aggregates, outbox};
use crate::risk::RISK_MODEL;
use crate::schema::INTERNAL;
use crate::warehouse::partitions::partitions;
use crate::warehouse::sql;

const CONTEXT: &str = "rescoring";

/// What became of the stored scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Rescored {
    /// The run that changed the statistics last.
    pub(crate) stats_version: i64,
    /// Whether the statistics were counted again before.
    pub(crate) recounted: bool,
    /// Rows that were looked at.
    pub(crate) rows: u64,
    /// Rows whose score or components are others now.
    pub(crate) changed: u64,
    /// Rows by the band of their score before: low, medium, high.
    pub(crate) before: [u64; 3],
    /// The same now.
    pub(crate) after: [u64; 3],
}

/// Recomputes all scores, each partition over a connection, and stores those that differ, unless
/// this is a dry run. `targets` are to be refreshed where anything has changed.
///
/// # Errors
/// `Warehouse` when a statement fails, `Interrupted` when cancelled; nothing is changed
/// then. `Quality` when rows have gone meanwhile.
pub(crate) fn rescore<C: Connection + Send>(
    control: &mut C,
    connections: &mut [C],
    scope: &Scope<'_>,
    targets: &[String],
    dry_run: bool,
) -> Result<Rescored> {
    let recounted = rebuild::where_incomplete(control, scope)?;
    look_around(control, connections, scope, &ScoredRows::Published)?;
    let model = stored_model(control, scope)?;
    let partitions = partitions(control)?;
    let stage = |place: usize| scores_of(&scope.name(&place.to_string()));
    let tables: Vec<Scoring<'_>> = partitions
        .iter()
        .enumerate()
        .map(|(place, partition)| Scoring {
            scope,
            model: &model,
            from: partition.clone(),
            peers: ScoredRows::Published.peers(scope),
            into: stage(place),
            scored: true,
        })
        .collect();
    let counts = side_by_side(connections, &tables)?;
    let version = "SELECT coalesce(max(version), 0) AS version FROM claims_etl.risk_state";
    let version = sql::int(&sql::query(control, CONTEXT, version)?, "version", 0);
    let mut rescored =
        Rescored { stats_version: version.unwrap_or(0), recounted, ..Rescored::default() };
    for Counts { rows, written, before, after } in counts.iter().copied() {
        rescored.rows += rows;
        rescored.changed += written;
        for band in 0..before.len() {
            rescored.before[band] += before[band];
            rescored.after[band] += after[band];
        }
    }
    failpoint::hit("rescore.scored")?;
    if dry_run {
        return Ok(rescored);
    }
    scope.cancel.check()?;
    sql::in_transaction(control, CONTEXT, |control| {
        for (place, (partition, counts)) in partitions.iter().zip(&counts).enumerate() {
            let updated = sql::execute(
                control,
                CONTEXT,
                &format!(
                    "UPDATE {partition} f
                     SET risk_score = s.risk_score, risk_components = s.risk_components
                     FROM {INTERNAL}.{} s
                     WHERE f.claim_token = s.claim_token AND f.line_number = s.line_number",
                    stage(place)
                ),
            )?;
            if updated != counts.written {
                return Err(Error::quality("claims have gone while they were scored; rolled back")
                    .hint("somebody else changed claims_fact meanwhile; run again"));
            }
            failpoint::hit("rescore.updated")?;
        }
        aggregates::rebuild(control, scope.shape)?;
        note(control, scope, &rescored)?;
        if rescored.changed > 0 {
            outbox::want(control, targets)?;
            outbox::outdate(control)?;
        }
        failpoint::hit("rescore.commit")
    })?;
    Ok(rescored)
}

/// Writes down that and how the scores were computed again.
fn note(connection: &mut impl Connection, scope: &Scope<'_>, rescored: &Rescored) -> Result<()> {
    sql::execute_with(
        connection,
        CONTEXT,
        "INSERT INTO claims_etl.risk_rescores (stats_version, model, parameters, rows_changed)
         VALUES ($1::text::integer, $2, $3::text::jsonb, $4::text::bigint)",
        sql::texts(&[
            Some(&rescored.stats_version.to_string()),
            Some(RISK_MODEL),
            Some(&scope.parameters()?),
            Some(&rescored.changed.to_string()),
        ]),
    )
    .map(drop)
}
