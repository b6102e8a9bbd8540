//! Digest of the settings that affect the loaded data. Together with the input fingerprint it
//! decides whether a run is "already loaded".

use serde_json::{Value, json};

use super::settings::Settings;

/// Settings that do not affect the result: paths, resources, quality limits and notifications. Any
/// other setting counts, including new ones until they are listed here.
const LEFT_OUT: &[&str] = &[
    // Represented by the settings it expands to.
    "preset",
    // The inputs have their own fingerprint.
    "claims.sources",
    "claims.partition_on",
    "claims.partitions",
    "providers.sources",
    "providers.partition_on",
    "providers.partitions",
    "warehouse.url",
    "warehouse.password_file",
    "warehouse.connections",
    "warehouse.batch_rows",
    // The key has its own id.
    "privacy.key",
    "privacy.key_file",
    "privacy.key_fd",
    "privacy.next_key_file",
    "quality",
    "run.data_dir",
    "run.spill_dir",
    "run.spill_after_mb",
    "run.interval_start",
    "run.interval_end",
    "run.retries",
    "run.retry_delay_secs",
    "run.wait",
    "run.already_loaded_exit_code",
    "refresh",
    "schedule",
    "mail",
    "metrics",
    "lineage",
];

/// BLAKE3 of the settings that affect the loaded data (all but `LEFT_OUT`), as 64 hex digits.
///
/// # Panics
/// Never: maps with string keys and finite numbers always serialise to JSON.
#[must_use]
pub(crate) fn digest(settings: &Settings) -> String {
    let mut counted = counted(settings);
    // The prefixes themselves, because the setting can be a file name. An unreadable list fails the
    // run elsewhere.
    let prefixes = settings.privacy.restricted_zip3().unwrap_or_default();
    counted["privacy"]["zip3_restricted"] = prefixes.into_iter().collect();
    // The explicit and the default policy select the same rows.
    counted["warehouse"]["on_duplicate"] = json!(settings.warehouse.duplicate_policy());
    blake3::hash(counted.to_string().as_bytes()).to_hex().to_string()
}

