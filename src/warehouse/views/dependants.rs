//! What others have built on our views and columns.

use adbc_core::sync::Connection;

use crate::error::{Error, Result};
use crate::schema::{CLAIMS_FACT, PROVIDERS_DIM, PUBLISHED};
use crate::warehouse::sql;

const CONTEXT: &str = "asking what depends on the views";

/// Fails where something of others depends on these views, or on these columns of the
/// tables.
///
/// # Errors
/// `Config`, which names what depends on them.
pub(crate) fn refuse_dependants(
    connection: &mut impl Connection,
    views: &[String],
    columns: &[&str],
) -> Result<()> {
    let list = |names: Vec<String>| {
        if names.is_empty() { "NULL".to_owned() } else { names.join(", ") }
    };
    let views = list(views.iter().map(|view| format!("'{view}'")).collect());
    let columns = list(columns.iter().map(|column| format!("'{column}'")).collect());
    // A view depends on what it reads through its rule.
    let rows = sql::query(
        connection,
        CONTEXT,
        &format!(
            "WITH ours AS (
                 SELECT oid FROM pg_class
                 WHERE relnamespace = '{PUBLISHED}'::regnamespace AND relname IN ({views}))
             SELECT DISTINCT coalesce(
                 (SELECT pg_describe_object('pg_class'::regclass, r.ev_class, 0)
                  FROM pg_rewrite r WHERE d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid),
                 pg_describe_object(d.classid, d.objid, d.objsubid)) AS what
             FROM pg_depend d
             WHERE d.refclassid = 'pg_class'::regclass AND d.deptype = 'n'
               AND (d.refobjid IN (SELECT oid FROM ours)
                    OR (d.refobjid, d.refobjsubid) IN (
                        SELECT attrelid, attnum FROM pg_attribute
                        WHERE attrelid IN (to_regclass('{PUBLISHED}.{CLAIMS_FACT}'),
                                           to_regclass('{PUBLISHED}.{PROVIDERS_DIM}'))
                          AND attname IN ({columns})))
               AND NOT EXISTS (SELECT FROM pg_rewrite r WHERE d.classid = 'pg_rewrite'::regclass
                               AND r.oid = d.objid AND r.ev_class IN (SELECT oid FROM ours))
             ORDER BY 1 LIMIT 5"
        ),
    )?;
    let found: Vec<String> =
        (0..rows.num_rows()).filter_map(|row| sql::text(&rows, "what", row)).collect();
    if found.is_empty() {
        return Ok(());
    }
    Err(Error::config(format!(
        "what is published gets other columns, and there is something on top of it that reads them: {}",
        found.join(", ")
    ))
    .hint("drop it (pg_get_viewdef shows how a view was made), run again, and make it again on the new columns"))
}
