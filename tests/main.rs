//! The integration tests: one binary, because each would link all of polars anew.

mod adbc_driver;
mod architecture;
mod cli;
mod copy_roundtrip;
#[cfg(feature = "failpoints")]
mod correction;
mod desk;
mod failed_load;
mod invariance;
#[cfg(feature = "failpoints")]
mod kill_matrix;
mod leak;
#[cfg(feature = "failpoints")]
mod lock_wait;
#[cfg(feature = "failpoints")]
mod network;
#[cfg(feature = "failpoints")]
mod own_server;
mod passwords;
#[cfg(feature = "failpoints")]
mod paused;
mod pipeline;
mod process;
mod program;
mod promises;
mod properties;
#[cfg(feature = "failpoints")]
mod proxy;
#[cfg(feature = "failpoints")]
mod readers;
mod real_data;
mod released;
mod resume;
mod retry;
mod roles;
mod run;
mod sandbox;
mod scanner;
mod secure_server;
mod server;
#[cfg(feature = "failpoints")]
mod server_crash;
mod signals;
mod tls;
mod verify;
mod verify_program;
#[cfg(feature = "failpoints")]
mod versions;
mod waiting;
#[cfg(feature = "failpoints")]
mod warehouse_faults;
mod wiretap;
