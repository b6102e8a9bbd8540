//! `quarantine`: lists rejected records with reasons, and shows them in their original form.

pub mod reasons;
pub(crate) mod records;
