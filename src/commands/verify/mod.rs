//! `verify`: a run computed again from its sources and compared with the tables.

pub(crate) mod canonical;
pub mod checksum;
pub(crate) mod claims;
pub(crate) mod lookup;
pub(crate) mod providers;
pub mod recompute;
pub mod report;
pub(crate) mod scores;
pub(crate) mod snapshot;
pub mod tables;
