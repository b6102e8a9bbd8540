//! What the rows of a run were scored by, as tables: in place of what was stored before.
//!
//! Totals of providers are streamed part by part: there can be as many as claims.

use std::sync::Arc;

use adbc_core::options::IngestMode;
use adbc_core::sync::Connection;
use arrow::array::{
    ArrayRef, Int32Array, Int64Array, ListBuilder, RecordBatch, RecordBatchReader, StringArray,
    StringBuilder,
};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, SchemaRef};
use arrow::error::ArrowError;

use crate::error::{Error, Result};
use crate::load::risk::lists;
use crate::risk::settings::Risk;
use crate::risk::{Kept, RISK_MODEL, Statistics};
use crate::schema::INTERNAL;
use crate::shuffle::{Distinct, Shuffle, Total};
use crate::warehouse::sql;

const CONTEXT: &str = "writing the statistics of the score";
/// Rows of a batch.
const ROWS: usize = 32_768;

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
    let groups: Vec<_> =
        amounts.chunk_by(|one, other| (one.0, one.1) == (other.0, other.1)).collect();
    write(
        connection,
        "risk_statistics",
        batches(&groups, |groups| {
            vec![
                ("procedure_code", texts(groups.iter().map(|rows| rows[0].0))),
                ("specialty", texts(groups.iter().map(|rows| rows[0].1))),
                ("buckets", lists::<Int32Type, _>(groups, |row| row.2)),
                ("claims", lists::<Int64Type, _>(groups, |row| row.3)),
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
    let groups: Vec<_> = days.chunk_by(|one, other| one.0 == other.0).collect();
    write(
        connection,
        "risk_provider_days",
        batches(&groups, |groups| {
            vec![
                ("specialty", texts(groups.iter().map(|rows| rows[0].0))),
                (
                    "patients",
                    lists::<Int32Type, _>(groups, |row| i32::try_from(row.1).unwrap_or(i32::MAX)),
                ),
                ("provider_days", lists::<Int64Type, _>(groups, |row| row.2)),
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
        let broken = |_| Error::internal("the totals of providers are no batch");
        let mut providers: Vec<Vec<Total>> =
            totals.chunk_by(|one, other| one.place == other.place).map(<[Total]>::to_vec).collect();
        for provider in &mut providers {
            // In the order of the codes, as a merge keeps them.
            provider.sort_unstable_by_key(|total| code(total.code));
        }
        let groups: Vec<&[Total]> = providers.iter().map(Vec::as_slice).collect();
        let mut codes = ListBuilder::new(StringBuilder::new());
        for group in &groups {
            for total in *group {
                codes.values().append_value(code(total.code));
            }
            codes.append(true);
        }
        let first = || groups.iter().map(|group| group[0].place);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from_iter_values(first().map(key))),
            texts(first().map(specialty)),
            Arc::new(codes.finish()),
            lists::<Int64Type, _>(&groups, |total| total.claims),
            lists::<Int64Type, _>(&groups, |total| total.cents),
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
        let list = |name: &str, of: DataType| {
            let element = Arc::new(Field::new_list_field(of, true));
            Field::new(name, DataType::List(element), false)
        };
        Arc::new(Schema::new(vec![
            Field::new("peer_key", DataType::Int32, false),
            Field::new("specialty", DataType::Utf8, false),
            list("procedure_codes", DataType::Utf8),
            list("claims", DataType::Int64),
            list("cents", DataType::Int64),
        ]))
    }
}
