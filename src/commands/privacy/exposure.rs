//! Statistics of the published tables and the k-anonymity of their patients, without values.

use std::collections::BTreeMap;

use adbc_core::sync::Connection;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::privacy::settings::Level;
use crate::schema::{CLAIMS_FACT, PROVIDERS_DIM, PUBLISHED, SMALLEST_CELL};
use crate::warehouse::sql;

const CONTEXT: &str = "privacy report";

/// The last published run and its actions on the columns.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Released {
    /// The run's id.
    pub(crate) run_id: String,
    /// Id of the key that created the tokens.
    pub(crate) key_id: String,
    /// Profile name.
    pub(crate) profile: String,
    /// Column → action; `None` if not recorded.
    pub(crate) actions: Option<BTreeMap<String, Value>>,
}

/// De-identification recorded in the warehouse; `None` if nothing is published.
///
/// # Errors
/// `Warehouse` when a query fails.
pub(crate) fn released(connection: &mut impl Connection) -> Result<Option<Released>> {
    let there = "SELECT to_regclass('claims_etl.runs') IS NOT NULL AS there";
    let there = sql::query(connection, CONTEXT, there)?;
    if sql::boolean(&there, "there", 0) != Some(true) {
        return Ok(None);
    }
    object(
        connection,
        "SELECT jsonb_build_object('run_id', r.run_id, 'key_id', r.key_id,
             'profile', coalesce(l.profile, r.privacy_profile),
             'actions', coalesce(l.actions, r.privacy_actions))::text AS found
         FROM (SELECT * FROM claims_etl.runs WHERE published_at IS NOT NULL
               ORDER BY publish_no DESC LIMIT 1) r
         LEFT JOIN claims_etl.table_layout l ON true",
    )
}

/// Published tables and columns, in order.
///
/// # Errors
/// `Warehouse` when the query fails.
pub(crate) fn columns(connection: &mut impl Connection) -> Result<Vec<(String, String)>> {
    let rows = sql::query(
        connection,
        CONTEXT,
        &format!(
            "SELECT c.relname::text AS relation, a.attname::text AS name
             FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
             WHERE c.relnamespace = '{PUBLISHED}'::regnamespace
               AND c.relname IN ('{CLAIMS_FACT}', '{PROVIDERS_DIM}')
               AND a.attnum > 0 AND NOT a.attisdropped
             ORDER BY c.relname, a.attnum"
        ),
    )?;
    let column = |row| Some((sql::text(&rows, "relation", row)?, sql::text(&rows, "name", row)?));
    Ok((0..rows.num_rows()).filter_map(column).collect())
}

/// Size of the published data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct Size {
    /// Rows of the fact table.
    pub(crate) rows: u64,
    /// Distinct patients.
    pub(crate) patients: u64,
    /// Maximum number of rows per patient.
    pub(crate) most_rows_of_a_patient: u64,
}

/// Counts rows and patients.
///
/// # Errors
/// `Warehouse` when the query fails.
pub(crate) fn size(connection: &mut impl Connection) -> Result<Size> {
    let size = object(
        connection,
        &format!(
            "SELECT jsonb_build_object('rows', coalesce(sum(claims), 0), 'patients', count(*),
                 'most_rows_of_a_patient', coalesce(max(claims), 0))::text AS found
             FROM (SELECT count(*) AS claims FROM {PUBLISHED}.{CLAIMS_FACT}
                   GROUP BY patient_token) p"
        ),
    )?;
    size.ok_or_else(|| Error::internal("the claims cannot be counted"))
}

/// A column of a quasi-identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quasi {
    pub(crate) column: &'static str,
    /// Date granularity; `None` for exact dates and other columns.
    pub(crate) level: Option<Level>,
}

impl Quasi {
    /// SQL expression to group by.
    fn expression(self) -> String {
        let column = match self.column {
            "provider_id" | "provider_name" | "specialty" | "location" => {
                format!("d.{}", self.column)
            }
            column => format!("f.{column}"),
        };
        match self.level {
            Some(Level::Week) => format!("{column} - extract(isodow FROM {column})::integer"),
            Some(Level::Month) => format!("{column} - extract(day FROM {column})::integer"),
            Some(Level::Quarter) => {
                format!("(extract(year FROM {column}) * 4 + extract(quarter FROM {column}))")
            }
            Some(Level::Year) => format!("extract(year FROM {column})"),
            _ => column,
        }
    }
}

