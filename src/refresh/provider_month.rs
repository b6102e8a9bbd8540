//! The stored months of providers, refreshed before all other targets, which may read them.

use super::job::Job;
use super::outcome::{Done, Failure};
use super::target::{Target, Wave};
use super::target_info::{TargetInfo, off};
use crate::config::Settings;
use crate::warehouse::sql;

const NAME: &str = "provider_month";
const VIEW: &str = "healthcare_analytics.mv_provider_month";

pub(super) fn target(settings: &Settings) -> Box<dyn Target> {
    let own = &settings.refresh.provider_month;
    Box::new(ProviderMonth {
        info: TargetInfo {
            name: NAME.into(),
            provider: NAME,
            parallel: 1,
            required: own.required,
            deadline: settings.refresh.deadline(own.deadline_secs),
            skipped: off(own.enabled, "refresh.provider_month"),
        },
    })
}

struct ProviderMonth {
    info: TargetInfo,
}

impl ProviderMonth {
    /// Whether the view was ever filled; none where there is no such view.
    fn is_filled(job: &mut Job<'_>) -> Result<Option<bool>, Failure> {
        let found = job.query(
            "checking the months of providers",
            &format!(
                "SELECT relispopulated AS filled FROM pg_class WHERE oid = to_regclass('{VIEW}')"
            ),
        )?;
        Ok((found.num_rows() > 0).then(|| sql::boolean(&found, "filled", 0) == Some(true)))
    }
}

/// The planner's statistics quote values, so they are renewed too.
fn script(is_filled: bool) -> String {
    // A view that was never filled cannot be refreshed concurrently.
    let concurrently = if is_filled { "CONCURRENTLY " } else { "" };
    format!(
        "BEGIN;\nSET LOCAL jit = off;\nREFRESH MATERIALIZED VIEW {concurrently}{VIEW};\nANALYZE {VIEW};\nCOMMIT"
    )
}

impl Target for ProviderMonth {
    fn info(&self) -> &TargetInfo {
        &self.info
    }

    fn wave(&self) -> Wave {
        Wave::First
    }

    fn check(&self, job: &mut Job<'_>) -> Result<String, Failure> {
        Ok(match Self::is_filled(job)? {
            Some(_) => format!("the materialized view {VIEW}"),
            None => format!("the materialized view {VIEW}, which a run will create"),
        })
    }

    fn refresh(&self, job: &mut Job<'_>) -> Result<Done, Failure> {
        let Some(is_filled) = Self::is_filled(job)? else {
            return Err(Failure::failed(format!(
                "there is no {VIEW}: `claims-etl warehouse migrate` creates it"
            )));
        };
        job.count_attempt();
        job.execute("refreshing the months of providers", &script(is_filled))?;
        Ok(Done::succeeded(VIEW))
    }
}
