//! Input datasets, from the result of an extract task.
//!
//! Figures of the whole input (rows, broken rules) are attached to a file only if they hold for
//! that file. No values: constants of columns and filters are omitted.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use super::dataset::{common_folder, of_file, of_query, source};
use super::event::{Facets, InputDataset, Name};
use super::facets::{
    Assertion, DataQualityAssertions, DataQualityMetrics, DatasetType, Field, InputStatistics,
    Nothing, Schema,
};
use crate::config::Pattern;
use crate::rule::{Rule, Severities, Severity};
use crate::schema::Dataset;
use crate::totals::ControlTotals;

/// Maximum files listed per input; more are reported as one folder.
const FILES: usize = 16;

/// The used parts of an extract task's result.
#[derive(Deserialize)]
struct Extracted {
    files: Vec<File>,
}

#[derive(Deserialize)]
struct File {
    path: String,
    bytes: u64,
    format: String,
    header: Vec<String>,
    columns: BTreeMap<String, String>,
    #[serde(default, rename = "where")]
    filter: BTreeMap<String, Value>,
}

/// One input.
#[derive(Debug, Clone)]
pub(crate) struct Input {
    dataset: Dataset,
    pub(crate) sets: Vec<Set>,
}

/// One dataset of an input.
#[derive(Debug, Clone)]
pub(crate) struct Set {
    pub(crate) name: Name,
    kind: DatasetType,
    /// The columns read, in header order.
    fields: Vec<String>,
    /// Contract column → its source columns.
    pub(crate) columns: BTreeMap<String, Vec<String>>,
    /// Filter columns.
    pub(crate) filters: Vec<String>,
    bytes: u64,
    files: u64,
    paths: BTreeSet<String>,
}

impl Input {
    /// The input of an extract task; `table`: table of a database source.
    pub(super) fn read(dataset: Dataset, result: &Value, table: Option<&str>) -> Option<Self> {
        let found = Extracted::deserialize(result).ok()?;
        let sets: Vec<Set> =
            found.files.into_iter().map(|file| Set::of(dataset, file, table)).collect();
        Some(Self { dataset, sets: grouped(sets) })
    }

    pub(crate) fn data_sets(
        &self,
        account: Option<&ControlTotals>,
        severities: &Severities,
    ) -> Vec<InputDataset> {
        let rows = account.filter(|_| self.sets.len() == 1).map(|account| match self.dataset {
            Dataset::Claims => account.claims.read + account.claims.filtered,
            Dataset::Providers => account.providers.read,
        });
        let dataset = |set: &Set| {
            let mut input_facets = Facets::default().with(&InputStatistics {
                row_count: rows,
                size: Some(set.bytes),
                file_count: set.files,
            });
            if let Some(account) = account {
                let metrics = DataQualityMetrics {
                    row_count: rows,
                    bytes: Some(set.bytes),
                    file_count: set.files,
                    column_metrics: Nothing {},
                };
                let assertions = self.assertions(set, account, severities);
                input_facets = input_facets.with(&metrics).with(&assertions);
            }
            InputDataset { name: set.name.clone(), facets: set.facets(), input_facets }
        };
        self.sets.iter().map(dataset).collect()
    }

    /// Each rejecting rule, and whether no record of the dataset broke it. For inputs of several
    /// files, a failed assertion is attached only to files known from the examples.
    fn assertions(
        &self,
        set: &Set,
        account: &ControlTotals,
        severities: &Severities,
    ) -> DataQualityAssertions {
        let reasons = match self.dataset {
            Dataset::Claims => &account.reject_reasons,
            Dataset::Providers => &account.providers.reject_reasons,
        };
        let success = |rule: Rule| {
            if reasons.get(rule.name()).is_none_or(|rows| *rows == 0) {
                return Some(true);
            }
            let examples = account.reject_examples.get(rule.name());
            let here = || {
                self.dataset == Dataset::Claims
                    && examples
                        .is_some_and(|all| all.iter().any(|one| set.paths.contains(&one.source)))
            };
            (self.sets.len() == 1 || here()).then_some(false)
        };
        let rules = Rule::ALL.into_iter().filter(|&rule| {
            let of_directory = rule.id() == "V3" || rule == Rule::DirectoryConflict;
            let ours = of_directory == (self.dataset == Dataset::Providers);
            (ours && severities.of(rule) == Severity::Reject) || reasons.contains_key(rule.name())
        });
        let assertions = rules.filter_map(|rule| {
            let success = success(rule)?;
            let column = match set.columns.get(rule.column()).map(Vec::as_slice) {
                Some([one]) => Some(one.clone()),
                _ => None,
            };
            Some(Assertion { rule: rule.name(), success, column, severity: "error" })
        });
        DataQualityAssertions { assertions: assertions.collect() }
    }
}

impl Set {
    fn of(dataset: Dataset, file: File, table: Option<&str>) -> Self {
        let (name, kind) = if file.format == "database" {
            let kind = DatasetType { dataset_type: "TABLE", sub_type: None };
            (of_query(&file.path, table, dataset.name()), kind)
        } else {
            (of_file(&file.path), DatasetType { dataset_type: "FILE", sub_type: None })
        };
        let known = |name: &str| file.header.iter().any(|column| column == name);
        let mut columns = BTreeMap::new();
        for (column, take) in &file.columns {
            // A quoted constant contains no column name.
            let pattern = Pattern::parse(take).ok();
            let names: Vec<String> = pattern
                .iter()
                .flat_map(Pattern::names)
                .filter(|name| known(name))
                .map(ToOwned::to_owned)
                .collect();
            columns.insert(column.clone(), names);
        }
        let filters: Vec<String> = file.filter.into_keys().filter(|name| known(name)).collect();
        let used = |name: &&String| {
            filters.contains(name) || columns.values().any(|names| names.contains(name))
        };
        let fields = file.header.iter().filter(used).cloned().collect();
        let (bytes, paths) = (file.bytes, BTreeSet::from([file.path]));
        Self { name, kind, fields, columns, filters, bytes, files: 1, paths }
    }

