//! Settings: defaults, then the TOML file, then the environment, then the command line.
//!
//! A module of its own so that every stage takes resolved values and none reads the environment.

mod digest;
mod load;
mod password;
mod postgres_environment;
mod secret;
mod settings;
mod validate;
mod wait;

pub use digest::digest;
pub use load::{DEFAULT_FILE, Overrides, load};
pub use postgres_environment::PostgresEnvironment;
pub use secret::Secret;
pub use settings::{
    Dashboard, Mode, OnDuplicate, Privacy, Quality, Refresh, Risk, Run, Settings, Source, Warehouse,
};
pub use wait::Wait;
