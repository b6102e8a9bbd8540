//! The partitions of the fact.

use adbc_core::sync::Connection;

use crate::error::Result;
use crate::schema::{CLAIMS_FACT, PUBLISHED};
use crate::warehouse::sql;

/// The qualified names of the partitions, quoted where they must be.
///
/// # Errors
/// `Warehouse` when the query fails.
pub(crate) fn partitions(connection: &mut impl Connection) -> Result<Vec<String>> {
    let rows = sql::query(
        connection,
        "listing the partitions",
        &format!(
            "SELECT inhrelid::regclass::text AS name FROM pg_inherits
             WHERE inhparent = '{PUBLISHED}.{CLAIMS_FACT}'::regclass ORDER BY 1"
        ),
    )?;
    // regclass prints a name that is quoted where it must be.
    Ok((0..rows.num_rows()).filter_map(|row| sql::text(&rows, "name", row)).collect())
}
