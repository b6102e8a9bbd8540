//! The rows that are looked at, as SQL: those that a load changes, or all that is published.

use super::Scope;
use crate::load::Part;
use crate::schema::{CLAIMS_FACT, INTERNAL, PUBLISHED};

/// What every subquery here selects.
const COLUMNS: [&str; 8] = [
    "claim_token",
    "line_number",
    "patient_token",
    "provider_id",
    "procedure_code",
    "amount",
    "date_of_service",
    "specialty",
];

/// The rows that are looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ScoredRows<'a> {
    /// Those of staged parts that differ from what is published.
    Differing(&'a [Part]),
    Published,
}

impl ScoredRows<'_> {
    /// The rows as they are, or will be once they are published; only those with an amount above
    /// zero, because others are in no statistic. In parentheses.
    pub(crate) fn after(&self, scope: &Scope<'_>) -> String {
        let columns = columns(scope, "").join(", ");
        match self {
            Self::Published => {
                format!("(SELECT {columns} FROM {PUBLISHED}.{CLAIMS_FACT} WHERE amount > 0)")
            }
            Self::Differing(parts) => union(parts, |table| {
                format!("SELECT {columns} FROM {INTERNAL}.{table} WHERE amount > 0")
            }),
        }
    }

    /// The changed rows as they were; only those that were priced.
    pub(crate) fn before(&self, scope: &Scope<'_>) -> String {
        let columns = columns(scope, "old_").join(", ");
        match self {
            Self::Published => format!(
                "(SELECT {} FROM {PUBLISHED}.{CLAIMS_FACT} WHERE false)",
                self::columns(scope, "").join(", ")
            ),
            Self::Differing(parts) => union(parts, |table| {
                format!(
                    "SELECT {columns} FROM {INTERNAL}.{table} WHERE NOT is_new AND old_amount > 0"
                )
            }),
        }
    }

    /// The keys of all changed rows.
    pub(crate) fn changed_keys(&self) -> String {
        match self {
            Self::Published => format!(
                "(SELECT claim_token, line_number, true AS is_changed FROM {PUBLISHED}.{CLAIMS_FACT}
                 WHERE false)"
            ),
            Self::Differing(parts) => {
                union(parts, |table| {
                    format!("SELECT claim_token, line_number, true AS is_changed FROM {INTERNAL}.{table}
                     WHERE NOT is_new")
                })
            }
        }
    }
}

/// The selected columns; those that are no part of the key have a prefix in the table.
fn columns(scope: &Scope<'_>, prefix: &str) -> Vec<String> {
    let column = |name: &str| match name {
        "claim_token" | "line_number" => name.to_owned(),
        "procedure_code" | "specialty" => {
            let column = scope.text_column(name);
            if prefix.is_empty() || column != name {
                column
            } else {
                format!("{prefix}{name} AS {name}")
            }
        }
        _ if prefix.is_empty() => name.to_owned(),
        _ => format!("{prefix}{name} AS {name}"),
    };
    COLUMNS.map(column).to_vec()
}

fn union(parts: &[Part], select: impl Fn(&str) -> String) -> String {
    let selects: Vec<String> = parts.iter().map(|part| select(&part.table)).collect();
    format!("({})", selects.join(" UNION ALL "))
}