    fn facets(&self) -> Facets {
        let fields = self.fields.iter().map(|name| Field {
            name: name.clone(),
            kind: None,
            ordinal_position: None,
        });
        Facets::default()
            .with(&Schema { fields: fields.collect() })
            .with(&source(&self.name))
            .with(&self.kind)
    }
}

/// The datasets, or one combined dataset if there are too many.
fn grouped(sets: Vec<Set>) -> Vec<Set> {
    if sets.len() <= FILES {
        return sets;
    }
    let names: Vec<Name> = sets.iter().map(|set| set.name.clone()).collect();
    let folder = common_folder(&names);
    let (bytes, files) = (sets.iter().map(|set| set.bytes).sum(), sets.len() as u64);
    let paths = sets.iter().flat_map(|set| set.paths.clone()).collect();
    match (folder, sets.into_iter().next()) {
        (Some(name), Some(first)) => {
            let kind = DatasetType { dataset_type: "FILE", sub_type: Some("FOLDER") };
            vec![Set { name, kind, bytes, files, paths, ..first }]
        }
        (None, Some(first)) => vec![Set { bytes, files, paths, ..first }],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::totals::Example;

    fn file(path: &str) -> Value {
        json!({
            "path": path, "bytes": 100, "fingerprint": "f", "format": "csv", "compression": "none",
            "header": ["ID", "Patient", "Kind", "Secret"],
            "columns": { "claim_id": "{ID}-{Kind}", "patient_id": "Patient", "line_number": "\"7\"" },
            "where": { "Kind": ["CANARY"] },
        })
    }

    fn input(files: &[Value]) -> Input {
        let result = json!({ "dataset": "claims", "files": files });
        Input::read(Dataset::Claims, &result, None).expect("an input")
    }

    fn json_of(input: &Input, account: &ControlTotals) -> Vec<Value> {
        let sets = input.data_sets(Some(account), &Severities::default());
        sets.iter().map(|set| serde_json::to_value(set).expect("JSON")).collect()
    }

    fn assertion(set: &Value, name: &str) -> Option<Value> {
        let all = set["inputFacets"]["dataQualityAssertions"]["assertions"].as_array()?;
        all.iter().find(|one| one["assertion"] == name).cloned()
    }

    fn account(reasons: &[(&str, u64, &str)]) -> ControlTotals {
        let mut account = ControlTotals::default();
        account.claims.read = 10;
        for (rule, rows, source) in reasons {
            account.reject_reasons.insert((*rule).into(), *rows);
            let example = Example { source: (*source).into(), record: 1 };
            account.reject_examples.insert((*rule).into(), vec![example]);
        }
        account
    }

    #[test]
    fn only_columns_that_are_read_are_listed_and_no_value() {
        let input = input(&[file("/in/a.csv")]);
        let set = &json_of(&input, &account(&[("patient_id_missing", 2, "/in/a.csv")]))[0];
        let names: Vec<&str> = set["facets"]["schema"]["fields"]
            .as_array()
            .expect("fields")
            .iter()
            .filter_map(|field| field["name"].as_str())
            .collect();
        assert_eq!(names, ["ID", "Patient", "Kind"]);
        assert!(!set.to_string().contains("CANARY") && !set.to_string().contains('7'));
        assert_eq!(set["inputFacets"]["inputStatistics"]["rowCount"], 10);
        let broken = assertion(set, "patient_id_missing").expect("an assertion");
        assert_eq!((&broken["success"], &broken["column"]), (&json!(false), &json!("Patient")));
        let held = assertion(set, "claim_id_missing").expect("an assertion");
        assert_eq!((&held["success"], held.get("column")), (&json!(true), None));
        assert_eq!(assertion(set, "directory_id_missing"), None);
        assert_eq!(assertion(set, "npi_invalid"), None, "it flags");
    }

    #[test]
    fn rejects_are_attached_only_to_files_they_are_known_of() {
        let input = input(&[file("/in/a.csv"), file("/in/b.csv")]);
        let sets = json_of(&input, &account(&[("amount_missing", 1, "/in/b.csv")]));
        assert_eq!(sets[0]["inputFacets"]["inputStatistics"].get("rowCount"), None);
        assert_eq!(assertion(&sets[0], "amount_missing"), None);
        let broken = assertion(&sets[1], "amount_missing").expect("an assertion");
        assert_eq!(broken["success"], false);
        assert_eq!(assertion(&sets[0], "date_missing").expect("held")["success"], true);
    }

    #[test]
    fn very_many_files_are_one_folder() {
        let files: Vec<Value> = (0..40).map(|day| file(&format!("/in/{day}.csv"))).collect();
        let input = input(&files);
        let sets = json_of(&input, &account(&[("amount_missing", 1, "/in/3.csv")]));
        assert_eq!((sets.len(), &sets[0]["name"]), (1, &json!("/in")));
        let statistics = &sets[0]["inputFacets"]["inputStatistics"];
        assert_eq!((&statistics["fileCount"], &statistics["size"]), (&json!(40), &json!(4000)));
        assert_eq!(assertion(&sets[0], "amount_missing").expect("broken")["success"], false);
    }
}
