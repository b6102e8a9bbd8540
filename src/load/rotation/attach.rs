//! The end of a rotation: one transaction after which everything has the new tokens.

use adbc_core::sync::Connection;

use super::build::{Part, drop_parts, parts, planned};
use super::state::{CONTEXT, Rotation};
use crate::error::{Error, Result};
use crate::event::Cancellation;
use crate::failpoint;
use crate::load::{aggregates, outbox, provider_versions};
use crate::schema::{CLAIMS_FACT, INTERNAL, PROVIDERS_DIM, PUBLISHED};
use crate::warehouse::partitions::partitions;
use crate::warehouse::{lock, sql, table_lock};

/// What stays the same of every row: compared before the old rows are dropped.
const SAME: &str =
    "concat_ws('|', count(*), sum(amount), sum(line_number), sum(risk_score::numeric),
     sum(provider_key),
     sum(risk_components), sum(dq_flags), sum(run_no), min(date_of_service), max(date_of_service))";

/// Puts the built partitions in the place of the published ones, and the new key in that of the old.
///
/// # Errors
/// `Quality` when the new rows are not the old ones, `Warehouse` when a statement fails or readers
/// hold the table all the time, `Interrupted` on cancellation; nothing has changed then.
pub(crate) fn attach(
    connection: &mut impl Connection,
    rotation: &Rotation,
    cancel: &Cancellation,
) -> Result<()> {
    let count = planned(connection)?;
    sql::in_transaction(connection, CONTEXT, |connection| {
        let timeout = format!("SET LOCAL lock_timeout = '{}'", table_lock::STATEMENT);
        sql::execute(connection, CONTEXT, &timeout)?;
        lock::check_held(connection)?;
        // From here to the commit nobody else writes, so what is compared is what is dropped. Readers go on.
        sql::execute(
            connection,
            "keeping writers away from the claims",
            &format!("LOCK TABLE {PUBLISHED}.{CLAIMS_FACT} IN SHARE ROW EXCLUSIVE MODE"),
        )?;
        let parts = parts(connection, count)?;
        if parts.len() as u64 != count {
            return Err(Error::internal("a partition of the rotation is missing"));
        }
        compare(connection, &parts)?;
        failpoint::hit("rotate.compared")?;
        aggregates::rename_claims(connection)?;
        if rotation.has_providers {
            providers(connection)?;
        }
        failpoint::hit("rotate.providers")?;
        install(connection, rotation)?;
        sql::execute(
            connection,
            CONTEXT,
            "UPDATE claims_etl.key_rotation SET phase = 'attached', built_from = NULL;
             DELETE FROM claims_etl.rotation_parts",
        )?;
        failpoint::hit("rotate.installed")?;
        // Last, because readers wait from here to the commit.
        let fact = format!("LOCK TABLE {PUBLISHED}.{CLAIMS_FACT} IN ACCESS EXCLUSIVE MODE");
        table_lock::exclusively(connection, &fact, cancel)?;
        failpoint::hit("rotate.locked")?;
        replace(connection, &parts)?;
        failpoint::hit("rotate.commit")
    })?;
    failpoint::hit("rotate.committed")
}

/// The new rows are as many as the old ones, and have the same in common.
fn compare(connection: &mut impl Connection, parts: &[Part]) -> Result<()> {
    let union: Vec<String> =
        parts.iter().map(|part| format!("SELECT * FROM {INTERNAL}.{}", part.table)).collect();
    let mut figures = |table: &str| {
        let rows =
            sql::query(connection, CONTEXT, &format!("SELECT {SAME} AS figures FROM {table}"))?;
        Ok::<_, Error>(sql::text(&rows, "figures", 0))
    };
    let old = figures(&format!("{PUBLISHED}.{CLAIMS_FACT}"))?;
    let new = figures(&format!("({}) AS parts", union.join(" UNION ALL ")))?;
    if old == new {
        return Ok(());
    }
    let rows: u64 = parts.iter().map(|part| part.rows).sum();
    Err(Error::quality(format!(
        "the {rows} claims with new tokens are not the published ones; nothing was changed"
    ))
    .hint("somebody has changed claims_fact meanwhile: `claims-etl key rotate finish` again"))
}

/// New ids for the providers.
fn providers(connection: &mut impl Connection) -> Result<()> {
    sql::execute(
        connection,
        "changing the providers' tokens",
        &format!(
            "UPDATE {PUBLISHED}.{PROVIDERS_DIM} d SET provider_id = m.new_token::text
             FROM claims_etl.token_map m
             WHERE m.domain = 'provider' AND m.old_token::text = d.provider_id"
        ),
    )
    .map(drop)
}

/// The old key is retired, the new one is that of everything published, and dashboards are due.
fn install(connection: &mut impl Connection, rotation: &Rotation) -> Result<()> {
    let ids = || sql::texts(&[Some(&rotation.old_key), Some(&rotation.new_key)]);
    sql::execute_with(
        connection,
        CONTEXT,
        "UPDATE claims_etl.keys SET retired_at = clock_timestamp(), replaced_by = $2 WHERE key_id = $1",
        ids(),
    )?;
    sql::execute_with(
        connection,
        CONTEXT,
        "UPDATE claims_etl.keys SET installed_at = clock_timestamp() WHERE key_id = $2 AND key_id <> $1",
        ids(),
    )?;
    outbox::outdate(connection)
}

