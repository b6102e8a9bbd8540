//! Lineage, metrics, mail and logs.

mod lineage;
mod logs;
mod mail;
pub(crate) mod metrics;
