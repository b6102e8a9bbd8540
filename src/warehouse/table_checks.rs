//! Whether the tables are as the program has made them, and what others have tied to them.
//!
//! Whoever may alter the schema can add a column, a constraint or a trigger, or build on a partition. A
//! server reports it by a code in the middle of a load, or not at all: here it has a name and a way
//! out before any row is read. What does no harm (indexes, defaults, further columns of the dimension,
//! grants) is left alone.

use std::fmt::Write as _;

use adbc_core::sync::Connection;

use crate::config::Mode;
use crate::error::{Error, Result};
use crate::schema::{
    CLAIMS_FACT, Column, INTERNAL, PROVIDERS_DIM, PUBLISHED, Shape, fact_columns, provider_columns,
};
use crate::warehouse::layout::TableLayout;
use crate::warehouse::load_strategy::{LoadStrategy, has_claims, strategy};
use crate::warehouse::table_layout::stored;
use crate::warehouse::{migrations, sql};

const CONTEXT: &str = "checking the tables";
/// Faults that are named at once.
const NAMED: usize = 3;

/// Refuses tables that others have changed so that a load would fail, or publish something else than
/// its input. The warehouse is at this version's schema.
///
/// # Errors
/// `Warehouse`, with the names and the hint.
pub(crate) fn check(connection: &mut impl Connection) -> Result<()> {
    let shape = stored(connection)?.layout.shape;
    missing(connection)?;
    refuse(connection, &changed(shape))?;
    replica_identities(connection)
}

/// Everything that can be checked before a load in a mode: `check` and `check_ties`. A warehouse that
/// is not at this version's schema is left to the load.
///
/// # Errors
/// As these two.
pub(crate) fn check_before(
    connection: &mut impl Connection,
    layout: &TableLayout,
    mode: Mode,
) -> Result<()> {
    if !migrations::is_current(connection)? {
        return Ok(());
    }
    check(connection)?;
    check_ties(connection, layout, mode)
}

/// Refuses a load that replaces partitions to which others have tied something.
///
/// # Errors
/// `Warehouse`, with the names and the hint.
pub(crate) fn check_ties(
    connection: &mut impl Connection,
    layout: &TableLayout,
    mode: Mode,
) -> Result<()> {
    if strategy(connection, mode)? != LoadStrategy::Attach {
        return Ok(());
    }
    let mut ties = Ties { what: "load", dimension: false };
    ties.dimension = stored(connection)?.layout != *layout;
    ties.refuse(connection)
}

/// Work that replaces partitions.
pub(crate) struct Ties {
    /// What it is called.
    pub(crate) what: &'static str,
    /// Whether it gives all providers of the dimension other rows or ids.
    pub(crate) dimension: bool,
}

impl Ties {
    /// Refuses the work where something of others refers to what it replaces.
    ///
    /// # Errors
    /// `Warehouse`, with the names and the hint.
    pub(crate) fn refuse(&self, connection: &mut impl Connection) -> Result<()> {
        let what = self.what;
        let built = listed(connection, &built_on_partitions())?;
        if !built.is_empty() {
            return Err(Error::warehouse(format!(
                "{} depends on a partition of {PUBLISHED}.{CLAIMS_FACT}, which this {what} replaces",
                built.join(", ")
            ))
            .hint(format!(
                "drop it (pg_get_viewdef shows how a view was made) and create it on {PUBLISHED}.{CLAIMS_FACT}: partitions come and go with loads"
            )));
        }
        let mut referring = Vec::new();
        if has_claims(connection)? {
            referring = foreign_keys_to(connection, CLAIMS_FACT)?;
            referring.truncate(5);
        }
        if self.dimension {
            referring.extend(foreign_keys_to(connection, PROVIDERS_DIM)?);
        }
        if referring.is_empty() {
            return Ok(());
        }
        Err(Error::warehouse(format!(
            "{} refers to rows that this {what} replaces",
            referring.join(", ")
        ))
        .hint("drop the foreign key, and create it again afterwards; a load with --mode merge leaves published rows in their place"))
    }
}

