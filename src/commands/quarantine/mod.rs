//! `quarantine`: which records were rejected and why, and the records as they are in their source.

pub mod reasons;
pub(crate) mod records;
