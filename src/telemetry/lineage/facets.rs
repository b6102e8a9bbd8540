//! The facets that are used, field by field.
//!
//! None of them holds a value of the data: no minimum, no quantile, no sample, no SQL.

use std::collections::BTreeMap;

use serde::Serialize;
use uuid::Uuid;

use super::event::{Facet, Name};

/// One facet a struct: what it says, its key, and its schema.
macro_rules! facet {
    ($name:ident, $key:literal, $version:literal $schema:literal) => {
        impl Facet for $name {
            const KEY: &'static str = $key;
            const SCHEMA: (&'static str, &'static str) = ($version, $schema);
        }
    };
}

/// The data interval.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NominalTime {
    pub(crate) nominal_start_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nominal_end_time: Option<String>,
}
facet!(NominalTime, "nominalTime", "1-0-1" "NominalTimeRunFacet");

/// A run and its job, as others refer to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Reference {
    pub(crate) run: RunReference,
    pub(crate) job: Name,
}

/// A run's id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RunReference {
    pub(crate) run_id: Uuid,
}

/// The run that started this one, and the outermost one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Parent {
    #[serde(flatten)]
    pub(crate) parent: Reference,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) root: Option<Reference>,
}
facet!(Parent, "parent", "1-2-0" "ParentRunFacet");

/// Why a run failed.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ErrorMessage {
    pub(crate) message: String,
    pub(crate) programming_language: &'static str,
}
facet!(ErrorMessage, "errorMessage", "1-0-1" "ErrorMessageRunFacet");

/// What does the work.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ProcessingEngine {
    pub(crate) version: &'static str,
    pub(crate) name: &'static str,
}
facet!(ProcessingEngine, "processing_engine", "1-1-1" "ProcessingEngineRunFacet");

/// The kind of a job.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JobType {
    pub(crate) processing_type: &'static str,
    pub(crate) integration: &'static str,
    #[serde(rename = "jobType")]
    pub(crate) kind: &'static str,
}
facet!(JobType, "jobType", "2-0-4" "JobTypeJobFacet");

/// What a job does.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Documentation {
    pub(crate) description: String,
}
facet!(Documentation, "documentation", "1-1-0" "DocumentationJobFacet");

/// Whose job it is.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Ownership {
    pub(crate) owners: Vec<Owner>,
}
facet!(Ownership, "ownership", "1-0-1" "OwnershipJobFacet");

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Owner {
    pub(crate) name: String,
}

/// The columns of a data set.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Schema {
    pub(crate) fields: Vec<Field>,
}
facet!(Schema, "schema", "1-2-0" "SchemaDatasetFacet");

/// One column.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Field {
    pub(crate) name: String,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ordinal_position: Option<usize>,
}

/// Where a data set is.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct DataSource {
    pub(crate) name: String,
    pub(crate) uri: String,
}
facet!(DataSource, "dataSource", "1-0-1" "DatasourceDatasetFacet");

/// What a data set is.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DatasetType {
    pub(crate) dataset_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sub_type: Option<&'static str>,
}
facet!(DatasetType, "datasetType", "1-0-1" "DatasetTypeDatasetFacet");

/// What happened to a data set as a whole.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LifecycleStateChange {
    pub(crate) lifecycle_state_change: &'static str,
}
facet!(LifecycleStateChange, "lifecycleStateChange", "1-0-1" "LifecycleStateChangeDatasetFacet");

/// Which columns come from which.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct ColumnLineage {
    pub(crate) fields: BTreeMap<&'static str, ColumnOrigin>,
    /// What decides which rows there are, whatever the column.
    pub(crate) dataset: Vec<InputField>,
}
facet!(ColumnLineage, "columnLineage", "1-2-0" "ColumnLineageDatasetFacet");

/// Where one column comes from.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ColumnOrigin {
    pub(crate) input_fields: Vec<InputField>,
}

/// A column that is read, and what it is read for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct InputField {
    #[serde(flatten)]
    pub(crate) dataset: Name,
    pub(crate) field: String,
    pub(crate) transformations: Vec<Transformation>,
}

/// What is done with a column.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Transformation {
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    pub(crate) subtype: &'static str,
    pub(crate) masking: bool,
}

/// How much was read.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InputStatistics {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) row_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<u64>,
    pub(crate) file_count: u64,
}
facet!(InputStatistics, "inputStatistics", "1-0-0" "InputStatisticsInputDatasetFacet");

/// How good it is, in figures.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DataQualityMetrics {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) row_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes: Option<u64>,
    pub(crate) file_count: u64,
    /// Asked for by the schema, and always empty: a record counts for the first rule it breaks, so
    /// no count of nulls would be exact, and everything else is a value of the data.
    pub(crate) column_metrics: Nothing,
}
/// An object without anything in it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Nothing {}
facet!(DataQualityMetrics, "dataQualityMetrics", "1-0-3" "DataQualityMetricsInputDatasetFacet");

/// How good it is, rule by rule.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct DataQualityAssertions {
    pub(crate) assertions: Vec<Assertion>,
}
facet!(DataQualityAssertions, "dataQualityAssertions", "1-1-0" "DataQualityAssertionsDatasetFacet");

/// One rule.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Assertion {
    #[serde(rename = "assertion")]
    pub(crate) rule: &'static str,
    pub(crate) success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) column: Option<String>,
    pub(crate) severity: &'static str,
}

/// How much was written.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OutputStatistics {
    pub(crate) row_count: u64,
}
facet!(OutputStatistics, "outputStatistics", "1-0-2" "OutputStatisticsOutputDatasetFacet");
