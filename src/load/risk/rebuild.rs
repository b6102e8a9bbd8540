//! All statistics counted again from what is published.

use adbc_core::sync::Connection;

use super::Scope;
use crate::error::Result;
use crate::failpoint;
use crate::load::outbox;
use crate::load::risk::delta::{AMOUNTS, PROVIDER_DAYS, TOTALS, TOTALS_AFTER, WEEKENDS};
use crate::load::risk::related_claims::{DAYS, TWINS};
use crate::load::risk::scored_rows::{PEERS, ScoredRows};
use crate::load::risk::store::STORED;
use crate::load::risk::{delta, related_claims, store};
use crate::warehouse::sql;

const CONTEXT: &str = "counting the statistics again";

/// Counts the statistics again where one that is needed is not stored; whether that was so. In a
/// transaction of its own: what it stores is true of what is published, whatever comes after.
///
/// # Errors
/// `Warehouse` when a statement fails.
pub(crate) fn where_incomplete(
    connection: &mut impl Connection,
    scope: &Scope<'_>,
) -> Result<bool> {
    if store::is_complete(connection, scope)? {
        return Ok(false);
    }
    sql::in_transaction(connection, CONTEXT, |connection| {
        let rows = ScoredRows::Published;
        related_claims::days(connection, scope, &rows)?;
        let counts = delta::count(connection, scope, &rows)?;
        delta::lay_down(connection, scope, &counts, &counts)?;
        delta::totals(connection, scope, &rows)?;
        delta::totals_alone(connection, scope)?;
        for stored in &STORED {
            sql::execute(connection, CONTEXT, &format!("DELETE FROM {}", stored.table()))?;
        }
        let version = outbox::last_change(connection)?.unwrap_or(0);
        store::add_all(connection, scope)?;
        store::note(connection, scope, version)?;
        drop_tables(connection, scope)?;
        failpoint::hit("rescore.recounted")
    })?;
    Ok(true)
}

/// Drops the tables of the steps, so that the next step finds none of them.
fn drop_tables(connection: &mut impl Connection, scope: &Scope<'_>) -> Result<()> {
    let tables = [PEERS, DAYS, TWINS, AMOUNTS, WEEKENDS, TOTALS, TOTALS_AFTER, PROVIDER_DAYS]
        .map(|what| scope.table(what));
    sql::execute(connection, CONTEXT, &format!("DROP TABLE IF EXISTS {}", tables.join(", ")))
        .map(drop)
}
