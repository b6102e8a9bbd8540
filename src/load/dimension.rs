//! The providers of a run become those of the dimension.
//!
//! A merge adds to the dimension and changes it; a `replace` leaves in it exactly what its input names,
//! so whoever is erased from a directory is gone with the next one.

use adbc_core::sync::Connection;

use crate::error::{Error, Result};
use crate::load::staging_tables::providers_stage;
use crate::schema::{
    Column, INTERNAL, PROVIDERS_DIM, PUBLISHED, Shape, UNKNOWN_PROVIDER, provider_columns,
};
use crate::warehouse::sql;
use crate::warehouse::table_checks::foreign_keys_to;

/// What a publish changes of the dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Members {
    /// Providers that only claims name, and that are placeholders now.
    pub(super) inferred: u64,
    /// Providers of the directory that are new or have other content.
    pub(super) changed: u64,
    /// Those of them that an earlier directory had with other content.
    pub(super) updated: u64,
    /// Providers that are no longer there.
    pub(super) removed: u64,
}

impl Members {
    /// Whether anything is other than before.
    pub(super) fn differ(self) -> bool {
        self.inferred + self.changed + self.removed > 0
    }
}

/// What inserting the staged providers into an empty dimension will come to.
///
/// # Errors
/// `Warehouse` when the query fails.
pub(super) fn staged(connection: &mut impl Connection, run_no: i64) -> Result<Members> {
    let stage = providers_stage(run_no);
    let rows = sql::query(
        connection,
        "counting the staged providers",
        &format!(
            "SELECT count(*) FILTER (WHERE is_inferred) AS inferred,
                 count(*) FILTER (WHERE NOT is_inferred) AS members FROM {INTERNAL}.{stage}"
        ),
    )?;
    let count = |name: &str| sql::int(&rows, name, 0).and_then(|n| u64::try_from(n).ok());
    count("inferred")
        .zip(count("members"))
        .map(|(inferred, changed)| Members { inferred, changed, ..Members::default() })
        .ok_or_else(|| Error::internal("counts that are no numbers"))
}

/// Inserts and updates providers and completes placeholders. Where the input is `exact`, providers that
/// it does not name are removed, and those that only its claims name become placeholders.
///
/// # Errors
/// `Warehouse` when a statement fails, or others' tables refer to a provider that is removed.
pub(super) fn publish(
    connection: &mut impl Connection,
    run_no: i64,
    shape: Shape,
    exact: bool,
) -> Result<Members> {
    let stage = providers_stage(run_no);
    let removed = if exact {
        let named = format!(
            "EXISTS (SELECT FROM {INTERNAL}.{stage} s WHERE s.provider_id = d.provider_id)"
        );
        remove(connection, &format!("NOT {named}"))?
    } else {
        0
    };
    let columns = provider_columns(shape);
    let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
    let (names, values) = (names.join(", "), names[1..].join(", "));
    let set = |value: &dyn Fn(&str) -> String| -> String {
        let pair = |Column { name, .. }: &Column| format!("{name} = {}, ", value(name));
        columns[1..].iter().map(pair).collect()
    };
    // Sixteen bytes of SHA-256: a server in FIPS mode has no md5().
    let row_hash = format!(
        "encode(substring(sha256(convert_to(ROW({values})::text, 'UTF8')) FROM 1 FOR 16), 'hex')::uuid"
    );
    // A row that was there has a locker's number; of those that were inferred no directory had any content.
    let counts = sql::query(
        connection,
        "publishing providers",
        &format!(
            "WITH inferred AS MATERIALIZED (
                 SELECT provider_id FROM {PUBLISHED}.{PROVIDERS_DIM} WHERE is_inferred),
             changed AS (
                 INSERT INTO {PUBLISHED}.{PROVIDERS_DIM} AS d
                     ({names}, is_inferred, row_hash, valid_since, updated_at, run_no)
                 SELECT {names}, false, {row_hash}, now(), now(), {run_no}
                 FROM {INTERNAL}.{stage} WHERE NOT is_inferred ORDER BY provider_id
                 ON CONFLICT (provider_id) DO UPDATE
                 SET {}row_hash = excluded.row_hash,
                     is_inferred = false, updated_at = now(), run_no = excluded.run_no
                 WHERE d.row_hash IS DISTINCT FROM excluded.row_hash
                 RETURNING d.provider_id, d.xmax::text <> '0' AS was_there)
             SELECT count(*) AS changed, count(*) FILTER (WHERE was_there AND NOT EXISTS (
                 SELECT FROM inferred i WHERE i.provider_id = changed.provider_id)) AS updated
             FROM changed",
            set(&|name| format!("excluded.{name}"))
        ),
    )?;
    let count = |name: &str| sql::int(&counts, name, 0).and_then(|n| u64::try_from(n).ok());
    let (changed, updated) = count("changed")
        .zip(count("updated"))
        .ok_or_else(|| Error::internal("counts that are no numbers"))?;
    let conflict = if exact {
        format!(
            "UPDATE SET {}row_hash = NULL, is_inferred = true, updated_at = now(),
                 run_no = excluded.run_no
             WHERE NOT d.is_inferred AND d.provider_id <> '{UNKNOWN_PROVIDER}'",
            set(&|_| "NULL".to_owned())
        )
    } else {
        "NOTHING".to_owned()
    };
    let inferred = sql::execute(
        connection,
        "publishing placeholder providers",
        &format!(
            "INSERT INTO {PUBLISHED}.{PROVIDERS_DIM} AS d
                 (provider_id, is_inferred, valid_since, updated_at, run_no)
             SELECT provider_id, true, now(), now(), {run_no}
             FROM {INTERNAL}.{stage} WHERE is_inferred ORDER BY provider_id
             ON CONFLICT (provider_id) DO {conflict}"
        ),
    )?;
    Ok(Members { inferred, changed, updated, removed })
}

/// Removes the providers `d` for which a condition holds, the unknown one never; how many they were.
///
/// # Errors
/// `Warehouse` when others' tables refer to one of them: these tables are named.
pub(super) fn remove(connection: &mut impl Connection, condition: &str) -> Result<u64> {
    let context = "removing providers";
    let referring = foreign_keys_to(connection, PROVIDERS_DIM)?;
    let removed = sql::execute(
        connection,
        context,
        &format!(
            "DELETE FROM {PUBLISHED}.{PROVIDERS_DIM} d
             WHERE d.provider_id <> '{UNKNOWN_PROVIDER}' AND {condition}"
        ),
    );
    match removed {
        Err(error) if !referring.is_empty() && error.message().contains("SQLSTATE 23503") => {
            Err(Error::warehouse(format!(
                "providers that are no longer in the directory cannot be removed: {} refers to them; nothing was published",
                referring.join(", ")
            ))
            .hint("delete the rows that refer to them, or drop the foreign key and create it again after the load; then run again"))
        }
        removed => removed,
    }
}
