//! Reports of a run to other systems: lineage, metrics, mail. None of these can slow or fail a load.

pub(crate) mod lineage;
pub mod mail;
pub mod metrics;
