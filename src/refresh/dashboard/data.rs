//! What the page shows, as plain values, and the queries that fetch them.
//!
//! The fact table may hold tens of millions of rows: each query here reads it once, in a form that
//! Postgres runs in parallel (which it does not do for GROUPING SETS or DISTINCT aggregates), and
//! folds the few thousand groups that come out.

mod ledger;

use arrow::record_batch::RecordBatch;

use self::ledger::{LEDGER, ledger};
use super::provider_months::ProviderMonths;
use super::released::{Released, released};
use crate::error::{Error, Result};
use crate::refresh::Job;
use crate::rule::Severities;
use crate::totals::{Cents, ControlTotals};
use crate::warehouse::sql;

/// Everything on the page.
#[derive(Debug, Clone, Default)]
pub(super) struct Snapshot {
    /// The last run that published; `None` before the first.
    pub run: Option<Run>,
    /// A run that failed after it.
    pub failure: Option<Failure>,
    /// Runs in the ledger, whatever became of them.
    pub runs: i64,
    pub published_runs: i64,
    /// Claim lines, in all.
    pub claims: i64,
    pub amount: Cents,
    /// First and last date of service.
    pub dates: Option<(String, String)>,
    /// Mean score over all claim lines, with one decimal.
    pub mean_score: String,
    /// Months that hold claims, oldest first.
    pub months: Vec<Month>,
    /// Specialties, highest amount first.
    pub specialties: Vec<Specialty>,
    /// What the profile has left to be shown.
    pub released: Released,
    /// Claim lines in the medium and in the high band.
    pub medium: i64,
    pub high: i64,
    /// Claim lines by ten points: score 0, above 0 to below 10, 10 to below 20, …, 90 to 100.
    pub bands: [i64; BANDS],
    /// Providers with the highest mean score, among those with enough claims.
    pub providers: Vec<Provider>,
    /// The stored months of providers, where there are any.
    pub provider_months: Option<ProviderMonths>,
    /// Claim lines with the highest score.
    pub top_claims: Vec<Claim>,
    /// Members of the provider dimension, the unknown member not counted.
    pub directory: i64,
    /// Members that only claims name.
    pub inferred: i64,
    /// What a broken rule means.
    pub severities: Severities,
}

/// Bands of the score: zero, then ten of ten points each.
pub(super) const BANDS: usize = 11;
/// Providers with fewer claims are not ranked: a mean over a few claims says nothing, and would
/// point at a few patients.
pub(super) const RANKED_FROM: i64 = 11;
/// Rows in each of the two lists of highest scores.
const LISTED: usize = 10;

/// The last published run.
#[derive(Debug, Clone, Default)]
pub(super) struct Run {
    pub id: String,
    /// In UTC.
    pub published_at: String,
    /// The month of publication, counted from January of year 0.
    pub month: i64,
    pub tool_version: String,
    pub mode: String,
    pub key_id: String,
    pub privacy_profile: String,
    pub risk_model: Option<String>,
    pub account: ControlTotals,
}

/// A failed run.
#[derive(Debug, Clone, Default)]
pub(super) struct Failure {
    pub id: String,
    pub started_at: String,
    pub kind: Option<String>,
    pub message: Option<String>,
}

/// One month of service, counted from January of year 0.
#[derive(Debug, Clone, Default)]
pub(super) struct Month {
    pub number: i64,
    pub claims: i64,
    pub amount: Cents,
}

/// One specialty; `None` where the directory names none.
#[derive(Debug, Clone, Default)]
pub(super) struct Specialty {
    pub name: Option<String>,
    pub claims: i64,
    pub amount: Cents,
    pub high: i64,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Provider {
    pub id: String,
    pub name: Option<String>,
    pub specialty: Option<String>,
    pub claims: i64,
    pub amount: Cents,
    pub patients: i64,
    pub mean_score: String,
    pub max_score: String,
    pub high: i64,
}

/// One claim line.
#[derive(Debug, Clone, Default)]
pub(super) struct Claim {
    pub token: String,
    pub line: i64,
    pub procedure: Option<String>,
    pub provider: String,
    pub amount: Cents,
    pub date: String,
    pub score: String,
    /// The component that contributes most.
    pub reason: Option<String>,
}

const DIRECTORY: &str = "
SELECT count(*) AS members, count(*) FILTER (WHERE is_inferred) AS inferred
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

/// Reads everything that the page shows.
pub(super) fn gather(job: &mut Job<'_>) -> Result<Snapshot> {
    let mut snapshot = Snapshot { mean_score: "0.0".into(), ..Snapshot::default() };
    ledger(&job.query("dashboard: run ledger", LEDGER)?, &mut snapshot)?;
    snapshot.released = released(job)?;

    let batch = job.query("dashboard: provider directory", DIRECTORY)?;
    snapshot.directory = number(&batch, "members", 0);
    snapshot.inferred = number(&batch, "inferred", 0);

    let batch = job.query("dashboard: months", MONTHS)?;
    for row in 0..batch.num_rows() {
        let month = Month {
            number: number(&batch, "month", row),
            claims: number(&batch, "claims", row),
            amount: cents(&batch, "amount", row)?,
        };
        snapshot.claims += month.claims;
        snapshot.amount += month.amount;
        snapshot.months.push(month);
    }
    if let Some(last) = batch.num_rows().checked_sub(1) {
        snapshot.dates = Some((text(&batch, "first_day", 0), text(&batch, "last_day", last)));
    }

    let batch = job.query("dashboard: risk score", BANDS_OF_SCORE)?;
    for row in 0..batch.num_rows() {
        let band = usize::try_from(number(&batch, "band", row)).ok();
        let slot = band.and_then(|band| snapshot.bands.get_mut(band));
        let claims = number(&batch, "claims", row);
        *slot.ok_or_else(|| Error::internal("a risk score is outside 0 to 100"))? += claims;
        match text(&batch, "level", row).as_str() {
            "medium" => snapshot.medium += claims,
            "high" => snapshot.high += claims,
            _ => {}
        }
        snapshot.mean_score = text(&batch, "mean", row);
    }

    groups(
        &job.query("dashboard: specialties and providers", &risk_by_group(&snapshot.released))?,
        &mut snapshot,
    )?;

    let batch =
        job.query("dashboard: highest-scoring claims", &highest_claims(&snapshot.released))?;
    for row in 0..batch.num_rows() {
        snapshot.top_claims.push(Claim {
            token: text(&batch, "token", row),
            line: number(&batch, "line", row),
            procedure: sql::text(&batch, "procedure", row),
            provider: text(&batch, "provider", row),
            amount: cents(&batch, "amount", row)?,
            date: text(&batch, "day", row),
            score: text(&batch, "score", row),
            reason: sql::text(&batch, "reason", row),
        });
    }
    Ok(snapshot)
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

pub(super) fn text(batch: &RecordBatch, column: &str, row: usize) -> String {
    sql::text(batch, column, row).unwrap_or_default()
}

/// A count; the ledger's are null in runs of before their column.
pub(super) fn number(batch: &RecordBatch, column: &str, row: usize) -> i64 {
    sql::int(batch, column, row).unwrap_or_default()
}

pub(super) fn cents(batch: &RecordBatch, column: &str, row: usize) -> Result<Cents> {
    match sql::text(batch, column, row) {
        None => Ok(Cents::default()),
        Some(text) => Cents::parse(&text).ok_or_else(|| {
            Error::internal(format!("{column} is not an amount in dollars and cents"))
        }),
    }
}
