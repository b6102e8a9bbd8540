//! From records to published tables: rules, modes, accounting, and what the result may not depend on.

mod adbc_driver;
#[cfg(feature = "failpoints")]
mod altered_tables;
mod concurrent_runs;
mod copy_roundtrip;
mod failed_copy;
mod group_rules;
mod invariance;
mod pipeline;
mod properties;
mod publications;
mod quality_gates;
#[cfg(feature = "failpoints")]
mod readers;
mod rules;
mod run_date;
mod single_tasks;
pub(crate) mod verification;
