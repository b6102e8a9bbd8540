//! The statistics of the scores in the warehouse: kept, added to, taken out of.
//!
//! What a load changes is counted from the rows that differ; of the history only the days of their
//! providers and patients are looked up. The rows are scored by what is stored and the change
//! together, and the publish adds the one to the other.

pub(crate) mod delta;
pub(crate) mod explained;
mod history;
mod indexes;
mod model;
pub(crate) mod rebuild;
pub(crate) mod related_claims;
mod rescore;
mod scope;
pub(crate) mod scored_rows;
mod scoring;
pub(crate) mod store;
pub(crate) mod work_mem;

pub(crate) use history::score_differing;
pub(super) use history::scores_of;
pub(crate) use rescore::rescore;
pub(crate) use scope::Scope;

pub(super) use crate::load::risk::delta::lists;
pub(super) use crate::load::risk::related_claims::copy;
pub(super) use crate::load::risk::store::{STORED, save};
