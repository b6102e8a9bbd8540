//! OpenLineage facets in use.
//!
//! None contains data values: no minimum, quantile, sample or SQL.

use std::collections::BTreeMap;

use serde::Serialize;
use uuid::Uuid;

use super::event::{Facet, Name};

/// Implements [`Facet`]: key, schema version and schema name.
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

/// A reference to a run and its job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Reference {
    pub(crate) run: RunReference,
    pub(crate) job: Name,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RunReference {
    pub(crate) run_id: Uuid,
}

/// The parent run and the root run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Parent {
    #[serde(flatten)]
    pub(crate) parent: Reference,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) root: Option<Reference>,
}
facet!(Parent, "parent", "1-2-0" "ParentRunFacet");

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ErrorMessage {
    pub(crate) message: String,
    pub(crate) programming_language: &'static str,
}
facet!(ErrorMessage, "errorMessage", "1-0-1" "ErrorMessageRunFacet");

#[derive(Debug, Clone, Serialize)]
pub(crate) struct ProcessingEngine {
    pub(crate) version: &'static str,
    pub(crate) name: &'static str,
}
facet!(ProcessingEngine, "processing_engine", "1-1-1" "ProcessingEngineRunFacet");

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JobType {
    pub(crate) processing_type: &'static str,
    pub(crate) integration: &'static str,
    #[serde(rename = "jobType")]
    pub(crate) kind: &'static str,
}
facet!(JobType, "jobType", "2-0-4" "JobTypeJobFacet");

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Documentation {
    pub(crate) description: String,
}
facet!(Documentation, "documentation", "1-1-0" "DocumentationJobFacet");

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Ownership {
    pub(crate) owners: Vec<Owner>,
}
facet!(Ownership, "ownership", "1-0-1" "OwnershipJobFacet");

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Owner {
    pub(crate) name: String,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Schema {
    pub(crate) fields: Vec<Field>,
}
facet!(Schema, "schema", "1-2-0" "SchemaDatasetFacet");

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Field {
    pub(crate) name: String,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ordinal_position: Option<usize>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct DataSource {
    pub(crate) name: String,
    pub(crate) uri: String,
}
facet!(DataSource, "dataSource", "1-0-1" "DatasourceDatasetFacet");

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DatasetType {
    pub(crate) dataset_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sub_type: Option<&'static str>,
}
facet!(DatasetType, "datasetType", "1-0-1" "DatasetTypeDatasetFacet");

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LifecycleStateChange {
    pub(crate) lifecycle_state_change: &'static str,
}
facet!(LifecycleStateChange, "lifecycleStateChange", "1-0-1" "LifecycleStateChangeDatasetFacet");

#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct ColumnLineage {
    pub(crate) fields: BTreeMap<&'static str, ColumnOrigin>,
    /// Columns that determine the rows.
    pub(crate) dataset: Vec<InputField>,
}
facet!(ColumnLineage, "columnLineage", "1-2-0" "ColumnLineageDatasetFacet");

#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ColumnOrigin {
    pub(crate) input_fields: Vec<InputField>,
}

/// A source column and its use.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct InputField {
    #[serde(flatten)]
    pub(crate) dataset: Name,
    pub(crate) field: String,
    pub(crate) transformations: Vec<Transformation>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Transformation {
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    pub(crate) subtype: &'static str,
    pub(crate) masking: bool,
}

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

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DataQualityMetrics {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) row_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes: Option<u64>,
    pub(crate) file_count: u64,
    /// Required by the schema and always empty: a record counts only for the first rule it breaks,
    /// so null counts would be inexact, and everything else is a data value.
    pub(crate) column_metrics: Nothing,
}
/// An empty object.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Nothing {}
facet!(DataQualityMetrics, "dataQualityMetrics", "1-0-3" "DataQualityMetricsInputDatasetFacet");

#[derive(Debug, Clone, Serialize)]
pub(crate) struct DataQualityAssertions {
    pub(crate) assertions: Vec<Assertion>,
}
facet!(DataQualityAssertions, "dataQualityAssertions", "1-1-0" "DataQualityAssertionsDatasetFacet");

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Assertion {
    #[serde(rename = "assertion")]
    pub(crate) rule: &'static str,
    pub(crate) success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) column: Option<String>,
    pub(crate) severity: &'static str,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OutputStatistics {
    pub(crate) row_count: u64,
}
facet!(OutputStatistics, "outputStatistics", "1-0-2" "OutputStatisticsOutputDatasetFacet");
