//! Adds what a merge changes: the lines of its claims after it, less those before it.

use adbc_core::sync::Connection;

use super::top_lines;
use crate::error::Result;
use crate::load::additive_table::AdditiveTable;
use crate::load::part::{Changes, Part};
use crate::load::staging_tables::provider_versions;
use crate::schema::{CLAIMS_FACT, INTERNAL, PROVIDERS_DIM, PUBLISHED, Shape};
use crate::warehouse::sql;

const CONTEXT: &str = "updating the aggregates";

/// Tokens of the claims that the merge changes.
const TOUCHED: &str = "pg_temp.touched_claims";
/// Their lines before and after.
const BEFORE: &str = "pg_temp.lines_before";
const AFTER: &str = "pg_temp.lines_after";
/// What is added to a table.
const CHANGE: &str = "pg_temp.aggregate_change";

/// A table, and its rows as a query of `signed` lines: 1 to add, −1 to subtract.
struct Aggregate {
    table: AdditiveTable,
    query: &'static str,
}

const AGGREGATES: [Aggregate; 5] = [
    Aggregate {
        table: AdditiveTable {
            name: "claims_etl.monthly_totals",
            keys: &["service_month", "specialty", "risk_band"],
            sums: &["claim_lines", "amount"],
        },
        query: "SELECT service_month, specialty, risk_band, sum(sign)::bigint AS claim_lines,
                       sum(sign * amount)::numeric(20, 2) AS amount
                FROM signed GROUP BY 1, 2, 3 HAVING sum(sign) <> 0 OR sum(sign * amount) <> 0",
    },
    Aggregate {
        table: AdditiveTable {
            name: "claims_etl.monthly_claims",
            keys: &["service_month"],
            sums: &["claims", "first_claims"],
        },
        query: "SELECT service_month, sum(sign)::bigint AS claims,
                       coalesce(sum(sign) FILTER (WHERE is_first), 0)::bigint AS first_claims
                FROM (SELECT DISTINCT sign, claim_token, service_month,
                             service_month = min(service_month) OVER (PARTITION BY sign, claim_token)
                                 AS is_first
                      FROM signed) months
                GROUP BY 1
                HAVING sum(sign) <> 0 OR coalesce(sum(sign) FILTER (WHERE is_first), 0) <> 0",
    },
    Aggregate {
        table: AdditiveTable {
            name: "claims_etl.daily_totals",
            keys: &["date_of_service"],
            sums: &["claim_lines", "amount"],
        },
        query: "SELECT date_of_service, sum(sign)::bigint AS claim_lines,
                       sum(sign * amount)::numeric(20, 2) AS amount
                FROM signed GROUP BY 1 HAVING sum(sign) <> 0 OR sum(sign * amount) <> 0",
    },
    Aggregate {
        table: AdditiveTable {
            name: "claims_etl.score_totals",
            keys: &["risk_score"],
            sums: &["claim_lines"],
        },
        query: "SELECT risk_score, sum(sign)::bigint AS claim_lines
                FROM signed GROUP BY 1 HAVING sum(sign) <> 0",
    },
    Aggregate {
        table: AdditiveTable {
            name: "claims_etl.provider_totals",
            keys: &["provider_key"],
            sums: &["claim_lines", "amount", "score_total", "high_risk_lines"],
        },
        query: "SELECT provider_key, sum(sign)::bigint AS claim_lines,
                       sum(sign * amount)::numeric(20, 2) AS amount,
                       sum(sign * risk_score)::numeric(20, 2) AS score_total,
                       coalesce(sum(sign) FILTER (WHERE risk_band = 'high'), 0)::bigint
                           AS high_risk_lines
                FROM signed GROUP BY 1
                HAVING sum(sign) <> 0 OR sum(sign * amount) <> 0 OR sum(sign * risk_score) <> 0
                    OR coalesce(sum(sign) FILTER (WHERE risk_band = 'high'), 0) <> 0",
    },
];

/// Lines of the fact with what aggregates need of them.
fn lines(from: &str, shape: Shape) -> String {
    let specialty = if shape.has("specialty") { "coalesce(d.specialty, '')" } else { "''" };
    format!(
        "SELECT f.claim_token, f.line_number, f.provider_key, {specialty} AS specialty,
                f.date_of_service - (extract(day FROM f.date_of_service)::integer - 1)
                    AS service_month,
                f.date_of_service, f.amount, f.risk_score::numeric(4, 1) AS risk_score,
                {PUBLISHED}.risk_band(f.risk_score) AS risk_band
         FROM {from} JOIN {PUBLISHED}.{PROVIDERS_DIM} d ON d.provider_key = f.provider_key"
    )
}

