//! The indexes by which other claims of a provider's or a patient's day are found.

use std::thread;

use adbc_core::sync::Connection;

use super::Scope;
use crate::error::Result;
use crate::failpoint;
use crate::load::risk::work_mem::with_memory;
use crate::schema::{CLAIMS_FACT, PUBLISHED};
use crate::warehouse::sql;
use crate::worker::Worker;

const CONTEXT: &str = "indexes for the score";

/// Makes the indexes that are missing on partitions, side by side.
///
/// # Errors
/// `Warehouse` when a statement fails.
pub(super) fn make<C: Connection + Send>(
    control: &mut C,
    connections: &mut [C],
    scope: &Scope<'_>,
) -> Result<()> {
    let kept = scope.kept();
    let mut missing = Vec::new();
    if kept.twins {
        missing.extend(partitions_without(control, "patient_day", "patient_token")?);
    }
    if kept.provider_days {
        missing.extend(partitions_without(control, "provider_day", "provider_key")?);
    }
    if missing.is_empty() {
        return Ok(());
    }
    let shares = missing.chunks(missing.len().div_ceil(connections.len().max(1)));
    let made: Vec<Result<()>> = thread::scope(|scope| {
        let workers: Vec<_> = connections
            .iter_mut()
            .zip(shares)
            .map(|(connection, share)| {
                Worker::start(scope, "building indexes", move || {
                    share.iter().try_for_each(|statement| {
                        with_memory(connection, CONTEXT, |connection| {
                            sql::execute(connection, CONTEXT, statement)?;
                            failpoint::hit("risk.indexed")
                        })
                    })
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.and_then(Worker::end)).collect()
    });
    made.into_iter().collect()
}

/// The statements that make an index on a column and the day, for each partition without it.
fn partitions_without(
    connection: &mut impl Connection,
    suffix: &str,
    column: &str,
) -> Result<Vec<String>> {
    let rows = sql::query(
        connection,
        CONTEXT,
        &format!(
            "SELECT format('CREATE INDEX %I ON %s ({column}, date_of_service)',
                           c.relname || '_{suffix}', c.oid::regclass) AS statement
             FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
             WHERE i.inhparent = '{PUBLISHED}.{CLAIMS_FACT}'::regclass AND NOT EXISTS (
                 SELECT FROM pg_index x JOIN pg_class n ON n.oid = x.indexrelid
                 WHERE x.indrelid = c.oid AND n.relname = c.relname || '_{suffix}')
             ORDER BY c.relname"
        ),
    )?;
    Ok((0..rows.num_rows()).filter_map(|row| sql::text(&rows, "statement", row)).collect())
}
