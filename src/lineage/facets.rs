//! The facets that are used, field by field.
//!
//! A file of its own because each of them has a schema and a version of its own in OpenLineage's
//! repository (`spec/facets`). None of them holds a value of the data: no minimum, no quantile, no
//! sample, no SQL.

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
pub(super) struct NominalTime {
    pub(super) nominal_start_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) nominal_end_time: Option<String>,
}
facet!(NominalTime, "nominalTime", "1-0-1" "NominalTimeRunFacet");

/// A run and its job, as others refer to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Reference {
    pub(super) run: RunReference,
    pub(super) job: Name,
}

/// A run's id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RunReference {
    pub(super) run_id: Uuid,
}

/// The run that started this one, and the outermost one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Parent {
    #[serde(flatten)]
    pub(super) parent: Reference,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) root: Option<Reference>,
}
facet!(Parent, "parent", "1-2-0" "ParentRunFacet");

/// Why a run failed.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ErrorMessage {
    pub(super) message: String,
    pub(super) programming_language: &'static str,
}
facet!(ErrorMessage, "errorMessage", "1-0-1" "ErrorMessageRunFacet");

/// What does the work.
#[derive(Debug, Clone, Serialize)]
pub(super) struct ProcessingEngine {
    pub(super) version: &'static str,
    pub(super) name: &'static str,
}
facet!(ProcessingEngine, "processing_engine", "1-1-1" "ProcessingEngineRunFacet");

/// The kind of a job.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct JobType {
    pub(super) processing_type: &'static str,
    pub(super) integration: &'static str,
    #[serde(rename = "jobType")]
    pub(super) kind: &'static str,
}
facet!(JobType, "jobType", "2-0-4" "JobTypeJobFacet");

/// What a job does.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Documentation {
    pub(super) description: String,
}
facet!(Documentation, "documentation", "1-1-0" "DocumentationJobFacet");

/// Whose job it is.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Ownership {
    pub(super) owners: Vec<Owner>,
}
facet!(Ownership, "ownership", "1-0-1" "OwnershipJobFacet");

/// One owner.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Owner {
    pub(super) name: String,
}

/// The columns of a data set.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Schema {
    pub(super) fields: Vec<Field>,
}
facet!(Schema, "schema", "1-2-0" "SchemaDatasetFacet");

/// One column.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Field {
    pub(super) name: String,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ordinal_position: Option<usize>,
}

/// Where a data set is.
#[derive(Debug, Clone, Serialize)]
pub(super) struct DataSource {
    pub(super) name: String,
    pub(super) uri: String,
}
facet!(DataSource, "dataSource", "1-0-1" "DatasourceDatasetFacet");

/// What a data set is.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DatasetType {
    pub(super) dataset_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sub_type: Option<&'static str>,
}
facet!(DatasetType, "datasetType", "1-0-1" "DatasetTypeDatasetFacet");

/// What happened to a data set as a whole.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LifecycleStateChange {
    pub(super) lifecycle_state_change: &'static str,
}
facet!(LifecycleStateChange, "lifecycleStateChange", "1-0-1" "LifecycleStateChangeDatasetFacet");

/// Which columns come from which.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct ColumnLineage {
    pub(super) fields: BTreeMap<&'static str, ColumnOrigin>,
    /// What decides which rows there are, whatever the column.
    pub(super) dataset: Vec<InputField>,
}
facet!(ColumnLineage, "columnLineage", "1-2-0" "ColumnLineageDatasetFacet");

/// Where one column comes from.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ColumnOrigin {
    pub(super) input_fields: Vec<InputField>,
}

/// A column that is read, and what it is read for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct InputField {
    #[serde(flatten)]
    pub(super) dataset: Name,
    pub(super) field: String,
    pub(super) transformations: Vec<Transformation>,
}

/// What is done with a column.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Transformation {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) subtype: &'static str,
    pub(super) masking: bool,
}

/// How much was read.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InputStatistics {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) row_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) size: Option<u64>,
    pub(super) file_count: u64,
}
facet!(InputStatistics, "inputStatistics", "1-0-0" "InputStatisticsInputDatasetFacet");

/// How good it is, in figures.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DataQualityMetrics {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) row_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bytes: Option<u64>,
    pub(super) file_count: u64,
    /// Asked for by the schema, and always empty: a record counts for the first rule it breaks, so
    /// no count of nulls would be exact, and everything else is a value of the data.
    pub(super) column_metrics: Nothing,
}
/// An object without anything in it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Nothing {}
facet!(DataQualityMetrics, "dataQualityMetrics", "1-0-3" "DataQualityMetricsInputDatasetFacet");

/// How good it is, rule by rule.
#[derive(Debug, Clone, Serialize)]
pub(super) struct DataQualityAssertions {
    pub(super) assertions: Vec<Assertion>,
}
facet!(DataQualityAssertions, "dataQualityAssertions", "1-1-0" "DataQualityAssertionsDatasetFacet");

/// One rule.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Assertion {
    #[serde(rename = "assertion")]
    pub(super) rule: &'static str,
    pub(super) success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) column: Option<String>,
    pub(super) severity: &'static str,
}

/// How much was written.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OutputStatistics {
    pub(super) row_count: u64,
}
facet!(OutputStatistics, "outputStatistics", "1-0-2" "OutputStatisticsOutputDatasetFacet");
