//! A transaction with more memory than a server gives by default.

use adbc_core::sync::Connection;

use crate::error::Result;
use crate::warehouse::{sql, table_lock};

/// Memory of a sort or a hash table, and of an index that is built; the server's own setting where
/// that is larger.
const MEMORY: [(&str, &str); 2] = [("work_mem", "64MB"), ("maintenance_work_mem", "512MB")];

/// Does `work` in one transaction, with more memory.
///
/// # Errors
/// That of `work`, or `Warehouse` when the transaction cannot begin or commit.
pub(crate) fn with_memory<C: Connection, T>(
    connection: &mut C,
    context: &str,
    work: impl FnOnce(&mut C) -> Result<T>,
) -> Result<T> {
    sql::in_transaction(connection, context, |connection| {
        let raise = MEMORY.map(|(name, memory)| {
            format!(
                "SELECT set_config('{name}', '{memory}', true)
                 WHERE pg_size_bytes(current_setting('{name}')) < pg_size_bytes('{memory}');"
            )
        });
        // Plans of a moment are not worth compiling.
        let script = format!(
            "{} SET LOCAL jit = off; SET LOCAL lock_timeout = '{}'",
            raise.concat(),
            table_lock::STATEMENT
        );
        sql::execute(connection, context, &script)?;
        work(connection)
    })
}
