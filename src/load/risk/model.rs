//! The model that rows are scored with: what is stored, and what a load changes of it.

use std::collections::BTreeMap;
use std::ops::Range;

use adbc_core::sync::Connection;
use arrow::array::{AsArray, ListArray, RecordBatch, StringArray};
use arrow::datatypes::{ArrowPrimitiveType, Int32Type, Int64Type};

use super::Scope;
use crate::error::{Error, Result};
use crate::load::risk::delta::TOTALS;
use crate::risk::{Medians, ProviderSums, RiskModel, Statistics};
use crate::warehouse::cursor::each_batch;
use crate::warehouse::sql;

const CONTEXT: &str = "reading the statistics";

/// The stored counts, within the transaction that is open. What is not kept is not there.
///
/// # Errors
/// `Warehouse` when a query fails.
pub(super) fn read(connection: &mut impl Connection, scope: &Scope<'_>) -> Result<Statistics> {
    let mut read = Statistics::default();
    let query = "SELECT procedure_code, specialty, buckets, claims FROM claims_etl.risk_statistics";
    each_batch(connection, CONTEXT, query, scope.cancel, |_, rows| {
        let (buckets, claims) = (Lists::of(rows, "buckets")?, Lists::of(rows, "claims")?);
        for row in 0..rows.num_rows() {
            let procedure = sql::text(rows, "procedure_code", row).unwrap_or_default();
            let specialty = sql::text(rows, "specialty", row).unwrap_or_default();
            let (buckets, claims) = (buckets.row::<Int32Type>(row)?, claims.row::<Int64Type>(row)?);
            read.set_amounts(
                &procedure,
                &specialty,
                buckets.iter().copied().zip(claims.iter().copied()),
            );
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
    let (patients, days) = (Lists::of(&rows, "patients")?, Lists::of(&rows, "provider_days")?);
    for row in 0..rows.num_rows() {
        let specialty = sql::text(&rows, "specialty", row).unwrap_or_default();
        let (patients, days) = (patients.row::<Int32Type>(row)?, days.row::<Int64Type>(row)?);
        for (&patients, &days) in patients.iter().zip(days) {
            let patients = u32::try_from(patients).map_err(|_| no_number())?;
            read.set_provider_days(&specialty, patients, days);
        }
    }
    Ok(read)
}

/// A column of arrays, of which none is null nor has a null.
struct Lists<'a>(&'a ListArray);

impl<'a> Lists<'a> {
    fn of(rows: &'a RecordBatch, column: &str) -> Result<Self> {
        let lists = rows.column_by_name(column).and_then(|lists| lists.as_list_opt());
        lists.map(Self).ok_or_else(no_number)
    }

    /// Where the elements of a row are among all.
    fn range(&self, row: usize) -> Result<Range<usize>> {
        let offsets = self.0.value_offsets();
        let place = |row: usize| usize::try_from(offsets[row]).map_err(|_| no_number());
        Ok(place(row)?..place(row + 1)?)
    }

    fn row<T: ArrowPrimitiveType>(&self, row: usize) -> Result<&'a [T::Native]> {
        let values = self.0.values().as_primitive_opt::<T>().ok_or_else(no_number)?;
        values.values().get(self.range(row)?).ok_or_else(no_number)
    }

    fn texts(&self) -> Result<&'a StringArray> {
        self.0.values().as_string_opt().ok_or_else(no_number)
    }
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

/// What providers were paid and what was expected.
fn sums(
    connection: &mut impl Connection,
    scope: &Scope<'_>,
    medians: &Medians,
    with_change: bool,
) -> Result<Vec<ProviderSums>> {
    let mut sums: BTreeMap<(String, i64), ProviderSums> = BTreeMap::new();
    let query = "SELECT peer_key, specialty, procedure_codes, claims, cents
                 FROM claims_etl.risk_provider_totals";
    each_batch(connection, CONTEXT, query, scope.cancel, |_, rows| {
        let (codes, claims) = (Lists::of(rows, "procedure_codes")?, Lists::of(rows, "claims")?);
        let (cents, texts) = (Lists::of(rows, "cents")?, codes.texts()?);
        for row in 0..rows.num_rows() {
            let specialty = sql::text(rows, "specialty", row).unwrap_or_default();
            let entry =
                sums.entry((specialty.clone(), number(rows, "peer_key", row)?)).or_default();
            let (claims, cents) = (claims.row::<Int64Type>(row)?, cents.row::<Int64Type>(row)?);
            for ((code, &claims), &cents) in codes.range(row)?.zip(claims).zip(cents) {
                let expected = medians.expected_micros(texts.value(code), &specialty);
                entry.add(claims, cents, expected);
            }
        }
        Ok(())
    })?;
    if with_change {
        let query = format!(
            "SELECT peer_key, specialty, procedure_code, claims, cents FROM {}",
            scope.table(TOTALS)
        );
        each_batch(connection, CONTEXT, &query, scope.cancel, |_, rows| {
            for row in 0..rows.num_rows() {
                let specialty = sql::text(rows, "specialty", row).unwrap_or_default();
                let code = sql::text(rows, "procedure_code", row).unwrap_or_default();
                let expected = medians.expected_micros(&code, &specialty);
                let entry = sums.entry((specialty, number(rows, "peer_key", row)?)).or_default();
                entry.add(number(rows, "claims", row)?, number(rows, "cents", row)?, expected);
            }
            Ok(())
        })?;
    }
    let named = sums.into_iter().map(|((specialty, peer_key), sums)| ProviderSums {
        provider: peer_key.to_string(),
        specialty,
        ..sums
    });
    Ok(named.collect())
}
