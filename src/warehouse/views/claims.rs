//! The views of single claims: each with its provider and its score taken apart, and its flags.

use super::view::View;
use crate::rule::Rule;
use crate::schema::{CLAIMS_FACT, INTERNAL, PROVIDERS_DIM, PUBLISHED, Shape};

/// The components of the score, from the lowest bits of `risk_components`.
const COMPONENTS: [&str; 6] = ["amount", "duplicate", "provider", "volume", "mismatch", "weekend"];

/// Their columns in `v_claims`.
const COMPONENT_COLUMNS: [&str; 6] = [
    "component_amount",
    "component_duplicate",
    "component_provider",
    "component_volume",
    "component_mismatch",
    "component_weekend",
];

/// Claim lines with their provider as it was when they were loaded.
pub(crate) fn claims(shape: Shape) -> View {
    // Of what a run has only counted, nothing is in the row: the answer is null, not false.
    let flag = |rule: &Rule| {
        let (bit, name) = (rule.mask(), rule.name());
        format!(
            "CASE WHEN f.dq_flags & {bit} <> 0 THEN true WHEN r.flags_stored & {bit} <> 0 THEN false END AS {name}"
        )
    };
    let released = [
        "f.claim_token",
        "f.line_number",
        "f.patient_token",
        "f.date_of_service",
        "f.procedure_code",
        "f.amount",
        "d.provider_id",
        "d.provider_name",
        "d.specialty",
        "d.location",
    ];
    let mut columns: Vec<String> = released
        .iter()
        .filter(|column| shape.has(column.split_at(2).1))
        .map(|column| (*column).to_owned())
        .collect();
    columns.push("d.is_placeholder AS provider_is_placeholder".into());
    columns.push("f.provider_key".into());
    columns.push("f.amount < 0 AS is_reversal".into());
    columns.push("f.risk_score::numeric(4, 1) AS risk_score".into());
    columns.push(format!("{PUBLISHED}.risk_band(f.risk_score) AS risk_band"));
    let names = COMPONENTS.map(|name| format!("'{name}'")).join(", ");
    columns.push(format!("(ARRAY[{names}])[(f.risk_components >> 60)::integer] AS top_component"));
    for (place, name) in COMPONENT_COLUMNS.iter().enumerate() {
        columns.push(format!("{PUBLISHED}.risk_component(f.risk_components, {place}) AS {name}"));
    }
    columns.push(format!("{} AS risk_coverage", coverage()));
    columns.push("r.model AS risk_model_version".into());
    columns.push("r.stats_version AS risk_stats_version".into());
    columns.extend(Rule::FLAGS.iter().map(flag));
    columns.push("r.run_id".into());
    columns.push("r.published_at AS loaded_at".into());
    View {
        name: "v_claims",
        materialized: false,
        query: format!(
            "SELECT {}\nFROM {PUBLISHED}.{CLAIMS_FACT} f\nJOIN {PUBLISHED}.{PROVIDERS_DIM} d USING (provider_key)\nJOIN ({}) r ON r.run_no = f.run_no",
            columns.join(",\n       "),
            scored()
        ),
        comment: "Claim lines with their provider as it was when they were loaded (as of today: join providers_dim by provider_id where is_current), decoded risk components and quality flags. A flag is null where the run that wrote the row did not store it, because the rule only counts or is off (claims_etl.runs.flags_stored): its count is in claims_etl.runs.flags. risk_coverage: the share of the weights whose components could be computed. risk_stats_version: the last run that is in the statistics of the score.",
        columns: comments(shape),
        indexes: String::new(),
    }
}

