//! What is done to the columns that identify people: profiles, actions, restricted ZIP codes.

pub mod settings;
pub(crate) mod zip3;
