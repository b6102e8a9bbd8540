//! Repeats of a key within one input.
//!
//! A file of its own because the policy is decided here, in the warehouse, where all rows of the
//! run lie: the primary key of the staged table is built first, and only when it finds a repeat is
//! the table searched. Clean input pays nothing.

use adbc_core::sync::{Connection, Statement};

use crate::account::Cents;
use crate::config::OnDuplicate;
use crate::error::{Error, Result};
use crate::rule::Flag;
use crate::schema::{INTERNAL, ORIGIN};
use crate::sql;

/// SQLSTATE of a unique violation.
const UNIQUE_VIOLATION: &[u8; 5] = b"23505";

/// What a row is, apart from its key: two rows with these equal are identical.
pub(super) const CONTENT: [&str; 8] = [
    "patient_token",
    "provider_id",
    "procedure_code",
    "amount",
    "date_of_service",
    "specialty",
    "location",
    "dq_flags",
];

/// What became of the repeats.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repeats {
    /// Rows dropped because another row of the same key counts.
    pub duplicates: u64,
    /// Money of the dropped rows.
    pub duplicates_amount: Cents,
    /// Rows of a key with other content than the row that counts (or than each other).
    pub conflicts: u64,
    /// Rows rejected under the policy `reject`: their origins.
    pub rejected: Vec<i64>,
    /// Money of the rejected rows.
    pub rejected_amount: Cents,
    /// Removed rows (dropped and rejected) by flag, in the order of [`Flag::ALL`].
    pub flags: [u64; Flag::ALL.len()],
}

/// Makes `(claim_token, line_number)` the primary key of a staged table, after removing repeats.
///
/// # Errors
/// `Warehouse` when a statement fails.
pub fn deduplicate(
    connection: &mut impl Connection,
    table: &str,
    policy: OnDuplicate,
) -> Result<Repeats> {
    if add_primary_key(connection, table)? {
        return Ok(Repeats::default());
    }
    let repeats = remove_repeats(connection, table, policy)?;
    if add_primary_key(connection, table)? {
        Ok(repeats)
    } else {
        Err(Error::internal("repeats of a key are left in the staged table"))
    }
}

/// False when a key repeats.
fn add_primary_key(connection: &mut impl Connection, table: &str) -> Result<bool> {
    let context = "primary key of the staged claims";
    let mut statement = connection.new_statement().map_err(|e| sql::error(context, e))?;
    statement
        .set_sql_query(format!(
            "ALTER TABLE {INTERNAL}.{table} ADD CONSTRAINT {table}_pkey PRIMARY KEY (claim_token, line_number)"
        ))
        .map_err(|e| sql::error(context, e))?;
    match statement.execute_update() {
        Ok(_) => Ok(true),
        Err(error) if error.sqlstate.map(i8::cast_unsigned) == *UNIQUE_VIOLATION => Ok(false),
        Err(error) => Err(sql::error(context, error)),
    }
}

fn remove_repeats(
    connection: &mut impl Connection,
    table: &str,
    policy: OnDuplicate,
) -> Result<Repeats> {
    let context = "repeated claims";
    let compared = CONTENT.join(", ");
    // Rank 1 counts. Under `reject` a key whose rows differ has no row that counts.
    let order = if policy == OnDuplicate::Last { "DESC" } else { "ASC" };
    let refused = if policy == OnDuplicate::Reject { "differs" } else { "false" };
    let flags: Vec<String> = Flag::ALL
        .iter()
        .map(|flag| {
            format!("count(*) FILTER (WHERE dq_flags & {} <> 0) AS {}", flag.bit(), flag.name())
        })
        .collect();
    sql::execute(
        connection,
        context,
        &format!(
            "CREATE TEMP TABLE removed ON COMMIT PRESERVE ROWS AS
             WITH repeated AS (
                 SELECT claim_token, line_number FROM {INTERNAL}.{table}
                 GROUP BY claim_token, line_number HAVING count(*) > 1),
             ranked AS (
                 SELECT s.ctid AS place, s.{ORIGIN}, s.amount, s.dq_flags,
                        row_number() OVER key AS rank,
                        md5(ROW({compared})::text)
                            IS DISTINCT FROM first_value(md5(ROW({compared})::text)) OVER key AS other
                 FROM {INTERNAL}.{table} s JOIN repeated USING (claim_token, line_number)
                 WINDOW key AS (PARTITION BY claim_token, line_number ORDER BY s.{ORIGIN} {order})),
             judged AS (
                 SELECT r.*, s.claim_token, s.line_number,
                        bool_or(other) OVER (PARTITION BY s.claim_token, s.line_number) AS differs
                 FROM ranked r JOIN {INTERNAL}.{table} s ON s.ctid = r.place)
             SELECT place, {ORIGIN}, amount, dq_flags, other, {refused} AS refused
             FROM judged WHERE rank > 1 OR {refused};
             DELETE FROM {INTERNAL}.{table} s USING removed r WHERE s.ctid = r.place"
        ),
    )?;
    let totals = sql::query(
        connection,
        context,
        &format!(
            "SELECT count(*) FILTER (WHERE NOT refused) AS duplicates,
                    coalesce(sum(amount) FILTER (WHERE NOT refused), 0)::text AS duplicates_amount,
                    count(*) FILTER (WHERE other) AS conflicts,
                    coalesce(sum(amount) FILTER (WHERE refused), 0)::text AS rejected_amount,
                    {} FROM removed",
            flags.join(", ")
        ),
    )?;
    let refused = sql::query(
        connection,
        context,
        &format!("SELECT {ORIGIN} FROM removed WHERE refused ORDER BY 1"),
    )?;
    sql::execute(connection, context, "DROP TABLE removed")?;
    let count =
        |name: &str| sql::int(&totals, name, 0).and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
    let money = |name: &str| {
        sql::text(&totals, name, 0)
            .and_then(|text| Cents::parse(&text))
            .ok_or_else(|| Error::internal("a sum of amounts that is no amount"))
    };
    Ok(Repeats {
        duplicates: count("duplicates"),
        duplicates_amount: money("duplicates_amount")?,
        conflicts: count("conflicts"),
        rejected: (0..refused.num_rows())
            .filter_map(|row| sql::int(&refused, ORIGIN, row))
            .collect(),
        rejected_amount: money("rejected_amount")?,
        flags: Flag::ALL.map(|flag| count(flag.name())),
    })
}
