//! Keys, privacy profiles, small cells, and that no identifier gets out.

mod actions;
mod keys;
mod leak_audit;
pub(crate) mod profiles;
#[cfg(feature = "failpoints")]
mod public_views;
mod report;
#[cfg(feature = "failpoints")]
pub(crate) mod rotation;
