//! One claim as it is published, and all that its score was computed from.

use adbc_core::sync::Connection;
use uuid::Uuid;

use super::{Scope, model};
use crate::error::{Error, Result};
use crate::event::Cancellation;
use crate::privacy::settings::Privacy;
use crate::risk::settings::Risk;
use crate::risk::{Exactness, ProviderTotal, Statistics, canonical_specialty};
use crate::schema::{CLAIMS_FACT, PROVIDERS_DIM, PUBLISHED, Shape};
use crate::warehouse::sql;

const CONTEXT: &str = "explaining a score";

/// A published claim line.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) line_number: i64,
    /// The patient's token.
    pub(crate) patient: String,
    /// The provider's id as it is published.
    pub(crate) provider: String,
    /// The keys of the provider's first version, and of the first one with its specialty.
    durable_key: i64,
    peer_key: i64,
    /// The procedure code; none where it is missing or left out by the profile.
    pub(crate) procedure: Option<String>,
    /// The specialty as it is published, likewise.
    pub(crate) specialty: Option<String>,
    /// The amount in cents.
    pub(crate) cents: i64,
    /// The date as it is published.
    pub(crate) date: String,
    /// The same in days since 1970-01-01.
    pub(crate) day: i64,
    /// The stored score, 0 to 100.
    pub(crate) score: String,
    /// The stored components, packed.
    pub(crate) components: i64,
    /// The run that wrote the row.
    pub(crate) run_no: i64,
    /// The number of its publication.
    publish_no: i64,
    /// The parameters of that run, where it has noted them.
    parameters: Option<String>,
}

/// A rescore: with which statistics, under which parameters.
#[derive(Debug, Clone)]
pub(crate) struct Rescore {
    /// The version of the statistics.
    pub(crate) version: i64,
    /// The number of that run's publication.
    publish_no: i64,
    parameters: Option<String>,
}

/// Which statistics are stored.
#[derive(Debug, Clone)]
pub(crate) struct State {
    /// The last run that has changed them.
    pub(crate) version: i64,
    /// When, in UTC as RFC 3339.
    pub(crate) as_of: String,
    /// What is left to compare under the privacy profile.
    pub(crate) exact: Exactness,
}

/// Another claim with the same patient, procedure and day.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct OtherClaim {
    pub(crate) claim_token: String,
    /// Whether provider and amount are the same too.
    pub(crate) exact: bool,
}

/// The lines of a claim, in order.
///
/// # Errors
/// `Warehouse` when the query fails.
pub(crate) fn lines(connection: &mut impl Connection, token: Uuid) -> Result<Vec<Line>> {
    // Through jsonb, because a profile can leave procedure and specialty out of the table.
    let query = format!(
        "SELECT f.line_number, f.patient_token::text AS patient, d.provider_id, p.durable_key, p.peer_key,
                to_jsonb(f) ->> 'procedure_code' AS procedure_code,
                to_jsonb(d) ->> 'specialty' AS specialty,
                (f.amount * 100)::bigint AS cents, f.date_of_service::text AS date,
                f.date_of_service - DATE '1970-01-01' AS day, f.risk_score::numeric(4, 1)::text AS score,
                f.risk_components, f.run_no, r.publish_no, r.risk_parameters::text AS parameters
         FROM {PUBLISHED}.{CLAIMS_FACT} f
         JOIN {PUBLISHED}.{PROVIDERS_DIM} d ON d.provider_key = f.provider_key
         JOIN claims_etl.provider_peers p ON p.provider_key = f.provider_key
         LEFT JOIN claims_etl.runs r ON r.run_no = f.run_no
         WHERE f.claim_token = $1::text::uuid ORDER BY f.line_number"
    );
    let rows =
        sql::query_with(connection, CONTEXT, &query, sql::texts(&[Some(&token.to_string())]))?;
    let int = |column: &str, row: usize| sql::int(&rows, column, row).unwrap_or(0);
    let text = |column: &str, row: usize| sql::text(&rows, column, row);
    let line = |row: usize| Line {
        line_number: int("line_number", row),
        patient: text("patient", row).unwrap_or_default(),
        provider: text("provider_id", row).unwrap_or_default(),
        durable_key: int("durable_key", row),
        peer_key: int("peer_key", row),
        procedure: text("procedure_code", row),
        specialty: text("specialty", row),
        cents: int("cents", row),
        date: text("date", row).unwrap_or_default(),
        day: int("day", row),
        score: text("score", row).unwrap_or_default(),
        components: int("risk_components", row),
        run_no: int("run_no", row),
        publish_no: int("publish_no", row),
        parameters: text("parameters", row),
    };
    Ok((0..rows.num_rows()).map(line).collect())
}

