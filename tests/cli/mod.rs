//! The command line: what people and programs read of it, exit codes, streams, the container.

mod check_report;
mod command_line;
mod container;
mod container_runtime;
mod quarantine;
mod run;
mod streams;
mod verify_report;
