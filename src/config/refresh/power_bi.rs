//! Settings of Power BI: one service principal and its semantic models.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{OnConflict, check_deadline, check_name, check_url};
use crate::config::interval::Moment;
use crate::error::{Error, Result};
use crate::secret::source::SecretSource;

/// Connection to Power BI and its targets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PowerBi {
    /// Tenant id or domain.
    pub tenant: String,
    /// Application (client) id of the service principal.
    pub client_id: String,
    /// Client secret, unless a certificate or a federated token is used.
    pub client_secret: SecretSource,
    /// Certificate (PEM) for certificate authentication.
    pub certificate: Option<PathBuf>,
    /// Private key of the certificate (PEM, PKCS #8).
    pub private_key: SecretSource,
    /// File of a federated token, as projected by Kubernetes.
    pub federated_token: SecretSource,
    /// Base URL of the token endpoint.
    pub login_url: String,
    /// Base URL of the API.
    pub api_url: String,
    /// OAuth scope.
    pub(crate) scope: String,
    /// Maximum concurrent models; `refresh.parallel` by default.
    pub(crate) parallel: Option<u16>,
    /// Models by name.
    pub targets: BTreeMap<String, PowerBiTarget>,
}

impl Default for PowerBi {
    fn default() -> Self {
        Self {
            tenant: String::new(),
            client_id: String::new(),
            client_secret: SecretSource::default(),
            certificate: None,
            private_key: SecretSource::default(),
            federated_token: SecretSource::default(),
            login_url: "https://login.microsoftonline.com".into(),
            api_url: "https://api.powerbi.com".into(),
            scope: "https://analysis.windows.net/powerbi/api/.default".into(),
            parallel: None,
            targets: BTreeMap::new(),
        }
    }
}

/// Power BI refresh type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PowerBiMode {
    /// Progress and cancellation; requires Premium, PPU or Embedded capacity. Does not refresh
    /// dashboard tiles.
    #[default]
    Enhanced,
    /// Any capacity; 8 a day on shared capacity. Refreshes dashboard tiles; cannot be cancelled.
    Standard,
}

/// Enhanced refresh operation per object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PowerBiType {
    /// Reads the data and recalculates dependents.
    #[default]
    Full,
    /// Clears the values.
    ClearValues,
    /// Recalculates without reading.
    Calculate,
    /// Reads without recalculating.
    DataOnly,
    /// Only objects that are not ready: does not detect new rows.
    Automatic,
    /// Defragments the dictionaries.
    Defragment,
}

/// Commit mode of an enhanced refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PowerBiCommit {
    /// All or nothing.
    #[default]
    Transactional,
    /// In batches: a failure can leave tables empty.
    PartialBatch,
}

/// Part of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PowerBiObject {
    /// Table name.
    pub table: String,
    /// Partition; all by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PowerBiTarget {
    /// Whether it is refreshed.
    pub enabled: bool,
    /// Whether a failure ends the run with exit code 6.
    pub required: bool,
    /// Timeout in seconds; `refresh.deadline_secs` by default.
    pub deadline_secs: Option<u64>,
    /// Workspace id.
    pub workspace: String,
    /// Semantic model id.
    pub dataset: String,
    /// Refresh type.
    pub mode: PowerBiMode,
    /// What to do while another refresh is running.
    pub on_conflict: OnConflict,
    /// Seconds until an accepted refresh must appear in the refresh history; otherwise it was
    /// dropped.
    pub appear_secs: u64,
    /// DAX query that returns one row with one number, the model's claim count; compared with the
    /// warehouse after the refresh. Example: `EVALUATE ROW("n", COUNTROWS(claims_fact))`
    pub verify_query: Option<String>,
    /// Enhanced only: operation; `full` by default.
    #[serde(rename = "type")]
    pub refresh_type: Option<PowerBiType>,
    /// Enhanced only: commit mode; the service's default is `transactional`.
    pub commit_mode: Option<PowerBiCommit>,
    /// Enhanced only: threads; the service's default is 10.
    pub max_parallelism: Option<u16>,
    /// Enhanced only: retries by the service; its default is 0.
    pub retry_count: Option<u16>,
    /// Enhanced only: whether to apply the incremental refresh policy; the service's default is
    /// true; must be false with `partial_batch`.
    pub apply_refresh_policy: Option<bool>,
    /// Enhanced only: effective date of that policy, instead of today.
    pub effective_date: Option<Moment>,
    /// Enhanced only: timeout of one attempt, `hh:mm:ss`; the service's default is 05:00:00.
    pub timeout: Option<String>,
    /// Enhanced only: objects to refresh; the whole model by default.
    pub objects: Vec<PowerBiObject>,
}

