//! De-identification: profiles, actions, restricted ZIP codes.

pub mod settings;
pub(crate) mod zip3;
