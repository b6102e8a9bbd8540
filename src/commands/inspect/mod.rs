//! `inspect FILE`: what a file is, how it fits the contract, and what a run would make of it.

mod assumed_mapping;
pub(crate) mod code_systems;
pub(crate) mod column_profile;
pub(crate) mod inspector;
pub(crate) mod report;
pub(crate) mod sampling;
