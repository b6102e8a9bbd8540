//! OpenLineage's official schemas, when they are there, and what every event must keep.

use std::collections::BTreeMap;
use std::fs;

use boon::{Compiler, Schemas};
use serde_json::Value;

use crate::support::fixtures;

/// All schemas, compiled for each validation; nothing is fetched.
pub(crate) struct Official {
    documents: BTreeMap<String, Value>,
}

impl Official {
    /// The schemas; none where they are not there.
    pub(crate) fn new() -> Option<Self> {
        let spec = fixtures::folder("openlineage")?.join("spec");
        let mut documents = BTreeMap::new();
        for folder in [spec.clone(), spec.join("facets")] {
            for entry in fs::read_dir(folder).expect("a folder").flatten() {
                if entry.path().extension().is_some_and(|name| name == "json") {
                    let text = fs::read_to_string(entry.path()).expect("a schema");
                    let schema: Value = serde_json::from_str(&text).expect("JSON");
                    let id = schema["$id"].as_str().expect("an id").to_owned();
                    documents.insert(id, schema);
                }
            }
        }
        assert!(documents.len() > 20, "the schemas are there");
        Some(Self { documents })
    }

    /// What is wrong with an event and its facets.
    pub(crate) fn errors(&self, event: &Value) -> Vec<String> {
        let mut found = Vec::new();
        let schema = event["schemaURL"].as_str().unwrap_or_default();
        found.extend(self.against(schema, event).err());
        for (kind, key, facet) in facets(event) {
            let url = facet["_schemaURL"].as_str().unwrap_or_default();
            let place = format!("{kind} {key}");
            found.extend(self.against(url, &facet).err().map(|error| format!("{place}: {error}")));
            found.extend(self.belongs(kind, &key, url).err().map(|why| format!("{place}: {why}")));
        }
        found
    }

    fn against(&self, url: &str, value: &Value) -> Result<(), String> {
        let mut compiler = Compiler::new();
        compiler.enable_format_assertions();
        for (id, schema) in &self.documents {
            compiler.add_resource(id, schema.clone()).map_err(|error| error.to_string())?;
        }
        let mut schemas = Schemas::new();
        let schema =
            compiler.compile(url, &mut schemas).map_err(|error| format!("{url}: {error}"))?;
        schemas.validate(value, schema).map_err(|error| format!("{error:#}"))
    }

    /// Whether the schema is the one for this key, and for a facet at this place.
    fn belongs(&self, kind: &str, key: &str, url: &str) -> Result<(), String> {
        let (id, fragment) = url.split_once('#').ok_or("no fragment")?;
        let schema = self.documents.get(id).ok_or("no such schema")?;
        if schema["properties"][key]["$ref"] != format!("#{fragment}") {
            return Err(format!("{url} is not the schema of {key}"));
        }
        let definition = schema.pointer(fragment).ok_or("no such definition")?;
        let base = definition["allOf"][0]["$ref"].as_str().unwrap_or_default();
        if base.ends_with(&format!("/{kind}")) {
            Ok(())
        } else {
            Err(format!("{base} is no {kind}"))
        }
    }
}

/// Every facet with what it must be at its place, and its key.
fn facets(event: &Value) -> Vec<(&'static str, String, Value)> {
    let mut found = Vec::new();
    let mut add = |kind: &'static str, facets: &Value| {
        for (key, facet) in facets.as_object().into_iter().flatten() {
            found.push((kind, key.clone(), facet.clone()));
        }
    };
    add("RunFacet", &event["run"]["facets"]);
    add("JobFacet", &event["job"]["facets"]);
    for input in event["inputs"].as_array().into_iter().flatten() {
        add("DatasetFacet", &input["facets"]);
        add("InputDatasetFacet", &input["inputFacets"]);
    }
    for output in event["outputs"].as_array().into_iter().flatten() {
        add("DatasetFacet", &output["facets"]);
        add("OutputDatasetFacet", &output["outputFacets"]);
    }
    found
}

/// The keys of all facets.
pub(crate) fn keys(event: &Value) -> Vec<String> {
    facets(event).into_iter().map(|(_, key, _)| key).collect()
}

/// What the specification says of a run's life: it begins with START, ends with one terminal event,
/// and nothing follows that. Events in short: job without the DAG's name, and type.
pub(crate) fn lives(events: &[Value]) -> Vec<(String, String)> {
    let mut runs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut short = Vec::new();
    for event in events {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let kind = text(&event["eventType"]);
        runs.entry(text(&event["run"]["runId"])).or_default().push(kind.clone());
        let job = text(&event["job"]["name"]);
        let job = job.strip_prefix("healthcare_claims_etl").expect("a job of the DAG").to_owned();
        short.push((job, kind));
    }
    for (run, kinds) in runs {
        let terminal = |kind: &&String| matches!(kind.as_str(), "COMPLETE" | "FAIL" | "ABORT");
        assert_eq!(kinds.first().map(String::as_str), Some("START"), "{run}: {kinds:?}");
        assert_eq!(kinds.iter().filter(|kind| *kind == "START").count(), 1, "{run}: {kinds:?}");
        assert_eq!(kinds.iter().filter(terminal).count(), 1, "{run}: {kinds:?}");
        assert!(kinds.last().is_some_and(|last| terminal(&last)), "{run}: {kinds:?}");
    }
    short
}
