//! The views of providers and months.

use super::view::View;
use crate::schema::{CLAIMS_FACT, PROVIDERS_DIM, PUBLISHED, SMALLEST_CELL, Shape};

/// What the directory has about a provider, as far as the shape has it, of a table `from`.
fn descriptive_columns(from: &str, shape: Shape) -> String {
    let descriptive_columns =
        ["provider_name", "specialty"].into_iter().filter(|column| shape.has(column));
    descriptive_columns.flat_map(|column| [" ", from, ".", column, ","]).collect()
}

const FIGURES: [(&str, &str); 6] = [
    ("claims", "Claim lines."),
    ("amount", "Dollars."),
    ("patients", "Distinct patients."),
    ("mean_risk_score", "Mean risk score."),
    ("max_risk_score", "Highest risk score."),
    ("high_risk_claims", "Claim lines of the high band."),
];
const PUBLIC_FIGURES: [(&str, &str); 5] = [
    ("claims", "Claim lines; null where suppressed."),
    ("amount", "Dollars; null where suppressed."),
    ("patients", "Distinct patients; null where suppressed."),
    ("mean_risk_score", "Mean risk score; null where suppressed."),
    ("is_suppressed", "Whether the cell has 1 to 10 patients."),
];

/// What the columns of a view of months hold.
fn comments(shape: Shape, figures: &[(&'static str, &'static str)]) -> Vec<(&'static str, String)> {
    let keys = [
        ("provider_id", "The provider's id, or its token."),
        ("provider_name", "The provider's current name."),
        ("specialty", "The provider's current specialty."),
        ("service_month", "First day of the month of service."),
    ];
    let all =
        keys.into_iter().filter(|(column, _)| shape.has(column)).chain(figures.iter().copied());
    all.map(|(column, text)| (column, text.to_owned())).collect()
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
        columns: comments(shape, &FIGURES),
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
        columns: comments(shape, &FIGURES),
        indexes: format!(
            "CREATE UNIQUE INDEX mv_provider_month_key
    ON {PUBLISHED}.mv_provider_month (provider_id, service_month)"
        ),
    }
}

/// What everybody may see of it: cells of few patients without their figures. A public total is a sum of what is
/// shown, so no total reveals a cell.
pub(crate) fn public(shape: Shape) -> View {
    let figures = ["claims", "amount", "patients", "mean_risk_score"].map(|figure| {
        format!("CASE WHEN m.patients >= {SMALLEST_CELL} THEN m.{figure} END AS {figure}")
    });
    View {
        name: "v_provider_month_public",
        materialized: false,
        query: format!(
            "SELECT m.provider_id,{} m.service_month,
       {},
       m.patients < {SMALLEST_CELL} AS is_suppressed
FROM {PUBLISHED}.mv_provider_month m",
            descriptive_columns("m", shape),
            figures.join(",\n       ")
        ),
        comment: "Claims, amount, patients and mean score by provider and month. Cells of 1 to 10 patients are \
                  suppressed: their figures are null. Publish no totals but sums of the cells that are shown: the \
                  difference to another total would reveal suppressed cells.",
        columns: comments(shape, &PUBLIC_FIGURES),
        indexes: String::new(),
    }
}
