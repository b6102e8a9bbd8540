//! From the rows of the first pass to published tables: shuffle, stage by COPY, publish, ledger.
//!
//! A module of its own because everything that changes the warehouse is here, and all of it talks
//! to the warehouse through ADBC's traits: another driver would fit.

pub mod apart;
mod attach;
mod changes;
mod comments;
mod connection;
mod cursor;
mod dimension;
pub mod exposure;
mod identity;
pub mod keys;
pub mod ledger;
mod lock;
mod migrate;
pub mod outbox;
mod partitions;
mod publish;
pub mod quarantine;
mod reader;
pub mod record;
mod reshape;
mod rights;
pub mod risk;
pub mod rotation;
mod server;
mod session;
mod shape;
mod shuffle;
mod stage;
mod staging;
mod statistics;
mod stored_statistics;
mod strategy;
mod table_checks;
mod table_lock;
mod tally;
pub mod views;

pub use changes::Changes;
pub use connection::{bring_up, connect, let_go};
pub use publish::{filled_meanwhile, publish, refuse_repeats};
pub use server::{check as check_server, check_connections};
pub use session::{Session, hold, sweep};
pub use shape::{Treatment, check as check_shape, is_shaped};
pub use shuffle::{
    Counted, Distinct, PlaceSums, ProviderDay, Resolved, Shuffle, Total, Writer, no_rows,
    token_range,
};
pub use stage::{create_stage, drop_stage};
pub use staging::{Part, Score, Staged, Staging};
pub use statistics::{analyze, stage_inferred, stage_providers};
pub use stored_statistics::{Own, Scored, ScoredBy};
pub use strategy::{Route, is_filled, route};
pub use table_checks::check_before as check_tables;
pub use tally::{Tally, add_examples};
