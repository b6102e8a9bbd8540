//! The providers of a run as versions of the dimension, which is a slowly changing one of type 2.
//!
//! Keys are assigned while staging, so that claims can be staged with them. A directory that changes a
//! provider closes its version and adds another; a placeholder is completed in place. A `replace` leaves in
//! the dimension exactly what its input names, so a person who is erased from a directory is gone.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use adbc_core::options::IngestMode;
use adbc_core::sync::Connection;
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeBinaryArray, Int32Array, RecordBatch,
    RecordBatchIterator, StringArray, StringViewArray,
};
use polars::prelude::DataFrame;

use crate::error::{Error, Result};
use crate::interchange::record_batch;
use crate::load::staging_tables::{older_versions, provider_versions, providers_stage};
use crate::schema::{
    INTERNAL, PROVIDERS_DIM, PUBLISHED, Shape, UNKNOWN_PROVIDER_KEY, provider_columns,
    provider_schema,
};
use crate::warehouse::sql;
use crate::warehouse::table_checks::foreign_keys_to;

const CONTEXT: &str = "staging the providers";

/// A directory, as it is released.
pub(crate) struct StagedDirectory<'a> {
    pub(crate) frame: &'a DataFrame,
    pub(crate) shape: Shape,
    /// The specialties by row, in canonical case; empty for none.
    pub(crate) peer_specialties: Vec<&'a str>,
    /// Providers that only claims name.
    pub(crate) others: &'a BTreeSet<String>,
}

/// What becomes of the versions that are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PublishedVersions {
    /// They stay, current or closed.
    Kept,
    /// Only those that the run names stay.
    Replaced,
    /// None stays: other columns or privacy actions.
    Emptied,
}

/// The providers of a run with their keys.
#[derive(Debug, Clone, Default)]
pub(crate) struct StagedProviders {
    /// By row of the directory.
    pub(crate) by_row: Vec<i32>,
    pub(crate) others: HashMap<String, i32>,
    pub(crate) counts: ProviderChanges,
}

/// How a run changes the dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ProviderChanges {
    /// New placeholders: providers that only claims name.
    pub(crate) placeholders: u64,
    /// Providers of the directory that are new or have other content.
    pub(crate) changed: u64,
    /// Those of them that an earlier directory had with other content.
    pub(crate) updated: u64,
    /// Placeholders that the directory completes.
    pub(crate) completed: u64,
}

/// Stages the providers and assigns their keys.
///
/// # Errors
/// `Warehouse` when a statement fails.
pub(crate) fn stage(
    connection: &mut impl Connection,
    run_no: i64,
    directory: &StagedDirectory<'_>,
    published: PublishedVersions,
) -> Result<StagedProviders> {
    let columns = provider_columns(directory.shape);
    let definitions: Vec<String> =
        columns.iter().map(|column| format!("{} {}", column.name, column.postgres)).collect();
    let stage = providers_stage(run_no);
    sql::execute(
        connection,
        CONTEXT,
        &format!(
            "CREATE TABLE {INTERNAL}.{stage} (
                 ordinal integer NOT NULL, {}, peer_specialty text NOT NULL DEFAULT '',
                 row_hash uuid, is_placeholder boolean NOT NULL)",
            definitions.join(", ")
        ),
    )?;
    let members = directory.frame.height();
    write(connection, &stage, directory_batch(directory)?)?;
    write(connection, &stage, others_batch(directory.others, members)?)?;
    assign_keys(connection, run_no, published)?;
    let keys = sql::query(
        connection,
        CONTEXT,
        &format!(
            "SELECT provider_key FROM {INTERNAL}.{} ORDER BY ordinal",
            provider_versions(run_no)
        ),
    )?;
    let key = |row: usize| {
        let key = sql::int(&keys, "provider_key", row).and_then(|key| i32::try_from(key).ok());
        key.ok_or_else(|| Error::internal("a provider without a key"))
    };
    if keys.num_rows() != members + directory.others.len() {
        return Err(Error::internal("not every provider has one key"));
    }
    let by_row = (0..members).map(key).collect::<Result<_>>()?;
    let others = directory.others.iter().zip(members..);
    let others = others.map(|(id, row)| Ok((id.clone(), key(row)?))).collect::<Result<_>>()?;
    Ok(StagedProviders { by_row, others, counts: count(connection, run_no)? })
}

