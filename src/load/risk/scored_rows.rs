//! The rows that are looked at, as SQL: those that a load changes, or all that is published.

use super::Scope;
use crate::schema::{CLAIMS_FACT, INTERNAL, PUBLISHED};

/// Groups of the providers of the rows, after the load.
pub(crate) const PEERS: &str = "peers";
/// How the published versions of providers are grouped.
const PUBLISHED_PEERS: &str = "claims_etl.provider_peers";

/// The rows that are looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ScoredRows<'a> {
    /// Those of staged tables: rows that differ from what is published.
    Differing(&'a [String]),
    Published,
}

impl ScoredRows<'_> {
    /// The table of provider groups after the load.
    pub(crate) fn peers(&self, scope: &Scope<'_>) -> String {
        match self {
            Self::Differing(_) => scope.table(PEERS),
            Self::Published => PUBLISHED_PEERS.to_owned(),
        }
    }

    /// The rows as they are, or will be once they are published; only those with an amount above
    /// zero, because others are in no statistic. In parentheses.
    pub(crate) fn after(&self, scope: &Scope<'_>) -> String {
        let rows = match self {
            Self::Published => {
                format!("(SELECT * FROM {PUBLISHED}.{CLAIMS_FACT} WHERE amount > 0)")
            }
            Self::Differing(tables) => {
                let columns = columns(scope, "");
                union(tables, |table| {
                    format!("SELECT {columns} FROM {INTERNAL}.{table} WHERE amount > 0")
                })
            }
        };
        grouped(scope, &rows, &self.peers(scope))
    }

    /// The changed rows as they were; only those that were priced.
    pub(crate) fn before(&self, scope: &Scope<'_>) -> String {
        let rows = match self {
            Self::Published => format!("(SELECT * FROM {PUBLISHED}.{CLAIMS_FACT} WHERE false)"),
            Self::Differing(tables) => {
                let columns = columns(scope, "old_");
                union(tables, |table| {
                    format!(
                        "SELECT {columns} FROM {INTERNAL}.{table} WHERE NOT is_new AND old_amount > 0"
                    )
                })
            }
        };
        grouped(scope, &rows, PUBLISHED_PEERS)
    }

    /// The keys of all changed rows.
    pub(crate) fn changed_keys(&self) -> String {
        match self {
            Self::Published => format!(
                "(SELECT claim_token, line_number, true AS is_changed FROM {PUBLISHED}.{CLAIMS_FACT}
                 WHERE false)"
            ),
            Self::Differing(tables) => union(tables, |table| {
                format!(
                    "SELECT claim_token, line_number, true AS is_changed FROM {INTERNAL}.{table}
                     WHERE NOT is_new"
                )
            }),
        }
    }
}

/// The columns of staged rows; those that are no part of the key have a prefix in the table.
fn columns(scope: &Scope<'_>, prefix: &str) -> String {
    let mut columns = vec!["claim_token".to_owned(), "line_number".to_owned()];
    let mut values = vec!["patient_token", "provider_key", "amount", "date_of_service"];
    if scope.shape.has("procedure_code") {
        values.push("procedure_code");
    }
    columns.extend(values.iter().map(|name| format!("{prefix}{name} AS {name}")));
    columns.join(", ")
}

/// Rows with the groups of their providers.
fn grouped(scope: &Scope<'_>, rows: &str, peers: &str) -> String {
    let procedure = scope.procedure("r.");
    format!(
        "(SELECT r.claim_token, r.line_number, r.patient_token, r.amount, r.date_of_service,
                 {procedure}, p.provider_key, p.durable_key, p.peer_key, p.specialty
          FROM {rows} r JOIN {peers} p ON p.provider_key = r.provider_key)"
    )
}

fn union(tables: &[String], select: impl Fn(&str) -> String) -> String {
    let selects: Vec<String> = tables.iter().map(|table| select(table)).collect();
    format!("({})", selects.join(" UNION ALL "))
}
