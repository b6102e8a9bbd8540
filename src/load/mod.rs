//! From the rows of the first pass to published tables: shuffle, stage by COPY, publish, ledger.

mod attach;
pub(crate) mod copy_source;
pub(crate) mod copy_workers;
mod dimension;
pub mod identity;
pub mod ledger;
pub mod ledger_read;
pub(crate) mod merge_diff;
pub mod outbox;
pub(crate) mod part;
mod publish;
pub mod risk;
pub mod rotation;
pub(crate) mod score_statistics;
mod session;
pub(crate) mod staged_providers;
pub(crate) mod staging_tables;
pub mod task_progress;
pub(crate) mod totals;

pub use publish::{filled_meanwhile, publish, refuse_repeats};
pub use session::{Session, hold, sweep};

pub use crate::load::copy_source::Score;
pub use crate::load::copy_workers::{Staged, Staging};
pub use crate::load::part::{Changes, Part};
pub use crate::load::score_statistics::{Own, Scored, ScoredBy};
pub use crate::load::staged_providers::{analyze, stage_inferred, stage_providers};
pub use crate::load::staging_tables::{create_stage, drop_stage};
pub use crate::load::totals::{FirstPassTotals, add_examples};
