//! An event of the OpenLineage specification 2-0-2.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

/// This program and its version.
pub(crate) const PRODUCER: &str = concat!("urn:claims-etl:", env!("CARGO_PKG_VERSION"));
const SCHEMA: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum EventType {
    Start,
    Running,
    Complete,
    Fail,
    /// Cancelled.
    Abort,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Event {
    #[serde(rename = "eventType")]
    kind: EventType,
    #[serde(rename = "eventTime")]
    time: String,
    producer: &'static str,
    #[serde(rename = "schemaURL")]
    schema_url: &'static str,
    run: Run,
    job: Job,
    inputs: Vec<InputDataset>,
    outputs: Vec<OutputDataset>,
}

/// The run of the pipeline or of one task.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Run {
    pub(crate) run_id: Uuid,
    pub(crate) facets: Facets,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Job {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) facets: Facets,
}

/// Name of a dataset.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Name {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InputDataset {
    #[serde(flatten)]
    pub(crate) name: Name,
    pub(crate) facets: Facets,
    pub(crate) input_facets: Facets,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OutputDataset {
    #[serde(flatten)]
    pub(crate) name: Name,
    pub(crate) facets: Facets,
    pub(crate) output_facets: Facets,
}

/// One facet.
pub(crate) trait Facet: Serialize {
    const KEY: &'static str;
    /// Version and name of the schema.
    const SCHEMA: (&'static str, &'static str);
}

/// Facets by key.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(transparent)]
pub(crate) struct Facets(BTreeMap<&'static str, Value>);

#[derive(Serialize)]
struct Envelope<'a, F> {
    #[serde(rename = "_producer")]
    producer: &'static str,
    #[serde(rename = "_schemaURL")]
    schema_url: String,
    #[serde(flatten)]
    facet: &'a F,
}

impl Facets {
    pub(crate) fn with<F: Facet>(mut self, facet: &F) -> Self {
        let (version, name) = F::SCHEMA;
        let schema_url =
            format!("https://openlineage.io/spec/facets/{version}/{name}.json#/$defs/{name}");
        // Strings, numbers and lists always serialise.
        if let Ok(value) = serde_json::to_value(Envelope { producer: PRODUCER, schema_url, facet })
        {
            self.0.insert(F::KEY, value);
        }
        self
    }

    pub(crate) fn with_some<F: Facet>(self, facet: Option<&F>) -> Self {
        match facet {
            Some(facet) => self.with(facet),
            None => self,
        }
    }
}

impl Event {
    pub(crate) fn now(kind: EventType, run: Run, job: Job) -> Self {
        let time = rfc3339(Utc::now());
        let (inputs, outputs) = (Vec::new(), Vec::new());
        Self { kind, time, producer: PRODUCER, schema_url: SCHEMA, run, job, inputs, outputs }
    }

    pub(crate) fn reads(self, inputs: Vec<InputDataset>) -> Self {
        Self { inputs, ..self }
    }

    pub(crate) fn writes(self, outputs: Vec<OutputDataset>) -> Self {
        Self { outputs, ..self }
    }

    /// One line of JSON, without the line ending.
    pub(crate) fn line(&self) -> Option<Vec<u8>> {
        serde_json::to_vec(self).ok()
    }
}

fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::telemetry::lineage::facets::Documentation;

    #[test]
    fn an_event_is_one_line_with_the_names_of_the_specification() {
        let run = Run { run_id: Uuid::nil(), facets: Facets::default() };
        let description = "loads".into();
        let facets = Facets::default().with(&Documentation { description });
        let job = Job { namespace: "n".into(), name: "j".into(), facets };
        let line = Event::now(EventType::Complete, run, job).line().expect("JSON");
        assert!(!line.contains(&b'\n'));
        let event: Value = serde_json::from_slice(&line).expect("JSON");
        assert_eq!(event["eventType"], "COMPLETE");
        assert_eq!(event["schemaURL"], SCHEMA);
        assert_eq!(event["run"]["runId"], "00000000-0000-0000-0000-000000000000");
        let expected = json!({
            "_producer": PRODUCER,
            "_schemaURL": "https://openlineage.io/spec/facets/1-1-0/DocumentationJobFacet.json#/$defs/DocumentationJobFacet",
            "description": "loads",
        });
        assert_eq!(event["job"]["facets"]["documentation"], expected);
        let time = event["eventTime"].as_str().expect("a text");
        assert!(DateTime::parse_from_rfc3339(time).is_ok() && time.ends_with('Z'), "{time}");
    }
}
