//! From the rows of the first pass to published tables: shuffle, stage by COPY, publish, ledger.

mod additive_table;
mod aggregates;
mod array_table;
mod attach;
pub(crate) mod copy_source;
pub(crate) mod copy_workers;
mod date_dimension;
pub(crate) mod identity;
pub(crate) mod ledger;
pub(crate) mod ledger_read;
pub(crate) mod merge_diff;
pub(crate) mod outbox;
pub(crate) mod part;
mod planner_statistics;
pub(crate) mod provider_versions;
mod publish;
pub(crate) mod risk;
pub mod rotation;
pub(crate) mod score_statistics;
mod session;
pub(crate) mod staging_tables;
pub(crate) mod task_progress;
pub(crate) mod totals;

pub(crate) use publish::{Publication, filled_meanwhile, publish, refuse_repeats};
pub(crate) use session::{Session, hold, sweep};

pub(crate) use crate::load::aggregates::{LineTotals, ProviderRows};
pub(crate) use crate::load::copy_source::Score;
pub(crate) use crate::load::copy_workers::{Staged, Staging};
pub(crate) use crate::load::part::Part;
pub(crate) use crate::load::planner_statistics::analyze;
pub(crate) use crate::load::provider_versions::{
    PublishedVersions, StagedDirectory, StagedProviders,
};
pub(crate) use crate::load::score_statistics::{Own, Scored, ScoredBy};
pub(crate) use crate::load::staging_tables::drop_stage;
pub(crate) use crate::load::totals::{FirstPassTotals, add_examples};
