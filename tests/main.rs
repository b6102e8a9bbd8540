//! The integration tests: one binary, because each would link all of polars anew.

mod adbc_driver;
mod architecture;
mod cli;
mod copy_roundtrip;
mod failed_load;
mod pipeline;
mod program;
mod real_data;
mod retry;
mod run;
mod sandbox;
mod scanner;
mod server;
