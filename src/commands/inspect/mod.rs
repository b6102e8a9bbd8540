//! `inspect FILE`: what a file is, how it fits the contract, and what a run would make of it.

mod assumed_mapping;
pub mod code_systems;
pub mod column_profile;
pub mod inspector;
pub mod report;
pub mod sampling;
