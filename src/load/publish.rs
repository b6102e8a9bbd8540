//! The publish: one transaction makes the staged rows visible, or nothing.
//!
//! A file of its own because it is the promise of the program. A first load and a `replace` attach
//! the staged tables as the partitions of the fact, so rows are written once; a `merge` or `append`
//! into published data moves only the rows that differ, which were found before. Dimension,
//! statistics and ledger go into the same transaction, and the totals are a condition of it.

use adbc_core::sync::Connection;

use super::session::Session;
use super::staging::Part;
use super::statistics::{Statistics, write_statistics};
use super::{ledger, outbox, table_lock};
use crate::account::{Account, Cents};
use crate::config::Mode;
use crate::error::{Error, Result};
use crate::event::Cancellation;
use crate::failpoint;
use crate::schema::{
    CLAIMS_FACT, INTERNAL, PROVIDERS_DIM, PUBLISHED, Shape, TokenRange, fact_columns,
};
use crate::sql;

const CONTEXT: &str = "publish";

/// What a row is, apart from its key and its score: two rows with these equal are identical.
const CONTENT: [&str; 8] = [
    "patient_token",
    "provider_id",
    "procedure_code",
    "amount",
    "date_of_service",
    "specialty",
    "location",
    "dq_flags",
];

/// How the staged claims become published ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// The staged table becomes the fact's partition.
    Attach,
    /// New rows are inserted, changed ones updated, equal ones left alone.
    Merge,
    /// All rows are inserted; none may be there.
    Append,
}

impl Route {
    /// The name in the task's result.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Attach => "attach",
            Self::Merge => "merge",
            Self::Append => "append",
        }
    }
}

/// The route for a mode: attach where nothing that is published stays.
///
/// # Errors
/// `Warehouse` when the query fails.
pub fn route(connection: &mut impl Connection, mode: Mode) -> Result<Route> {
    Ok(match mode {
        Mode::Replace => Route::Attach,
        _ if !is_filled(connection)? => Route::Attach,
        Mode::Merge => Route::Merge,
        Mode::Append => Route::Append,
    })
}

/// Whether any claim is published.
///
/// # Errors
/// `Warehouse` when the query fails.
pub fn is_filled(connection: &mut impl Connection) -> Result<bool> {
    let filled = sql::query(
        connection,
        CONTEXT,
        &format!("SELECT EXISTS (SELECT FROM {PUBLISHED}.{CLAIMS_FACT}) AS filled"),
    )?;
    Ok(sql::boolean(&filled, "filled", 0) == Some(true))
}

/// Both sides of a comparison lie in the order of the key and have its index, so they are merged as
/// they are: a hash join of so many rows would write them out. Connections are the parallelism.
const IN_THE_ORDER_OF_THE_KEY: &str =
    "SET LOCAL enable_hashjoin = off; SET LOCAL enable_sort = off;
     SET LOCAL max_parallel_workers_per_gather = 0;";

/// How a part's rows differ from what is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Changes {
    /// Rows whose key is not published.
    pub new: u64,
    /// Rows whose key is published with other content.
    pub changed: u64,
}

/// The name of a run's staged providers.
#[must_use]
pub(super) fn providers_stage(run_no: i64) -> String {
    format!("providers_stage_{run_no}")
}

/// Makes the empty table for a run's providers.
///
/// # Errors
/// `Warehouse` when a statement fails.
pub fn create_stage(connection: &mut impl Connection, run_no: i64) -> Result<()> {
    sql::execute(
        connection,
        "creating the staging tables",
        &format!(
            "CREATE UNLOGGED TABLE {INTERNAL}.{} (
                 provider_id text NOT NULL, provider_name text, specialty text, location text,
                 is_inferred boolean NOT NULL DEFAULT false)",
            providers_stage(run_no)
        ),
    )
    .map(drop)
}

