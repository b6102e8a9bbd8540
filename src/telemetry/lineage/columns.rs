//! Column lineage: the source columns of each column of the tables.
//!
//! Tokens and columns that the privacy profile changes are marked as masking.

use super::facets::{ColumnLineage, ColumnOrigin, InputField, Transformation};
use super::input::Input;
use crate::privacy::settings::{Action, Privacy};
use crate::schema::Dataset;

/// Cleaned or converted.
const CLEANED: Transformation = direct("TRANSFORMATION", false);
/// Replaced by a keyed hash or generalised.
const MASKED: Transformation = direct("TRANSFORMATION", true);
/// Compared within groups of this column.
const GROUP: Transformation = indirect("GROUP_BY");
/// Validated by a rule.
const CHECKED: Transformation = indirect("CONDITIONAL");
/// Join key.
const JOIN: Transformation = indirect("JOIN");
/// Filter column.
const FILTER: Transformation = indirect("FILTER");

const fn direct(subtype: &'static str, masking: bool) -> Transformation {
    Transformation { kind: "DIRECT", subtype, masking }
}

const fn indirect(subtype: &'static str) -> Transformation {
    Transformation { kind: "INDIRECT", subtype, masking: false }
}

/// A contract column and its transformation.
type From = (Dataset, &'static str, Transformation);

const fn claim(column: &'static str, transformation: Transformation) -> From {
    (Dataset::Claims, column, transformation)
}

const fn provider(column: &'static str, transformation: Transformation) -> From {
    (Dataset::Providers, column, transformation)
}

/// The inputs of the score: amounts and weekdays, compared within procedure and specialty.
const SCORE: &[From] = &[
    claim("amount", CLEANED),
    claim("date_of_service", CLEANED),
    claim("procedure_code", GROUP),
    provider("specialty", GROUP),
];

/// Columns of the fact table.
const FACT: [(&str, &[From]); 10] = [
    ("claim_token", &[claim("claim_id", MASKED)]),
    ("patient_token", &[claim("patient_id", MASKED)]),
    ("risk_components", SCORE),
    ("provider_key", &[claim("provider_id", CLEANED)]),
    ("date_of_service", &[claim("date_of_service", CLEANED)]),
    ("risk_score", SCORE),
    (
        "dq_flags",
        &[
            claim("claim_id", CHECKED),
            claim("patient_id", CHECKED),
            claim("provider_id", CHECKED),
            claim("procedure_code", CHECKED),
            claim("amount", CHECKED),
            claim("date_of_service", CHECKED),
            provider("provider_id", CHECKED),
        ],
    ),
    ("line_number", &[claim("line_number", CLEANED)]),
    ("amount", &[claim("amount", CLEANED)]),
    ("procedure_code", &[claim("procedure_code", CLEANED)]),
];

/// Columns that determine the rows of the fact table.
const FACT_ROWS: [From; 8] = [
    claim("provider_id", JOIN),
    provider("provider_id", JOIN),
    claim("claim_id", FILTER),
    claim("patient_id", FILTER),
    claim("provider_id", FILTER),
    claim("procedure_code", FILTER),
    claim("amount", FILTER),
    claim("date_of_service", FILTER),
];

/// Columns of the provider dimension; the ids of inferred providers come from the claims.
const DIMENSION: [(&str, &[From]); 4] = [
    ("provider_id", &[provider("provider_id", CLEANED), claim("provider_id", CLEANED)]),
    ("provider_name", &[provider("provider_name", CLEANED)]),
    ("specialty", &[provider("specialty", CLEANED)]),
    ("location", &[provider("location", CLEANED)]),
];

pub(crate) fn fact(inputs: &Inputs<'_>, privacy: &Privacy) -> ColumnLineage {
    let mut lineage = inputs.lineage(&FACT, privacy);
    lineage.dataset = inputs.fields(&FACT_ROWS);
    lineage.dataset.extend(inputs.filters());
    lineage
}

pub(crate) fn dimension(inputs: &Inputs<'_>, privacy: &Privacy) -> ColumnLineage {
    let mut lineage = inputs.lineage(&DIMENSION, privacy);
    lineage.dataset = inputs.fields(&[provider("provider_id", FILTER)]);
    lineage
}

/// A column under the privacy profile; `None` if dropped. Rules, joins and filters use the column
/// before the profile is applied.
fn released((dataset, column, transformation): From, privacy: &Privacy) -> Option<From> {
    if ![CLEANED, GROUP].contains(&transformation) {
        return Some((dataset, column, transformation));
    }
    match privacy.action(column) {
        Action::Drop => None,
        Action::Keep => Some((dataset, column, transformation)),
        _ => Some((dataset, column, Transformation { masking: true, ..transformation })),
    }
}

/// The known inputs.
pub(super) struct Inputs<'a> {
    pub(crate) claims: Option<&'a Input>,
    pub(crate) providers: Option<&'a Input>,
}

