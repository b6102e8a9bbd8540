//! The integration tests: one binary, because each would link all of polars anew.

mod adbc_driver;
mod architecture;
mod cli;
mod copy_roundtrip;
mod desk;
mod failed_load;
mod invariance;
mod leak;
mod pipeline;
mod process;
mod program;
mod properties;
mod real_data;
mod resume;
mod retry;
mod run;
mod sandbox;
mod scanner;
mod server;
mod signals;
mod verify;
mod verify_program;
mod waiting;