fn directory_batch(directory: &StagedDirectory<'_>) -> Result<RecordBatch> {
    let batch = record_batch(directory.frame, &provider_schema(directory.shape))?;
    let rows = batch.num_rows();
    let hashes = row_hashes(&batch)?;
    let schema = batch.schema();
    let names = schema.fields().iter().map(|field| field.name().clone());
    let mut columns: Vec<(String, ArrayRef)> = names.zip(batch.columns().iter().cloned()).collect();
    let specialties = directory.peer_specialties.iter();
    columns.extend([
        ("ordinal".to_owned(), ordinals(0, rows)?),
        (
            "peer_specialty".to_owned(),
            Arc::new(StringArray::from_iter_values(specialties)) as ArrayRef,
        ),
        ("row_hash".to_owned(), hashes),
        ("is_placeholder".to_owned(), Arc::new(BooleanArray::from(vec![false; rows]))),
    ]);
    RecordBatch::try_from_iter(columns).map_err(unequal)
}

/// The digest of each row but for the id: sixteen bytes of BLAKE3 of its texts, each after its length.
fn row_hashes(batch: &RecordBatch) -> Result<ArrayRef> {
    let texts: Vec<&StringViewArray> =
        batch.columns()[1..].iter().filter_map(|column| column.as_string_view_opt()).collect();
    let hash = |row: usize| {
        let mut hasher = blake3::Hasher::new();
        for column in &texts {
            let text = (!column.is_null(row)).then(|| column.value(row));
            let length = text.map_or(u64::MAX, |text| text.len() as u64);
            hasher.update(&length.to_le_bytes()).update(text.unwrap_or_default().as_bytes());
        }
        let mut hash = [0; 16];
        hash.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        hash
    };
    if batch.num_rows() == 0 {
        return Ok(Arc::new(FixedSizeBinaryArray::new_null(16, 0)));
    }
    let hashes = FixedSizeBinaryArray::try_from_iter((0..batch.num_rows()).map(hash));
    hashes.map(|hashes| Arc::new(hashes) as ArrayRef).map_err(unequal)
}

fn others_batch(others: &BTreeSet<String>, start: usize) -> Result<RecordBatch> {
    let columns: [(&str, ArrayRef); 3] = [
        ("ordinal", ordinals(start, others.len())?),
        ("provider_id", Arc::new(StringArray::from_iter_values(others))),
        ("is_placeholder", Arc::new(BooleanArray::from(vec![true; others.len()]))),
    ];
    RecordBatch::try_from_iter(columns).map_err(unequal)
}

fn unequal(_: arrow::error::ArrowError) -> Error {
    Error::internal("columns of unequal length for the providers")
}

fn ordinals(start: usize, rows: usize) -> Result<ArrayRef> {
    let many = || Error::internal("more than two billion providers");
    let start = i32::try_from(start).map_err(|_| many())?;
    let end = i32::try_from(rows).ok().and_then(|rows| start.checked_add(rows)).ok_or_else(many)?;
    Ok(Arc::new(Int32Array::from_iter_values(start..end)))
}

fn write(connection: &mut impl Connection, table: &str, batch: RecordBatch) -> Result<()> {
    let schema = batch.schema();
    let reader = RecordBatchIterator::new([Ok(batch)], schema);
    sql::ingest(connection, (INTERNAL, table), IngestMode::Append, &[], Box::new(reader)).map(drop)
}