impl Inputs<'_> {
    fn of(&self, dataset: Dataset) -> Option<&Input> {
        match dataset {
            Dataset::Claims => self.claims,
            Dataset::Providers => self.providers,
        }
    }

    fn lineage(&self, columns: &[(&'static str, &[From])], privacy: &Privacy) -> ColumnLineage {
        let origin = |from: &[From]| {
            let released: Vec<From> =
                from.iter().filter_map(|from| released(*from, privacy)).collect();
            ColumnOrigin { input_fields: self.fields(&released) }
        };
        let shape = privacy.shape();
        // A column without an origin (a constant) is left out.
        let fields = columns
            .iter()
            .filter(|(column, _)| shape.has(column))
            .map(|(column, from)| (*column, origin(from)))
            .filter(|(_, origin)| !origin.input_fields.is_empty());
        ColumnLineage { fields: fields.collect(), dataset: Vec::new() }
    }

    /// The source columns of contract columns, one entry per column.
    fn fields(&self, from: &[From]) -> Vec<InputField> {
        let mut fields: Vec<InputField> = Vec::new();
        for (dataset, column, transformation) in from {
            for set in self.of(*dataset).map(|input| &input.sets).into_iter().flatten() {
                for name in set.columns.get(*column).into_iter().flatten() {
                    let same =
                        |known: &&mut InputField| known.dataset == set.name && known.field == *name;
                    match fields.iter_mut().find(same) {
                        Some(known) if known.transformations.contains(transformation) => {}
                        Some(known) => known.transformations.push(*transformation),
                        None => fields.push(InputField {
                            dataset: set.name.clone(),
                            field: name.clone(),
                            transformations: vec![*transformation],
                        }),
                    }
                }
            }
        }
        fields
    }

    /// Source columns used by the claims filter.
    fn filters(&self) -> impl Iterator<Item = InputField> {
        self.claims.into_iter().flat_map(|input| &input.sets).flat_map(|set| {
            set.filters.iter().map(|name| InputField {
                dataset: set.name.clone(),
                field: name.clone(),
                transformations: vec![FILTER],
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::privacy::settings::Profile;
    use crate::schema::{Shape, fact_columns, provider_columns};
    use crate::totals::Cents;

    fn input(dataset: Dataset, path: &str) -> Input {
        let columns: Value =
            dataset.columns().map(|column| (column.to_owned(), json!(column))).collect();
        let header: Vec<&str> = dataset.columns().chain(["extra"]).collect();
        let filter = if dataset == Dataset::Claims { json!({"extra": ["x"]}) } else { json!({}) };
        let file = json!({
            "path": path, "bytes": 1, "format": "csv", "header": header,
            "columns": columns, "where": filter,
        });
        Input::read(dataset, &json!({ "files": [file] }), None).expect("an input")
    }

    #[test]
    fn every_column_has_an_origin_and_no_other_is_named() {
        let names = |columns: Vec<crate::schema::Column>| -> Vec<&str> {
            columns.iter().map(|column| column.name).collect()
        };
        assert_eq!(names(fact_columns(Shape::WHOLE)), FACT.map(|(column, _)| column));
        assert_eq!(names(provider_columns(Shape::WHOLE)), DIMENSION.map(|(column, _)| column));
        let from = FACT.iter().chain(&DIMENSION).flat_map(|(_, from)| *from).chain(&FACT_ROWS);
        for (dataset, column, _) in from {
            assert!(dataset.columns().any(|known| known == *column), "{dataset} {column}");
        }
    }

    #[test]
    fn tokens_are_masked_and_rows_are_joined_and_filtered() {
        let claims = input(Dataset::Claims, "/in/claims.csv");
        let providers = input(Dataset::Providers, "/in/providers.csv");
        let inputs = Inputs { claims: Some(&claims), providers: Some(&providers) };
        let fact = serde_json::to_value(fact(&inputs, &Privacy::default())).expect("JSON");
        let token = &fact["fields"]["claim_token"]["inputFields"];
        let expected = json!([{
            "namespace": "file", "name": "/in/claims.csv", "field": "claim_id",
            "transformations": [{ "type": "DIRECT", "subtype": "TRANSFORMATION", "masking": true }],
        }]);
        assert_eq!(token, &expected);
        let score: Vec<&str> = fact["fields"]["risk_score"]["inputFields"]
            .as_array()
            .expect("fields")
            .iter()
            .filter_map(|field| field["field"].as_str())
            .collect();
        assert_eq!(score, ["amount", "date_of_service", "procedure_code", "specialty"]);
        let rows = fact["dataset"].as_array().expect("fields");
        let of = |subtype: &str| -> Vec<&str> {
            let chosen = rows.iter().filter(|row| row["transformations"][0]["subtype"] == subtype);
            chosen.filter_map(|row| row["field"].as_str()).collect()
        };
        assert_eq!(of("JOIN"), ["provider_id", "provider_id"]);
        let expected =
            ["claim_id", "patient_id", "procedure_code", "amount", "date_of_service", "extra"];
        assert_eq!(of("FILTER"), expected);
    }

    #[test]
    fn columns_the_profile_changes_are_masking_and_dropped_ones_are_absent() {
        let claims = input(Dataset::Claims, "/in/claims.csv");
        let providers = input(Dataset::Providers, "/in/providers.csv");
        let inputs = Inputs { claims: Some(&claims), providers: Some(&providers) };
        let columns = [("specialty", Action::Drop), ("amount", Action::Round(Cents(500)))];
        let privacy = Privacy {
            profile: Profile::SafeHarborAssist,
            columns: columns.map(|(name, action)| (name.to_owned(), action)).into(),
            ..Privacy::default()
        };
        let fact = serde_json::to_value(fact(&inputs, &privacy)).expect("JSON");
        let masked = |column: &str| {
            fact["fields"][column]["inputFields"][0]["transformations"][0]["masking"].clone()
        };
        for column in ["claim_token", "provider_key", "amount", "date_of_service"] {
            assert_eq!(masked(column), json!(true), "{column}");
        }
        assert_eq!(masked("procedure_code"), json!(false));
        assert_eq!(fact["fields"]["specialty"], Value::Null);
        assert!(!fact["fields"]["risk_score"].to_string().contains("specialty"));
        let dimension = serde_json::to_value(dimension(&inputs, &privacy)).expect("JSON");
        let names: Vec<&String> = dimension["fields"].as_object().expect("fields").keys().collect();
        assert_eq!(names, ["location", "provider_id"]);
    }

    #[test]
    fn unknown_inputs_have_no_lineage() {
        let fact = fact(&Inputs { claims: None, providers: None }, &Privacy::default());
        assert!(fact.fields.is_empty() && fact.dataset.is_empty());
    }
}
