//! Settings: defaults, then a preset, then the TOML file, then the environment, then the command line.
//!
//! A module of its own so that every stage takes resolved values and none reads the environment.

mod digest;
mod interval;
mod load;
mod mapping;
mod password;
mod postgres_environment;
mod preset;
mod rules;
mod secret;
mod settings;
mod validate;
mod wait;

pub use digest::digest;
pub use interval::{Interval, Moment};
pub use load::{DEFAULT_FILE, Overrides, load};
pub use mapping::{Mapping, Part, Pattern, Values};
pub use postgres_environment::PostgresEnvironment;
pub use preset::{Preset, preset, presets};
pub use rules::{CodeSystem, Rules};
pub use secret::Secret;
pub use settings::{
    AUTO, Dashboard, Mode, OnDuplicate, Privacy, Quality, Refresh, Risk, Run, Settings, Source,
    Warehouse,
};
pub use wait::Wait;
