//! From the plan to published tables: lock, stage by COPY, deduplicate, publish, ledger.
//!
//! A module of its own because everything that changes the warehouse is here, and all of it talks
//! to the warehouse through ADBC's traits: another driver would fit.

mod deduplicate;
pub mod ledger;
pub mod migrate;
mod publish;
pub mod quarantine;
mod session;
mod staging;
mod statistics;
mod tally;

pub use deduplicate::{Repeats, deduplicate};
pub use publish::{Route, analyze, claims_stage, create_stage, drop_stage, publish, route};
pub use session::{Session, connect};
pub use staging::Staging;
pub use staging::plan_error;
pub use statistics::{PeerRow, Statistics, WeekendRow, stage_inferred, stage_providers};
pub use tally::Tally;
