//! What has to do with the rows that are looked at: other claims of the same provider and day, and
//! other claims of the same patient and day.
//!
//! A load looks it up by the days and patients of the rows that differ; both as it was before and
//! as it will be, because the statistics change by the difference.

use std::sync::Arc;

use adbc_core::options::IngestMode;
use adbc_core::sync::Connection;
use arrow::array::{ArrayRef, RecordBatch, RecordBatchIterator, StringArray};

use super::Scope;
use crate::error::{Error, Result};
use crate::load::risk::scored_rows::ScoredRows;
use crate::load::staging_tables::TEMPORARY;
use crate::risk::canonical_specialty;
use crate::schema::{CLAIMS_FACT, INTERNAL, PUBLISHED};
use crate::warehouse::sql;

const CONTEXT: &str = "looking around the claims";

/// Specialties as they are written, and in canonical case.
pub(crate) const SPECIALTIES: &str = "specialties";
/// Patients of a provider on a day, by specialty: before and after the load.
pub(crate) const DAYS: &str = "days";
/// Claims that have a twin.
pub(crate) const TWINS: &str = "twins";

/// Makes [`SPECIALTIES`] and, where they are needed, [`DAYS`].
///
/// # Errors
/// `Warehouse` when a statement fails.
pub(crate) fn days(
    connection: &mut impl Connection,
    scope: &Scope<'_>,
    rows: &ScoredRows<'_>,
) -> Result<()> {
    let needed = scope.kept().provider_days;
    let seen = match rows {
        ScoredRows::Differing(_) if needed => {
            gather_days(connection, scope, rows)?;
            temporary("seen")
        }
        ScoredRows::Differing(_) => format!(
            "(SELECT specialty FROM {} a UNION ALL SELECT specialty FROM {} b)",
            rows.after(scope),
            rows.before(scope)
        ),
        ScoredRows::Published => format!(
            "(SELECT provider_id, date_of_service, specialty, patient_token, 0 AS side FROM {} a)",
            rows.after(scope)
        ),
    };
    spellings(connection, scope, &seen)?;
    if !needed {
        return Ok(());
    }
    let (days, specialties) = (scope.table(DAYS), scope.table(SPECIALTIES));
    let patients = |name: &str, sides: &str| {
        format!("(count(DISTINCT patient_token) FILTER (WHERE {sides}))::integer AS {name}")
    };
    let counts = match rows {
        ScoredRows::Differing(_) => {
            format!("{}, {}", patients("before", "side <= 0"), patients("after", "side >= 0"))
        }
        ScoredRows::Published => "count(DISTINCT patient_token)::integer AS after".to_owned(),
    };
    sql::execute(
        connection,
        CONTEXT,
        &format!(
            "DROP TABLE IF EXISTS {days};
             CREATE TABLE {days} AS
             SELECT n.provider_id, n.date_of_service, m.canonical AS specialty, {counts}
             FROM {seen} n JOIN {specialties} m ON m.specialty = coalesce(n.specialty, '')
             WHERE m.canonical <> '' GROUP BY 1, 2, 3;
             ANALYZE {days}"
        ),
    )
    .map(drop)
}

/// The name of a table of the open transaction, which no other connection reads.
fn temporary(what: &str) -> String {
    format!("{TEMPORARY}.{what}")
}

/// The priced claims of the providers and days that the rows are about: those that go (side −1),
/// stay (0) and come (1).
fn gather_days(
    connection: &mut impl Connection,
    scope: &Scope<'_>,
    rows: &ScoredRows<'_>,
) -> Result<()> {
    let (touched, seen) = (scope.table("touched_days"), temporary("seen"));
    let (after, before) = (rows.after(scope), rows.before(scope));
    let specialty = scope.text_column("specialty");
    sql::execute(
        connection,
        CONTEXT,
        &format!(
            "DROP TABLE IF EXISTS {touched};
             CREATE TABLE {touched} AS
             SELECT provider_id, date_of_service FROM {after} a
             UNION SELECT provider_id, date_of_service FROM {before} b;
             ANALYZE {touched};
             CREATE TEMPORARY TABLE {seen} ON COMMIT DROP AS
             SELECT f.provider_id, f.date_of_service, f.specialty, f.patient_token,
                    CASE WHEN c.is_changed THEN -1 ELSE 0 END AS side
             FROM {touched} t
             JOIN (SELECT claim_token, line_number, provider_id, date_of_service, {specialty},
                          patient_token
                   FROM {PUBLISHED}.{CLAIMS_FACT} WHERE amount > 0) f
                 ON f.provider_id = t.provider_id AND f.date_of_service = t.date_of_service
             LEFT JOIN {} c ON c.claim_token = f.claim_token AND c.line_number = f.line_number
             UNION ALL
             SELECT provider_id, date_of_service, specialty, patient_token, 1 FROM {after} a;
             ANALYZE {seen}",
            rows.changed_keys()
        ),
    )
    .map(drop)
}

