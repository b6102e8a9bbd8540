//! `risk explain` and `risk rescore`.

pub mod explain;
pub mod explanation;
pub mod rescore;
