//! What differs from what is published: found before the publish, applied in it.

use adbc_core::sync::Connection;

use super::risk::scores_of;
use crate::error::{Error, Result};
use crate::load::part::{Changes, Part};
use crate::load::staging_tables::{TEMPORARY, older_versions};
use crate::schema::{CLAIMS_FACT, INTERNAL, PUBLISHED, Shape, TokenRange, fact_columns};
use crate::totals::Cents;
use crate::warehouse::sql;

/// What a row is, apart from its key and its score: two rows with these equal are identical.
/// The provider is compared too, whichever version of it the row points at.
const CONTENT: [&str; 5] =
    ["patient_token", "procedure_code", "amount", "date_of_service", "dq_flags"];

/// What the statistics have counted of a row: the old values are kept beside the new ones.
const COUNTED: [&str; 5] =
    ["patient_token", "provider_key", "procedure_code", "amount", "date_of_service"];

/// Those of `columns` that the tables have.
fn present(columns: &[&'static str], shape: Shape) -> Vec<&'static str> {
    columns.iter().copied().filter(|column| shape.has(column)).collect()
}

/// Both sides of a comparison lie in the order of the key and have its index, so they are merged as
/// they are: a hash join of so many rows would write them out. Connections are the parallelism.
const IN_THE_ORDER_OF_THE_KEY: &str =
    "SET LOCAL enable_hashjoin = off; SET LOCAL enable_sort = off;
     SET LOCAL max_parallel_workers_per_gather = 0;";

/// Of a row that differs: it takes the place of a row that it cancels.
const OPPOSITE: &str = "NOT is_new AND amount <> 0 AND amount = -old_amount";

/// Rows and money of a table or subquery.
pub(crate) fn totals(connection: &mut impl Connection, table: &str) -> Result<(u64, Cents)> {
    let rows = sql::query(
        connection,
        "control totals",
        &format!("SELECT count(*) AS n, coalesce(sum(amount), 0)::text AS amount FROM {table}"),
    )?;
    let n = sql::int(&rows, "n", 0).and_then(|n| u64::try_from(n).ok());
    let amount = sql::text(&rows, "amount", 0).and_then(|text| Cents::parse(&text));
    n.zip(amount).ok_or_else(|| Error::internal("control totals that are no numbers"))
}

/// Keeps of a part's rows, which lie in a temporary table, those that are not published as they are, the changed ones with
/// what they were, and returns how many of them are new and how many are changed. All rows were joined
/// for this; the rest is equal.
///
/// # Errors
/// `Warehouse` when a statement fails.
pub(crate) fn changes(
    connection: &mut impl Connection,
    table: &str,
    range: TokenRange,
    shape: Shape,
    run_no: i64,
) -> Result<Changes> {
    let context = "comparing with what is published";
    let compared = present(&CONTENT, shape);
    let columns = |alias: &str| {
        compared.iter().map(|column| format!("{alias}.{column}")).collect::<Vec<_>>().join(", ")
    };
    let old: Vec<String> = present(&COUNTED, shape)
        .iter()
        .map(|column| format!("f.{column} AS old_{column}"))
        .collect();
    sql::execute(
        connection,
        context,
        &format!(
            "{IN_THE_ORDER_OF_THE_KEY}
             CREATE TABLE {INTERNAL}.{table} AS
             SELECT s.*, f.claim_token IS NULL AS is_new, {}
             FROM {TEMPORARY}.{table} s
             LEFT JOIN {PUBLISHED}.{CLAIMS_FACT} f
                 ON f.claim_token = s.claim_token AND f.line_number = s.line_number AND {}
             WHERE f.claim_token IS NULL OR ROW({}) IS DISTINCT FROM ROW({})
                OR f.provider_key <> s.provider_key AND s.provider_key IS DISTINCT FROM (
                    SELECT o.current_key FROM {INTERNAL}.{} o WHERE o.provider_key = f.provider_key);
             DROP TABLE {TEMPORARY}.{table};
             ANALYZE {INTERNAL}.{table}",
            old.join(", "),
            range.condition("f.claim_token"),
            columns("f"),
            columns("s"),
            older_versions(run_no)
        ),
    )?;
    let rows = sql::query(
        connection,
        context,
        &format!(
            "SELECT count(*) FILTER (WHERE is_new) AS new, count(*) FILTER (WHERE NOT is_new) AS changed,
                 count(*) FILTER (WHERE {OPPOSITE}) AS opposite,
                 coalesce(sum(old_amount) FILTER (WHERE {OPPOSITE}), 0)::text AS opposite_amount
             FROM {INTERNAL}.{table}"
        ),
    )?;
    let count = |name: &str| sql::int(&rows, name, 0).and_then(|n| u64::try_from(n).ok());
    let amount = sql::text(&rows, "opposite_amount", 0).and_then(|text| Cents::parse(&text));
    let found = count("new").zip(count("changed")).zip(count("opposite").zip(amount));
    found
        .map(|((new, changed), opposite)| Changes { new, changed, opposite })
        .ok_or_else(|| Error::internal("counts that are no numbers"))
}

/// Updates and inserts what differs, with the scores that were computed for it. Since it was compared,
/// nobody may have changed the table.
pub(crate) fn apply(connection: &mut impl Connection, part: &Part, shape: Shape) -> Result<()> {
    let is_score = |name: &str| matches!(name, "risk_score" | "risk_components");
    let is_key = |name: &str| matches!(name, "claim_token" | "line_number");
    let columns = fact_columns(shape);
    let names: Vec<&str> = columns.iter().map(|column| column.name).chain(["run_no"]).collect();
    let value = |name: &str| format!("{}.{name}", if is_score(name) { "r" } else { "s" });
    let assignments: Vec<String> = names
        .iter()
        .filter(|name| !is_key(name))
        .map(|name| format!("{name} = {}", value(name)))
        .collect();
    let values: Vec<String> = names.iter().map(|name| value(name)).collect();
    let (scored, names) = (
        format!(
            "{INTERNAL}.{} s JOIN {INTERNAL}.{} r
                 ON r.claim_token = s.claim_token AND r.line_number = s.line_number",
            part.table,
            scores_of(&part.table)
        ),
        names.join(", "),
    );
    let updated = sql::execute(
        connection,
        "updating changed claims",
        &format!(
            "UPDATE {PUBLISHED}.{CLAIMS_FACT} f SET {} FROM {scored}
             WHERE NOT s.is_new AND f.claim_token = s.claim_token AND f.line_number = s.line_number",
            assignments.join(", ")
        ),
    )?;
    let inserted = sql::execute(
        connection,
        "inserting new claims",
        &format!(
            "INSERT INTO {PUBLISHED}.{CLAIMS_FACT} ({names})
             SELECT {} FROM {scored} WHERE s.is_new",
            values.join(", ")
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
