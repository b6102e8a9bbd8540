//! `privacy report`: what is published about people, and how well they hide in it.

pub mod exposure;
pub mod quasi_identifiers;
pub mod report;
pub mod safe_harbor;
