//! The integration tests: one binary, because each would link all of polars anew.

mod adbc_driver;
mod architecture;
mod cli;
mod copy_roundtrip;
mod desk;
mod failed_load;
mod invariance;
mod leak;
mod passwords;
mod pipeline;
mod process;
mod program;
mod properties;
mod real_data;
mod resume;
mod retry;
mod roles;
mod run;
mod sandbox;
mod scanner;
mod secure_server;
mod server;
mod signals;
mod tls;
mod waiting;
mod wiretap;
