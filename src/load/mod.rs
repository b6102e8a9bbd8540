//! From the rows of the first pass to published tables: shuffle, stage by COPY, publish, ledger.
//!
//! A module of its own because everything that changes the warehouse is here, and all of it talks
//! to the warehouse through ADBC's traits: another driver would fit.

pub mod apart;
pub mod ledger;
mod lock;
pub mod migrate;
pub mod outbox;
mod publish;
pub mod quarantine;
mod reader;
pub mod record;
mod rights;
pub mod risk;
mod session;
mod shuffle;
mod staging;
mod statistics;
mod table_lock;
mod tally;
pub mod views;

pub use publish::{Changes, Route, create_stage, drop_stage, is_filled, publish, route};
pub use rights::check as check_rights;
pub use session::{Session, connect, hold, let_go};
pub use shuffle::{Resolved, Shuffle, Writer, no_rows, token_range};
pub use staging::{Part, Score, Staged, Staging};
pub use statistics::{PeerRow, Statistics, WeekendRow, analyze, stage_inferred, stage_providers};
pub use tally::{Tally, add_examples};
