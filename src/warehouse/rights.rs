//! Whether the role has the rights that a run needs, checked before anything is done.

use adbc_core::sync::Connection;

use super::views;
use crate::error::{Error, Result};
use crate::schema::{CLAIMS_FACT, INTERNAL, PROVIDERS_DIM, PUBLISHED, Shape};
use crate::warehouse::sql::quote_identifier;
use crate::warehouse::{migrations, sql};

const CONTEXT: &str = "asking for the role's rights";

/// Which tables `c` of the published schema are the program's, as SQL: others may have put more there.
pub(crate) const OURS: &str =
    "(c.relispartition OR c.relname IN ('claims_fact', 'providers_dim', 'date_dim', 'dq_rules'))";

/// The role of a connection, its database, and whom to ask.
struct Who {
    role: String,
    database: String,
    owner: String,
}

/// Refuses a role that cannot make the schemas, use them, or alter the tables in them. It need not
/// be a superuser: two schemas that it owns are enough, or the right to create them.
///
/// # Errors
/// `Warehouse`, with the missing right and who can grant it.
pub(crate) fn check(connection: &mut impl Connection) -> Result<()> {
    let rows = sql::query(
        connection,
        CONTEXT,
        "SELECT current_user::text AS role, datname::text AS database,
             pg_get_userbyid(datdba)::text AS owner,
             has_database_privilege(oid, 'CREATE') AS may_create,
             has_database_privilege(oid, 'TEMPORARY') AS may_temporary
         FROM pg_database WHERE datname = current_database()",
    )?;
    let text = |name| sql::text(&rows, name, 0).unwrap_or_default();
    let who = Who { role: text("role"), database: text("database"), owner: text("owner") };
    schemas(connection, &who, sql::boolean(&rows, "may_create", 0) == Some(true))?;
    if sql::boolean(&rows, "may_temporary", 0) != Some(true) {
        let database = quote_identifier(&who.database);
        return Err(who.lacks(
            &format!("may not create temporary tables in the database {}", who.database),
            &who.owner,
            &format!("GRANT TEMPORARY ON DATABASE {database} TO {}", who.quoted()),
        ));
    }
    tables(connection, &who)
}

impl Who {
    fn quoted(&self) -> String {
        quote_identifier(&self.role)
    }

    /// A refusal: what the role cannot do, and who can change that.
    fn lacks(&self, what: &str, owner: &str, grant: &str) -> Error {
        Error::warehouse(format!("the role {} {what}", self.role)).hint(format!(
            "is this the role that loads? {owner} or a superuser can `{grant}`; see docs/roles.sql"
        ))
    }
}

/// Both schemas must be there and open to the role, or it must be able to make them.
fn schemas(connection: &mut impl Connection, who: &Who, may_create: bool) -> Result<()> {
    let rows = sql::query(
        connection,
        CONTEXT,
        &format!(
            "SELECT s.name, pg_get_userbyid(n.nspowner)::text AS owner,
                 has_schema_privilege(n.oid, 'USAGE') AND has_schema_privilege(n.oid, 'CREATE')
                     AS open
             FROM unnest(ARRAY['{INTERNAL}', '{PUBLISHED}']) AS s(name)
             LEFT JOIN pg_namespace n ON n.nspname = s.name ORDER BY 1"
        ),
    )?;
    for row in 0..rows.num_rows() {
        let name = sql::text(&rows, "name", row).unwrap_or_default();
        match sql::text(&rows, "owner", row) {
            None if !may_create => {
                return Err(who.lacks(
                    &format!("may not create the schema {name} in the database {}", who.database),
                    &who.owner,
                    &format!("CREATE SCHEMA {name} AUTHORIZATION {}", who.quoted()),
                ));
            }
            Some(owner) if sql::boolean(&rows, "open", row) != Some(true) => {
                return Err(who.lacks(
                    &format!("may not create tables in the schema {name} of {owner}"),
                    &owner,
                    &format!("GRANT USAGE, CREATE ON SCHEMA {name} TO {}", who.quoted()),
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Who attaches partitions, drops them and migrates must own the tables, and the views and functions that
/// follow the settings. What others keep in the schemas is theirs.
fn tables(connection: &mut impl Connection, who: &Who) -> Result<()> {
    let views = views::all(Shape::WHOLE);
    let published =
        [CLAIMS_FACT, PROVIDERS_DIM].into_iter().chain(views.iter().map(|view| view.name));
    let rows = sql::query(
        connection,
        CONTEXT,
        &format!(
            "SELECT what, pg_get_userbyid(owner)::text AS owner FROM (
                 SELECT CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' ELSE 'table' END
                     || format(' %I.%I', n.nspname, c.relname) AS what, c.relowner AS owner
                 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                 WHERE c.relkind IN ('r', 'p', 'v', 'm')
                   AND (n.nspname = '{INTERNAL}' AND c.relname IN ({})
                        OR n.nspname = '{PUBLISHED}' AND c.relname IN ({})
                        OR c.oid IN (SELECT inhrelid FROM pg_inherits
                            WHERE inhparent = to_regclass('{PUBLISHED}.{CLAIMS_FACT}')))
                 UNION ALL
                 SELECT 'function ' || p.oid::regprocedure, p.proowner FROM pg_proc p
                 WHERE p.pronamespace = to_regnamespace('{PUBLISHED}')
                   AND p.proname IN ('risk_band', 'risk_component', 'dq_flag_names')) AS ours
             WHERE NOT pg_has_role(owner, 'USAGE') ORDER BY what LIKE 'table %' DESC, what LIMIT 1",
            sql::literals(migrations::tables()),
            sql::literals(published)
        ),
    )?;
    match (sql::text(&rows, "what", 0), sql::text(&rows, "owner", 0)) {
        (Some(what), Some(owner)) => Err(who.lacks(
            &format!("does not own the {what}, which is of {owner}"),
            &owner,
            &format!("GRANT {} TO {}", quote_identifier(&owner), who.quoted()),
        )),
        _ => Ok(()),
    }
}
