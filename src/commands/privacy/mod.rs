//! `privacy report`: what is published about people, and the risk of re-identification.

pub(crate) mod exposure;
pub mod quasi_identifiers;
pub mod report;
pub(crate) mod safe_harbor;
