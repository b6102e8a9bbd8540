//! What a load changes the statistics by: the rows that differ come in, their old versions go out.

use std::sync::Arc;

use adbc_core::sync::Connection;
use arrow::array::{ArrayRef, Int32Array, Int64Array, StringArray};

use super::Scope;
use crate::error::{Error, Result};
use crate::load::risk::related_claims::{DAYS, copy};
use crate::load::risk::scored_rows::ScoredRows;
use crate::risk::Statistics;
use crate::warehouse::cursor::each_batch;
use crate::warehouse::sql;

const CONTEXT: &str = "counting what the load changes";

/// Claims by procedure, specialty and bucket of the amount.
pub(crate) const AMOUNTS: &str = "amounts";
/// Claims by specialty, and those on weekends.
pub(crate) const WEEKENDS: &str = "weekends";
/// Claims and money by provider, specialty and procedure.
pub(crate) const TOTALS: &str = "totals";
/// Provider-days by specialty and patients.
pub(crate) const PROVIDER_DAYS: &str = "provider_days";

/// Counts what `rows` add and take out, within the transaction that is open. The tables of
/// [`crate::load::risk::related_claims::days`] are there.
///
/// # Errors
/// `Warehouse` when a statement fails.
pub(crate) fn count<C: Connection>(
    connection: &mut C,
    scope: &Scope<'_>,
    rows: &ScoredRows<'_>,
) -> Result<Statistics> {
    let mut change = Statistics::default();
    claims(connection, scope, rows, &mut change)?;
    if scope.kept().provider_days {
        provider_days(connection, scope, rows, &mut change)?;
    }
    Ok(change)
}

/// Amounts and weekends: alike claims are counted by the server, buckets are known here only.
fn claims<C: Connection>(
    connection: &mut C,
    scope: &Scope<'_>,
    rows: &ScoredRows<'_>,
    change: &mut Statistics,
) -> Result<()> {
    let kept = scope.kept();
    if !kept.amounts && !kept.weekends {
        return Ok(());
    }
    let query = format!(
        "SELECT {} AS procedure_code, specialty,
                {} AS cents, {} AS weekend, sum(sign)::bigint AS claims
         FROM {} c GROUP BY 1, 2, 3, 4 HAVING sum(sign) <> 0",
        if kept.amounts { "procedure_code" } else { "NULL::text" },
        // What is not kept needs no distinction.
        if kept.amounts { "(amount * 100)::bigint" } else { "1::bigint" },
        if kept.weekends { "extract(isodow FROM date_of_service) >= 6" } else { "NULL::boolean" },
        both(scope, rows)
    );
    each_batch(connection, CONTEXT, &query, scope.cancel, |_, batch| {
        for row in 0..batch.num_rows() {
            let (cents, claims) = sql::int(batch, "cents", row)
                .zip(sql::int(batch, "claims", row))
                .ok_or_else(|| Error::internal("a count without a number"))?;
            let procedure = sql::text(batch, "procedure_code", row);
            let specialty = sql::text(batch, "specialty", row).unwrap_or_default();
            let weekend = sql::boolean(batch, "weekend", row);
            change.claim(claims, procedure.as_deref(), &specialty, cents, weekend);
        }
        Ok(())
    })
}

/// Days that have another number of patients than before.
fn provider_days(
    connection: &mut impl Connection,
    scope: &Scope<'_>,
    rows: &ScoredRows<'_>,
    change: &mut Statistics,
) -> Result<()> {
    let before = if matches!(rows, ScoredRows::Published) { "0" } else { "before" };
    let days = sql::query(
        connection,
        CONTEXT,
        &format!(
            "SELECT specialty, {before}::bigint AS before, after::bigint AS after, count(*) AS days
             FROM {} d WHERE {before} <> after GROUP BY 1, 2, 3",
            scope.table(DAYS)
        ),
    )?;
    let patients = |name: &str, row: usize| {
        let patients = sql::int(&days, name, row).and_then(|patients| u32::try_from(patients).ok());
        patients.ok_or_else(|| Error::internal("a count of patients that is none"))
    };
    for row in 0..days.num_rows() {
        let specialty = sql::text(&days, "specialty", row).unwrap_or_default();
        let number = sql::int(&days, "days", row).unwrap_or(0);
        change.provider_day(-number, &specialty, patients("before", row)?);
        change.provider_day(number, &specialty, patients("after", row)?);
    }
    Ok(())
}

