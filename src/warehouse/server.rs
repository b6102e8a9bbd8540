//! Whether the server, the database and the role are such that a command can write there, found out before
//! anything is done: in the middle of a load they would be a bare SQLSTATE, or a wrong figure.

use adbc_core::sync::Connection;

use super::rights;
use crate::error::{Error, Result};
use crate::schema::{INTERNAL, PUBLISHED};
use crate::warehouse::sql;
use crate::warehouse::sql::quote_identifier;

const CONTEXT: &str = "looking at the server";

/// The oldest version of PostgreSQL, as `server_version_num` gives it.
const OLDEST: i64 = 140_000;

/// Connections of a run beside those that copy: one holds the lock, one writes the tasks' log.
const BESIDE: i64 = 2;

/// Refuses a server, a database or a role with which a command cannot write what it has to: an old version, a
/// replica, a read-only or not Unicode database, missing rights, rows that the role does not see.
///
/// # Errors
/// `Warehouse`, with the reason and the hint; it does not pass by itself.
pub(crate) fn check(connection: &mut impl Connection) -> Result<()> {
    version(connection)?;
    let rows = sql::query(
        connection,
        CONTEXT,
        "SELECT pg_is_in_recovery() AS is_replica,
             current_setting('default_transaction_read_only') = 'on' AS is_read_only,
             current_setting('server_encoding') AS encoding,
             current_user::text AS role, current_database()::text AS database",
    )?;
    let is = |name| sql::boolean(&rows, name, 0) == Some(true);
    let text = |name| sql::text(&rows, name, 0).unwrap_or_default();
    let (role, database) = (text("role"), text("database"));
    if is("is_replica") {
        return Err(Error::warehouse("the server is a replica, which takes no changes").hint(
            "connect to the primary; where the URL names several hosts, target_session_attrs=read-write finds it",
        ));
    }
    if is("is_read_only") {
        let (role, database_name) = (quote_identifier(&role), quote_identifier(&database));
        return Err(Error::warehouse(format!(
            "the database {database} is read-only: default_transaction_read_only is on for it or for the role"
        ))
        .hint(format!(
            "is this a replica? Else `ALTER ROLE {role} IN DATABASE {database_name} SET default_transaction_read_only = off`"
        )));
    }
    let encoding = text("encoding");
    if encoding != "UTF8" {
        return Err(Error::warehouse(format!(
            "the database {database} has the encoding {encoding}, which cannot hold every name; UTF8 is needed"
        ))
        .hint("`CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8'`, and load there"));
    }
    rights::check(connection)?;
    row_security(connection, &role)
}

/// Refuses a server that is too old.
///
/// # Errors
/// `Warehouse`, with its version.
pub(crate) fn version(connection: &mut impl Connection) -> Result<()> {
    let rows = sql::query(
        connection,
        CONTEXT,
        "SELECT current_setting('server_version_num')::integer AS number,
             current_setting('server_version') AS name",
    )?;
    if sql::int(&rows, "number", 0).is_some_and(|number| number >= OLDEST) {
        return Ok(());
    }
    let name = sql::text(&rows, "name", 0).unwrap_or_default();
    Err(Error::warehouse(format!(
        "the server is PostgreSQL {name}; version {} or later is needed",
        OLDEST / 10_000
    ))
    .hint("load into a server of a version that is still maintained"))
}

/// Refuses tables of ours of which the server shows this role a part of the rows only: a load would take the
/// others for missing. Where `row_security` is off, as in every connection of the program, the server
/// refuses such a query; this has the table's name before the work.
fn row_security(connection: &mut impl Connection, role: &str) -> Result<()> {
    let rows = sql::query(
        connection,
        CONTEXT,
        &format!(
            "SELECT n.nspname || '.' || c.relname AS name
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relrowsecurity AND c.relkind IN ('r', 'p') AND row_security_active(c.oid)
               AND (n.nspname = '{INTERNAL}' OR n.nspname = '{PUBLISHED}' AND {})
             ORDER BY c.relispartition, 1 LIMIT 1",
            rights::OURS
        ),
    )?;
    match sql::text(&rows, "name", 0) {
        Some(name) => Err(Error::warehouse(format!(
            "row level security hides rows of {name} from the role {role}; nothing was done"
        ))
        .hint(sql::ROW_SECURITY)),
        None => Ok(()),
    }
}

/// Refuses a role, or a database, that may have fewer connections at once than a run with so many copying ones
/// needs.
///
/// # Errors
/// `Warehouse`, with both numbers.
pub(crate) fn check_connections(connection: &mut impl Connection, copying: usize) -> Result<()> {
    let rows = sql::query(
        connection,
        CONTEXT,
        "SELECT rolconnlimit AS of_role, datconnlimit AS of_database, rolname::text AS role,
             datname::text AS database, rolsuper AS is_superuser
         FROM pg_roles, pg_database WHERE rolname = session_user AND datname = current_database()",
    )?;
    let needed = BESIDE + i64::try_from(copying).unwrap_or(i64::MAX - BESIDE);
    let short = |name| sql::int(&rows, name, 0).filter(|limit| (0..needed).contains(limit));
    if sql::boolean(&rows, "is_superuser", 0) == Some(true) {
        return Ok(());
    }
    let text = |name| sql::text(&rows, name, 0).unwrap_or_default();
    let (limit, kind, name) = match (short("of_role"), short("of_database")) {
        (Some(limit), _) => (limit, "role", text("role")),
        (None, Some(limit)) => (limit, "database", text("database")),
        (None, None) => return Ok(()),
    };
    let fewer = if limit > BESIDE {
        format!("lower --connections to {}, or ", limit - BESIDE)
    } else {
        String::new()
    };
    let upper = kind.to_uppercase();
    Err(Error::warehouse(format!(
        "too many connections for the {kind} {name}: a run with {copying} copying connections needs {needed}, \
         but it may have {limit}"
    ))
    .hint(format!("{fewer}`ALTER {upper} {} CONNECTION LIMIT {needed}`", quote_identifier(&name))))
}
