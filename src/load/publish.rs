//! The publish: one transaction makes the staged rows visible, or nothing.
//!
//! A file of its own because it is the promise of the program. A first load and a `replace` attach
//! the staged table as the partition of the fact, so rows are written once; a `merge` or `append`
//! into published data moves rows set-wise. Dimension, statistics and ledger go into the same
//! transaction, and its last act is to compare the totals.

use adbc_core::sync::Connection;

use super::deduplicate::CONTENT;
use super::ledger;
use super::session::Session;
use super::statistics::{Statistics, write_statistics};
use crate::account::{Account, Cents};
use crate::config::Mode;
use crate::error::{Error, Result};
use crate::schema::{CLAIMS_FACT, INTERNAL, ORIGIN, PROVIDERS_DIM, PUBLISHED, fact_columns};
use crate::sql;

const CONTEXT: &str = "publish";

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
    let filled = sql::query(
        connection,
        CONTEXT,
        &format!("SELECT EXISTS (SELECT FROM {PUBLISHED}.{CLAIMS_FACT}) AS filled"),
    )?;
    Ok(match mode {
        Mode::Replace => Route::Attach,
        _ if sql::boolean(&filled, "filled", 0) != Some(true) => Route::Attach,
        Mode::Merge => Route::Merge,
        Mode::Append => Route::Append,
    })
}

/// The name of a run's staged claims.
#[must_use]
pub fn claims_stage(run_no: i64) -> String {
    format!("claims_stage_{run_no}")
}

/// The name of a run's staged providers.
#[must_use]
pub(super) fn providers_stage(run_no: i64) -> String {
    format!("providers_stage_{run_no}")
}

/// Makes the empty staging tables of a run: logged where the table will be published as it is.
///
/// # Errors
/// `Warehouse` when a statement fails.
pub fn create_stage(connection: &mut impl Connection, run_no: i64, route: Route) -> Result<()> {
    let (claims, providers) = (claims_stage(run_no), providers_stage(run_no));
    let logged = if route == Route::Attach { "" } else { "UNLOGGED" };
    sql::execute(
        connection,
        "creating the staging tables",
        &format!(
            "CREATE {logged} TABLE {INTERNAL}.{claims} (LIKE {PUBLISHED}.{CLAIMS_FACT});
             ALTER TABLE {INTERNAL}.{claims} ALTER run_no SET DEFAULT {run_no},
                 ADD COLUMN {ORIGIN} bigint NOT NULL;
             CREATE UNLOGGED TABLE {INTERNAL}.{providers} (
                 provider_id text NOT NULL, provider_name text, specialty text, location text,
                 is_inferred boolean NOT NULL DEFAULT false)"
        ),
    )
    .map(drop)
}

/// Drops the staging tables of a run, as far as they are there.
///
/// # Errors
/// `Warehouse` when the statement fails.
pub fn drop_stage(connection: &mut impl Connection, run_no: i64) -> Result<()> {
    sql::execute(
        connection,
        "dropping the staging tables",
        &format!(
            "DROP TABLE IF EXISTS {INTERNAL}.{}, {INTERNAL}.{}",
            claims_stage(run_no),
            providers_stage(run_no)
        ),
    )
    .map(drop)
}

