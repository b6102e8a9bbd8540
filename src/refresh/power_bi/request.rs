//! Body of the request that starts a refresh.
//!
//! See "Datasets - Refresh Dataset In Group" in the REST reference.

use serde_json::{Map, Value, json};

use crate::config::{PowerBiCommit, PowerBiMode, PowerBiTarget, PowerBiType};

/// Omits `notifyOption`, which is for users and excludes the other fields.
pub(super) fn body(target: &PowerBiTarget) -> Value {
    let mut fields = Map::new();
    if target.mode == PowerBiMode::Standard {
        return Value::Object(fields);
    }
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            fields.insert(name.to_owned(), value);
        }
    };
    set("type", Some(json!(kind(target.refresh_type.unwrap_or_default()))));
    set("commitMode", target.commit_mode.map(|mode| json!(commit(mode))));
    set("maxParallelism", target.max_parallelism.map(Value::from));
    set("retryCount", target.retry_count.map(Value::from));
    set("objects", (!target.objects.is_empty()).then(|| json!(target.objects)));
    // The service rejects its default, true, with partial batches.
    let batches = target.commit_mode == Some(PowerBiCommit::PartialBatch);
    let policy = target.apply_refresh_policy.or(batches.then_some(false));
    set("applyRefreshPolicy", policy.map(Value::from));
    let day = target.effective_date.as_ref().and_then(|day| day.format("%Y-%m-%dT%H:%M:%S%:z"));
    set("effectiveDate", day.map(Value::from));
    set("timeout", target.timeout.clone().map(Value::from));
    Value::Object(fields)
}

fn kind(kind: PowerBiType) -> &'static str {
    match kind {
        PowerBiType::Full => "Full",
        PowerBiType::ClearValues => "ClearValues",
        PowerBiType::Calculate => "Calculate",
        PowerBiType::DataOnly => "DataOnly",
        PowerBiType::Automatic => "Automatic",
        PowerBiType::Defragment => "Defragment",
    }
}

fn commit(mode: PowerBiCommit) -> &'static str {
    match mode {
        PowerBiCommit::Transactional => "Transactional",
        PowerBiCommit::PartialBatch => "PartialBatch",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PowerBiObject;

    #[test]
    fn a_standard_refresh_has_an_empty_body() {
        let target = PowerBiTarget { mode: PowerBiMode::Standard, ..PowerBiTarget::default() };
        assert_eq!(body(&target), json!({}));
    }

    #[test]
    fn an_enhanced_refresh_has_at_least_a_type() {
        assert_eq!(body(&PowerBiTarget::default()), json!({ "type": "Full" }));
    }

    #[test]
    fn every_setting_has_its_field() {
        let object = |table: &str, partition: Option<&str>| PowerBiObject {
            table: table.into(),
            partition: partition.map(Into::into),
        };
        let target = PowerBiTarget {
            refresh_type: Some(PowerBiType::DataOnly),
            commit_mode: Some(PowerBiCommit::PartialBatch),
            max_parallelism: Some(2),
            retry_count: Some(0),
            effective_date: Some("2024-12-31".parse().expect("a date")),
            timeout: Some("02:00:00".into()),
            objects: vec![object("claims_fact", None), object("providers_dim", Some("p"))],
            ..PowerBiTarget::default()
        };
        let expected = json!({
            "type": "DataOnly",
            "commitMode": "PartialBatch",
            "maxParallelism": 2,
            "retryCount": 0,
            "applyRefreshPolicy": false,
            "effectiveDate": "2024-12-31T00:00:00+00:00",
            "timeout": "02:00:00",
            "objects": [{ "table": "claims_fact" }, { "table": "providers_dim", "partition": "p" }],
        });
        assert_eq!(body(&target), expected);
        let kept = PowerBiTarget { apply_refresh_policy: Some(true), ..PowerBiTarget::default() };
        assert_eq!(body(&kept), json!({ "type": "Full", "applyRefreshPolicy": true }));
    }
}
