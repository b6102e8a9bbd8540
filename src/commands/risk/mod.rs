//! `risk explain` and `risk rescore`.

pub mod explain;
pub mod explain_report;
pub mod rescore;
