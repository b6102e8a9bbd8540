//! The planner's statistics of what is published.

use adbc_core::sync::Connection;

use super::risk::STORED;
use crate::error::Result;
use crate::schema::{CLAIMS_FACT, PROVIDERS_DIM, PUBLISHED};
use crate::warehouse::load_strategy::LoadStrategy;
use crate::warehouse::sql;

const CONTEXT: &str = "planner statistics";

/// Refreshes them: a partition that has just been attached has none. Where all was replaced, no value of before
/// may stay in them, nor in the pages of the dimension. A merge that changes less than a tenth of the lines
/// leaves this to autovacuum.
///
/// # Errors
/// `Warehouse` when a statement fails; the data are published all the same.
pub(crate) fn analyze(
    connection: &mut impl Connection,
    strategy: LoadStrategy,
    changed: u64,
) -> Result<()> {
    let published = format!("{PUBLISHED}.{CLAIMS_FACT}, {PUBLISHED}.{PROVIDERS_DIM}");
    if strategy != LoadStrategy::Attach {
        let few = sql::query(
            connection,
            CONTEXT,
            &format!(
                "SELECT {changed} * 10 < coalesce(sum(c.reltuples), 0) AS few
                 FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                 WHERE i.inhparent = '{PUBLISHED}.{CLAIMS_FACT}'::regclass"
            ),
        )?;
        if sql::boolean(&few, "few", 0) == Some(true) {
            return Ok(());
        }
        return sql::execute(connection, CONTEXT, &format!("ANALYZE {published}")).map(drop);
    }
    let scores = STORED.map(|stored| stored.table()).join(", ");
    sql::execute(connection, CONTEXT, &format!("ANALYZE {published}, {scores}"))?;
    sql::execute(connection, CONTEXT, &format!("VACUUM {PUBLISHED}.{PROVIDERS_DIM}")).map(drop)
}
