//! `privacy report`: what is published about people, and the risk of re-identification.

pub mod exposure;
pub mod quasi_identifiers;
pub mod report;
pub mod safe_harbor;