/// The first column of a query.
fn listed(connection: &mut impl Connection, query: &str) -> Result<Vec<String>> {
    let rows = sql::query(connection, CONTEXT, query)?;
    Ok((0..rows.num_rows()).filter_map(|row| sql::text(&rows, "what", row)).collect())
}

/// What others have built on partitions; foreign keys on the fact have their copies there.
fn built_on_partitions() -> String {
    format!(
        "SELECT DISTINCT coalesce(
             (SELECT pg_describe_object('pg_class'::regclass, r.ev_class, 0)
              FROM pg_rewrite r WHERE d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid),
             pg_describe_object(d.classid, d.objid, d.objsubid)) AS what
         FROM pg_depend d
         JOIN pg_inherits i ON i.inhrelid = d.refobjid
             AND i.inhparent = '{PUBLISHED}.{CLAIMS_FACT}'::regclass
         WHERE d.refclassid = 'pg_class'::regclass AND d.deptype = 'n'
           AND NOT EXISTS (SELECT FROM pg_constraint k WHERE d.classid = 'pg_constraint'::regclass
                           AND k.oid = d.objid AND k.conparentid <> 0)
         ORDER BY 1 LIMIT 5"
    )
}

/// Refuses a schema in which one of the tables is not there: other queries would fail by it.
fn missing(connection: &mut impl Connection) -> Result<()> {
    let mut tables: Vec<String> =
        migrations::tables().into_iter().map(|name| format!("('{INTERNAL}.{name}')")).collect();
    tables.extend([CLAIMS_FACT, PROVIDERS_DIM].map(|name| format!("('{PUBLISHED}.{name}')")));
    let missing = listed(
        connection,
        &format!(
            "SELECT name AS what FROM (VALUES {}) AS t(name) WHERE to_regclass(name) IS NULL
             ORDER BY 1 LIMIT 5",
            tables.join(", ")
        ),
    )?;
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::warehouse(format!("the table {} is missing", missing.join(", "))).hint(
        format!(
            "give it its name back or restore it from a backup; or drop the schemas {INTERNAL} and {PUBLISHED}, and load everything again"
        ),
    ))
}

/// Refuses what a query finds: rows of what it is and the hint.
fn refuse(connection: &mut impl Connection, query: &str) -> Result<()> {
    let rows = sql::query(connection, CONTEXT, query)?;
    let text = |name: &str, row: usize| sql::text(&rows, name, row).unwrap_or_default();
    let (mut faults, mut ways) = (Vec::new(), Vec::new());
    for row in 0..rows.num_rows().min(NAMED) {
        faults.push(text("what", row));
        ways.push(text("way_out", row));
    }
    if faults.is_empty() {
        return Ok(());
    }
    if let Some(more @ 1..) = rows.num_rows().checked_sub(NAMED) {
        faults.push(format!("and {more} more"));
    }
    Err(Error::warehouse(faults.join("; ")).hint(ways.join("; ")))
}