/// The update by a merge: begun before its rows are applied, ended after that, in one transaction.
pub(in crate::load) struct Update {
    shape: Shape,
}

impl Update {
    /// Notes the lines as they are. `parts` are the staged parts that change anything.
    ///
    /// # Errors
    /// `Warehouse` when a statement fails.
    pub(in crate::load) fn begin(
        connection: &mut impl Connection,
        parts: &[Part],
        run_no: i64,
        shape: Shape,
    ) -> Result<Self> {
        let differing = parts.iter().filter(|part| part.changes != Changes::default());
        let mut tokens: Vec<String> = differing
            .map(|part| format!("SELECT claim_token FROM {INTERNAL}.{}", part.table))
            .collect();
        // Lines of a placeholder that is completed get its specialty.
        tokens.push(format!(
            "SELECT f.claim_token FROM {INTERNAL}.{} v
             JOIN {PUBLISHED}.{CLAIMS_FACT} f ON f.provider_key = v.provider_key
             WHERE v.change = 'completed'",
            provider_versions(run_no)
        ));
        sql::execute(
            connection,
            CONTEXT,
            &format!(
                "CREATE TEMPORARY TABLE touched_claims ON COMMIT DROP AS
                 SELECT DISTINCT claim_token FROM ({}) parts;
                 ANALYZE {TOUCHED};
                 CREATE TEMPORARY TABLE lines_before ON COMMIT DROP AS {}",
                tokens.join(" UNION ALL "),
                touched_lines(shape)
            ),
        )?;
        Ok(Self { shape })
    }

    /// Adds the difference.
    ///
    /// # Errors
    /// `Quality` when the aggregates do not fit the published lines, `Warehouse` when a statement fails.
    pub(in crate::load) fn end(self, connection: &mut impl Connection) -> Result<()> {
        sql::execute(
            connection,
            CONTEXT,
            &format!(
                "SET LOCAL enable_hashjoin = on;
                 CREATE TEMPORARY TABLE lines_after ON COMMIT DROP AS {}",
                touched_lines(self.shape)
            ),
        )?;
        for Aggregate { table, query } in &AGGREGATES {
            sql::execute(
                connection,
                CONTEXT,
                &format!(
                    "CREATE TEMPORARY TABLE aggregate_change ON COMMIT DROP AS
                     WITH signed AS (SELECT 1 AS sign, a.* FROM {AFTER} a
                         UNION ALL SELECT -1, b.* FROM {BEFORE} b)
                     {query}"
                ),
            )?;
            table.add(connection, CHANGE).map_err(|error| error.hint(RECOUNT))?;
            sql::execute(connection, CONTEXT, &format!("DROP TABLE {CHANGE}"))?;
        }
        top_lines::update(connection, TOUCHED, AFTER)?;
        sql::execute(connection, CONTEXT, &format!("DROP TABLE {TOUCHED}, {BEFORE}, {AFTER}"))
            .map(drop)
    }
}

const RECOUNT: &str = "`claims-etl risk rescore` counts the aggregates again";

fn touched_lines(shape: Shape) -> String {
    let from =
        format!("{TOUCHED} t JOIN {PUBLISHED}.{CLAIMS_FACT} f ON f.claim_token = t.claim_token");
    lines(&from, shape)
}

/// Counts all aggregates again from the published lines.
///
/// # Errors
/// `Warehouse` when a statement fails.
pub(in crate::load) fn rebuild(connection: &mut impl Connection, shape: Shape) -> Result<()> {
    let all = lines(&format!("{PUBLISHED}.{CLAIMS_FACT} f"), shape);
    for Aggregate { table, query } in &AGGREGATES {
        let name = table.name;
        let columns = [table.keys, table.sums].concat().join(", ");
        sql::execute(
            connection,
            CONTEXT,
            &format!(
                "DELETE FROM {name};
                 INSERT INTO {name} ({columns})
                 WITH signed AS (SELECT 1 AS sign, l.* FROM ({all}) l) {query}"
            ),
        )?;
    }
    top_lines::rescan(connection)
}
