//! New partitions with the new tokens, built beside the old ones.

use adbc_core::sync::Connection;
use uuid::Uuid;

use super::state::{CONTEXT, Rotation};
use crate::error::{Error, Result};
use crate::event::Cancellation;
use crate::failpoint;
use crate::load::staging_tables::{StagingOwner, drop_tables};
use crate::schema::{CLAIMS_FACT, INTERNAL, PUBLISHED, TokenRange};
use crate::warehouse::sql;
use crate::warehouse::table_checks::Ties;

/// Rows of a partition: what the server sorts for it takes some 500 MB.
const PART_ROWS: u64 = 4_000_000;
/// The most partitions.
const MOST_PARTS: u64 = 64;

/// A partition that is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) ordinal: u64,
    pub(super) table: String,
    pub(super) range: TokenRange,
    pub(super) rows: u64,
}

/// The partitions of all rows, in the order of their ranges. Those of an earlier try are taken over,
/// unless something was published since. The warehouse is held, and the map covers it.
///
/// # Errors
/// `Warehouse` when a statement fails, `Interrupted` on cancellation; what is complete stays.
pub(crate) fn build(
    connection: &mut impl Connection,
    rotation: &Rotation,
    cancel: &Cancellation,
    tell: &dyn Fn(u64, u64),
) -> Result<()> {
    Ties { what: "rotation", dimension: rotation.has_providers }.refuse(connection)?;
    let (stamp, count) = stamp(connection)?;
    let same = sql::query_with(
        connection,
        CONTEXT,
        "SELECT count(*) AS n FROM claims_etl.key_rotation WHERE built_from = $1",
        sql::texts(&[Some(&stamp)]),
    )?;
    if sql::int(&same, "n", 0) != Some(1) {
        sql::in_transaction(connection, CONTEXT, |connection| {
            drop_parts(connection)?;
            sql::execute_with(
                connection,
                CONTEXT,
                "UPDATE claims_etl.key_rotation SET phase = 'built', built_from = $1",
                sql::texts(&[Some(&stamp)]),
            )
        })?;
    }
    let done = parts(connection, count)?;
    let columns = columns(connection)?;
    for ordinal in 0..count {
        cancel.check()?;
        if !done.iter().any(|part| part.ordinal == ordinal) {
            let range = range(ordinal, count);
            sql::in_transaction(connection, CONTEXT, |connection| {
                part(connection, &columns, ordinal, range)
            })?;
            failpoint::hit("rotate.built")?;
        }
        tell(ordinal + 1, count);
    }
    Ok(())
}

/// What is published, as far as partitions were built from it, and how many there are to be.
fn stamp(connection: &mut impl Connection) -> Result<(String, u64)> {
    let rows = sql::query(
        connection,
        CONTEXT,
        &format!(
            "SELECT concat_ws('/', (SELECT max(publish_no) FROM claims_etl.runs),
                 (SELECT max(rescore_no) FROM claims_etl.risk_rescores),
                 (SELECT string_agg(inhrelid::text, '+' ORDER BY inhrelid) FROM pg_inherits
                  WHERE inhparent = '{PUBLISHED}.{CLAIMS_FACT}'::regclass)) AS stamp,
             (SELECT count(*) FROM {PUBLISHED}.{CLAIMS_FACT}) AS n"
        ),
    )?;
    let claims = sql::int(&rows, "n", 0).and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
    let count =
        claims.div_ceil(failpoint::limit("rotate.part_rows", PART_ROWS)).clamp(1, MOST_PARTS);
    let stamp = sql::text(&rows, "stamp", 0).unwrap_or_default();
    Ok((format!("{stamp}/{claims}/{count}"), count))
}

/// Which tokens the partition with this ordinal has: tokens are spread evenly.
fn range(ordinal: u64, count: u64) -> TokenRange {
    let step = u128::MAX / u128::from(count);
    let end = |ordinal: u64| {
        let inside = ordinal > 0 && ordinal < count;
        inside.then(|| Uuid::from_u128(step * u128::from(ordinal)))
    };
    TokenRange { from: end(ordinal), to: end(ordinal + 1) }
}

/// The partitions that are noted as complete.
pub(super) fn parts(connection: &mut impl Connection, count: u64) -> Result<Vec<Part>> {
    let rows = sql::query(
        connection,
        CONTEXT,
        "SELECT ordinal, table_name, rows FROM claims_etl.rotation_parts ORDER BY ordinal",
    )?;
    let number = |name, row| sql::int(&rows, name, row).and_then(|n| u64::try_from(n).ok());
    let part = |row| {
        let (ordinal, table) = (number("ordinal", row)?, sql::text(&rows, "table_name", row)?);
        Some(Part { ordinal, table, range: range(ordinal, count), rows: number("rows", row)? })
    };
    let parts = (0..rows.num_rows()).map(part).collect::<Option<Vec<_>>>();
    parts.ok_or_else(|| Error::internal("the rotation's notes cannot be read"))
}

