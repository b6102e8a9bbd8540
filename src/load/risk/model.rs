//! The model that rows are scored with: what is stored, and what a load changes of it.

use std::sync::Arc;

use adbc_core::sync::Connection;
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};

use super::Scope;
use crate::error::{Error, Result};
use crate::load::risk::delta::TOTALS;
use crate::load::risk::related_claims::copy;
use crate::risk::{Medians, ProviderSums, RiskModel, Statistics};
use crate::warehouse::cursor::each_batch;
use crate::warehouse::sql;

const CONTEXT: &str = "reading the statistics";

/// What claims are expected to cost, in millionths of a dollar.
const EXPECTED: &str = "expected";

/// The stored counts, within the transaction that is open. What is not kept is not there.
///
/// # Errors
/// `Warehouse` when a query fails.
pub(super) fn read(connection: &mut impl Connection, scope: &Scope<'_>) -> Result<Statistics> {
    let mut read = Statistics::default();
    let query = "SELECT procedure_code, specialty, bucket, claims FROM claims_etl.risk_statistics";
    each_batch(connection, CONTEXT, query, scope.cancel, |_, rows| {
        for row in 0..rows.num_rows() {
            let procedure = sql::text(rows, "procedure_code", row).unwrap_or_default();
            let specialty = sql::text(rows, "specialty", row).unwrap_or_default();
            let bucket = i32::try_from(number(rows, "bucket", row)?).map_err(|_| no_number())?;
            read.set_amount(&procedure, &specialty, bucket, number(rows, "claims", row)?);
        }
        Ok(())
    })?;
    let query = "SELECT specialty, claims, weekend_claims FROM claims_etl.risk_weekends";
    let rows = sql::query(connection, CONTEXT, query)?;
    for row in 0..rows.num_rows() {
        let specialty = sql::text(&rows, "specialty", row).unwrap_or_default();
        let claims = number(&rows, "claims", row)?;
        read.set_weekend(&specialty, claims, number(&rows, "weekend_claims", row)?);
    }
    let query = "SELECT specialty, patients, provider_days FROM claims_etl.risk_provider_days";
    let rows = sql::query(connection, CONTEXT, query)?;
    for row in 0..rows.num_rows() {
        let specialty = sql::text(&rows, "specialty", row).unwrap_or_default();
        let patients = u32::try_from(number(&rows, "patients", row)?).map_err(|_| no_number())?;
        read.set_provider_days(&specialty, patients, number(&rows, "provider_days", row)?);
    }
    Ok(read)
}

fn number(rows: &RecordBatch, column: &str, row: usize) -> Result<i64> {
    sql::int(rows, column, row).ok_or_else(no_number)
}

fn no_number() -> Error {
    Error::internal("a stored statistic that is no number")
}

/// The model of counts and of the providers' stored totals, `with_change`: and of what the run
/// changes of these.
///
/// # Errors
/// `Warehouse` when a statement fails.
pub(super) fn fit(
    connection: &mut impl Connection,
    scope: &Scope<'_>,
    counts: &Statistics,
    with_change: bool,
) -> Result<RiskModel> {
    let medians = Medians::fit(counts, scope.settings);
    let providers = if scope.kept().provider_totals {
        sums(connection, scope, &medians, with_change)?
    } else {
        Vec::new()
    };
    Ok(RiskModel::new(medians, providers))
}

/// What providers were paid and what was expected, added up by the server in whole numbers.
fn sums(
    connection: &mut impl Connection,
    scope: &Scope<'_>,
    medians: &Medians,
    with_change: bool,
) -> Result<Vec<ProviderSums>> {
    let columns = "procedure_code text, specialty text, micros bigint";
    scope.create(connection, EXPECTED, columns)?;
    let texts = |texts: Vec<&str>| Arc::new(StringArray::from(texts)) as ArrayRef;
    let micros: Vec<i64> = medians.expectations().map(|row| row.2).collect();
    copy(
        connection,
        &scope.name(EXPECTED),
        [
            ("procedure_code", texts(medians.expectations().map(|row| row.0).collect())),
            ("specialty", texts(medians.expectations().map(|row| row.1).collect())),
            ("micros", Arc::new(Int64Array::from(micros))),
        ],
    )?;
    let expected = scope.table(EXPECTED);
    sql::execute(connection, CONTEXT, &format!("ANALYZE {expected}"))?;
    let columns = "peer_key, specialty, procedure_code, claims, amount";
    let change = if with_change {
        format!("UNION ALL SELECT {columns} FROM {}", scope.table(TOTALS))
    } else {
        String::new()
    };
    let query = format!(
        "SELECT t.peer_key, t.specialty, sum(t.claims)::bigint AS claims,
                (sum(t.amount) * 100)::numeric(38, 0)::text AS cents,
                sum(t.claims::numeric * e.micros)::numeric(38, 0)::text AS expected
         FROM (SELECT {columns} FROM claims_etl.risk_provider_totals {change}) t
         JOIN {expected} e USING (procedure_code, specialty)
         GROUP BY 1, 2 HAVING sum(t.claims) >= {}",
        scope.settings.min_provider_claims.max(1)
    );
    let mut sums = Vec::new();
    each_batch(connection, CONTEXT, &query, scope.cancel, |_, rows| {
        for row in 0..rows.num_rows() {
            let large = |column: &str| -> Result<i128> {
                let text = sql::text(rows, column, row);
                text.and_then(|text| text.parse().ok()).ok_or_else(no_number)
            };
            sums.push(ProviderSums {
                provider: number(rows, "peer_key", row)?.to_string(),
                specialty: sql::text(rows, "specialty", row).unwrap_or_default(),
                claims: number(rows, "claims", row)?,
                cents: large("cents")?,
                expected_micros: large("expected")?,
            });
        }
        Ok(())
    })?;
    Ok(sums)
}
