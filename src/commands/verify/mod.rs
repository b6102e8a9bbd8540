//! `verify`: a run computed again from its sources and compared with the tables.

pub mod canonical;
pub mod checksum;
pub mod claims;
pub mod lookup;
pub mod providers;
pub mod recompute;
pub mod report;
pub mod scores;
pub mod snapshot;
pub mod tables;
