//! Figures of the claims and providers, from the aggregates that each publish maintains: the time does not
//! grow with the number of claims.

use arrow::record_batch::RecordBatch;

use super::column::{cents, number, text};
use crate::error::{Error, Result};
use crate::refresh::dashboard::released::Released;
use crate::refresh::dashboard::snapshot::{
    Line, Month, Provider, RANKED_FROM, Snapshot, Specialty,
};
use crate::refresh::job::Job;
use crate::warehouse::sql;

/// Rows in each of the two lists of highest scores.
const LISTED: usize = 10;

const DIRECTORY: &str = "
SELECT count(*) AS providers, count(*) FILTER (WHERE is_placeholder) AS placeholders
FROM healthcare_analytics.providers_dim WHERE is_current AND provider_key <> 0";

const MONTHS: &str = "
SELECT (extract(year FROM service_month) * 12 + extract(month FROM service_month) - 1)::bigint AS month,
       m.claims, m.first_claims, d.claim_lines::bigint, d.amount::text,
       d.first_day::text, d.last_day::text
FROM claims_etl.monthly_claims m
JOIN (SELECT date_trunc('month', date_of_service)::date AS service_month,
             sum(claim_lines) AS claim_lines, sum(amount) AS amount,
             min(date_of_service) AS first_day, max(date_of_service) AS last_day
      FROM claims_etl.daily_totals GROUP BY 1) d USING (service_month)
ORDER BY 1";

const BANDS_OF_SCORE: &str = "
SELECT CASE WHEN risk_score = 0 THEN 0
            ELSE least(trunc(risk_score / 10), 9) + 1 END::bigint AS band,
       healthcare_analytics.risk_band(risk_score::real) AS level,
       sum(claim_lines)::bigint AS claim_lines,
       round((sum(sum(risk_score * claim_lines)) OVER ()) / sum(sum(claim_lines)) OVER (), 1)::text
           AS mean
FROM claims_etl.score_totals GROUP BY 1, 2 ORDER BY 1";

const SPECIALTIES: &str = "
SELECT nullif(specialty, '') AS specialty, sum(claim_lines)::bigint AS claim_lines,
       sum(amount)::text AS amount,
       coalesce(sum(claim_lines) FILTER (WHERE risk_band = 'high'), 0)::bigint AS high
FROM claims_etl.monthly_totals GROUP BY specialty
ORDER BY sum(amount) DESC, high DESC, specialty";

/// A column that a privacy profile can drop.
fn column(released: &Released, place: &str, name: &str) -> String {
    if released.shape.has(name) { format!("{place}{name}") } else { "NULL::text".to_owned() }
}

fn highest_providers(released: &Released) -> String {
    format!(
        "
SELECT provider_id AS id, {} AS name, {} AS specialty, claim_lines, amount::text AS amount,
       round(score_total / claim_lines, 1)::text AS mean, high_risk_lines AS high
FROM (SELECT v.provider_id, sum(t.claim_lines)::bigint AS claim_lines, sum(t.amount) AS amount,
             sum(t.score_total) AS score_total, sum(t.high_risk_lines)::bigint AS high_risk_lines
      FROM claims_etl.provider_totals t
      JOIN healthcare_analytics.providers_dim v USING (provider_key)
      WHERE provider_key <> 0 GROUP BY v.provider_id HAVING sum(t.claim_lines) >= {RANKED_FROM}
      ORDER BY sum(t.score_total) / sum(t.claim_lines) DESC, 5 DESC, 1 LIMIT {LISTED}) t
JOIN (SELECT * FROM healthcare_analytics.providers_dim WHERE is_current) d USING (provider_id)
ORDER BY score_total / claim_lines DESC, high_risk_lines DESC, provider_id",
        column(released, "d.", "provider_name"),
        column(released, "d.", "specialty")
    )
}

fn highest_lines(released: &Released) -> String {
    format!(
        "
SELECT f.claim_token::text AS token, f.line_number::bigint AS line, {} AS procedure,
       d.provider_id AS provider, f.amount::text AS amount, f.date_of_service::text AS day,
       t.risk_score::text AS score,
       (ARRAY['amount', 'duplicate', 'provider', 'volume', 'mismatch', 'weekend'])
           [(f.risk_components >> 60)::integer] AS reason
FROM (SELECT * FROM claims_etl.top_lines
      ORDER BY risk_score DESC, amount DESC, claim_token DESC, line_number DESC LIMIT {LISTED}) t
JOIN healthcare_analytics.claims_fact f
  ON f.claim_token = t.claim_token AND f.line_number = t.line_number
JOIN healthcare_analytics.providers_dim d ON d.provider_key = f.provider_key
ORDER BY t.risk_score DESC, t.amount DESC, t.claim_token DESC, t.line_number DESC",
        column(released, "f.", "procedure_code")
    )
}

