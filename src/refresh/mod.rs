//! Refresh after the load has committed; each target has its own deadline, concurrency limit and
//! result.
//!
//! One file or folder per provider; providers never import each other.

mod connections;
mod dashboard;
mod deadline;
mod fan_out;
mod job;
mod metabase;
mod outcome;
mod power_bi;
mod provider_month;
mod retry;
mod runner;
mod sql_views;
mod superset;
mod tableau;
mod target;
mod target_info;
mod webhook;

pub(crate) use dashboard::Dashboard;
pub use job::{Job, PublishedRun, Statements};
pub use outcome::{Done, Failure, Outcome, TargetResult};
pub use runner::{Checked, check_all, refresh_all};
pub use target::{Target, Wave};
pub(crate) use target_info::TargetInfo;

use crate::config::Settings;

/// The configured targets, including disabled ones.
#[must_use]
pub fn targets(settings: &Settings) -> Vec<Box<dyn Target>> {
    let mut targets: Vec<Box<dyn Target>> =
        vec![provider_month::target(settings), Box::new(Dashboard::new(settings))];
    targets.extend(power_bi::targets(settings));
    targets.extend(tableau::targets(settings));
    targets.extend(superset::targets(settings));
    targets.extend(metabase::targets(settings));
    targets.extend(sql_views::targets(settings));
    targets.extend(webhook::targets(settings));
    targets
}
