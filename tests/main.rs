//! The integration tests: one binary, because each would link all of polars anew.

mod adbc_driver;
mod architecture;
mod copy_roundtrip;
mod failed_load;
mod pipeline;
mod sandbox;
mod scanner;
mod server;