/// Makes the table of versions: each staged provider, how it differs from the dimension, and its key.
fn assign_keys(
    connection: &mut impl Connection,
    run_no: i64,
    published: PublishedVersions,
) -> Result<()> {
    let (stage, versions) = (providers_stage(run_no), provider_versions(run_no));
    // Without the claims of before there is no need for their versions.
    let (known, named_by_claims, other) = match published {
        PublishedVersions::Kept => ("true", "'same'", "changed"),
        PublishedVersions::Replaced => {
            ("true", "CASE WHEN d.is_placeholder THEN 'same' ELSE 'overwritten' END", "overwritten")
        }
        PublishedVersions::Emptied => ("false", "'new'", "new"),
    };
    sql::execute(
        connection,
        CONTEXT,
        &format!(
            "CREATE TABLE {INTERNAL}.{versions} AS
             WITH compared AS (
                 SELECT s.*, d.provider_key AS published_key,
                        CASE WHEN d.provider_key IS NULL THEN 'new'
                             WHEN s.is_placeholder THEN {named_by_claims}
                             WHEN d.is_placeholder THEN 'completed'
                             WHEN d.row_hash IS DISTINCT FROM s.row_hash THEN '{other}'
                             ELSE 'same' END AS change
                 FROM {INTERNAL}.{stage} s
                 LEFT JOIN {PUBLISHED}.{PROVIDERS_DIM} d
                     ON d.provider_id = s.provider_id AND d.is_current AND {known}),
             numbered AS (
                 SELECT ordinal, (SELECT max(provider_key) FROM {PUBLISHED}.{PROVIDERS_DIM})
                        + (row_number() OVER (ORDER BY provider_id COLLATE \"C\"))::integer AS new_key
                 FROM compared WHERE change IN ('new', 'changed'))
             SELECT c.*, coalesce(n.new_key, c.published_key) AS provider_key
             FROM compared c LEFT JOIN numbered n USING (ordinal);
             CREATE TABLE {INTERNAL}.{older} AS
             SELECT published_key AS provider_key, provider_key AS current_key
             FROM {INTERNAL}.{versions} WHERE change = 'changed'
             UNION ALL
             SELECT d.provider_key, v.provider_key
             FROM {PUBLISHED}.{PROVIDERS_DIM} d
             JOIN {INTERNAL}.{versions} v ON v.provider_id = d.provider_id
             WHERE NOT d.is_current AND {known};
             ALTER TABLE {INTERNAL}.{older} ADD PRIMARY KEY (provider_key);
             DROP TABLE {INTERNAL}.{stage}",
            older = older_versions(run_no)
        ),
    )
    .map(drop)
}

fn count(connection: &mut impl Connection, run_no: i64) -> Result<ProviderChanges> {
    let rows = sql::query(
        connection,
        CONTEXT,
        &format!(
            "SELECT count(*) FILTER (WHERE is_placeholder AND change <> 'same') AS placeholders,
                    count(*) FILTER (WHERE NOT is_placeholder AND change <> 'same') AS changed,
                    count(*) FILTER (WHERE NOT is_placeholder AND change IN ('changed', 'overwritten'))
                        AS updated,
                    count(*) FILTER (WHERE change = 'completed') AS completed
             FROM {INTERNAL}.{}",
            provider_versions(run_no)
        ),
    )?;
    let count = |name: &str| {
        let count = sql::int(&rows, name, 0).and_then(|n| u64::try_from(n).ok());
        count.ok_or_else(|| Error::internal("a count that is not a number"))
    };
    Ok(ProviderChanges {
        placeholders: count("placeholders")?,
        changed: count("changed")?,
        updated: count("updated")?,
        completed: count("completed")?,
    })
}

/// Publishes the staged versions, within the publishing transaction; how many others were removed.
///
/// # Errors
/// `Warehouse` when a statement fails, or others' tables refer to a provider that is removed.
pub(super) fn publish(
    connection: &mut impl Connection,
    run_no: i64,
    shape: Shape,
    published: PublishedVersions,
) -> Result<u64> {
    let versions = format!("{INTERNAL}.{}", provider_versions(run_no));
    let columns = provider_columns(shape);
    let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
    let set: Vec<String> = names[1..].iter().map(|name| format!("{name} = v.{name}")).collect();
    let set = if set.is_empty() { String::new() } else { format!("{}, ", set.join(", ")) };
    let names = names.join(", ");
    sql::execute(
        connection,
        "publishing providers",
        &format!(
            "UPDATE {PUBLISHED}.{PROVIDERS_DIM} d
             SET {set}row_hash = v.row_hash, is_placeholder = v.is_placeholder, run_no = {run_no},
                 valid_from = CASE WHEN v.change = 'overwritten' THEN now() ELSE d.valid_from END
             FROM {versions} v
             WHERE v.change IN ('completed', 'overwritten') AND d.provider_key = v.provider_key;
             UPDATE {PUBLISHED}.{PROVIDERS_DIM} d SET is_current = false, valid_to = now()
             FROM {versions} v WHERE v.change = 'changed' AND d.provider_key = v.published_key;
             INSERT INTO {PUBLISHED}.{PROVIDERS_DIM}
                 (provider_key, {names}, is_placeholder, row_hash, run_no)
             SELECT provider_key, {names}, is_placeholder, row_hash, {run_no}
             FROM {versions} WHERE change IN ('new', 'changed') ORDER BY provider_key"
        ),
    )?;
    let removed = if published == PublishedVersions::Replaced {
        let gone =
            format!("NOT EXISTS (SELECT FROM {versions} v WHERE v.provider_key = d.provider_key)");
        remove(connection, &gone)?
    } else {
        0
    };
    publish_peers(connection, &versions, published)?;
    Ok(removed)
}

/// Groups the versions for the score.
fn publish_peers(
    connection: &mut impl Connection,
    versions: &str,
    published: PublishedVersions,
) -> Result<()> {
    let script = match published {
        PublishedVersions::Kept => format!(
            "UPDATE {INTERNAL}.provider_peers p SET specialty = v.peer_specialty
             FROM {versions} v WHERE v.change = 'completed' AND p.provider_key = v.provider_key;
             INSERT INTO {INTERNAL}.provider_peers (provider_key, durable_key, peer_key, specialty)
             {}",
            new_peers(versions)
        ),
        // A provider has one version.
        PublishedVersions::Replaced | PublishedVersions::Emptied => format!(
            "DELETE FROM {INTERNAL}.provider_peers WHERE provider_key <> {UNKNOWN_PROVIDER_KEY};
             INSERT INTO {INTERNAL}.provider_peers (provider_key, durable_key, peer_key, specialty)
             SELECT provider_key, provider_key, provider_key, peer_specialty FROM {versions}"
        ),
    };
    sql::execute(connection, "grouping the providers for the score", &script).map(drop)
}

/// The groups of the versions that a merge adds, as a query.
pub(super) fn new_peers(versions: &str) -> String {
    format!(
        "SELECT v.provider_key, coalesce(min(p.durable_key), v.provider_key) AS durable_key,
                coalesce(min(p.peer_key) FILTER (WHERE p.specialty = v.peer_specialty),
                         v.provider_key) AS peer_key,
                v.peer_specialty AS specialty
         FROM {versions} v
         LEFT JOIN {INTERNAL}.provider_peers o ON o.provider_key = v.published_key
         LEFT JOIN {INTERNAL}.provider_peers p ON p.durable_key = o.durable_key
         WHERE v.change IN ('new', 'changed') GROUP BY v.provider_key, v.peer_specialty"
    )
}

/// Removes the versions `d` for which a condition holds, the unknown provider never; how many they were.
///
/// # Errors
/// `Warehouse` when others' tables refer to one of them: these tables are named.
pub(super) fn remove(connection: &mut impl Connection, condition: &str) -> Result<u64> {
    let context = "removing providers";
    let referring = foreign_keys_to(connection, PROVIDERS_DIM)?;
    let removed = sql::execute(
        connection,
        context,
        &format!(
            "DELETE FROM {PUBLISHED}.{PROVIDERS_DIM} d
             WHERE d.provider_key <> {UNKNOWN_PROVIDER_KEY} AND {condition}"
        ),
    );
    match removed {
        Err(error) if !referring.is_empty() && error.message().contains("SQLSTATE 23503") => {
            Err(Error::warehouse(format!(
                "providers that are no longer in the directory cannot be removed: {} refers to them; nothing was published",
                referring.join(", ")
            ))
            .hint("delete the rows that refer to them, or drop the foreign key and create it again after the load; then run again"))
        }
        removed => removed,
    }
}
