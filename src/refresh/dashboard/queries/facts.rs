//! Figures of the fact and provider tables.
//!
//! The fact table may hold tens of millions of rows: each query reads it once, in a form that
//! Postgres runs in parallel (it does not for GROUPING SETS or DISTINCT aggregates), and folds the
//! few thousand groups that come out.

use arrow::record_batch::RecordBatch;

use super::column::{cents, number, text};
use crate::error::{Error, Result};
use crate::refresh::dashboard::released::Released;
use crate::refresh::dashboard::snapshot::{
    Claim, Month, Provider, RANKED_FROM, Snapshot, Specialty,
};
use crate::refresh::job::Job;
use crate::warehouse::sql;

/// Rows in each of the two lists of highest scores.
const LISTED: usize = 10;

const DIRECTORY: &str = "
SELECT count(*) AS providers, count(*) FILTER (WHERE is_inferred) AS placeholders
FROM healthcare_analytics.providers_dim WHERE provider_id <> '(unknown)'";

const MONTHS: &str = "
WITH days AS MATERIALIZED (
    SELECT date_of_service AS day, count(*) AS claims, sum(amount) AS amount
    FROM healthcare_analytics.claims_fact GROUP BY 1)
SELECT (extract(year FROM day) * 12 + extract(month FROM day) - 1)::bigint AS month,
       sum(claims)::bigint AS claims, sum(amount)::text AS amount,
       min(day)::text AS first_day, max(day)::text AS last_day
FROM days GROUP BY 1 ORDER BY 1";

const BANDS_OF_SCORE: &str = "
WITH scores AS MATERIALIZED (
    SELECT risk_score, count(*) AS claims FROM healthcare_analytics.claims_fact GROUP BY 1)
SELECT CASE WHEN risk_score = 0 THEN 0
            ELSE least(trunc(risk_score / 10), 9) + 1 END::bigint AS band,
       healthcare_analytics.risk_band(risk_score) AS level,
       sum(claims)::bigint AS claims,
       round((sum(sum(risk_score * claims)) OVER ()) / sum(sum(claims)) OVER (), 1)::text AS mean
FROM scores GROUP BY 1, 2 ORDER BY 1";

/// Specialties and providers are two folds of the same groups, so that one scan serves both.
fn risk_by_group(released: &Released) -> String {
    let column = |place: &'static str, name: &str| {
        if released.shape.has(name) { format!("{place}{name}") } else { "NULL::text".to_owned() }
    };
    let specialty = column("", "specialty");
    let of_provider = [column("d.", "provider_name"), column("d.", "specialty")].join(", ");
    format!(
        "
WITH groups AS MATERIALIZED (
    SELECT provider_id, {specialty} AS specialty, count(*) AS claims, sum(amount) AS amount,
           sum(risk_score) AS score, max(risk_score) AS top,
           count(*) FILTER (WHERE healthcare_analytics.risk_band(risk_score) = 'high') AS high
    FROM healthcare_analytics.claims_fact GROUP BY 1, 2),
listed AS MATERIALIZED (
    SELECT provider_id, sum(claims) AS claims, sum(amount) AS amount,
           round(sum(score) / sum(claims), 1) AS mean, max(top) AS top, sum(high) AS high
    FROM groups WHERE provider_id <> '(unknown)'
    GROUP BY 1 HAVING sum(claims) >= {RANKED_FROM}
    ORDER BY sum(score) / sum(claims) DESC, sum(high) DESC, provider_id LIMIT {LISTED}),
seen AS (
    SELECT provider_id, count(*) AS patients
    FROM (SELECT DISTINCT provider_id, patient_token FROM healthcare_analytics.claims_fact
          WHERE provider_id = ANY (ARRAY(SELECT provider_id FROM listed))) pairs
    GROUP BY 1)
SELECT NULL AS id, NULL AS name, specialty, sum(claims)::bigint AS claims,
       sum(amount)::text AS amount, NULL::bigint AS patients, NULL AS mean, NULL AS top,
       sum(high)::bigint AS high, sum(amount) AS rank
FROM groups GROUP BY specialty
UNION ALL
SELECT provider_id, {of_provider}, l.claims::bigint, l.amount::text, s.patients,
       l.mean::text, round(l.top, 1)::text, l.high::bigint, l.mean
FROM listed l JOIN seen s USING (provider_id)
LEFT JOIN healthcare_analytics.providers_dim d USING (provider_id)
ORDER BY rank DESC, high DESC, id, specialty"
    )
}