/// The query for everything that is other than it was made.
#[expect(clippy::too_many_lines, reason = "one query")]
fn changed(shape: Shape) -> String {
    let (fact, dim) =
        (format!("{PUBLISHED}.{CLAIMS_FACT}"), format!("{PUBLISHED}.{PROVIDERS_DIM}"));
    let mut expected = String::new();
    for (kind, name, of, nullable) in expected_columns(shape) {
        let separator = if expected.is_empty() { "" } else { ", " };
        // Writing to a string cannot fail.
        let _ = write!(expected, "{separator}('{kind}', '{name}', '{of}', {nullable})");
    }
    let internal = sql::literals(migrations::tables());
    format!(
        "WITH expected(kind, name, type, nullable) AS (VALUES {expected}),
         published AS (
             SELECT '{fact}'::regclass::oid AS oid, 'fact' AS kind, true AS is_parent
             UNION ALL SELECT inhrelid, 'fact', false FROM pg_inherits WHERE inhparent = '{fact}'::regclass
             UNION ALL SELECT '{dim}'::regclass, 'dim', true),
         ours AS (
             SELECT oid FROM published
             UNION SELECT oid FROM pg_class
             WHERE relnamespace = '{INTERNAL}'::regnamespace AND relname IN ({internal})),
         places AS (
             SELECT c.oid, format('%I.%I', n.nspname, c.relname) AS place
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace),
         columns AS (
             SELECT t.oid, t.kind, t.is_parent, l.place, a.attname::text AS name, a.attnotnull,
                 format_type(a.atttypid, a.atttypmod) AS type, a.atthasdef,
                 a.attgenerated <> '' OR a.attidentity <> '' AS is_generated
             FROM published t JOIN places l USING (oid)
             JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped)
         SELECT what, way_out FROM (
             SELECT 1 AS rank, format('the column %I of %s is missing', e.name, l.place) AS what,
                 format('ALTER TABLE %s ADD COLUMN %I %s, fill it again, or load everything again into an empty database', l.place, e.name, e.type) AS way_out
             FROM expected e JOIN published t ON t.kind = e.kind AND t.is_parent JOIN places l ON l.oid = t.oid
             WHERE NOT EXISTS (SELECT FROM columns c WHERE c.oid = t.oid AND c.name = e.name)
             UNION ALL
             SELECT 2, format('the column %I of %s is %s, not %s', c.name, c.place, c.type, e.type),
                 format('ALTER TABLE %s ALTER COLUMN %I TYPE %s', c.place, c.name, e.type)
             FROM columns c JOIN expected e USING (kind, name) WHERE c.is_parent AND c.type <> e.type
             UNION ALL
             SELECT 3, format('the column %I of %s takes no nulls', c.name, c.place),
                 format('ALTER TABLE %s ALTER COLUMN %I DROP NOT NULL', c.place, c.name)
             FROM columns c JOIN expected e USING (kind, name) WHERE e.nullable AND c.attnotnull
             UNION ALL
             SELECT 4, format('the column %I of %s is generated, but every load writes it', c.name, c.place),
                 format('ALTER TABLE %s ALTER COLUMN %I DROP EXPRESSION IF EXISTS, ALTER COLUMN %I DROP IDENTITY IF EXISTS', c.place, c.name, c.name)
             FROM columns c JOIN expected e USING (kind, name) WHERE c.is_generated
             UNION ALL
             SELECT 5, format('the column %I of %s was added by somebody else, and no load can fill it', c.name, c.place),
                 format('keep it in a table of your own, by claim_token and line_number or by provider_key, then ALTER TABLE %s DROP COLUMN %I', c.place, c.name)
             FROM columns c WHERE c.is_parent
               AND (c.kind = 'fact' OR c.attnotnull AND NOT c.atthasdef AND NOT c.is_generated)
               AND NOT EXISTS (SELECT FROM expected e WHERE e.kind = c.kind AND e.name = c.name)
             UNION ALL
             SELECT 6, format('%s has no primary key (%s)', l.place, k.key),
                 format('ALTER TABLE %s ADD PRIMARY KEY (%s)', l.place, k.key)
             FROM published t JOIN places l USING (oid)
             JOIN (VALUES ('fact', 'claim_token, line_number'), ('dim', 'provider_key')) AS k(kind, key) USING (kind)
             WHERE t.is_parent AND NOT EXISTS (
                 SELECT FROM pg_constraint p WHERE p.conrelid = t.oid AND p.contype = 'p' AND k.key = (
                     SELECT string_agg(a.attname::text, ', ' ORDER BY o.place)
                     FROM unnest(p.conkey) WITH ORDINALITY AS o(attnum, place)
                     JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = o.attnum))
             UNION ALL
             SELECT 7, format('somebody else has added the constraint %I to %s', p.conname, l.place),
                 format('ALTER TABLE %s DROP CONSTRAINT %I', l.place, p.conname)
             FROM pg_constraint p JOIN published t ON t.oid = p.conrelid JOIN places l ON l.oid = t.oid
             WHERE p.contype IN ('c', 'f', 'u', 'x') AND p.conparentid = 0 AND p.coninhcount = 0
             UNION ALL
             SELECT 8, format('somebody else has added the unique index %I to %s', x.relname, l.place),
                 format('DROP INDEX %I.%I, and create it again without UNIQUE', '{PUBLISHED}', x.relname)
             FROM pg_index i JOIN published t ON t.oid = i.indrelid JOIN places l ON l.oid = t.oid
             JOIN pg_class x ON x.oid = i.indexrelid
             WHERE i.indisunique AND NOT x.relispartition AND x.relname <> 'providers_dim_current'
               AND NOT EXISTS (SELECT FROM pg_constraint p WHERE p.conindid = i.indexrelid)
             UNION ALL
             SELECT 9, format('somebody else has put the trigger %I on %s, and attached rows pass by it', g.tgname, l.place),
                 format('DROP TRIGGER %I ON %s, or ALTER TABLE %s DISABLE TRIGGER %I; a webhook reports every load', g.tgname, l.place, l.place, g.tgname)
             FROM pg_trigger g JOIN published t ON t.oid = g.tgrelid JOIN places l ON l.oid = t.oid
             WHERE NOT g.tgisinternal AND g.tgenabled <> 'D' AND g.tgparentid = 0
             UNION ALL
             SELECT 10, format('somebody else has put the rule %I on %s', r.rulename, l.place),
                 format('DROP RULE %I ON %s', r.rulename, l.place)
             FROM pg_rewrite r JOIN published t ON t.oid = r.ev_class JOIN places l ON l.oid = t.oid
             WHERE r.ev_enabled <> 'D'
             UNION ALL
             SELECT 11, format('%s is a partition of {fact} that no load has made', l.place),
                 format('ALTER TABLE {fact} DETACH PARTITION %s', l.place)
             FROM published t JOIN places l USING (oid) JOIN pg_class c USING (oid)
             WHERE t.kind = 'fact' AND NOT t.is_parent
               AND (c.relkind <> 'r' OR c.relnamespace <> '{PUBLISHED}'::regnamespace
                    OR c.relname !~ '^{CLAIMS_FACT}_(0|[0-9]+_[0-9]+)$')
             UNION ALL
             SELECT 12, format('%s inherits from %s', child.place, parent.place),
                 CASE WHEN EXISTS (SELECT FROM pg_class c WHERE c.oid = i.inhrelid AND c.relispartition)
                      THEN format('ALTER TABLE %s DETACH PARTITION %s', parent.place, child.place)
                      ELSE format('ALTER TABLE %s NO INHERIT %s', child.place, parent.place) END
             FROM pg_inherits i JOIN places child ON child.oid = i.inhrelid
             JOIN places parent ON parent.oid = i.inhparent
             WHERE i.inhparent <> '{fact}'::regclass
               AND (i.inhparent IN (SELECT oid FROM ours) OR i.inhrelid IN (SELECT oid FROM ours))
             UNION ALL
             SELECT 13, format('%s is unlogged: a crash of the server would empty it', l.place),
                 format('ALTER TABLE %s SET LOGGED', l.place)
             FROM ours JOIN places l USING (oid) JOIN pg_class c USING (oid) WHERE c.relpersistence = 'u'
         ) AS faults ORDER BY rank, what"
    )
}