/// The settings that affect the result.
fn counted(settings: &Settings) -> Value {
    let mut all = serde_json::to_value(settings).expect("maps with text keys and finite numbers");
    for path in LEFT_OUT {
        let (table, name) = path.rsplit_once('.').unwrap_or(("", path));
        let table = if table.is_empty() { Some(&mut all) } else { all.get_mut(table) };
        if let Some(Value::Object(table)) = table {
            table.remove(name);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::mapping::{Mapping, Values};
    use crate::config::settings::Mode;
    use crate::privacy::settings::Action;
    use crate::rule::{CodeSystem, OnDuplicate};
    use crate::secret::value::Secret;

    /// Settings that affect the result.
    const COUNTED: &[&str] = &[
        "claims.columns",
        "claims.comment",
        "claims.date_formats",
        "claims.decimal",
        "claims.delimiter",
        "claims.encoding",
        "claims.query",
        "claims.skip_lines",
        "claims.table",
        "claims.where",
        "privacy.columns",
        "privacy.profile",
        "privacy.zip3_restricted",
        "providers.columns",
        "providers.comment",
        "providers.date_formats",
        "providers.decimal",
        "providers.delimiter",
        "providers.encoding",
        "providers.query",
        "providers.skip_lines",
        "providers.table",
        "providers.where",
        "risk",
        "rules",
        "warehouse.mode",
        "warehouse.on_duplicate",
        "warehouse.on_provider_conflict",
    ];

    /// Paths of tables and keys, down to the depth of `COUNTED` and `LEFT_OUT`.
    fn paths(settings: &Value) -> Vec<String> {
        let whole = |name: &str| COUNTED.contains(&name) || LEFT_OUT.contains(&name);
        let tables = settings.as_object().expect("a table of tables");
        let within = tables.iter().flat_map(|(name, table)| match table.as_object() {
            Some(table) if !whole(name) => {
                table.keys().map(|key| format!("{name}.{key}")).collect()
            }
            _ => vec![name.clone()],
        });
        within.collect()
    }

    #[test]
    fn every_setting_counts_or_is_left_out_by_name() {
        let mut settings = Settings::default();
        settings.privacy.key = Some(Secret::new("k"));
        let all = serde_json::to_value(&settings).expect("JSON");
        let mut known: Vec<&str> = COUNTED.iter().chain(LEFT_OUT).copied().collect();
        known.sort_unstable();
        let mut found = paths(&all);
        found.sort_unstable();
        assert_eq!(
            found, known,
            "a setting that is new: does it change what is loaded? Name it in COUNTED or in LEFT_OUT"
        );
        let mut counted = paths(&counted(&settings));
        counted.sort_unstable();
        assert_eq!(counted, COUNTED);
    }

    #[test]
    fn only_settings_that_change_the_result_count() {
        let plain = digest(&Settings::default());
        let mut other = Settings::default();
        other.claims.sources = vec!["claims.csv".into()];
        other.warehouse.url = Some(Secret::new("postgres://elsewhere/db"));
        other.warehouse.password_file = Some("p".into());
        other.warehouse.connections = Some(8);
        other.warehouse.batch_rows = Some(10);
        other.quality.max_reject_ratio = 0.5;
        other.quality.max_row_change = Some(0.5);
        other.quality.max_conflict_ratio = 0.5;
        other.warehouse.on_duplicate = Some(OnDuplicate::Last);
        other.privacy.key_file = Some("k".into());
        other.privacy.key = Some(Secret::new("k"));
        other.run.data_dir = "elsewhere".into();
        other.run.interval_start = "2024-01-31".parse().ok();
        other.claims.partition_on = Some("n".into());
        other.claims.partitions = Some(2);
        other.preset = Some("by its settings only".into());
        other.run.retries = 0;
        other.run.wait = crate::config::Wait::Forever;
        other.refresh.dashboard.enabled = false;
        assert_eq!(digest(&other), plain);
    }

    #[test]
    fn each_setting_that_changes_the_result_counts() {
        let changes: [fn(&mut Settings); 31] = [
            |s| s.claims.table = Some("t".into()),
            |s| s.claims.encoding = "windows-1252".into(),
            |s| s.claims.comment = Some('#'),
            |s| s.providers.encoding = "utf-16le".into(),
            |s| s.providers.comment = Some(';'),
            |s| drop(s.claims.filter.insert("TYPE".into(), Values(vec!["CHARGE".into()]))),
            |s| {
                drop(
                    s.claims.columns.insert("claim_id".into(), Mapping::Constant("CLM_ID".into())),
                );
            },
            |s| s.claims.delimiter = ";".into(),
            |s| s.claims.date_formats.reverse(),
            |s| s.claims.skip_lines = 1,
            |s| s.claims.decimal = crate::config::Decimal::Comma,
            |s| drop(s.claims.columns.insert("claim_id".into(), "CLM_ID".into())),
            |s| drop(s.providers.columns.insert("specialty".into(), "SPEC".into())),
            |s| s.warehouse.mode = Mode::Replace,
            |s| s.warehouse.on_duplicate = Some(OnDuplicate::First),
            |s| s.warehouse.on_provider_conflict = OnDuplicate::Reject,
            |s| s.risk.min_peers = 31,
            |s| s.risk.weight_volume = 0.0,
            |s| s.privacy.profile = crate::privacy::settings::Profile::SafeHarborAssist,
            |s| drop(s.privacy.columns.insert("specialty".into(), Action::Drop)),
            |s| s.privacy.zip3_restricted = "census2010".into(),
            |s| s.rules.code_system = CodeSystem::Hcpcs,
            |s| s.rules.run_date = Some("2024-12-31".into()),
            |s| s.rules.future_days = 1,
            |s| s.rules.max_age_years = 11,
            |s| s.rules.filing_days = 364,
            |s| s.rules.amount_limit = "1.00".into(),
            |s| s.rules.earliest_date = "1950-01-01".into(),
            |s| drop(s.rules.placeholders.pop()),
            |s| drop(s.rules.patient_placeholders.pop()),
            |s| drop(s.rules.severity.insert("npi_invalid".into(), "off".into())),
        ];
        let mut digests = vec![digest(&Settings::default())];
        for change in changes {
            let mut settings = Settings::default();
            change(&mut settings);
            digests.push(digest(&settings));
        }
        let count = digests.len();
        digests.sort();
        digests.dedup();
        assert_eq!(digests.len(), count);
    }
}
