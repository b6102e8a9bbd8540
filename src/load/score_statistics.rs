//! What the rows of a run were scored by, as tables: in place of what was stored before.
//!
//! Totals of providers are streamed part by part: there can be as many as claims.

use std::sync::Arc;

use adbc_core::options::IngestMode;
use adbc_core::sync::Connection;
use arrow::array::{
    ArrayRef, Decimal128Array, Int32Array, Int64Array, RecordBatch, RecordBatchReader, StringArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;

use crate::error::{Error, Result};
use crate::risk::settings::Risk;
use crate::risk::{Kept, RISK_MODEL, Statistics};
use crate::schema::INTERNAL;
use crate::shuffle::{Distinct, Shuffle};
use crate::warehouse::sql;

const CONTEXT: &str = "writing the statistics of the score";
/// Rows of a batch.
const ROWS: usize = 32_768;
/// Digits of a sum of dollars.
const PRECISION: u8 = 20;

/// The statistics of a run whose rows are all there will be.
#[derive(Clone)]
pub(crate) struct Own {
    /// The counts.
    pub(crate) statistics: Statistics,
    pub(crate) kept: Kept,
    /// Procedures by number.
    pub(crate) codes: Vec<String>,
    /// Their specialties in canonical case.
    pub(crate) specialties: Vec<Arc<str>>,
}

/// What a run was scored with, and what its tokens mean.
#[derive(Clone)]
pub(crate) struct ScoredBy {
    /// Weights and thresholds.
    pub(crate) parameters: Risk,
    /// None where the rows are scored against all that is published.
    pub(crate) own: Option<Arc<Own>>,
    /// Identifiers and tokens of patients.
    pub(crate) patients: Distinct,
    /// The same of the providers of the directory.
    pub(crate) providers: Distinct,
}

/// What is published of a score beside the rows.
pub(crate) struct Scored<'a> {
    /// What the rows were scored with.
    pub(crate) by: &'a ScoredBy,
    /// Identifiers and tokens of claims.
    pub(crate) claims: Distinct,
    /// What holds the totals of providers.
    pub(crate) shuffle: &'a Arc<Shuffle>,
}

/// Writes weights and thresholds to the ledger, the counts of identifiers, and the statistics in
/// place of those that were stored.
///
/// # Errors
/// `Warehouse` when a statement fails.
pub(crate) fn write_statistics(
    connection: &mut impl Connection,
    run_no: i64,
    scored: &Scored<'_>,
    keys: &[i32],
) -> Result<()> {
    let Scored { by: ScoredBy { parameters, own, patients, providers }, claims, shuffle } = scored;
    let parameters = serde_json::to_string(parameters)
        .map_err(|_| Error::internal("settings that are no JSON"))?;
    let identifiers = serde_json::json!({
        "claim": claims, "patient": patients, "provider": providers,
    });
    sql::execute_with(
        connection,
        CONTEXT,
        &format!(
            "UPDATE {INTERNAL}.runs SET risk_parameters = $1::text::jsonb, identifiers = $2::text::jsonb
             WHERE run_no = {run_no}"
        ),
        sql::texts(&[Some(&parameters), Some(&identifiers.to_string())]),
    )?;
    own.as_ref().map_or(Ok(()), |own| replace(connection, run_no, own, shuffle, keys))
}