/// What the published tables have: table, name, type and whether it may be null.
fn expected_columns(shape: Shape) -> Vec<(&'static str, &'static str, &'static str, bool)> {
    let of = |kind: &'static str, columns: Vec<Column>| {
        columns.into_iter().map(move |c| (kind, c.name, c.postgres, c.nullable))
    };
    let mut expected: Vec<_> =
        of("fact", fact_columns(shape)).chain(of("dim", provider_columns(shape))).collect();
    expected.extend([
        ("fact", "run_no", "integer", false),
        ("dim", "provider_key", "integer", false),
        ("dim", "is_placeholder", "boolean", false),
        ("dim", "is_current", "boolean", false),
        ("dim", "valid_from", "timestamp with time zone", false),
        ("dim", "valid_to", "timestamp with time zone", true),
        ("dim", "row_hash", "uuid", true),
        ("dim", "run_no", "integer", false),
    ]);
    expected
}

/// Refuses tables that a publication has made read-only: a server does not update a published table
/// whose rows it cannot name. It is queried rather than deduced, because what counts differs from
/// version to version; EXPLAIN changes nothing.
fn replica_identities(connection: &mut impl Connection) -> Result<()> {
    let script = format!(
        "DO $probe$ DECLARE one record; unfit text := ''; BEGIN
             SET LOCAL lock_timeout = '1s';
             IF EXISTS (SELECT FROM pg_publication) THEN
                 FOR one IN
                     SELECT c.oid::regclass AS name, a.attname AS col
                     FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
                         AND NOT a.attisdropped AND a.attgenerated = '' AND a.attidentity = ''
                     WHERE a.attnum = (SELECT min(b.attnum) FROM pg_attribute b WHERE b.attrelid = c.oid
                               AND b.attnum > 0 AND NOT b.attisdropped AND b.attgenerated = ''
                               AND b.attidentity = '')
                       AND (c.relnamespace = '{INTERNAL}'::regnamespace AND c.relname IN ({})
                            OR c.oid = '{PUBLISHED}.{PROVIDERS_DIM}'::regclass
                            OR c.oid IN (SELECT inhrelid FROM pg_inherits
                                WHERE inhparent = '{PUBLISHED}.{CLAIMS_FACT}'::regclass))
                     ORDER BY 1
                 LOOP
                     BEGIN
                         EXECUTE format('EXPLAIN UPDATE ONLY %s SET %I = %I', one.name, one.col, one.col);
                         EXECUTE format('EXPLAIN DELETE FROM ONLY %s', one.name);
                     EXCEPTION
                         WHEN object_not_in_prerequisite_state OR invalid_column_reference THEN
                             unfit := unfit || ', ' || one.name;
                         WHEN lock_not_available THEN NULL;
                     END;
                 END LOOP;
             END IF;
             PERFORM set_config('claims_etl.unfit', substr(unfit, 3), false);
         END $probe$",
        sql::literals(migrations::tables())
    );
    sql::execute(connection, CONTEXT, &script)?;
    let unfit = "SELECT current_setting('claims_etl.unfit') AS what";
    match listed(connection, unfit)?.into_iter().next().filter(|unfit| !unfit.is_empty()) {
        None => Ok(()),
        Some(unfit) => Err(Error::warehouse(format!(
            "{unfit} is in a publication and has no replica identity that fits it, so its rows cannot be changed"
        ))
        .hint("ALTER TABLE … REPLICA IDENTITY DEFAULT, or take it out of the publication")),
    }
}

/// The foreign keys of others that refer to a published table, with their own tables.
///
/// # Errors
/// `Warehouse` when the query fails.
pub(crate) fn foreign_keys_to(
    connection: &mut impl Connection,
    table: &str,
) -> Result<Vec<String>> {
    let rows = sql::query(
        connection,
        "looking for foreign keys",
        &format!(
            "SELECT format('%s (foreign key %I)', conrelid::regclass, conname) AS what
             FROM pg_constraint
             WHERE contype = 'f' AND conparentid = 0
               AND confrelid = '{PUBLISHED}.{table}'::regclass ORDER BY 1"
        ),
    )?;
    Ok((0..rows.num_rows()).filter_map(|row| sql::text(&rows, "what", row)).collect())
}

#[cfg(test)]
mod tests {
    use crate::warehouse::migrations;

    #[test]
    fn every_table_of_the_ledger_is_looked_at() {
        let tables = migrations::tables();
        for table in ["migrations", "runs", "risk_statistics", "provider_totals"] {
            assert!(tables.contains(&table), "{table}: {tables:?}");
        }
        assert_eq!(tables.iter().filter(|table| **table == "risk_statistics").count(), 1);
    }
}