/// How the specialties in `seen` are written, each with its canonical form: a few texts, which
/// this side brings into canonical form as it does for a directory.
fn spellings(connection: &mut impl Connection, scope: &Scope<'_>, seen: &str) -> Result<()> {
    let rows = sql::query(
        connection,
        CONTEXT,
        &format!("SELECT DISTINCT coalesce(specialty, '') AS specialty FROM {seen} n"),
    )?;
    let spellings: Vec<String> =
        (0..rows.num_rows()).filter_map(|row| sql::text(&rows, "specialty", row)).collect();
    let canonical = spellings.iter().map(|spelling| canonical_specialty(spelling));
    let canonical = StringArray::from_iter_values(canonical);
    scope.create(connection, SPECIALTIES, "specialty text NOT NULL, canonical text NOT NULL")?;
    copy(
        connection,
        &scope.name(SPECIALTIES),
        [
            ("specialty", Arc::new(StringArray::from_iter_values(&spellings)) as ArrayRef),
            ("canonical", Arc::new(canonical)),
        ],
    )?;
    let analyze = format!("ANALYZE {}", scope.table(SPECIALTIES));
    sql::execute(connection, CONTEXT, &analyze).map(drop)
}

/// Writes a small table.
pub(crate) fn copy<const N: usize>(
    connection: &mut impl Connection,
    table: &str,
    columns: [(&str, ArrayRef); N],
) -> Result<u64> {
    let batch = RecordBatch::try_from_iter(columns)
        .map_err(|_| Error::internal("columns of unequal length for a small table"))?;
    let schema = batch.schema();
    let reader = RecordBatchIterator::new([Ok(batch)], schema);
    sql::ingest(connection, (INTERNAL, table), IngestMode::Append, &[], Box::new(reader))
}

/// Makes [`TWINS`]: of the priced claims with a procedure that have the patient, procedure and day
/// of another claim, each provider and amount, and whether several claims have that.
///
/// # Errors
/// `Warehouse` when a statement fails.
pub(crate) fn twins(
    connection: &mut impl Connection,
    scope: &Scope<'_>,
    rows: &ScoredRows<'_>,
) -> Result<()> {
    let twins = scope.table(TWINS);
    let near = match rows {
        ScoredRows::Differing(_) => {
            gather_near(connection, scope, rows)?;
            temporary("near")
        }
        ScoredRows::Published => {
            format!("(SELECT * FROM {} a WHERE procedure_code IS NOT NULL)", rows.after(scope))
        }
    };
    sql::execute(
        connection,
        CONTEXT,
        &format!(
            "-- How many are alike is unknown: a nested loop over them would be quadratic.
             SET LOCAL enable_nestloop = off;
             DROP TABLE IF EXISTS {twins};
             CREATE TABLE {twins} AS
             WITH several AS (
                 SELECT patient_token, date_of_service, procedure_code FROM {near} n
                 GROUP BY 1, 2, 3 HAVING count(*) > 1),
             alike AS (
                 SELECT n.* FROM several
                 JOIN {near} n USING (patient_token, date_of_service, procedure_code)),
             -- Lines of one claim are no twins.
             suspect AS (
                 SELECT patient_token, date_of_service, procedure_code FROM alike
                 GROUP BY 1, 2, 3 HAVING count(DISTINCT claim_token) > 1)
             SELECT patient_token, date_of_service, procedure_code, provider_id, amount,
                    count(DISTINCT claim_token) > 1 AS is_exact
             FROM suspect JOIN alike USING (patient_token, date_of_service, procedure_code)
             GROUP BY 1, 2, 3, 4, 5;
             ANALYZE {twins}"
        ),
    )
    .map(drop)
}

/// The priced claims of the patients and days that the rows are about, as they will be.
fn gather_near(
    connection: &mut impl Connection,
    scope: &Scope<'_>,
    rows: &ScoredRows<'_>,
) -> Result<()> {
    let (touched, near) = (scope.table("touched_patients"), temporary("near"));
    let after = rows.after(scope);
    let columns =
        "claim_token, patient_token, provider_id, procedure_code, amount, date_of_service";
    sql::execute(
        connection,
        CONTEXT,
        &format!(
            "DROP TABLE IF EXISTS {touched};
             CREATE TABLE {touched} AS
             SELECT DISTINCT patient_token, date_of_service FROM {after} a
             WHERE procedure_code IS NOT NULL;
             ANALYZE {touched};
             CREATE TEMPORARY TABLE {near} ON COMMIT DROP AS
             SELECT {columns} FROM {touched} t
             JOIN (SELECT {columns}, line_number FROM {PUBLISHED}.{CLAIMS_FACT}
                   WHERE amount > 0 AND procedure_code IS NOT NULL) f
                 USING (patient_token, date_of_service)
             LEFT JOIN {} c USING (claim_token, line_number)
             WHERE c.is_changed IS NULL
             UNION ALL
             SELECT {columns} FROM {after} a WHERE procedure_code IS NOT NULL;
             ANALYZE {near}",
            rows.changed_keys()
        ),
    )
    .map(drop)
}