/// The rows with the sign 1 and their old versions with −1, in parentheses.
fn both(scope: &Scope<'_>, rows: &ScoredRows<'_>) -> String {
    format!(
        "(SELECT 1 AS sign, a.* FROM {} a UNION ALL SELECT -1, b.* FROM {} b)",
        rows.after(scope),
        rows.before(scope)
    )
}

/// Makes [`TOTALS`]: what the rows change of the providers' totals.
///
/// # Errors
/// `Warehouse` when a statement fails.
pub(crate) fn totals(
    connection: &mut impl Connection,
    scope: &Scope<'_>,
    rows: &ScoredRows<'_>,
) -> Result<()> {
    let totals = scope.table(TOTALS);
    sql::execute(
        connection,
        CONTEXT,
        &format!(
            "DROP TABLE IF EXISTS {totals};
             CREATE TABLE {totals} AS
             SELECT c.peer_key, c.specialty, c.procedure_code,
                    sum(c.sign)::bigint AS claims, (sum(c.sign * c.amount) * 100)::bigint AS cents
             FROM {} c WHERE c.procedure_code IS NOT NULL AND c.specialty <> ''
             GROUP BY 1, 2, 3 HAVING sum(c.sign) <> 0 OR sum(c.sign * c.amount) <> 0;
             ANALYZE {totals}",
            both(scope, rows)
        ),
    )
    .map(drop)
}

/// Lays counts down in tables of the run: [`AMOUNTS`], [`WEEKENDS`] and [`PROVIDER_DAYS`].
///
/// # Errors
/// `Warehouse` when a statement fails.
pub(crate) fn lay_down(
    connection: &mut impl Connection,
    scope: &Scope<'_>,
    counts: &Statistics,
) -> Result<()> {
    let texts = |texts: Vec<&str>| Arc::new(StringArray::from(texts)) as ArrayRef;
    let longs = |numbers: Vec<i64>| Arc::new(Int64Array::from(numbers)) as ArrayRef;
    let ints = |numbers: Vec<i32>| Arc::new(Int32Array::from(numbers)) as ArrayRef;

    let columns = "procedure_code text, specialty text, bucket integer, claims bigint";
    scope.create(connection, AMOUNTS, columns)?;
    copy(
        connection,
        &scope.name(AMOUNTS),
        [
            ("procedure_code", texts(counts.amounts().map(|row| row.0).collect())),
            ("specialty", texts(counts.amounts().map(|row| row.1).collect())),
            ("bucket", ints(counts.amounts().map(|row| row.2).collect())),
            ("claims", longs(counts.amounts().map(|row| row.3).collect())),
        ],
    )?;
    let columns = "specialty text, claims bigint, weekend_claims bigint";
    scope.create(connection, WEEKENDS, columns)?;
    copy(
        connection,
        &scope.name(WEEKENDS),
        [
            ("specialty", texts(counts.weekends().map(|row| row.0).collect())),
            ("claims", longs(counts.weekends().map(|row| row.1).collect())),
            ("weekend_claims", longs(counts.weekends().map(|row| row.2).collect())),
        ],
    )?;
    let columns = "specialty text, patients integer, provider_days bigint";
    scope.create(connection, PROVIDER_DAYS, columns)?;
    let patients = counts.provider_days().map(|row| i32::try_from(row.1).unwrap_or(i32::MAX));
    copy(
        connection,
        &scope.name(PROVIDER_DAYS),
        [
            ("specialty", texts(counts.provider_days().map(|row| row.0).collect())),
            ("patients", ints(patients.collect())),
            ("provider_days", longs(counts.provider_days().map(|row| row.2).collect())),
        ],
    )
    .map(drop)
}
