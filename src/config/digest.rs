//! The digest of the settings that change what is loaded.
//!
//! A file of its own because it decides, with the inputs' fingerprint, whether a run is "already
//! loaded": where things are, how fast they go and when a run is refused must not count.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::mapping::{Mapping, Values};
use super::privacy::Action;
use super::risk::Risk;
use super::rules::Rules;
use super::settings::{Mode, OnDuplicate, Settings, Source};

/// The settings that count, in a fixed order.
#[derive(Serialize)]
struct Relevant<'a> {
    claims: Reading<'a>,
    providers: Reading<'a>,
    mode: Mode,
    on_duplicate: OnDuplicate,
    on_provider_conflict: OnDuplicate,
    risk: &'a Risk,
    privacy: Vec<(&'static str, Action)>,
    zip3_restricted: BTreeSet<String>,
    rules: &'a Rules,
}

/// How one input is read.
#[derive(Serialize)]
struct Reading<'a> {
    query: Option<&'a str>,
    table: Option<&'a str>,
    delimiter: &'a str,
    columns: &'a BTreeMap<String, Mapping>,
    filter: &'a BTreeMap<String, Values>,
    date_formats: &'a [String],
}

impl<'a> Reading<'a> {
    fn of(source: &'a Source) -> Self {
        Self {
            query: source.query.as_deref(),
            table: source.table.as_deref(),
            delimiter: &source.delimiter,
            columns: &source.columns,
            filter: &source.filter,
            date_formats: &source.date_formats,
        }
    }
}

/// BLAKE3 of the settings that change what is loaded, 64 hex digits. Paths, addresses, the key
/// (it has an id of its own), the data interval, partitions of a table, limits on a whole run, a run
/// date that is not configured, connections, batches, retries and refresh targets are
/// left out.
///
/// # Panics
/// Never: maps with text keys and finite numbers are always JSON.
#[must_use]
pub fn digest(settings: &Settings) -> String {
    let relevant = Relevant {
        claims: Reading::of(&settings.claims),
        providers: Reading::of(&settings.providers),
        mode: settings.warehouse.mode,
        on_duplicate: settings.warehouse.on_duplicate,
        on_provider_conflict: settings.warehouse.on_provider_conflict,
        risk: &settings.risk,
        privacy: settings.privacy.actions().collect(),
        // A list that cannot be read fails the run elsewhere.
        zip3_restricted: settings.privacy.restricted_zip3().unwrap_or_default(),
        rules: &settings.rules,
    };
    let text = serde_json::to_vec(&relevant).expect("maps with text keys and finite numbers");
    blake3::hash(&text).to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{CodeSystem, Secret};

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
        other.privacy.key_file = Some("k".into());
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
        let changes: [fn(&mut Settings); 23] = [
            |s| s.claims.table = Some("t".into()),
            |s| drop(s.claims.filter.insert("TYPE".into(), Values(vec!["CHARGE".into()]))),
            |s| {
                drop(
                    s.claims.columns.insert("claim_id".into(), Mapping::Constant("CLM_ID".into())),
                );
            },
            |s| s.claims.delimiter = ";".into(),
            |s| s.claims.date_formats.reverse(),
            |s| drop(s.claims.columns.insert("claim_id".into(), "CLM_ID".into())),
            |s| drop(s.providers.columns.insert("specialty".into(), "SPEC".into())),
            |s| s.warehouse.mode = Mode::Replace,
            |s| s.warehouse.on_duplicate = OnDuplicate::First,
            |s| s.warehouse.on_provider_conflict = OnDuplicate::Reject,
            |s| s.risk.min_peers = 31,
            |s| s.risk.weight_volume = 0.0,
            |s| s.privacy.profile = crate::config::Profile::SafeHarborAssist,
            |s| drop(s.privacy.columns.insert("specialty".into(), Action::Drop)),
            |s| s.privacy.zip3_restricted = "census2010".into(),
            |s| s.rules.code_system = CodeSystem::Hcpcs,
            |s| s.rules.run_date = Some("2024-12-31".into()),
            |s| s.rules.future_days = 1,
            |s| s.rules.max_age_years = 11,
            |s| s.rules.filing_days = 364,
            |s| s.rules.amount_limit = "1.00".into(),
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
