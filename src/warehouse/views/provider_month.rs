//! The views of providers and months.

use super::view::View;
use crate::schema::{CLAIMS_FACT, INTERNAL, PROVIDERS_DIM, PUBLISHED, SMALLEST_CELL, Shape};

/// What the directory has about a provider, as far as the shape has it, of a table `from`.
fn descriptive_columns(from: &str, shape: Shape) -> String {
    let descriptive_columns =
        ["provider_name", "specialty"].into_iter().filter(|column| shape.has(column));
    descriptive_columns.flat_map(|column| [" ", from, ".", column, ","]).collect()
}

/// Every provider and month, whatever few patients it has.
pub(crate) fn by_month(shape: Shape) -> View {
    let mut columns: Vec<&str> = ["d.provider_id", "d.provider_name", "d.specialty"]
        .into_iter()
        .filter(|column| shape.has(column.split_at(2).1))
        .collect();
    columns.push("date_trunc('month', f.date_of_service)::date AS service_month");
    let groups: Vec<String> = (1..=columns.len()).map(|place| place.to_string()).collect();
    View {
        name: "v_provider_month",
        materialized: false,
        query: format!(
            "SELECT {},
       count(*) AS claims, sum(f.amount) AS amount,
       count(DISTINCT f.patient_token) AS patients,
       round(avg(f.risk_score::numeric(4, 1)), 2) AS mean_risk_score,
       max(f.risk_score)::numeric(4, 1) AS max_risk_score,
       count(*) FILTER (WHERE {PUBLISHED}.risk_band(f.risk_score) = 'high') AS high_risk_claims
FROM {PUBLISHED}.{CLAIMS_FACT} f
JOIN {PUBLISHED}.{PROVIDERS_DIM} v ON v.provider_key = f.provider_key
JOIN {PUBLISHED}.{PROVIDERS_DIM} d ON d.provider_id = v.provider_id AND d.is_current
GROUP BY {}",
            columns.join(", "),
            groups.join(", ")
        ),
        comment: "Claims, amount, patients and risk by provider and month of service.",
        indexes: String::new(),
    }
}

/// The same with its rows stored. The directory is joined to what is counted, not to every claim.
pub(crate) fn stored(shape: Shape) -> View {
    View {
        name: "mv_provider_month",
        materialized: true,
        query: format!(
            "SELECT m.provider_id,{} m.service_month, m.claims, m.amount, m.patients,
       m.mean_risk_score, m.max_risk_score, m.high_risk_claims
FROM (SELECT v.provider_id,
             f.date_of_service - (extract(day FROM f.date_of_service)::integer - 1)
                 AS service_month,
             count(*) AS claims, sum(f.amount) AS amount,
             count(DISTINCT f.patient_token) AS patients,
             round(avg(f.risk_score::numeric(4, 1)), 2) AS mean_risk_score,
       max(f.risk_score)::numeric(4, 1) AS max_risk_score,
             count(*) FILTER (WHERE {PUBLISHED}.risk_band(f.risk_score) = 'high')
                 AS high_risk_claims
      FROM {PUBLISHED}.{CLAIMS_FACT} f
      JOIN {PUBLISHED}.{PROVIDERS_DIM} v ON v.provider_key = f.provider_key
      GROUP BY 1, 2) m
JOIN {PUBLISHED}.{PROVIDERS_DIM} d ON d.provider_id = m.provider_id AND d.is_current",
            descriptive_columns("d", shape)
        ),
        comment: "Claims, amount, patients and risk by provider and month of service, as of the last \
                  refresh of provider_month. Where dates are coarser than a month, the month is the \
                  first of the period. Holds cells of few patients: for analysts.",
        indexes: format!(
            "CREATE UNIQUE INDEX mv_provider_month_key
    ON {PUBLISHED}.mv_provider_month (provider_id, service_month)"
        ),
    }
}

/// What everybody may see of it. The small cells are found by the rule itself, so that none is ever
/// shown; the further ones are those that the last refresh has found.
pub(crate) fn public(shape: Shape) -> View {
    let figures = ["claims", "amount", "patients", "mean_risk_score"].map(|figure| {
        format!("CASE WHEN m.patients >= {SMALLEST_CELL} AND h.provider_id IS NULL THEN m.{figure} END AS {figure}")
    });
    View {
        name: "v_provider_month_public",
        materialized: false,
        query: format!(
            "SELECT m.provider_id,{} m.service_month,
       {},
       CASE WHEN m.patients < {SMALLEST_CELL} THEN 'primary'
            WHEN h.provider_id IS NOT NULL THEN 'complementary' END AS suppressed
FROM {PUBLISHED}.mv_provider_month m
LEFT JOIN {INTERNAL}.suppressed_cells h
       ON h.provider_id = m.provider_id AND h.service_month = m.service_month",
            descriptive_columns("m", shape),
            figures.join(",\n       ")
        ),
        comment: "Claims, amount, patients and mean score by provider and month, without cells of 1 to 10 \
                  patients (suppressed: primary) and those from which such a cell could be computed with \
                  the totals of provider-years and months (complementary): their figures are null. A \
                  provider-year or month all of whose cells are suppressed must not be published as a \
                  total either.",
        indexes: String::new(),
    }
}