impl Default for PowerBiTarget {
    fn default() -> Self {
        Self {
            enabled: true,
            required: false,
            deadline_secs: None,
            workspace: String::new(),
            dataset: String::new(),
            mode: PowerBiMode::default(),
            on_conflict: OnConflict::default(),
            appear_secs: 120,
            verify_query: None,
            refresh_type: None,
            commit_mode: None,
            max_parallelism: None,
            retry_count: None,
            apply_refresh_policy: None,
            effective_date: None,
            timeout: None,
            objects: Vec::new(),
        }
    }
}

impl PowerBi {
    pub(super) fn secrets_mut(&mut self) -> Vec<&mut SecretSource> {
        vec![&mut self.client_secret, &mut self.private_key, &mut self.federated_token]
    }

    pub(super) fn validate(&self) -> Result<()> {
        if self.targets.is_empty() {
            return Ok(());
        }
        check_url("refresh.power_bi.login_url", &self.login_url)?;
        check_url("refresh.power_bi.api_url", &self.api_url)?;
        if self.parallel.is_some_and(|parallel| !(1..=64).contains(&parallel)) {
            return Err(Error::config("refresh.power_bi.parallel must be from 1 to 64"));
        }
        if self.targets.values().any(|target| target.enabled) {
            self.check_principal()?;
        }
        for (name, target) in &self.targets {
            check_name("refresh.power_bi.targets", name)?;
            target.validate(&format!("refresh.power_bi.targets.{name}"))?;
        }
        Ok(())
    }

    /// Checks that exactly one authentication method is set.
    fn check_principal(&self) -> Result<()> {
        if self.tenant.is_empty() || self.client_id.is_empty() {
            return Err(Error::config("refresh.power_bi needs a tenant and a client_id")
                .hint("both are on the overview page of the app registration in Entra"));
        }
        if self.certificate.is_some() != self.private_key.is_named() {
            return Err(Error::config(
                "refresh.power_bi.certificate and refresh.power_bi.private_key go together",
            ));
        }
        let ways = [
            self.client_secret.is_named(),
            self.certificate.is_some(),
            self.federated_token.is_named(),
        ];
        if ways.into_iter().filter(|named| *named).count() != 1 {
            return Err(Error::config("refresh.power_bi needs exactly one way to sign in")
                .hint("client_secret, or certificate with private_key, or federated_token"));
        }
        Ok(())
    }
}

impl PowerBiTarget {
    fn validate(&self, setting: &str) -> Result<()> {
        check_deadline(setting, self.deadline_secs)?;
        if self.workspace.is_empty() || self.dataset.is_empty() {
            return Err(Error::config(format!("{setting} needs a workspace and a dataset"))
                .hint("both ids are in the model's address: groups/WORKSPACE/datasets/DATASET"));
        }
        if !(1..=86_400).contains(&self.appear_secs) {
            return Err(Error::config(format!("{setting}.appear_secs must be from 1 to 86,400")));
        }
        if self.verify_query.as_ref().is_some_and(|query| query.trim().is_empty()) {
            return Err(Error::config(format!("{setting}.verify_query is empty")));
        }
        if self.mode == PowerBiMode::Standard
            && let Some(field) = self.enhanced_fields().first()
        {
            return Err(Error::config(format!("{setting}.{field} needs mode = \"enhanced\""))
                .hint("a standard refresh refreshes the whole model and takes no such setting"));
        }
        if self.commit_mode == Some(PowerBiCommit::PartialBatch)
            && self.apply_refresh_policy == Some(true)
        {
            return Err(Error::config(format!(
                "{setting}: commit_mode = \"partial_batch\" and apply_refresh_policy = true exclude one another"
            )));
        }
        if self.max_parallelism == Some(0) {
            return Err(Error::config(format!("{setting}.max_parallelism must be at least 1")));
        }
        if self.timeout.as_ref().is_some_and(|timeout| !is_time(timeout)) {
            return Err(Error::config(format!(
                "{setting}.timeout must be hh:mm:ss, from 00:00:00 to 23:59:59"
            )));
        }
        if self.objects.iter().any(|object| object.table.is_empty()) {
            return Err(Error::config(format!("{setting}.objects: each needs a table")));
        }
        Ok(())
    }

    /// Names of the enhanced-only settings that are set.
    fn enhanced_fields(&self) -> Vec<&'static str> {
        [
            ("type", self.refresh_type.is_some()),
            ("commit_mode", self.commit_mode.is_some()),
            ("max_parallelism", self.max_parallelism.is_some()),
            ("retry_count", self.retry_count.is_some()),
            ("apply_refresh_policy", self.apply_refresh_policy.is_some()),
            ("effective_date", self.effective_date.is_some()),
            ("timeout", self.timeout.is_some()),
            ("objects", !self.objects.is_empty()),
        ]
        .into_iter()
        .filter_map(|(field, set)| set.then_some(field))
        .collect()
    }
}

