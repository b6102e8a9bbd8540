//! `risk explain` and `risk rescore`.

pub(crate) mod explain;
pub(crate) mod explain_report;
pub mod rescore;
