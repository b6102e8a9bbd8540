//! The statistics of the scores in the warehouse: kept, added to, taken out of.
//!
//! A module of its own because a daily load is scored against all history without reading it. What
//! a load changes is counted from the rows that differ; of the history only the days of their
//! providers and patients are looked up. The rows are scored by what is stored and the change
//! together, and the publish adds the one to the other.

mod around;
mod change;
pub mod explained;
mod history;
mod indexes;
mod keep;
mod memory;
mod model;
mod recount;
mod rescore;
mod rows;
mod scope;
mod scoring;

pub use history::score_differing;
pub(super) use history::scores_of;
pub(super) use keep::{STORED, keep};
pub use rescore::{Rescored, rescore};
pub use scope::Scope;