/// Makes the built tables the only partitions of the fact.
fn replace(connection: &mut impl Connection, parts: &[Part]) -> Result<()> {
    let mut script: Vec<String> = partitions(connection)?
        .into_iter()
        .map(|name| {
            format!(
                "ALTER TABLE {PUBLISHED}.{CLAIMS_FACT} DETACH PARTITION {name}; DROP TABLE {name}"
            )
        })
        .collect();
    // A number that no run has: partitions are named by runs.
    let number = "SELECT nextval(pg_get_serial_sequence('claims_etl.runs', 'run_no')) AS number";
    let number = sql::int(&sql::query(connection, CONTEXT, number)?, "number", 0)
        .ok_or_else(|| Error::internal("the ledger gave no number"))?;
    for part in parts {
        let (table, partition) = (&part.table, format!("{CLAIMS_FACT}_{number}_{}", part.ordinal));
        script.push(format!(
            "ALTER TABLE {INTERNAL}.{table} RENAME CONSTRAINT {table}_pkey TO {partition}_pkey;
             ALTER TABLE {INTERNAL}.{table} SET SCHEMA {PUBLISHED};
             ALTER TABLE {PUBLISHED}.{table} RENAME TO {partition};
             ALTER TABLE {PUBLISHED}.{CLAIMS_FACT} ATTACH PARTITION {PUBLISHED}.{partition}
                 FOR VALUES {};
             ALTER TABLE {PUBLISHED}.{partition} DROP CONSTRAINT {table}_range",
            part.range.bounds()
        ));
    }
    sql::execute(connection, "attaching the new partitions", &script.join(";\n")).map(drop)
}

/// Lets materialised views show the new tokens.
///
/// # Errors
/// `Warehouse` when a statement fails; called again it goes on.
pub(crate) fn renew_views(connection: &mut impl Connection) -> Result<()> {
    let views = sql::query(
        connection,
        CONTEXT,
        &format!(
            "SELECT c.oid::regclass::text AS name,
                 EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisunique
                     AND i.indpred IS NULL AND i.indexprs IS NULL) AS has_key
             FROM pg_class c
             WHERE c.relkind = 'm' AND c.relispopulated AND c.relnamespace = '{PUBLISHED}'::regnamespace
             ORDER BY c.oid"
        ),
    )?;
    for row in 0..views.num_rows() {
        let name = sql::text(&views, "name", row).unwrap_or_default();
        let mode =
            if sql::boolean(&views, "has_key", row) == Some(true) { "CONCURRENTLY" } else { "" };
        sql::execute(
            connection,
            "refreshing a view",
            &format!("REFRESH MATERIALIZED VIEW {mode} {name}"),
        )?;
    }
    if views.num_rows() > 0 {
        // Who has read them since the new partitions are there has old tokens from them.
        outbox::outdate(connection)?;
    }
    failpoint::hit("rotate.viewed")
}

/// Forgets a rotation that is done, and its map.
///
/// # Errors
/// `Warehouse` when a statement fails; called again it goes on.
pub(crate) fn forget(connection: &mut impl Connection) -> Result<()> {
    sql::in_transaction(connection, CONTEXT, |connection| {
        drop_parts(connection)?;
        sql::execute(
            connection,
            CONTEXT,
            "TRUNCATE claims_etl.token_map; DELETE FROM claims_etl.key_rotation",
        )?;
        failpoint::hit("rotate.cleared")
    })
}

/// Ends a rotation by reload: everything published is of the new key already.
///
/// # Errors
/// `Warehouse` when a statement fails; nothing has changed then.
pub(crate) fn install_reloaded(
    connection: &mut impl Connection,
    rotation: &Rotation,
) -> Result<()> {
    sql::in_transaction(connection, CONTEXT, |connection| {
        install(connection, rotation)?;
        if rotation.has_providers {
            // To the old key's providers no claim is left.
            let first = sql::query_with(
                connection,
                CONTEXT,
                "SELECT min(publish_no) AS first FROM claims_etl.runs WHERE key_id = $1",
                sql::texts(&[Some(&rotation.new_key)]),
            )?;
            let first = sql::int(&first, "first", 0).unwrap_or(0);
            let before = format!(
                "d.run_no IN (SELECT run_no FROM claims_etl.runs WHERE publish_no < {first})"
            );
            provider_versions::remove(connection, &before)?;
            sql::execute(
                connection,
                CONTEXT,
                "DELETE FROM claims_etl.provider_peers p WHERE NOT EXISTS (
                     SELECT FROM healthcare_analytics.providers_dim d
                     WHERE d.provider_key = p.provider_key)",
            )?;
        }
        sql::execute(
            connection,
            CONTEXT,
            "TRUNCATE claims_etl.token_map; DELETE FROM claims_etl.key_rotation",
        )
        .map(drop)
    })
}
