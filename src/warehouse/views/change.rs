//! Brings the views to what they should be, with as little disturbance as can be.
//!
//! So a view that only grows is replaced as it is; one that loses a column is dropped and made
//! again, with its grants.

use std::collections::BTreeMap;

use adbc_core::sync::Connection;

use super::dependants::refuse_dependants;
use super::view::View;
use super::{all, digests, grants};
use crate::error::Result;
use crate::schema::{CLAIMS_FACT, PROVIDERS_DIM, PUBLISHED, Shape};
use crate::warehouse::sql;

const CONTEXT: &str = "making the views";

/// The digest of each view that is there.
pub(crate) type Digests = BTreeMap<String, String>;

/// The SQL that takes the views that will be made for oneself, and what they read for reading: all that
/// [`update`] would wait for. Tables behind a view stay free: LOCK TABLE would take them too, where an
/// owner that stays the same takes the view alone.
///
/// # Errors
/// `Warehouse` when a query fails.
pub(crate) fn locks(
    connection: &mut impl Connection,
    shape: Shape,
    known: &Digests,
) -> Result<String> {
    let views = all(shape);
    let wanted = digests(&views);
    let mut names: Vec<String> = Vec::new();
    for view in &views {
        let reads = |other: &View| {
            names.iter().any(|name| name == other.name) && view.query.contains(&other.place())
        };
        if known.get(view.name) != wanted.get(view.name) || views.iter().any(reads) {
            names.push(view.name.to_owned());
        }
    }
    names.extend(known.keys().filter(|name| !wanted.contains_key(*name)).cloned());
    let rows = sql::query(
        connection,
        CONTEXT,
        &format!(
            "SELECT format('ALTER TABLE %s OWNER TO %I', oid::regclass, pg_get_userbyid(relowner)) AS lock
             FROM pg_class WHERE relnamespace = '{PUBLISHED}'::regnamespace AND relkind IN ('v', 'm')
               AND relname = ANY (ARRAY[{}]::text[]) ORDER BY oid",
            sql::literals(names.iter().map(String::as_str))
        ),
    )?;
    let mut locks: Vec<String> =
        (0..rows.num_rows()).filter_map(|row| sql::text(&rows, "lock", row)).collect();
    locks.push(format!(
        "LOCK TABLE {PUBLISHED}.{CLAIMS_FACT}, {PUBLISHED}.{PROVIDERS_DIM} IN ACCESS SHARE MODE"
    ));
    Ok(locks.join(";\n"))
}

/// Makes the views as this version and the shape want them; those that are so already are left
/// alone. Within a transaction.
///
/// # Errors
/// `Config` when a view has to be dropped that others have built on, `Warehouse` when a statement
/// fails.
pub(crate) fn update(
    connection: &mut impl Connection,
    shape: Shape,
    known: &Digests,
) -> Result<()> {
    let views = all(shape);
    let wanted = digests(&views);
    let mut anew: Vec<View> = Vec::new();
    for view in views {
        // Also those that read one which must be dropped.
        let reads = |other: &View| view.query.contains(&other.place());
        let changed = known.get(view.name) != wanted.get(view.name);
        if anew.iter().any(reads) || changed && !replace(connection, &view)? {
            anew.push(view);
        }
    }
    let gone = known.keys().filter(|name| !wanted.contains_key(*name)).cloned();
    let names: Vec<String> = anew.iter().map(|view| view.name.to_owned()).chain(gone).collect();
    if !names.is_empty() {
        refuse_dependants(connection, &names, &[])?;
        let (kept, drops) = unmake(connection, &names)?;
        sql::execute(connection, CONTEXT, &drops)?;
        make(connection, &anew, &kept)?;
    }
    Ok(())
}

/// Replaces a view as it is, or makes it; returns whether that was possible: not where it loses a
/// column, and never where its rows are stored.
fn replace(connection: &mut impl Connection, view: &View) -> Result<bool> {
    if view.materialized {
        return Ok(false);
    }
    // In a block, so that a refusal undoes itself alone and is no error in the server's log.
    let attempt = format!(
        "DO $attempt$ BEGIN
             {}
             PERFORM set_config('claims_etl.replaced', 'yes', true);
         EXCEPTION WHEN invalid_table_definition OR wrong_object_type THEN
             PERFORM set_config('claims_etl.replaced', 'no', true);
         END $attempt$",
        view.script("CREATE OR REPLACE")
    );
    sql::execute(connection, CONTEXT, &attempt)?;
    let replaced = "SELECT current_setting('claims_etl.replaced') = 'yes' AS replaced";
    Ok(sql::boolean(&sql::query(connection, CONTEXT, replaced)?, "replaced", 0) == Some(true))
}