/// k-anonymity of patients with respect to a quasi-identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct Anonymity {
    /// Distinct combinations of values; null counts as a value.
    pub(crate) groups: u64,
    /// Patients in the smallest group; 0 without rows.
    pub(crate) smallest: u64,
    /// Rows in groups of one patient.
    pub(crate) rows_below_2: u64,
    /// Rows in groups of fewer than `k` patients.
    pub(crate) rows_below_k: u64,
    /// Rows with a unique combination.
    pub(crate) unique_rows: u64,
    /// Groups of fewer than `k` patients.
    pub(crate) groups_below_k: u64,
}

/// Measures a quasi-identifier.
///
/// # Errors
/// `Warehouse` when the query fails.
pub(crate) fn anonymity(
    connection: &mut impl Connection,
    set: &[Quasi],
    k: u32,
) -> Result<Anonymity> {
    let join = format!("JOIN {PUBLISHED}.{PROVIDERS_DIM} d USING (provider_key)");
    let by: Vec<String> = set.iter().map(|quasi| quasi.expression()).collect();
    let anonymity = object(
        connection,
        &format!(
            "SELECT jsonb_build_object('groups', count(*), 'smallest', coalesce(min(patients), 0),
                 'rows_below_2', coalesce(sum(claims) FILTER (WHERE patients < 2), 0),
                 'rows_below_k', coalesce(sum(claims) FILTER (WHERE patients < {k}), 0),
                 'unique_rows', count(*) FILTER (WHERE claims = 1),
                 'groups_below_k', count(*) FILTER (WHERE patients < {k}))::text AS found
             FROM (SELECT count(*) AS claims, count(DISTINCT f.patient_token) AS patients
                   FROM {PUBLISHED}.{CLAIMS_FACT} f {join} GROUP BY {}) g",
            by.join(", ")
        ),
    )?;
    anonymity.ok_or_else(|| Error::internal("the groups cannot be counted"))
}

/// Cells of the public provider-month view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub(crate) struct PublicCells {
    /// Cells with at least one claim.
    pub(crate) cells: u64,
    /// Cells whose figures are shown.
    pub(crate) shown: u64,
}

/// Counts the cells of the public view; `None` if it does not exist or was never refreshed.
///
/// # Errors
/// `Warehouse` when a query fails.
pub(crate) fn public_cells(connection: &mut impl Connection) -> Result<Option<PublicCells>> {
    if !is_filled(connection)? {
        return Ok(None);
    }
    let cells: Option<PublicCells> = object(
        connection,
        &format!(
            "SELECT jsonb_build_object('cells', count(*),
                 'shown', count(*) FILTER (WHERE NOT is_suppressed))::text AS found
             FROM {PUBLISHED}.v_provider_month_public"
        ),
    )?;
    Ok(cells.filter(|cells| cells.cells > 0))
}

fn is_filled(connection: &mut impl Connection) -> Result<bool> {
    let rows = sql::query(
        connection,
        CONTEXT,
        &format!(
            "SELECT to_regclass('{PUBLISHED}.v_provider_month_public') IS NOT NULL
                 AND coalesce((SELECT relispopulated FROM pg_class
                     WHERE oid = to_regclass('{PUBLISHED}.mv_provider_month')), false) AS filled"
        ),
    )?;
    Ok(sql::boolean(&rows, "filled", 0) == Some(true))
}

/// Number of provider-months in the fact table, and of those with too few patients.
///
/// # Errors
/// `Warehouse` when the query fails.
pub(crate) fn provider_months(connection: &mut impl Connection) -> Result<(u64, u64)> {
    let month = Quasi { column: "date_of_service", level: Some(Level::Month) };
    let provider = Quasi { column: "provider_id", level: None };
    let cells = anonymity(connection, &[provider, month], SMALLEST_CELL)?;
    Ok((cells.groups, cells.groups_below_k))
}

/// The column `found` of the first row, parsed as JSON; `None` without rows.
fn object<T: DeserializeOwned>(connection: &mut impl Connection, query: &str) -> Result<Option<T>> {
    let rows = sql::query(connection, CONTEXT, query)?;
    let found = (rows.num_rows() > 0).then(|| sql::text(&rows, "found", 0)).flatten();
    let read = |text: String| {
        serde_json::from_str(&text)
            .map_err(|_| Error::internal("an answer of the warehouse cannot be read"))
    };
    found.map(read).transpose()
}
