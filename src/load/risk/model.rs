//! The model that rows are scored with: what is stored, and what a load changes of it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use adbc_core::sync::Connection;
use arrow::array::{
    ArrayRef, AsArray, Int32Array, Int64Builder, ListArray, ListBuilder, RecordBatch, StringArray,
    StringBuilder,
};
use arrow::datatypes::{ArrowPrimitiveType, Int32Type, Int64Type};

use super::Scope;
use crate::error::{Error, Result};
use crate::load::risk::delta::{TOTALS, TOTALS_AFTER, unfit};
use crate::load::risk::related_claims::copy;
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

/// A provider's claims and cents by procedure, sorted.
type Totals = Vec<(String, i64, i64)>;

/// What providers were paid and what was expected. `with_change`: with what the run changes of it, whose rows are
/// laid down as they will be.
fn sums(
    connection: &mut impl Connection,
    scope: &Scope<'_>,
    medians: &Medians,
    with_change: bool,
) -> Result<Vec<ProviderSums>> {
    let mut change = if with_change { changed_totals(connection, scope)? } else { BTreeMap::new() };
    let mut after = After::default();
    let mut sums = Vec::new();
    let query = "SELECT peer_key, specialty, procedure_codes, claims, cents
                 FROM claims_etl.risk_provider_totals";
    each_batch(connection, CONTEXT, query, scope.cancel, |_, rows| {
        let (codes, claims) = (Lists::of(rows, "procedure_codes")?, Lists::of(rows, "claims")?);
        let (cents, texts) = (Lists::of(rows, "cents")?, codes.texts()?);
        for row in 0..rows.num_rows() {
            let specialty = sql::text(rows, "specialty", row).unwrap_or_default();
            let (claims, cents) = (claims.row::<Int64Type>(row)?, cents.row::<Int64Type>(row)?);
            let stored = codes.range(row)?.zip(claims).zip(cents);
            let stored = stored.map(|((code, &claims), &cents)| (texts.value(code), claims, cents));
            let key = (specialty, number(rows, "peer_key", row)?);
            let mut sum = ProviderSums::default();
            match change.remove(&key) {
                None => {
                    for (code, claims, cents) in stored {
                        sum.add(claims, cents, medians.expected_micros(code, &key.0));
                    }
                }
                Some(changed) => {
                    let merged = merged(stored, &changed)?;
                    for (code, claims, cents) in &merged {
                        sum.add(*claims, *cents, medians.expected_micros(code, &key.0));
                    }
                    after.push(&key, &merged)?;
                }
            }
            let (specialty, peer_key) = key;
            sums.push(ProviderSums { provider: peer_key.to_string(), specialty, ..sum });
        }
        Ok(())
    })?;
    for (key, changed) in change {
        let totals = merged(std::iter::empty(), &changed)?;
        after.push(&key, &totals)?;
        let mut sum = ProviderSums::default();
        for (code, claims, cents) in &totals {
            sum.add(*claims, *cents, medians.expected_micros(code, &key.0));
        }
        let (specialty, peer_key) = key;
        sums.push(ProviderSums { provider: peer_key.to_string(), specialty, ..sum });
    }
    if with_change {
        after.lay_down(connection, scope)?;
    }
    Ok(sums)
}

/// What the run changes of the providers' totals, by specialty and provider.
fn changed_totals(
    connection: &mut impl Connection,
    scope: &Scope<'_>,
) -> Result<BTreeMap<(String, i64), Totals>> {
    let mut change: BTreeMap<(String, i64), Totals> = BTreeMap::new();
    let query = format!(
        "SELECT peer_key, specialty, procedure_code, claims, cents FROM {}
         ORDER BY procedure_code COLLATE \"C\"",
        scope.table(TOTALS)
    );
    each_batch(connection, CONTEXT, &query, scope.cancel, |_, rows| {
        for row in 0..rows.num_rows() {
            let specialty = sql::text(rows, "specialty", row).unwrap_or_default();
            let code = sql::text(rows, "procedure_code", row).unwrap_or_default();
            let totals = change.entry((specialty, number(rows, "peer_key", row)?)).or_default();
            totals.push((code, number(rows, "claims", row)?, number(rows, "cents", row)?));
        }
        Ok(())
    })?;
    Ok(change)
}

/// Stored totals and a change added up; both are sorted.
fn merged<'a>(
    stored: impl Iterator<Item = (&'a str, i64, i64)>,
    change: &Totals,
) -> Result<Totals> {
    let mut all: BTreeMap<&str, (i64, i64)> =
        stored.map(|(code, n, cents)| (code, (n, cents))).collect();
    for (code, claims, cents) in change {
        let sum = all.entry(code).or_default();
        sum.0 += claims;
        sum.1 += cents;
    }
    all.retain(|_, sum| *sum != (0, 0));
    if all.values().any(|(claims, _)| *claims <= 0) {
        return Err(unfit("claims_etl.risk_provider_totals"));
    }
    Ok(all.into_iter().map(|(code, (claims, cents))| (code.to_owned(), claims, cents)).collect())
}

/// The rows of providers whose totals change.
#[derive(Default)]
struct After {
    peer_keys: Vec<i32>,
    specialties: Vec<String>,
    codes: ListBuilder<StringBuilder>,
    claims: ListBuilder<Int64Builder>,
    cents: ListBuilder<Int64Builder>,
}

impl After {
    fn push(&mut self, key: &(String, i64), totals: &Totals) -> Result<()> {
        self.specialties.push(key.0.clone());
        self.peer_keys.push(i32::try_from(key.1).map_err(|_| no_number())?);
        for (code, claims, cents) in totals {
            self.codes.values().append_value(code);
            self.claims.values().append_value(*claims);
            self.cents.values().append_value(*cents);
        }
        self.codes.append(true);
        self.claims.append(true);
        self.cents.append(true);
        Ok(())
    }

    fn lay_down(mut self, connection: &mut impl Connection, scope: &Scope<'_>) -> Result<()> {
        let columns = "peer_key integer, specialty text, procedure_codes text[], claims bigint[],
                       cents bigint[]";
        scope.create(connection, TOTALS_AFTER, columns)?;
        copy(
            connection,
            &scope.name(TOTALS_AFTER),
            [
                ("peer_key", Arc::new(Int32Array::from(self.peer_keys)) as ArrayRef),
                ("specialty", Arc::new(StringArray::from(self.specialties))),
                ("procedure_codes", Arc::new(self.codes.finish())),
                ("claims", Arc::new(self.claims.finish())),
                ("cents", Arc::new(self.cents.finish())),
            ],
        )
        .map(drop)
    }
}