/// Writes the statistics in place of those that were stored.
fn replace(
    connection: &mut impl Connection,
    run_no: i64,
    own: &Arc<Own>,
    shuffle: &Arc<Shuffle>,
    keys: &[i32],
) -> Result<()> {
    let kept: Vec<String> = own.kept.names().map(|name| format!("'{name}'")).collect();
    sql::execute(
        connection,
        CONTEXT,
        &format!(
            "TRUNCATE {INTERNAL}.risk_statistics, {INTERNAL}.risk_weekends,
                 {INTERNAL}.risk_provider_totals, {INTERNAL}.risk_provider_days;
             INSERT INTO {INTERNAL}.risk_state (version, model, kept)
             VALUES ({run_no}, '{RISK_MODEL}', ARRAY[{}]::text[])
             ON CONFLICT (singleton) DO UPDATE
             SET version = excluded.version, model = excluded.model, kept = excluded.kept, as_of = now()",
            kept.join(", ")
        ),
    )?;
    let statistics = &own.statistics;
    let amounts: Vec<_> = statistics.amounts().collect();
    write(
        connection,
        "risk_statistics",
        batches(&amounts, |rows| {
            vec![
                ("procedure_code", texts(rows.iter().map(|row| row.0))),
                ("specialty", texts(rows.iter().map(|row| row.1))),
                ("bucket", Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.2)))),
                ("claims", integers(rows.iter().map(|row| row.3))),
            ]
        })?,
    )?;
    let weekends: Vec<_> = statistics.weekends().collect();
    write(
        connection,
        "risk_weekends",
        batches(&weekends, |rows| {
            vec![
                ("specialty", texts(rows.iter().map(|row| row.0))),
                ("claims", integers(rows.iter().map(|row| row.1))),
                ("weekend_claims", integers(rows.iter().map(|row| row.2))),
            ]
        })?,
    )?;
    let days: Vec<_> = statistics.provider_days().collect();
    write(
        connection,
        "risk_provider_days",
        batches(&days, |rows| {
            let patients = rows.iter().map(|row| i32::try_from(row.1).unwrap_or(i32::MAX));
            vec![
                ("specialty", texts(rows.iter().map(|row| row.0))),
                ("patients", Arc::new(Int32Array::from_iter_values(patients))),
                ("provider_days", integers(rows.iter().map(|row| row.2))),
            ]
        })?,
    )?;
    let keys = keys.into();
    let totals = Totals { own: Arc::clone(own), keys, shuffle: Arc::clone(shuffle), part: 0 };
    let target = (INTERNAL, "risk_provider_totals");
    sql::ingest(connection, target, IngestMode::Append, &[], Box::new(totals)).map(drop)
}

fn texts<'t>(texts: impl Iterator<Item = &'t str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(texts))
}

fn integers(numbers: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(numbers))
}

/// Rows as batches.
fn batches<T>(
    rows: &[T],
    columns: impl Fn(&[T]) -> Vec<(&'static str, ArrayRef)>,
) -> Result<Vec<RecordBatch>> {
    let batch = |rows: &[T]| RecordBatch::try_from_iter(columns(rows));
    let unequal = |_| Error::internal("columns of unequal length for the statistics");
    rows.chunks(ROWS).map(|rows| batch(rows).map_err(unequal)).collect()
}

fn write(connection: &mut impl Connection, table: &str, batches: Vec<RecordBatch>) -> Result<()> {
    let Some(first) = batches.first() else { return Ok(()) };
    let schema = first.schema();
    let batches = batches.into_iter().map(Ok);
    let reader = arrow::array::RecordBatchIterator::new(batches, schema);
    sql::ingest(connection, (INTERNAL, table), IngestMode::Append, &[], Box::new(reader)).map(drop)
}

/// The totals of providers, part by part.
struct Totals {
    own: Arc<Own>,
    /// The providers' keys by row of the directory.
    keys: Arc<[i32]>,
    shuffle: Arc<Shuffle>,
    part: usize,
}

impl Totals {
    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let part = self.part;
        self.part += 1;
        let Some(totals) = self.shuffle.provider_totals(part)? else { return Ok(None) };
        let own = &self.own;
        let key = |place: u32| self.keys.get(place as usize).copied().unwrap_or_default();
        let specialty =
            |place: u32| own.specialties.get(place as usize).map_or("", |specialty| specialty);
        let code = |code: u32| own.codes.get(code as usize).map_or("", String::as_str);
        let amounts = totals.iter().map(|total| i128::from(total.cents));
        let broken = |_| Error::internal("the totals of providers are no batch");
        let amounts = Decimal128Array::from_iter_values(amounts);
        let amounts = amounts.with_precision_and_scale(PRECISION, 2).map_err(broken)?;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from_iter_values(totals.iter().map(|total| key(total.place)))),
            texts(totals.iter().map(|total| specialty(total.place))),
            texts(totals.iter().map(|total| code(total.code))),
            integers(totals.iter().map(|total| total.claims)),
            Arc::new(amounts),
        ];
        RecordBatch::try_new(self.schema(), columns).map(Some).map_err(broken)
    }
}

impl Iterator for Totals {
    type Item = std::result::Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let failed = |failure: Error| ArrowError::ExternalError(failure.message().into());
        self.next_batch().map_err(failed).transpose()
    }
}

impl RecordBatchReader for Totals {
    fn schema(&self) -> SchemaRef {
        let text = |name: &str| Field::new(name, DataType::Utf8, false);
        Arc::new(Schema::new(vec![
            Field::new("peer_key", DataType::Int32, false),
            text("specialty"),
            text("procedure_code"),
            Field::new("claims", DataType::Int64, false),
            Field::new("amount", DataType::Decimal128(PRECISION, 2), false),
        ]))
    }
}
