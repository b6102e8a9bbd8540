//! Who may read a view, carried over from the one that was dropped to the one that is made.

use adbc_core::sync::Connection;

use crate::error::Result;
use crate::schema::PUBLISHED;
use crate::warehouse::sql;
use crate::warehouse::sql::quote_identifier;

const CONTEXT: &str = "grants on the views";

/// A right that somebody has on a view, or on a column of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grant {
    /// The view's name.
    view: String,
    /// The column, where the right is on one alone.
    column: Option<String>,
    /// The role as SQL; `PUBLIC` for all.
    grantee: String,
    /// `SELECT` and the like.
    privilege: String,
    /// Whether the role may hand it on.
    grantable: bool,
}

/// The rights on some views, without their owners'.
pub(crate) fn on(connection: &mut impl Connection, views: &[String]) -> Result<Vec<Grant>> {
    let names: Vec<String> = views.iter().map(|view| format!("'{view}'")).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sql::query(
        connection,
        CONTEXT,
        &format!(
            "SELECT c.relname::text AS view, a.attname::text AS col, x.privilege_type AS privilege,
                 x.is_grantable AS grantable,
                 CASE WHEN x.grantee = 0 THEN NULL ELSE pg_get_userbyid(x.grantee)::text END AS grantee
             FROM pg_class c
             LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attacl IS NOT NULL
             CROSS JOIN LATERAL (
                 SELECT * FROM aclexplode(a.attacl) WHERE a.attacl IS NOT NULL) x
             WHERE c.relnamespace = '{PUBLISHED}'::regnamespace AND c.relname IN ({names})
               AND x.grantee <> c.relowner
             UNION ALL
             SELECT c.relname::text, NULL, x.privilege_type, x.is_grantable,
                 CASE WHEN x.grantee = 0 THEN NULL ELSE pg_get_userbyid(x.grantee)::text END
             FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) x
             WHERE c.relnamespace = '{PUBLISHED}'::regnamespace AND c.relname IN ({names})
               AND x.grantee <> c.relowner
             ORDER BY 1, 2, 5, 3",
            names = names.join(", ")
        ),
    )?;
    let text = |name, row| sql::text(&rows, name, row);
    Ok((0..rows.num_rows())
        .map(|row| Grant {
            view: text("view", row).unwrap_or_default(),
            column: text("col", row),
            grantee: text("grantee", row)
                .map_or_else(|| "PUBLIC".to_owned(), |role| quote_identifier(&role)),
            privilege: text("privilege", row).unwrap_or_default(),
            grantable: sql::boolean(&rows, "grantable", row) == Some(true),
        })
        .collect())
}

/// Gives views exactly these rights and no others: what default privileges have given to new ones is taken away.
/// A right on a column that the view has no longer is left out.
pub(crate) fn set(
    connection: &mut impl Connection,
    views: &[String],
    wanted: &[Grant],
) -> Result<()> {
    let mut script: Vec<String> = on(connection, views)?
        .iter()
        .filter(|grant| grant.column.is_none())
        .map(Grant::undo)
        .collect();
    for grant in wanted.iter().filter(|grant| views.contains(&grant.view)) {
        if let Some(column) = &grant.column
            && !has_column(connection, &grant.view, column)?
        {
            continue;
        }
        script.push(grant.redo());
    }
    sql::execute(connection, CONTEXT, &script.join(";\n")).map(drop)
}

impl Grant {
    fn what(&self) -> String {
        let column = self.column.as_ref().map(|column| format!(" ({})", quote_identifier(column)));
        let (privilege, view) = (&self.privilege, &self.view);
        format!("{privilege}{} ON {PUBLISHED}.{view}", column.unwrap_or_default())
    }

    fn undo(&self) -> String {
        format!("REVOKE {} FROM {}", self.what(), self.grantee)
    }

    fn redo(&self) -> String {
        let option = if self.grantable { " WITH GRANT OPTION" } else { "" };
        format!("GRANT {} TO {}{option}", self.what(), self.grantee)
    }
}

fn has_column(connection: &mut impl Connection, view: &str, column: &str) -> Result<bool> {
    let rows = sql::query_with(
        connection,
        CONTEXT,
        "SELECT EXISTS (SELECT FROM pg_attribute WHERE attname = $2 AND NOT attisdropped
             AND attrelid = to_regclass($1)) AS there",
        sql::texts(&[Some(&format!("{PUBLISHED}.{view}")), Some(column)]),
    )?;
    Ok(sql::boolean(&rows, "there", 0) == Some(true))
}