fn highest_claims(released: &Released) -> String {
    let procedure =
        if released.shape.has("procedure_code") { "procedure_code" } else { "NULL::text" };
    format!(
        "
SELECT claim_token::text AS token, line_number::bigint AS line, {procedure} AS procedure,
       provider_id AS provider, amount::text AS amount, date_of_service::text AS day,
       round(risk_score, 1)::text AS score,
       (ARRAY['amount', 'duplicate', 'provider', 'volume', 'mismatch', 'weekend'])
           [(risk_components >> 60)::integer] AS reason
FROM (SELECT * FROM healthcare_analytics.claims_fact WHERE risk_score > 0
      ORDER BY risk_score DESC, amount DESC, claim_token, line_number LIMIT {LISTED}) highest
ORDER BY risk_score DESC, highest.amount DESC, claim_token, line_number"
    )
}

/// Reads the figures; [`Snapshot::released`] is read before.
pub(super) fn read(job: &mut Job<'_>, snapshot: &mut Snapshot) -> Result<()> {
    let batch = job.query("dashboard: provider directory", DIRECTORY)?;
    snapshot.directory = number(&batch, "providers", 0);
    snapshot.placeholders = number(&batch, "placeholders", 0);
    months(&job.query("dashboard: months", MONTHS)?, snapshot)?;
    scores(&job.query("dashboard: risk score", BANDS_OF_SCORE)?, snapshot)?;
    let query = risk_by_group(&snapshot.released);
    groups(&job.query("dashboard: specialties and providers", &query)?, snapshot)?;
    let query = highest_claims(&snapshot.released);
    claims(&job.query("dashboard: highest-scoring claims", &query)?, snapshot)
}

fn months(batch: &RecordBatch, snapshot: &mut Snapshot) -> Result<()> {
    for row in 0..batch.num_rows() {
        let month = Month {
            number: number(batch, "month", row),
            claims: number(batch, "claims", row),
            amount: cents(batch, "amount", row)?,
        };
        snapshot.claims += month.claims;
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
        let claims = number(batch, "claims", row);
        *slot.ok_or_else(|| Error::internal("a risk score is outside 0 to 100"))? += claims;
        match text(batch, "level", row).as_str() {
            "medium" => snapshot.medium += claims,
            "high" => snapshot.high += claims,
            _ => {}
        }
        snapshot.mean_score = text(batch, "mean", row);
    }
    Ok(())
}

fn groups(batch: &RecordBatch, snapshot: &mut Snapshot) -> Result<()> {
    for row in 0..batch.num_rows() {
        let (specialty, claims) =
            (sql::text(batch, "specialty", row), number(batch, "claims", row));
        let (amount, high) = (cents(batch, "amount", row)?, number(batch, "high", row));
        match sql::text(batch, "id", row) {
            None => snapshot.specialties.push(Specialty { name: specialty, claims, amount, high }),
            Some(id) => snapshot.providers.push(Provider {
                id,
                name: sql::text(batch, "name", row),
                specialty,
                claims,
                amount,
                patients: number(batch, "patients", row),
                mean_score: text(batch, "mean", row),
                max_score: text(batch, "top", row),
                high,
            }),
        }
    }
    Ok(())
}

fn claims(batch: &RecordBatch, snapshot: &mut Snapshot) -> Result<()> {
    for row in 0..batch.num_rows() {
        snapshot.top_claims.push(Claim {
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
