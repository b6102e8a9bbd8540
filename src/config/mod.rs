//! Settings: defaults, then the TOML file, then the environment, then the command line.
//!
//! A module of its own so that every stage takes resolved values and none reads the environment.

mod secret;
mod settings;

pub use secret::Secret;
pub use settings::{
    Dashboard, Mode, OnDuplicate, Privacy, Quality, Refresh, Risk, Run, Settings, Source, Warehouse,
};
