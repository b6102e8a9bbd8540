//! What has to do with the rows that are looked at: other claims of the same provider and day, and
//! other claims of the same patient and day.
//!
//! A load looks it up by the days and patients of the rows that differ; both as it was before and
//! as it will be, because the statistics change by the difference.

use adbc_core::options::IngestMode;
use adbc_core::sync::Connection;
use arrow::array::{ArrayRef, RecordBatch, RecordBatchIterator};

use super::Scope;
use crate::error::{Error, Result};
use crate::load::provider_versions::new_peers;
use crate::load::risk::scored_rows::{PEERS, ScoredRows};
use crate::load::staging_tables::{TEMPORARY, provider_versions};
use crate::schema::{CLAIMS_FACT, INTERNAL, PUBLISHED};
use crate::warehouse::sql;

const CONTEXT: &str = "looking around the claims";

/// Published rows of placeholders that the load completes: they count under their specialty after it.
pub(crate) const COMPLETED: &str = "completed";
/// Patients of a provider on a day, by specialty: before and after the load.
pub(crate) const DAYS: &str = "days";
/// Claims that have a twin.
pub(crate) const TWINS: &str = "twins";

/// Makes [`COMPLETED`]; whether it has rows.
///
/// # Errors
/// `Warehouse` when a statement fails.
pub(crate) fn completed(
    connection: &mut impl Connection,
    scope: &Scope<'_>,
    tables: &[String],
) -> Result<bool> {
    let completed = scope.table(COMPLETED);
    let mut values = vec!["patient_token", "provider_key", "amount", "date_of_service"];
    if scope.shape.has("procedure_code") {
        values.push("procedure_code");
    }
    let values: Vec<String> =
        values.iter().map(|name| format!("f.{name}, f.{name} AS old_{name}")).collect();
    let changed = match tables {
        [] => String::new(),
        tables => format!(
            "AND NOT EXISTS (SELECT FROM {} c
                 WHERE c.claim_token = f.claim_token AND c.line_number = f.line_number)",
            ScoredRows::Differing(tables).changed_keys()
        ),
    };
    sql::execute(
        connection,
        CONTEXT,
        &format!(
            "DROP TABLE IF EXISTS {completed};
             CREATE TABLE {completed} AS
             SELECT f.claim_token, f.line_number, false AS is_new, {}
             FROM {INTERNAL}.{} v
             JOIN {PUBLISHED}.{CLAIMS_FACT} f ON f.provider_key = v.provider_key
             WHERE v.change = 'completed' {changed};
             ANALYZE {completed}",
            values.join(", "),
            provider_versions(scope.run_no)
        ),
    )?;
    let any = sql::query(
        connection,
        CONTEXT,
        &format!("SELECT EXISTS (SELECT FROM {completed}) AS any_row"),
    )?;
    Ok(sql::boolean(&any, "any_row", 0) == Some(true))
}

/// Makes [`PEERS`]: the groups of the versions that the rows have now or before.
///
/// # Errors
/// `Warehouse` when a statement fails.
pub(crate) fn peers(
    connection: &mut impl Connection,
    scope: &Scope<'_>,
    tables: &[String],
) -> Result<()> {
    let peers = scope.table(PEERS);
    let versions = format!("{INTERNAL}.{}", provider_versions(scope.run_no));
    let keys: Vec<String> = tables
        .iter()
        .map(|table| {
            format!(
                "SELECT provider_key FROM {INTERNAL}.{table}
                 UNION SELECT old_provider_key FROM {INTERNAL}.{table} WHERE NOT is_new"
            )
        })
        .collect();
    sql::execute(
        connection,
        CONTEXT,
        &format!(
            "DROP TABLE IF EXISTS {peers};
             CREATE TABLE {peers} AS
             SELECT p.provider_key, p.durable_key, p.peer_key,
                    coalesce(v.peer_specialty, p.specialty) AS specialty
             FROM claims_etl.provider_peers p
             LEFT JOIN {versions} v ON v.provider_key = p.provider_key AND v.change = 'completed'
             WHERE p.provider_key IN ({})
             UNION ALL {};
             ALTER TABLE {peers} ADD PRIMARY KEY (provider_key);
             ANALYZE {peers}",
            keys.join(" UNION "),
            new_peers(&versions)
        ),
    )
    .map(drop)
}

/// Makes [`DAYS`], where they are needed.
///
/// # Errors
/// `Warehouse` when a statement fails.
pub(crate) fn days(
    connection: &mut impl Connection,
    scope: &Scope<'_>,
    rows: &ScoredRows<'_>,
) -> Result<()> {
    if !scope.kept().provider_days {
        return Ok(());
    }
    let seen = match rows {
        ScoredRows::Differing(_) => {
            gather_days(connection, scope, rows)?;
            temporary("seen")
        }
        ScoredRows::Published => format!(
            "(SELECT peer_key, date_of_service, specialty, patient_token, 0 AS side FROM {} a)",
            rows.after(scope)
        ),
    };
    let days = scope.table(DAYS);
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
             SELECT n.peer_key, n.date_of_service, n.specialty, {counts}
             FROM {seen} n WHERE n.specialty <> '' GROUP BY 1, 2, 3;
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
    sql::execute(
        connection,
        CONTEXT,
        &format!(
            "DROP TABLE IF EXISTS {touched};
             CREATE TABLE {touched} AS
             SELECT p.provider_key, d.peer_key, p.specialty, d.date_of_service
             FROM (SELECT peer_key, date_of_service FROM {after} a
                   UNION SELECT peer_key, date_of_service FROM {before} b) d
             JOIN claims_etl.provider_peers p ON p.peer_key = d.peer_key;
             ANALYZE {touched};
             CREATE TEMPORARY TABLE {seen} ON COMMIT DROP AS
             SELECT t.peer_key, t.date_of_service, t.specialty, f.patient_token,
                    CASE WHEN c.is_changed THEN -1 ELSE 0 END AS side
             FROM {touched} t
             JOIN (SELECT claim_token, line_number, provider_key, date_of_service, patient_token
                   FROM {PUBLISHED}.{CLAIMS_FACT} WHERE amount > 0) f
                 ON f.provider_key = t.provider_key AND f.date_of_service = t.date_of_service
             LEFT JOIN {} c ON c.claim_token = f.claim_token AND c.line_number = f.line_number
             UNION ALL
             SELECT peer_key, date_of_service, specialty, patient_token, 1 FROM {after} a;
             ANALYZE {seen}",
            rows.changed_keys()
        ),
    )
    .map(drop)
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
             SELECT patient_token, date_of_service, procedure_code, durable_key, amount,
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
        "claim_token, patient_token, durable_key, procedure_code, amount, date_of_service";
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
             JOIN (SELECT {columns}, line_number
                   FROM {PUBLISHED}.{CLAIMS_FACT} JOIN claims_etl.provider_peers USING (provider_key)
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
