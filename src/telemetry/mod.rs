//! Reporting to other systems: lineage, metrics, mail. None of these can slow down or fail a load.

pub(crate) mod lineage;
pub mod mail;
pub mod metrics;
