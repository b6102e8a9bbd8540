//! Who is told how a run goes: lineage, metrics, mail. None of them can slow or fail a load.

pub mod lineage;
pub mod mail;
pub mod metrics;