/// Reads the figures; [`Snapshot::released`] is read before.
pub(super) fn read(job: &mut Job<'_>, snapshot: &mut Snapshot) -> Result<()> {
    let batch = job.query("dashboard: provider directory", DIRECTORY)?;
    snapshot.directory = number(&batch, "providers", 0);
    snapshot.placeholders = number(&batch, "placeholders", 0);
    months(&job.query("dashboard: months", MONTHS)?, snapshot)?;
    scores(&job.query("dashboard: risk score", BANDS_OF_SCORE)?, snapshot)?;
    specialties(&job.query("dashboard: specialties", SPECIALTIES)?, snapshot)?;
    let query = highest_providers(&snapshot.released);
    providers(&job.query("dashboard: highest-scoring providers", &query)?, snapshot)?;
    let query = highest_lines(&snapshot.released);
    lines(&job.query("dashboard: highest-scoring claim lines", &query)?, snapshot)
}

fn months(batch: &RecordBatch, snapshot: &mut Snapshot) -> Result<()> {
    for row in 0..batch.num_rows() {
        let month = Month {
            number: number(batch, "month", row),
            claims: number(batch, "claims", row),
            lines: number(batch, "claim_lines", row),
            amount: cents(batch, "amount", row)?,
        };
        snapshot.claims += number(batch, "first_claims", row);
        snapshot.lines += month.lines;
        snapshot.amount += month.amount;
        snapshot.months.push(month);
    }
    if let Some(last) = batch.num_rows().checked_sub(1) {
        snapshot.dates = Some((text(batch, "first_day", 0), text(batch, "last_day", last)));
    }
    Ok(())
}

fn scores(batch: &RecordBatch, snapshot: &mut Snapshot) -> Result<()> {
    snapshot.mean_score = "0.0".into();
    for row in 0..batch.num_rows() {
        let band = usize::try_from(number(batch, "band", row)).ok();
        let slot = band.and_then(|band| snapshot.bands.get_mut(band));
        let lines = number(batch, "claim_lines", row);
        *slot.ok_or_else(|| Error::internal("a risk score is outside 0 to 100"))? += lines;
        match text(batch, "level", row).as_str() {
            "medium" => snapshot.medium += lines,
            "high" => snapshot.high += lines,
            _ => {}
        }
        snapshot.mean_score = text(batch, "mean", row);
    }
    Ok(())
}

fn specialties(batch: &RecordBatch, snapshot: &mut Snapshot) -> Result<()> {
    for row in 0..batch.num_rows() {
        snapshot.specialties.push(Specialty {
            name: sql::text(batch, "specialty", row),
            lines: number(batch, "claim_lines", row),
            amount: cents(batch, "amount", row)?,
            high: number(batch, "high", row),
        });
    }
    Ok(())
}

fn providers(batch: &RecordBatch, snapshot: &mut Snapshot) -> Result<()> {
    for row in 0..batch.num_rows() {
        snapshot.providers.push(Provider {
            id: text(batch, "id", row),
            name: sql::text(batch, "name", row),
            specialty: sql::text(batch, "specialty", row),
            lines: number(batch, "claim_lines", row),
            amount: cents(batch, "amount", row)?,
            mean_score: text(batch, "mean", row),
            high: number(batch, "high", row),
        });
    }
    Ok(())
}

fn lines(batch: &RecordBatch, snapshot: &mut Snapshot) -> Result<()> {
    for row in 0..batch.num_rows() {
        snapshot.top_lines.push(Line {
            token: text(batch, "token", row),
            line: number(batch, "line", row),
            procedure: sql::text(batch, "procedure", row),
            provider: text(batch, "provider", row),
            amount: cents(batch, "amount", row)?,
            date: text(batch, "day", row),
            score: text(batch, "score", row),
            reason: sql::text(batch, "reason", row),
        });
    }
    Ok(())
}
