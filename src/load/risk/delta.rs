//! What a load changes the statistics by: the rows that differ come in, their old versions go out.

use std::sync::Arc;

use adbc_core::sync::Connection;
use arrow::array::{ArrayRef, Int64Array, ListBuilder, PrimitiveBuilder, StringArray};
use arrow::datatypes::{ArrowPrimitiveType, Int32Type, Int64Type};

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
/// The stored totals of the providers whose totals change, as they will be.
pub(crate) const TOTALS_AFTER: &str = "totals_after";
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

/// Lays down in tables of the run what `change` changes: [`WEEKENDS`] as sums to be added, and the rows of
/// [`AMOUNTS`] and [`PROVIDER_DAYS`] as they will be, of which `all` are the counts.
///
/// # Errors
/// `Quality` when a count would fall below zero, `Warehouse` when a statement fails.
pub(crate) fn lay_down(
    connection: &mut impl Connection,
    scope: &Scope<'_>,
    change: &Statistics,
    all: &Statistics,
) -> Result<()> {
    let texts = |texts: Vec<&str>| Arc::new(StringArray::from(texts)) as ArrayRef;
    let longs = |numbers: Vec<i64>| Arc::new(Int64Array::from(numbers)) as ArrayRef;

    let mut keys: Vec<(&str, &str)> = change.amounts().map(|row| (row.0, row.1)).collect();
    keys.dedup();
    let groups: Vec<Vec<(i32, i64)>> = keys.iter().map(|key| all.group(key.0, key.1)).collect();
    let columns = "procedure_code text, specialty text, buckets integer[], claims bigint[]";
    scope.create(connection, AMOUNTS, columns)?;
    copy(
        connection,
        &scope.name(AMOUNTS),
        [
            ("procedure_code", texts(keys.iter().map(|key| key.0).collect())),
            ("specialty", texts(keys.iter().map(|key| key.1).collect())),
            ("buckets", lists::<Int32Type, _>(&groups, |row| row.0)),
            ("claims", lists::<Int64Type, _>(&groups, |row| row.1)),
        ],
    )?;
    let columns = "specialty text, claims bigint, weekend_claims bigint";
    scope.create(connection, WEEKENDS, columns)?;
    copy(
        connection,
        &scope.name(WEEKENDS),
        [
            ("specialty", texts(change.weekends().map(|row| row.0).collect())),
            ("claims", longs(change.weekends().map(|row| row.1).collect())),
            ("weekend_claims", longs(change.weekends().map(|row| row.2).collect())),
        ],
    )?;
    let mut keys: Vec<&str> = change.provider_days().map(|row| row.0).collect();
    keys.dedup();
    let days: Vec<Vec<(u32, i64)>> = keys.iter().map(|specialty| all.days_of(specialty)).collect();
    let columns = "specialty text, patients integer[], provider_days bigint[]";
    scope.create(connection, PROVIDER_DAYS, columns)?;
    copy(
        connection,
        &scope.name(PROVIDER_DAYS),
        [
            ("specialty", texts(keys)),
            (
                "patients",
                lists::<Int32Type, _>(&days, |row| i32::try_from(row.0).unwrap_or(i32::MAX)),
            ),
            ("provider_days", lists::<Int64Type, _>(&days, |row| row.1)),
        ],
    )?;
    let negative =
        groups.iter().flatten().any(|row| row.1 < 0) || days.iter().flatten().any(|row| row.1 < 0);
    if negative { Err(unfit("claims_etl.risk_statistics")) } else { Ok(()) }
}

/// Stored statistics that are not those of the published claims.
pub(super) fn unfit(table: &str) -> Error {
    Error::quality(format!(
        "{table} does not fit the published claims: somebody else has changed them; nothing was published"
    ))
    .hint("`DELETE FROM claims_etl.risk_state`, and the next run counts the statistics again")
}

/// An array per group of rows.
pub(in crate::load) fn lists<T, R>(
    groups: &[impl AsRef<[R]>],
    value: impl Fn(&R) -> T::Native,
) -> ArrayRef
where
    T: ArrowPrimitiveType,
{
    let mut lists = ListBuilder::new(PrimitiveBuilder::<T>::new());
    for group in groups {
        for row in group.as_ref() {
            lists.values().append_value(value(row));
        }
        lists.append(true);
    }
    Arc::new(lists.finish())
}

/// Makes [`TOTALS_AFTER`] of the totals that were counted, where none are stored.
///
/// # Errors
/// `Warehouse` when a statement fails.
pub(super) fn totals_alone(connection: &mut impl Connection, scope: &Scope<'_>) -> Result<()> {
    let (after, totals) = (scope.table(TOTALS_AFTER), scope.table(TOTALS));
    let array = |column: &str| {
        format!("array_agg({column} ORDER BY procedure_code COLLATE \"C\") AS {column}")
    };
    sql::execute(
        connection,
        CONTEXT,
        &format!(
            "DROP TABLE IF EXISTS {after};
             CREATE TABLE {after} AS
             SELECT peer_key, specialty, {}s, {}, {} FROM {totals} GROUP BY 1, 2",
            array("procedure_code"),
            array("claims"),
            array("cents")
        ),
    )
    .map(drop)
}
