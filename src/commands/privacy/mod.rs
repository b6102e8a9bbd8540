//! `privacy report`: published personal data and its re-identification risk.

pub(crate) mod exposure;
pub mod quasi_identifiers;
pub mod report;
pub(crate) mod safe_harbor;
