//! Small tables that are written beside the claims: the staged providers.

use std::collections::BTreeSet;
use std::sync::Arc;

use adbc_core::options::IngestMode;
use adbc_core::sync::Connection;
use arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchIterator, StringArray};
use polars::prelude::DataFrame;

use super::risk::STORED;
use crate::error::{Error, Result};
use crate::interchange::record_batch;
use crate::load::staging_tables::providers_stage;
use crate::schema::{CLAIMS_FACT, INTERNAL, PROVIDERS_DIM, PUBLISHED, Shape, provider_schema};
use crate::warehouse::load_strategy::LoadStrategy;
use crate::warehouse::sql;

/// Stages the directory's members.
///
/// # Errors
/// `Warehouse` when COPY fails.
pub(crate) fn stage_providers(
    connection: &mut impl Connection,
    run_no: i64,
    members: &DataFrame,
    shape: Shape,
) -> Result<()> {
    let batch = record_batch(members, &provider_schema(shape))?;
    write(connection, &providers_stage(run_no), batch)
}

/// Stages members for provider ids that only claims name.
///
/// # Errors
/// `Warehouse` when COPY fails.
pub(crate) fn stage_inferred(
    connection: &mut impl Connection,
    run_no: i64,
    ids: &BTreeSet<String>,
) -> Result<()> {
    let columns: [(&str, ArrayRef); 2] = [
        ("provider_id", Arc::new(StringArray::from_iter_values(ids))),
        ("is_inferred", Arc::new(BooleanArray::from(vec![true; ids.len()]))),
    ];
    write(connection, &providers_stage(run_no), batch(columns)?)
}

/// Refreshes the planner's statistics: a partition that has just been attached has none, and the
/// dashboards' queries come next. Where all was replaced, nothing of what was there may stay in them,
/// nor in the pages of the dimension.
///
/// # Errors
/// `Warehouse` when a statement fails; the data are published all the same.
pub(crate) fn analyze(connection: &mut impl Connection, strategy: LoadStrategy) -> Result<()> {
    let context = "planner statistics";
    let published = format!("{PUBLISHED}.{CLAIMS_FACT}, {PUBLISHED}.{PROVIDERS_DIM}");
    if strategy != LoadStrategy::Attach {
        return sql::execute(connection, context, &format!("ANALYZE {published}")).map(drop);
    }
    let scores = STORED.map(|stored| stored.table.name).join(", ");
    sql::execute(connection, context, &format!("ANALYZE {published}, {scores}"))?;
    sql::execute(connection, context, &format!("VACUUM {PUBLISHED}.{PROVIDERS_DIM}")).map(drop)
}

fn batch<const N: usize>(columns: [(&str, ArrayRef); N]) -> Result<RecordBatch> {
    RecordBatch::try_from_iter(columns)
        .map_err(|_| Error::internal("columns of unequal length for a small table"))
}

fn write(connection: &mut impl Connection, table: &str, batch: RecordBatch) -> Result<()> {
    let schema = batch.schema();
    let reader = RecordBatchIterator::new([Ok(batch)], schema);
    sql::ingest(connection, (INTERNAL, table), IngestMode::Append, &[], Box::new(reader)).map(drop)
}
