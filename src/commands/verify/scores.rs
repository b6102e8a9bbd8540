//! Whether a run's scores can be compared at all.
//!
//! Only where these were the run's own can the sources give it once more.

use adbc_core::sync::Connection;

use crate::error::Result;
use crate::warehouse::sql;

const CONTEXT: &str = "asking how the run was scored";

/// Why the scores of a run cannot be compared; none where they can.
///
/// # Errors
/// `Warehouse` when a query fails.
pub(crate) fn incomparable_scores(
    connection: &mut impl Connection,
    run_no: i64,
) -> Result<Option<&'static str>> {
    let there = "SELECT to_regclass('claims_etl.risk_rescores') IS NOT NULL AS there";
    if sql::boolean(&sql::query(connection, CONTEXT, there)?, "there", 0) != Some(true) {
        return Ok(Some(OF_AN_EARLIER_VERSION));
    }
    let rows = sql::query(
        connection,
        CONTEXT,
        &format!(
            "SELECT risk_parameters IS NULL AS older,
                    EXISTS (SELECT FROM claims_etl.risk_rescores s
                        WHERE s.finished_at >= r.published_at AND s.rows_changed > 0) AS rescored,
                    coalesce((SELECT t.result ->> 'route' FROM claims_etl.task_runs t
                        WHERE t.run_id = r.run_id AND t.task_id = 'load.load_warehouse'
                          AND t.state = 'success'
                        ORDER BY t.try_number DESC LIMIT 1) = 'attach', false) AS own
             FROM claims_etl.runs r WHERE run_no = {run_no}"
        ),
    )?;
    let is = |name: &str| sql::boolean(&rows, name, 0) == Some(true);
    Ok(if is("older") {
        Some(OF_AN_EARLIER_VERSION)
    } else if is("rescored") {
        Some("scores are not compared: they were recomputed since, by later statistics")
    } else if !is("own") {
        Some("scores are not compared: they are by the statistics of all that was published then")
    } else {
        None
    })
}

const OF_AN_EARLIER_VERSION: &str =
    "scores are not compared: an earlier version of the program has computed them";