/// Drops the staging tables of a run, as far as they are there.
///
/// # Errors
/// `Warehouse` when a statement fails.
pub fn drop_stage(connection: &mut impl Connection, run_no: i64) -> Result<()> {
    let context = "dropping the staging tables";
    for table in staging_tables(connection, context, Some(run_no))? {
        let table = sql::quote_identifier(&table);
        sql::execute(connection, context, &format!("DROP TABLE IF EXISTS {INTERNAL}.{table}"))?;
    }
    Ok(())
}

/// The staging tables of one run, or of all.
///
/// # Errors
/// `Warehouse` when the query fails.
pub(super) fn staging_tables(
    connection: &mut impl Connection,
    context: &str,
    run_no: Option<i64>,
) -> Result<Vec<String>> {
    let number = run_no.map_or_else(|| "[0-9]+".to_owned(), |run_no| run_no.to_string());
    let tables = sql::query(
        connection,
        context,
        &format!(
            "SELECT relname::text AS name FROM pg_class
             WHERE relnamespace = '{INTERNAL}'::regnamespace AND relkind = 'r'
               AND relname ~ '^(claims_stage_{number}_[0-9]+|providers_stage_{number})$' ORDER BY 1"
        ),
    )?;
    Ok((0..tables.num_rows()).filter_map(|row| sql::text(&tables, "name", row)).collect())
}

/// Publishes the staged rows in one transaction, completes the ledger's row and, where anything has
/// changed, lets `targets` be refreshed. `account` comes with what was read, rejected and dropped; it
/// leaves with what was loaded, as Postgres counts.
///
/// # Errors
/// `Quality` when the totals do not balance or an appended claim is there already, `Warehouse`
/// when a statement fails; nothing is published then.
pub fn publish<C: Connection>(
    session: &mut Session<C>,
    route: Route,
    parts: &[Part],
    statistics: &Statistics,
    account: &mut Account,
    targets: &[String],
    cancel: &Cancellation,
) -> Result<()> {
    let (run, run_no) = (session.identity.run, session.run_no);
    sql::in_transaction(&mut session.control, CONTEXT, |connection| {
        let timeout = format!("SET LOCAL lock_timeout = '{}'", table_lock::STATEMENT);
        sql::execute(connection, CONTEXT, &timeout)?;
        let members = publish_providers(connection, run_no)?;
        account.providers.inferred = members.new;
        failpoint::hit("publish.providers")?;
        write_statistics(connection, run_no, statistics)?;
        failpoint::hit("publish.statistics")?;
        let staged: u64 = parts.iter().map(|part| part.rows).sum();
        let new: u64 = parts.iter().map(|part| part.changes.new).sum();
        let changed: u64 = parts.iter().map(|part| part.changes.changed).sum();
        match route {
            Route::Attach => {}
            Route::Append if new < staged => {
                return Err(Error::quality(format!(
                    "{} of the claims to append are published already; nothing was published",
                    staged - new
                ))
                .hint("--mode merge updates them and leaves equal ones alone"));
            }
            Route::Append | Route::Merge => {
                sql::execute(connection, CONTEXT, "SET LOCAL enable_hashjoin = off")?;
                for part in parts {
                    apply(connection, part)?;
                    failpoint::hit("publish.applied")?;
                }
            }
        }
        account.claims.inserted = new;
        account.claims.updated = changed;
        account.claims.unchanged = staged.saturating_sub(new + changed);
        account.claims.loaded = staged;
        account.amount.loaded = parts.iter().map(|part| part.amount).sum();
        let imbalances = account.imbalances();
        if !imbalances.is_empty() {
            return Err(Error::quality(format!(
                "the totals do not balance: {}; rolled back",
                imbalances.join("; ")
            )));
        }
        ledger::complete(connection, run, "success", true, account)?;
        failpoint::hit("publish.ledger")?;
        if route == Route::Attach {
            // Last, because readers wait from here to the commit.
            table_lock::exclusively(connection, &format!("{PUBLISHED}.{CLAIMS_FACT}"), cancel)?;
            failpoint::hit("publish.locked")?;
            attach(connection, run_no, parts)?;
        } else {
            drop_stage(connection, run_no)?;
        }
        if route == Route::Attach || new + changed + members.new + members.changed > 0 {
            // After the wait for readers: a refresh that reads wants to note its end.
            outbox::note_change(connection, run, targets)?;
        }
        failpoint::hit("publish.commit")
    })
}