/// Publishes the staged rows in one transaction and completes the ledger's row. `account` comes
/// with what was read, rejected and dropped; it leaves with what was loaded, as Postgres counts.
///
/// # Errors
/// `Quality` when the totals do not balance or an appended claim is there already, `Warehouse`
/// when a statement fails; nothing is published then.
pub fn publish<C: Connection>(
    session: &mut Session<C>,
    route: Route,
    statistics: &Statistics,
    account: &mut Account,
) -> Result<()> {
    let (run, run_no) = (session.identity.run, session.run_no);
    sql::in_transaction(&mut session.control, CONTEXT, |connection| {
        account.providers.inferred = publish_providers(connection, run_no)?;
        write_statistics(connection, run_no, statistics)?;
        let staged = totals(connection, &format!("{INTERNAL}.{}", claims_stage(run_no)))?;
        match route {
            Route::Attach => account.claims.inserted = staged.0,
            Route::Merge => {
                account.claims.updated = update_changed(connection, run_no)?;
                account.claims.inserted = insert_new(connection, run_no)?;
                account.claims.unchanged =
                    staged.0.saturating_sub(account.claims.updated + account.claims.inserted);
            }
            Route::Append => {
                refuse_present(connection, run_no)?;
                account.claims.inserted = insert_new(connection, run_no)?;
            }
        }
        let published = match route {
            // The staged table is what will be published.
            Route::Attach => staged,
            Route::Merge | Route::Append => totals(connection, &published_rows(run_no))?,
        };
        if published != staged {
            return Err(Error::quality(format!(
                "{} rows ({}) were staged, but {} rows ({}) of them are published; rolled back",
                staged.0, staged.1, published.0, published.1
            )));
        }
        (account.claims.loaded, account.amount.loaded) = published;
        let imbalances = account.imbalances();
        if !imbalances.is_empty() {
            return Err(Error::quality(format!(
                "the totals do not balance: {}; rolled back",
                imbalances.join("; ")
            )));
        }
        ledger::complete(connection, run, "success", true, account)?;
        match route {
            // Last, because readers wait from here to the commit.
            Route::Attach => attach(connection, run_no),
            Route::Merge | Route::Append => drop_stage(connection, run_no),
        }
    })
}

/// Refreshes the planner's statistics: a partition that has just been attached has none, and the
/// dashboards' queries come next.
///
/// # Errors
/// `Warehouse` when the statement fails; the data are published all the same.
pub fn analyze(connection: &mut impl Connection) -> Result<()> {
    sql::execute(
        connection,
        "planner statistics",
        &format!("ANALYZE {PUBLISHED}.{CLAIMS_FACT}, {PUBLISHED}.{PROVIDERS_DIM}"),
    )
    .map(drop)
}

/// Rows and money of a table or subquery.
fn totals(connection: &mut impl Connection, table: &str) -> Result<(u64, Cents)> {
    let rows = sql::query(
        connection,
        "control totals",
        &format!("SELECT count(*) AS n, coalesce(sum(amount), 0)::text AS amount FROM {table}"),
    )?;
    let n = sql::int(&rows, "n", 0).and_then(|n| u64::try_from(n).ok());
    let amount = sql::text(&rows, "amount", 0).and_then(|text| Cents::parse(&text));
    n.zip(amount).ok_or_else(|| Error::internal("control totals that are no numbers"))
}

/// The published rows that hold exactly what is staged, as a subquery.
fn published_rows(run_no: i64) -> String {
    let stage = claims_stage(run_no);
    format!(
        "(SELECT f.amount FROM {PUBLISHED}.{CLAIMS_FACT} f
          JOIN {INTERNAL}.{stage} s USING (claim_token, line_number)
          WHERE {}) published",
        content_comparison("IS NOT DISTINCT FROM")
    )
}

/// `ROW(f.…) <operator> ROW(s.…)` over the content columns.
fn content_comparison(operator: &str) -> String {
    let of = |alias: &str| CONTENT.map(|column| format!("{alias}.{column}")).join(", ");
    format!("ROW({}) {operator} ROW({})", of("f"), of("s"))
}

