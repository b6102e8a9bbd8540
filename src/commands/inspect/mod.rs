//! `inspect FILE`: a file's format, its fit to the contract, and the expected result of a run.

mod assumed_mapping;
pub(crate) mod code_systems;
pub(crate) mod column_profile;
pub(crate) mod inspector;
pub(crate) mod report;
pub(crate) mod sampling;
