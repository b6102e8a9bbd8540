//! Output datasets: the two tables and their dashboards.

use std::path::Path;

use serde_json::Value;

use super::columns::{Inputs, dimension, fact};
use super::dataset::{WarehouseAddress, of_file, source};
use super::event::{Facets, InputDataset, Name, OutputDataset};
use super::facets::{DatasetType, Field, LifecycleStateChange, OutputStatistics, Schema};
use crate::config::{Mode, Settings};
use crate::schema::{
    CLAIMS_FACT, Column, PROVIDERS_DIM, PUBLISHED, Shape, fact_columns, provider_columns,
};
use crate::totals::ControlTotals;

/// The tables after a publish.
pub(crate) fn written(
    warehouse: &WarehouseAddress,
    inputs: &Inputs<'_>,
    account: &ControlTotals,
    settings: &Settings,
) -> Vec<OutputDataset> {
    let (mode, privacy) = (settings.warehouse.mode, &settings.privacy);
    let overwritten = LifecycleStateChange { lifecycle_state_change: "OVERWRITE" };
    let claims = OutputDataset {
        name: warehouse.table(PUBLISHED, CLAIMS_FACT),
        facets: table(warehouse, fact_columns(privacy.shape()))
            .with(&fact(inputs, privacy))
            .with_some(Some(&overwritten).filter(|_| mode == Mode::Replace)),
        output_facets: rows(account.claims.inserted + account.claims.updated),
    };
    let providers = OutputDataset {
        name: warehouse.table(PUBLISHED, PROVIDERS_DIM),
        facets: table(warehouse, provider_columns(privacy.shape()))
            .with(&dimension(inputs, privacy)),
        output_facets: rows(account.providers.loaded + account.providers.inferred),
    };
    vec![claims, providers]
}

/// The tables as inputs of dashboards.
pub(crate) fn shown(warehouse: &WarehouseAddress, shape: Shape) -> Vec<InputDataset> {
    let tables = [(CLAIMS_FACT, fact_columns(shape)), (PROVIDERS_DIM, provider_columns(shape))];
    let inputs = tables.into_iter().map(|(name, columns)| InputDataset {
        name: warehouse.table(PUBLISHED, name),
        facets: table(warehouse, columns),
        input_facets: Facets::default(),
    });
    inputs.collect()
}

fn rows(row_count: u64) -> Facets {
    Facets::default().with(&OutputStatistics { row_count })
}

fn table(warehouse: &WarehouseAddress, columns: Vec<Column>) -> Facets {
    let fields = columns.into_iter().enumerate().map(|(position, column)| Field {
        name: column.name.to_owned(),
        kind: Some(column.postgres),
        ordinal_position: Some(position + 1),
    });
    Facets::default()
        .with(&Schema { fields: fields.collect() })
        .with(&warehouse.source())
        .with(&DatasetType { dataset_type: "TABLE", sub_type: None })
}

/// The refreshed dashboards, from the refresh task's result.
pub(crate) fn refreshed(settings: &Settings, result: &Value) -> Vec<OutputDataset> {
    let succeeded =
        result.as_array().into_iter().flatten().filter(|target| target["outcome"] == "succeeded");
    let outputs = succeeded.filter_map(|target| {
        let name = dashboard(settings, target["target"].as_str()?)?;
        let kind = DatasetType { dataset_type: "DASHBOARD", sub_type: None };
        let facets = Facets::default().with(&kind);
        let facets = if name.namespace == "file" { facets.with(&source(&name)) } else { facets };
        Some(OutputDataset { name, facets, output_facets: Facets::default() })
    });
    outputs.collect()
}

/// Name of a refreshed target; `None` if it is not a dataset (a webhook), or a table that is
/// already an output of the load.
fn dashboard(settings: &Settings, target: &str) -> Option<Name> {
    let refresh = &settings.refresh;
    let at = |scheme: &str, url: &str, name: String| {
        let host = url.split_once("://").map_or(url, |(_, rest)| rest);
        let host = host.split('/').next().unwrap_or_default();
        Some(Name { namespace: format!("{scheme}://{host}"), name })
    };
    let Some((provider, name)) = target.split_once('.') else {
        let page = settings.dashboard_path();
        return (target == "dashboard").then(|| of_path(&page));
    };
    match provider {
        "power_bi" => {
            let model = refresh.power_bi.targets.get(name)?;
            let id = format!("{}.{}", model.workspace, model.dataset);
            at("powerbi", &refresh.power_bi.api_url, id)
        }
        "tableau" => at("tableau", &refresh.tableau.server, name.to_owned()),
        "superset" => at("superset", &refresh.superset.url, name.to_owned()),
        "metabase" => at("metabase", &refresh.metabase.url, name.to_owned()),
        _ => None,
    }
}

fn of_path(path: &Path) -> Name {
    of_file(&path.display().to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::PowerBiTarget;

    #[test]
    fn only_targets_that_show_new_data_are_outputs() {
        let mut settings = Settings::default();
        settings.run.data_dir = "/data".into();
        let model = PowerBiTarget {
            workspace: "w".into(),
            dataset: "d".into(),
            ..PowerBiTarget::default()
        };
        settings.refresh.power_bi.targets.insert("sales".into(), model);
        let result = json!([
            { "target": "dashboard", "outcome": "succeeded" },
            { "target": "power_bi.sales", "outcome": "succeeded" },
            { "target": "tableau.other", "outcome": "failed" },
            { "target": "webhook.ops", "outcome": "succeeded" },
        ]);
        let names: Vec<Name> =
            refreshed(&settings, &result).into_iter().map(|output| output.name).collect();
        let expected = [("file", "/data/dashboard.html"), ("powerbi://api.powerbi.com", "w.d")]
            .map(|(namespace, name)| Name { namespace: namespace.into(), name: name.into() });
        assert_eq!(names, expected);
        assert!(refreshed(&settings, &Value::Null).is_empty());
    }
}
