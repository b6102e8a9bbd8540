//! The integration tests: one binary, because each links all of polars.

mod architecture;
mod cli;
mod extract;
mod faults;
mod fuzz;
mod load;
mod privacy;
mod refresh;
mod risk;
mod schedule;
mod support;
mod telemetry;
mod warehouse;