impl Line {
    /// The specialty in canonical case; empty where there is none.
    #[must_use]
    pub(crate) fn canonical_specialty(&self) -> String {
        canonical_specialty(self.specialty.as_deref().unwrap_or_default())
    }

    /// The version of the statistics that the stored score is of.
    #[must_use]
    pub(crate) fn version(&self, last: Option<&Rescore>) -> i64 {
        self.rescored(last).map_or(self.run_no, |rescore| rescore.version)
    }

    /// The weights and thresholds of the stored score; none where nobody has noted them.
    ///
    /// # Errors
    /// `Internal` when they cannot be read.
    pub(crate) fn parameters(&self, last: Option<&Rescore>) -> Result<Option<Risk>> {
        let rescored = self.rescored(last).map(|rescore| &rescore.parameters);
        let text = rescored.unwrap_or(&self.parameters).as_deref();
        text.map(serde_json::from_str).transpose().map_err(|_| {
            Error::internal("the parameters of the score in the ledger cannot be read")
        })
    }

    fn rescored<'r>(&self, last: Option<&'r Rescore>) -> Option<&'r Rescore> {
        last.filter(|rescore| rescore.publish_no >= self.publish_no)
    }
}

/// The last rescore.
///
/// # Errors
/// `Warehouse` when the query fails.
pub(crate) fn last_rescore(connection: &mut impl Connection) -> Result<Option<Rescore>> {
    let rows = sql::query(
        connection,
        CONTEXT,
        "SELECT s.stats_version, v.publish_no, s.parameters::text AS parameters
         FROM claims_etl.risk_rescores s JOIN claims_etl.runs v ON v.run_no = s.stats_version
         ORDER BY s.rescore_no DESC LIMIT 1",
    )?;
    let numbers = sql::int(&rows, "stats_version", 0).zip(sql::int(&rows, "publish_no", 0));
    Ok(numbers.map(|(version, publish_no)| Rescore {
        version,
        publish_no,
        parameters: sql::text(&rows, "parameters", 0),
    }))
}

/// Which statistics are stored; none where none are.
///
/// # Errors
/// `Warehouse` when a query fails, `Internal` when the privacy actions cannot be read.
pub(crate) fn state(connection: &mut impl Connection) -> Result<Option<State>> {
    let rows = sql::query(
        connection,
        CONTEXT,
        "SELECT s.version, to_char(s.as_of AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS as_of,
                (SELECT actions::text FROM claims_etl.table_layout) AS actions
         FROM claims_etl.risk_state s",
    )?;
    let Some(version) = sql::int(&rows, "version", 0) else { return Ok(None) };
    let exact = match sql::text(&rows, "actions", 0) {
        None => Exactness::WHOLE,
        Some(actions) => {
            let columns = serde_json::from_str(&actions).map_err(|_| {
                Error::internal("the privacy actions in the warehouse cannot be read")
            })?;
            Exactness::of(&Privacy { columns, ..Privacy::default() })
        }
    };
    let as_of = sql::text(&rows, "as_of", 0).unwrap_or_default();
    Ok(Some(State { version, as_of, exact }))
}

/// All stored counts, within the transaction that is open.
///
/// # Errors
/// `Warehouse` when a query fails.
pub(crate) fn statistics(
    connection: &mut impl Connection,
    settings: &Risk,
    state: &State,
) -> Result<Statistics> {
    let (shape, cancel) = (Shape::WHOLE, &Cancellation::default());
    model::read(connection, &Scope { run_no: 0, settings, exact: state.exact, shape, cancel })
}