/// What is kept of views that are dropped.
pub(crate) struct Kept {
    there: Vec<String>,
    rights: Vec<grants::Grant>,
}

/// What is to be kept of views, given each after those that it reads, and the SQL that drops those
/// of them that are there.
///
/// # Errors
/// `Warehouse` when a query fails.
pub(crate) fn unmake(connection: &mut impl Connection, names: &[String]) -> Result<(Kept, String)> {
    let rows = sql::query(
        connection,
        CONTEXT,
        &format!(
            "SELECT relname::text AS name, relkind = 'm' AS materialized FROM pg_class
             WHERE relnamespace = '{PUBLISHED}'::regnamespace AND relkind IN ('v', 'm')"
        ),
    )?;
    let kinds: BTreeMap<String, bool> = (0..rows.num_rows())
        .filter_map(|row| {
            Some((sql::text(&rows, "name", row)?, sql::boolean(&rows, "materialized", row)?))
        })
        .collect();
    let there: Vec<String> =
        names.iter().filter(|name| kinds.contains_key(*name)).cloned().collect();
    let drops: Vec<String> = there
        .iter()
        .rev()
        .map(|name| {
            let kind = if kinds[name] { "MATERIALIZED VIEW" } else { "VIEW" };
            format!("DROP {kind} {PUBLISHED}.{name}")
        })
        .collect();
    let rights = grants::on(connection, &there)?;
    Ok((Kept { there, rights }, drops.join(";\n")))
}

/// Makes views that are not there, and gives those that were back to whoever could read them.
///
/// # Errors
/// `Warehouse` when a statement fails.
pub(crate) fn make(connection: &mut impl Connection, views: &[View], kept: &Kept) -> Result<()> {
    for view in views {
        sql::execute(connection, CONTEXT, &view.script("CREATE"))?;
    }
    let made: Vec<String> = views
        .iter()
        .map(|view| view.name.to_owned())
        .filter(|name| kept.there.contains(name))
        .collect();
    grants::set(connection, &made, &kept.rights)
}

/// The SQL that empties the stored months where they show a provider who is not in the dimension as
/// they show it: for a publish after which nobody refreshes them.
///
/// # Errors
/// `Warehouse` when a query fails.
pub(crate) fn forget_months(
    connection: &mut impl Connection,
    shape: Shape,
) -> Result<Option<String>> {
    let months = super::provider_month::stored(shape).place();
    let filled = format!(
        "SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('{months}') AND relispopulated)
             AS filled"
    );
    if sql::boolean(&sql::query(connection, CONTEXT, &filled)?, "filled", 0) != Some(true) {
        return Ok(None);
    }
    let shown = ["provider_id", "provider_name", "specialty"].into_iter();
    let shown: Vec<&str> = shown.filter(|column| shape.has(column)).collect();
    let shown = shown.join(", ");
    let others = format!(
        "SELECT EXISTS (SELECT {shown} FROM {months} EXCEPT
                 SELECT {shown} FROM {PUBLISHED}.{PROVIDERS_DIM} WHERE is_current)
             AS others"
    );
    let others =
        sql::boolean(&sql::query(connection, CONTEXT, &others)?, "others", 0) == Some(true);
    Ok(others.then(|| format!("; REFRESH MATERIALIZED VIEW {months} WITH NO DATA")))
}

/// Fills the views whose rows are stored from what is published now; readers wait meanwhile.
///
/// # Errors
/// `Warehouse` when a statement fails.
pub(crate) fn fill_anew(connection: &mut impl Connection, shape: Shape) -> Result<()> {
    for view in all(shape).iter().filter(|view| view.materialized) {
        let refresh = format!("REFRESH MATERIALIZED VIEW {}", view.place());
        sql::execute(connection, "filling the stored views", &refresh)?;
    }
    Ok(())
}
