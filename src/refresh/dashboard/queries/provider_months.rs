//! The latest months of providers with the highest amounts, as the public view shows them.

use super::column::{cents, number, text};
use crate::error::Result;
use crate::refresh::dashboard::snapshot::{LATEST_MONTHS, ProviderMonth, ProviderMonths};
use crate::refresh::job::Job;
use crate::warehouse::sql;

const LISTED: usize = 10;

const IS_FILLED: &str = "
SELECT relispopulated AS filled FROM pg_class
WHERE oid = to_regclass('healthcare_analytics.mv_provider_month')
  AND to_regclass('healthcare_analytics.v_provider_month_public') IS NOT NULL";

const CELLS: &str = "
SELECT count(*) AS cells, count(*) FILTER (WHERE NOT is_suppressed) AS shown
FROM healthcare_analytics.v_provider_month_public";

/// The name is read as JSON, because a privacy profile can take the column out.
fn highest() -> String {
    format!(
        "
SELECT provider_id AS id, to_jsonb(highest) ->> 'provider_name' AS name, amount::text AS amount,
       (extract(year FROM service_month) * 12 + extract(month FROM service_month) - 1)::bigint
           AS month,
       claims, patients, round(mean_risk_score, 1)::text AS mean
FROM (SELECT v.* FROM healthcare_analytics.v_provider_month_public v
      WHERE NOT v.is_suppressed
        AND v.service_month > (SELECT max(m.service_month) - interval '{LATEST_MONTHS} months'
                               FROM healthcare_analytics.mv_provider_month m)
      ORDER BY v.amount DESC, v.provider_id, v.service_month LIMIT {LISTED}) highest
ORDER BY highest.amount DESC, provider_id, service_month"
    )
}

/// The months; `None` where `mv_provider_month` has never been filled.
pub(super) fn read(job: &mut Job<'_>) -> Result<Option<ProviderMonths>> {
    let filled = job.query("dashboard: months of providers", IS_FILLED)?;
    if filled.num_rows() == 0 || sql::boolean(&filled, "filled", 0) != Some(true) {
        return Ok(None);
    }
    let batch = job.query("dashboard: months of providers", CELLS)?;
    let (cells, shown) = (number(&batch, "cells", 0), number(&batch, "shown", 0));
    let batch = job.query("dashboard: months of providers", &highest())?;
    let row = |row| {
        Ok(ProviderMonth {
            id: text(&batch, "id", row),
            name: sql::text(&batch, "name", row),
            month: number(&batch, "month", row),
            amount: cents(&batch, "amount", row)?,
            claims: number(&batch, "claims", row),
            patients: number(&batch, "patients", row),
            mean_score: text(&batch, "mean", row),
        })
    };
    let highest = (0..batch.num_rows()).map(row).collect::<Result<_>>()?;
    Ok(Some(ProviderMonths { cells, shown, highest }))
}