/// Rows and money of a table or subquery.
pub(super) fn totals(connection: &mut impl Connection, table: &str) -> Result<(u64, Cents)> {
    let rows = sql::query(
        connection,
        "control totals",
        &format!("SELECT count(*) AS n, coalesce(sum(amount), 0)::text AS amount FROM {table}"),
    )?;
    let n = sql::int(&rows, "n", 0).and_then(|n| u64::try_from(n).ok());
    let amount = sql::text(&rows, "amount", 0).and_then(|text| Cents::parse(&text));
    n.zip(amount).ok_or_else(|| Error::internal("control totals that are no numbers"))
}

/// Keeps of a part's staged rows those that are not published as they are, and says how many of
/// them are new and how many are changed. All rows were joined to tell; the rest is equal.
///
/// # Errors
/// `Warehouse` when a statement fails.
pub(super) fn changes(
    connection: &mut impl Connection,
    table: &str,
    range: TokenRange,
) -> Result<Changes> {
    let context = "comparing with what is published";
    let columns = |alias: &str| CONTENT.map(|column| format!("{alias}.{column}")).join(", ");
    sql::execute(
        connection,
        context,
        &format!(
            "{IN_THE_ORDER_OF_THE_KEY}
             ALTER TABLE {INTERNAL}.{table} RENAME TO {table}_all;
             CREATE UNLOGGED TABLE {INTERNAL}.{table} AS
             SELECT s.*, f.claim_token IS NULL AS is_new
             FROM {INTERNAL}.{table}_all s
             LEFT JOIN {PUBLISHED}.{CLAIMS_FACT} f
                 ON f.claim_token = s.claim_token AND f.line_number = s.line_number AND {}
             WHERE f.claim_token IS NULL OR ROW({}) IS DISTINCT FROM ROW({});
             DROP TABLE {INTERNAL}.{table}_all;
             ANALYZE {INTERNAL}.{table}",
            range.condition("f.claim_token"),
            columns("f"),
            columns("s")
        ),
    )?;
    let rows = sql::query(
        connection,
        context,
        &format!(
            "SELECT count(*) FILTER (WHERE is_new) AS new, count(*) FILTER (WHERE NOT is_new) AS changed
             FROM {INTERNAL}.{table}"
        ),
    )?;
    let count = |name: &str| sql::int(&rows, name, 0).and_then(|n| u64::try_from(n).ok());
    count("new")
        .zip(count("changed"))
        .map(|(new, changed)| Changes { new, changed })
        .ok_or_else(|| Error::internal("counts that are no numbers"))
}

/// Updates and inserts what differs. Since it was compared, nobody may have changed the table.
fn apply(connection: &mut impl Connection, part: &Part) -> Result<()> {
    let names: Vec<&str> =
        fact_columns(Shape::WHOLE).iter().map(|column| column.name).chain(["run_no"]).collect();
    let is_key = |name: &&str| matches!(*name, "claim_token" | "line_number");
    let assignments: Vec<String> = names
        .iter()
        .filter(|name| !is_key(name))
        .map(|name| format!("{name} = s.{name}"))
        .collect();
    let (table, names) = (&part.table, names.join(", "));
    let updated = sql::execute(
        connection,
        "updating changed claims",
        &format!(
            "UPDATE {PUBLISHED}.{CLAIMS_FACT} f SET {} FROM {INTERNAL}.{table} s
             WHERE NOT s.is_new AND f.claim_token = s.claim_token AND f.line_number = s.line_number",
            assignments.join(", ")
        ),
    )?;
    let inserted = sql::execute(
        connection,
        "inserting new claims",
        &format!(
            "INSERT INTO {PUBLISHED}.{CLAIMS_FACT} ({names})
             SELECT {names} FROM {INTERNAL}.{table} WHERE is_new"
        ),
    )?;
    if (inserted, updated) != (part.changes.new, part.changes.changed) {
        return Err(Error::quality(format!(
            "{} new and {} changed claims were staged, but {inserted} and {updated} were published; rolled back",
            part.changes.new, part.changes.changed
        ))
        .hint("somebody else changed claims_fact meanwhile; run again"));
    }
    Ok(())
}