/// Inserts and updates members; completes inferred ones. Returns how many were inferred.
fn publish_providers(connection: &mut impl Connection, run_no: i64) -> Result<u64> {
    let stage = providers_stage(run_no);
    sql::execute(
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
    sql::execute(
        connection,
        "publishing inferred providers",
        &format!(
            "INSERT INTO {PUBLISHED}.{PROVIDERS_DIM} (provider_id, is_inferred, run_no)
             SELECT provider_id, true, {run_no}
             FROM {INTERNAL}.{stage} WHERE is_inferred ORDER BY provider_id
             ON CONFLICT (provider_id) DO NOTHING"
        ),
    )
}

/// Makes the staged table the only partition of the fact.
fn attach(connection: &mut impl Connection, run_no: i64) -> Result<()> {
    let stage = claims_stage(run_no);
    let partitions = sql::query(
        connection,
        CONTEXT,
        &format!(
            "SELECT inhrelid::regclass::text AS name FROM pg_inherits
             WHERE inhparent = '{PUBLISHED}.{CLAIMS_FACT}'::regclass ORDER BY 1"
        ),
    )?;
    // regclass prints a name that is quoted where it must be.
    let drops: Vec<String> = (0..partitions.num_rows())
        .filter_map(|row| sql::text(&partitions, "name", row))
        .map(|name| {
            format!(
                "ALTER TABLE {PUBLISHED}.{CLAIMS_FACT} DETACH PARTITION {name}; DROP TABLE {name};"
            )
        })
        .collect();
    let partition = format!("{CLAIMS_FACT}_{run_no}");
    let script = format!(
        "ALTER TABLE {INTERNAL}.{stage} DROP COLUMN {ORIGIN}, ALTER run_no DROP DEFAULT;
         {}
         ALTER TABLE {INTERNAL}.{stage} RENAME CONSTRAINT {stage}_pkey TO {partition}_pkey;
         ALTER TABLE {INTERNAL}.{stage} SET SCHEMA {PUBLISHED};
         ALTER TABLE {PUBLISHED}.{stage} RENAME TO {partition};
         ALTER TABLE {PUBLISHED}.{CLAIMS_FACT} ATTACH PARTITION {PUBLISHED}.{partition}
             FOR VALUES FROM (MINVALUE) TO (MAXVALUE);
         DROP TABLE {INTERNAL}.{}",
        drops.join("\n"),
        providers_stage(run_no)
    );
    sql::execute(connection, "attaching the staged claims", &script).map(drop)
}

fn update_changed(connection: &mut impl Connection, run_no: i64) -> Result<u64> {
    let assignments: Vec<String> = fact_columns()
        .iter()
        .map(|column| column.name)
        .filter(|name| !matches!(*name, "claim_token" | "line_number"))
        .chain(["run_no"])
        .map(|name| format!("{name} = s.{name}"))
        .collect();
    sql::execute(
        connection,
        "updating changed claims",
        &format!(
            "UPDATE {PUBLISHED}.{CLAIMS_FACT} f SET {} FROM {INTERNAL}.{} s
             WHERE f.claim_token = s.claim_token AND f.line_number = s.line_number AND {}",
            assignments.join(", "),
            claims_stage(run_no),
            content_comparison("IS DISTINCT FROM")
        ),
    )
}

fn insert_new(connection: &mut impl Connection, run_no: i64) -> Result<u64> {
    let names: Vec<&str> =
        fact_columns().iter().map(|column| column.name).chain(["run_no"]).collect();
    let names = names.join(", ");
    sql::execute(
        connection,
        "inserting new claims",
        &format!(
            "INSERT INTO {PUBLISHED}.{CLAIMS_FACT} ({names})
             SELECT {names} FROM {INTERNAL}.{} s
             WHERE NOT EXISTS (SELECT FROM {PUBLISHED}.{CLAIMS_FACT} f
                 WHERE f.claim_token = s.claim_token AND f.line_number = s.line_number)",
            claims_stage(run_no)
        ),
    )
}

fn refuse_present(connection: &mut impl Connection, run_no: i64) -> Result<()> {
    let rows = sql::query(
        connection,
        CONTEXT,
        &format!(
            "SELECT count(*) AS n FROM {PUBLISHED}.{CLAIMS_FACT} f
             JOIN {INTERNAL}.{} s USING (claim_token, line_number)",
            claims_stage(run_no)
        ),
    )?;
    match sql::int(&rows, "n", 0) {
        Some(0) => Ok(()),
        present => Err(Error::quality(format!(
            "{} of the claims to append are published already; nothing was published",
            present.unwrap_or(-1)
        ))
        .hint("--mode merge updates them and leaves equal ones alone")),
    }
}