/// What each column of `v_claims` holds.
fn comments(shape: Shape) -> Vec<(&'static str, String)> {
    let own = [
        ("claim_token", "Keyed token of the claim id."),
        ("line_number", "Line of the claim."),
        ("patient_token", "Keyed token of the patient id."),
        ("date_of_service", "Date of service, as precise as the privacy profile releases it."),
        ("procedure_code", "Procedure code."),
        ("amount", "Dollars; negative for reversals."),
        ("provider_id", "The provider's id, or its token; (unknown) where the claim names none."),
        ("provider_name", "The provider's name when the line was loaded."),
        ("specialty", "The provider's specialty when the line was loaded."),
        ("location", "The provider's location when the line was loaded."),
        ("provider_is_placeholder", "Whether no directory has named the provider yet."),
        ("provider_key", "Version of the provider: providers_dim."),
        ("is_reversal", "Whether the amount is negative."),
        ("risk_score", "Billing-anomaly score, 0 to 100; not a clinical risk adjustment."),
        ("risk_band", "Band of the score: low, medium or high."),
        ("top_component", "The component that contributes most to the score."),
        ("risk_coverage", "Share of the weights whose components could be computed, 0 to 1."),
        ("risk_model_version", "Model of the score."),
        (
            "risk_stats_version",
            "The last run in the statistics of the score (claims_etl.runs.run_no).",
        ),
        ("run_id", "The run that wrote the line."),
        ("loaded_at", "When that run published."),
    ];
    let mut comments: Vec<(&str, String)> =
        own.map(|(column, text)| (column, text.to_owned())).into();
    comments.retain(|(column, _)| shape.has(column));
    comments.extend(COMPONENTS.iter().zip(COMPONENT_COLUMNS).map(|(name, column)| {
        (
            column,
            format!("Component {name} of the score, 0 to 1; null where it cannot be computed."),
        )
    }));
    comments.extend(Rule::FLAGS.iter().map(|rule| {
        (rule.name(), format!("{} Null: the run did not store this flag.", rule.description()))
    }));
    comments
}

/// The share of the weights whose components are there, 0 to 1.
fn coverage() -> String {
    let there = |(place, name): (usize, &&str)| {
        let bits = 10 * place;
        format!("CASE WHEN (f.risk_components >> {bits}) & 1023 <> 1023 THEN r.{name} ELSE 0 END")
    };
    let sum: Vec<String> = COMPONENTS.iter().enumerate().map(there).collect();
    let all = COMPONENTS.map(|name| format!("r.{name}")).join(" + ");
    format!("round(({}) / nullif({all}, 0), 3)", sum.join(" + "))
}

/// What a run's rows were scored with: by itself, or by the last rescore where a run that published later,
/// or the run itself, is in its statistics. `OFFSET 0` lets the server do this once a run and not once a claim.
fn scored() -> String {
    let weight = |name: &str| {
        format!(
            "(coalesce(s.parameters, r.risk_parameters) ->> 'weight_{name}')::numeric AS {name}"
        )
    };
    format!(
        "SELECT r.run_no, r.run_id, r.published_at, r.flags_stored,
             coalesce(s.model, r.risk_model) AS model,
             coalesce(s.stats_version, r.run_no) AS stats_version,
             {}
      FROM {INTERNAL}.runs r
      LEFT JOIN (SELECT s.stats_version, s.model, s.parameters, v.publish_no
                 FROM {INTERNAL}.risk_rescores s JOIN {INTERNAL}.runs v ON v.run_no = s.stats_version
                 ORDER BY s.rescore_no DESC LIMIT 1) s ON s.publish_no >= r.publish_no
      OFFSET 0",
        COMPONENTS.map(weight).join(",\n             ")
    )
}

/// One row a flag of a claim line.
pub(crate) fn flags() -> View {
    View {
        name: "v_claim_flags",
        materialized: false,
        query: format!(
            "SELECT f.claim_token, f.line_number, q.id AS rule_id, q.name AS flag, q.description, f.run_no
FROM {PUBLISHED}.{CLAIMS_FACT} f
JOIN {PUBLISHED}.dq_rules q ON f.dq_flags & q.bit <> 0"
        ),
        comment: "One row a flag of a claim line, with its meaning. Only rules that flag are here: what a run counts is in claims_etl.runs.flags.",
        columns: [
            ("claim_token", "Keyed token of the claim id."),
            ("line_number", "Line of the claim."),
            ("rule_id", "Id of the rule in docs/rules.md."),
            ("flag", "Name of the rule."),
            ("description", "What breaks the rule."),
            ("run_no", "The run that wrote the line (claims_etl.runs.run_no)."),
        ]
        .map(|(column, text)| (column, text.to_owned()))
        .into(),
        indexes: String::new(),
    }
}