/// Inserts and updates members; completes inferred ones. Returns how many are inferred and new, and
/// how many of the directory's are new or changed.
fn publish_providers(connection: &mut impl Connection, run_no: i64) -> Result<Changes> {
    let stage = providers_stage(run_no);
    let changed = sql::execute(
        connection,
        "publishing providers",
        &format!(
            "INSERT INTO {PUBLISHED}.{PROVIDERS_DIM} AS d
                 (provider_id, provider_name, specialty, location, row_hash, run_no)
             SELECT provider_id, provider_name, specialty, location,
                    md5(ROW(provider_name, specialty, location)::text)::uuid, {run_no}
             FROM {INTERNAL}.{stage} WHERE NOT is_inferred ORDER BY provider_id
             ON CONFLICT (provider_id) DO UPDATE
             SET provider_name = excluded.provider_name, specialty = excluded.specialty,
                 location = excluded.location, row_hash = excluded.row_hash,
                 is_inferred = false, updated_at = now(), run_no = excluded.run_no
             WHERE d.row_hash IS DISTINCT FROM excluded.row_hash"
        ),
    )?;
    let new = sql::execute(
        connection,
        "publishing inferred providers",
        &format!(
            "INSERT INTO {PUBLISHED}.{PROVIDERS_DIM} (provider_id, is_inferred, run_no)
             SELECT provider_id, true, {run_no}
             FROM {INTERNAL}.{stage} WHERE is_inferred ORDER BY provider_id
             ON CONFLICT (provider_id) DO NOTHING"
        ),
    )?;
    Ok(Changes { new, changed })
}

/// Makes the staged tables the only partitions of the fact.
fn attach(connection: &mut impl Connection, run_no: i64, parts: &[Part]) -> Result<()> {
    let partitions = sql::query(
        connection,
        CONTEXT,
        &format!(
            "SELECT inhrelid::regclass::text AS name FROM pg_inherits
             WHERE inhparent = '{PUBLISHED}.{CLAIMS_FACT}'::regclass ORDER BY 1"
        ),
    )?;
    // regclass prints a name that is quoted where it must be.
    let detach: Vec<String> = (0..partitions.num_rows())
        .filter_map(|row| sql::text(&partitions, "name", row))
        .map(|name| {
            format!(
                "ALTER TABLE {PUBLISHED}.{CLAIMS_FACT} DETACH PARTITION {name}; DROP TABLE {name}"
            )
        })
        .collect();
    sql::execute(connection, "detaching the published claims", &detach.join(";\n"))?;
    failpoint::hit("publish.detached")?;
    let mut script = Vec::new();
    for (place, part) in parts.iter().enumerate() {
        let (stage, partition) = (&part.table, format!("{CLAIMS_FACT}_{run_no}_{place}"));
        script.push(format!(
            "ALTER TABLE {INTERNAL}.{stage} ALTER run_no DROP DEFAULT;
             ALTER TABLE {INTERNAL}.{stage} RENAME CONSTRAINT {stage}_pkey TO {partition}_pkey;
             ALTER TABLE {INTERNAL}.{stage} SET SCHEMA {PUBLISHED};
             ALTER TABLE {PUBLISHED}.{stage} RENAME TO {partition};
             ALTER TABLE {PUBLISHED}.{CLAIMS_FACT} ATTACH PARTITION {PUBLISHED}.{partition}
                 FOR VALUES {};
             ALTER TABLE {PUBLISHED}.{partition} DROP CONSTRAINT IF EXISTS {stage}_range",
            part.range.bounds()
        ));
    }
    script.push(format!("DROP TABLE {INTERNAL}.{}", providers_stage(run_no)));
    sql::execute(connection, "attaching the staged claims", &script.join(";\n")).map(drop)
}