/// `^([0-1]?[0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]$`, the service's own pattern.
fn is_time(text: &str) -> bool {
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let below = |part: &str, end: u8| part.parse().is_ok_and(|number: u8| number < end);
    let parts: Vec<&str> = text.split(':').collect();
    let [hours, minutes, seconds] = parts[..] else { return false };
    parts.iter().all(|part| digits(part))
        && matches!(hours.len(), 1 | 2)
        && minutes.len() == 2
        && seconds.len() == 2
        && below(hours, 24)
        && below(minutes, 60)
        && below(seconds, 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(target: &str) -> Result<PowerBi> {
        let settings: PowerBi = toml::from_str(&format!(
            "tenant = \"contoso.example\"
            client_id = \"c\"
            client_secret = {{ env = \"SECRET\" }}
            [targets.claims]
            workspace = \"w\"
            dataset = \"d\"
            {target}"
        ))
        .map_err(|error| Error::config(error.message()))?;
        settings.validate().map(|()| settings)
    }

    #[test]
    fn every_field_of_an_enhanced_refresh_can_be_set() {
        let settings = read(
            "type = \"data_only\"
            commit_mode = \"partial_batch\"
            max_parallelism = 2
            retry_count = 1
            apply_refresh_policy = false
            effective_date = \"2024-12-31\"
            timeout = \"2:00:00\"
            objects = [{ table = \"claims_fact\" }, { table = \"providers_dim\", partition = \"p\" }]",
        )
        .expect("settings");
        assert_eq!(settings.targets["claims"].enhanced_fields().len(), 8);
        let again = toml::to_string(&settings).expect("TOML");
        assert_eq!(toml::from_str::<PowerBi>(&again).expect("read again"), settings);
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let refused = [
            ("mode = \"standard\"\ntype = \"full\"", "type needs mode"),
            ("mode = \"standard\"\nobjects = [{ table = \"t\" }]", "objects needs mode"),
            ("mode = \"standard\"\nretry_count = 0", "retry_count needs mode"),
            ("commit_mode = \"partial_batch\"\napply_refresh_policy = true", "exclude one another"),
            ("max_parallelism = 0", "at least 1"),
            ("timeout = \"24:00:00\"", "hh:mm:ss"),
            ("timeout = \"5:0:00\"", "hh:mm:ss"),
            ("timeout = \"+5:00:00\"", "hh:mm:ss"),
            ("timeout = \"05:00\"", "hh:mm:ss"),
            ("objects = [{ table = \"\" }]", "needs a table"),
            ("objects = [{ partition = \"p\" }]", "missing field `table`"),
            ("appear_secs = 0", "appear_secs"),
            ("verify_query = \" \"", "is empty"),
            ("effective_date = \"31.12.2024\"", "expected a date"),
            ("notify_option = \"MailOnFailure\"", "unknown field"),
            ("deadline_secs = 0", "deadline_secs"),
        ];
        for (target, reason) in refused {
            let error = read(target).expect_err(target);
            assert!(error.message().contains(reason), "{target}: {error}");
        }
        for timeout in ["0:00:00", "05:00:00", "23:59:59", "19:00:00"] {
            read(&format!("timeout = \"{timeout}\"")).expect(timeout);
        }
    }

    #[test]
    fn there_is_exactly_one_way_to_sign_in() {
        let fine = read("").expect("a secret");
        let refused = |change: fn(&mut PowerBi), reason: &str| {
            let mut settings = fine.clone();
            change(&mut settings);
            let error = settings.validate().expect_err(reason);
            assert!(error.message().contains(reason), "{error}");
        };
        refused(|s| s.client_secret = SecretSource::default(), "exactly one way");
        refused(|s| s.federated_token = SecretSource::from_file("t"), "exactly one way");
        refused(|s| s.certificate = Some("c.pem".into()), "go together");
        refused(|s| s.private_key = SecretSource::from_file("k"), "go together");
        refused(|s| s.tenant.clear(), "a tenant and a client_id");
        refused(|s| s.api_url = "ftp://h".into(), "api_url");
        refused(|s| s.parallel = Some(0), "parallel");
        // A disabled target needs no credentials.
        let mut off = fine.clone();
        off.client_secret = SecretSource::default();
        off.targets.values_mut().for_each(|target| target.enabled = false);
        off.validate().expect("nothing to sign in for");
    }
}
