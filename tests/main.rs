//! The integration tests: one binary, because each would link all of polars anew.

mod adbc_driver;
mod adversarial;
mod adversarial_files;
mod architecture;
mod breakers;
#[cfg(feature = "failpoints")]
mod changed_source;
mod check_report;
mod cli;
#[cfg(feature = "cloud")]
mod cloud;
mod copy_roundtrip;
#[cfg(feature = "failpoints")]
mod correction;
#[cfg(feature = "database")]
mod database_source;
mod desk;
mod failed_load;
mod fuzz_smoke;
mod group_rules;
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
mod presets;
mod process;
mod program;
mod promises;
mod properties;
#[cfg(feature = "failpoints")]
mod proxy;
mod quarantine;
#[cfg(feature = "failpoints")]
mod readers;
mod real_data;
mod released;
mod resume;
mod retry;
mod roles;
mod rules;
mod run;
mod run_date;
#[cfg(feature = "cloud")]
mod s3_server;
mod sandbox;
mod scanner;
mod secure_server;
mod server;
#[cfg(feature = "failpoints")]
mod server_crash;
mod signals;
mod sources;
mod structure;
mod tls;
mod verify;
mod verify_program;
#[cfg(feature = "failpoints")]
mod versions;
mod waiting;
#[cfg(feature = "failpoints")]
mod warehouse_faults;
#[cfg(feature = "cloud")]
mod web_server;
mod wiretap;