/// The stored totals of all providers of a specialty.
///
/// # Errors
/// `Warehouse` when the query fails.
pub(crate) fn totals(
    connection: &mut impl Connection,
    specialty: &str,
) -> Result<Vec<ProviderTotal>> {
    let rows = sql::query_with(
        connection,
        CONTEXT,
        "SELECT d.provider_id, u.procedure_code, u.claims, u.cents
         FROM claims_etl.risk_provider_totals t
         CROSS JOIN LATERAL unnest(t.procedure_codes, t.claims, t.cents) AS u(procedure_code, claims, cents)
         JOIN healthcare_analytics.providers_dim d ON d.provider_key = t.peer_key
         WHERE t.specialty = $1",
        sql::texts(&[Some(specialty)]),
    )?;
    let total = |row: usize| ProviderTotal {
        provider: sql::text(&rows, "provider_id", row).unwrap_or_default(),
        specialty: specialty.to_owned(),
        procedure: sql::text(&rows, "procedure_code", row).unwrap_or_default(),
        claims: sql::int(&rows, "claims", row).unwrap_or(0),
        cents: sql::int(&rows, "cents", row).unwrap_or(0),
    };
    Ok((0..rows.num_rows()).map(total).collect())
}

/// Patients with priced claims that the line's provider, with the line's specialty, has seen on the
/// line's day.
///
/// # Errors
/// `Warehouse` when the query fails.
pub(crate) fn day_patients(connection: &mut impl Connection, line: &Line) -> Result<u32> {
    let query = format!(
        "SELECT count(DISTINCT f.patient_token) AS patients
         FROM claims_etl.provider_peers p
         JOIN {PUBLISHED}.{CLAIMS_FACT} f ON f.provider_key = p.provider_key
         WHERE p.peer_key = $1::text::integer AND f.date_of_service = $2::text::date
           AND f.amount > 0"
    );
    let parameters = sql::texts(&[Some(&line.peer_key.to_string()), Some(&line.date)]);
    let rows = sql::query_with(connection, CONTEXT, &query, parameters)?;
    Ok(sql::int(&rows, "patients", 0).and_then(|n| u32::try_from(n).ok()).unwrap_or(u32::MAX))
}

/// Other priced claims with the line's patient, procedure and day: those with its provider and
/// amount first.
///
/// # Errors
/// `Warehouse` when the query fails.
pub(crate) fn twins(
    connection: &mut impl Connection,
    token: Uuid,
    line: &Line,
) -> Result<Vec<OtherClaim>> {
    let query = format!(
        "SELECT f.claim_token::text AS token,
                bool_or(p.durable_key = $4::text::integer AND (f.amount * 100)::bigint = $5::text::bigint) AS exact
         FROM {PUBLISHED}.{CLAIMS_FACT} f
         JOIN claims_etl.provider_peers p ON p.provider_key = f.provider_key
         WHERE f.patient_token = $1::text::uuid AND f.date_of_service = $2::text::date
           AND to_jsonb(f) ->> 'procedure_code' = $3 AND f.amount > 0
           AND f.claim_token <> $6::text::uuid
         GROUP BY f.claim_token ORDER BY exact DESC, token"
    );
    let (cents, token) = (line.cents.to_string(), token.to_string());
    let provider = line.durable_key.to_string();
    let parameters = sql::texts(&[
        Some(&line.patient),
        Some(&line.date),
        line.procedure.as_deref(),
        Some(&provider),
        Some(&cents),
        Some(&token),
    ]);
    let rows = sql::query_with(connection, CONTEXT, &query, parameters)?;
    let other = |row: usize| OtherClaim {
        claim_token: sql::text(&rows, "token", row).unwrap_or_default(),
        exact: sql::boolean(&rows, "exact", row).unwrap_or(false),
    };
    Ok((0..rows.num_rows()).map(other).collect())
}