/// How many partitions there are to be.
pub(super) fn planned(connection: &mut impl Connection) -> Result<u64> {
    let rows = sql::query(
        connection,
        CONTEXT,
        "SELECT split_part(built_from, '/', -1)::bigint AS n FROM claims_etl.key_rotation",
    )?;
    let count = sql::int(&rows, "n", 0).and_then(|n| u64::try_from(n).ok());
    count.ok_or_else(|| Error::internal("the rotation has no plan"))
}

/// The columns of the fact, in their order.
fn columns(connection: &mut impl Connection) -> Result<Vec<String>> {
    let rows = sql::query(
        connection,
        CONTEXT,
        &format!(
            "SELECT attname::text AS name FROM pg_attribute
             WHERE attrelid = '{PUBLISHED}.{CLAIMS_FACT}'::regclass AND attnum > 0 AND NOT attisdropped
             ORDER BY attnum"
        ),
    )?;
    Ok((0..rows.num_rows()).filter_map(|row| sql::text(&rows, "name", row)).collect())
}

/// One partition, from nothing to its note.
fn part(
    connection: &mut impl Connection,
    columns: &[String],
    ordinal: u64,
    range: TokenRange,
) -> Result<()> {
    let table = format!("rotation_part_{ordinal}");
    let values: Vec<String> = columns
        .iter()
        .map(|column| match column.as_str() {
            "claim_token" => "c.new_token".to_owned(),
            "patient_token" => "p.new_token".to_owned(),
            other => format!("f.{}", sql::quote_identifier(other)),
        })
        .collect();
    let names: Vec<String> = columns.iter().map(|name| sql::quote_identifier(name)).collect();
    sql::execute(
        connection,
        "creating a partition",
        &format!(
            "DROP TABLE IF EXISTS {INTERNAL}.{table};
             CREATE TABLE {INTERNAL}.{table} (LIKE {PUBLISHED}.{CLAIMS_FACT});
             ALTER TABLE {INTERNAL}.{table} ADD CONSTRAINT {table}_range CHECK ({})",
            range.condition("claim_token")
        ),
    )?;
    failpoint::hit("rotate.created")?;
    let rows = sql::execute(
        connection,
        "filling a partition",
        &format!(
            "INSERT INTO {INTERNAL}.{table} ({})
             SELECT {} FROM {PUBLISHED}.{CLAIMS_FACT} f
             JOIN claims_etl.token_map c ON c.domain = 'claim' AND c.old_token = f.claim_token
                 AND c.new_token IS NOT NULL AND {}
             JOIN claims_etl.token_map p ON p.domain = 'patient' AND p.old_token = f.patient_token
             WHERE p.new_token IS NOT NULL ORDER BY c.new_token, f.line_number",
            names.join(", "),
            values.join(", "),
            range.condition("c.new_token"),
        ),
    )?;
    sql::execute(
        connection,
        "primary key of a partition",
        &format!(
            "ALTER TABLE {INTERNAL}.{table}
                 ADD CONSTRAINT {table}_pkey PRIMARY KEY (claim_token, line_number);
             ANALYZE {INTERNAL}.{table}"
        ),
    )?;
    sql::execute_with(
        connection,
        CONTEXT,
        "INSERT INTO claims_etl.rotation_parts (ordinal, table_name, rows)
         VALUES ($1::text::integer, $2, $3::text::bigint)",
        sql::texts(&[Some(&ordinal.to_string()), Some(&table), Some(&rows.to_string())]),
    )?;
    failpoint::hit("rotate.noted")
}

/// Drops all partitions that were built and not attached.
pub(super) fn drop_parts(connection: &mut impl Connection) -> Result<()> {
    drop_tables(connection, CONTEXT, StagingOwner::Rotation)?;
    sql::execute(connection, CONTEXT, "DELETE FROM claims_etl.rotation_parts").map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_meet_and_have_open_ends() {
        for count in [1, 2, 3, 64] {
            let ranges: Vec<TokenRange> = (0..count).map(|ordinal| range(ordinal, count)).collect();
            assert_eq!((ranges[0].from, ranges[ranges.len() - 1].to), (None, None));
            for pair in ranges.windows(2) {
                assert!(pair[0].to.is_some() && pair[0].to == pair[1].from);
            }
        }
    }
}
