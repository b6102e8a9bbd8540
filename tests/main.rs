//! The integration tests: one binary, because each would link all of polars anew.

mod adbc_driver;
mod adversarial;
mod adversarial_files;
mod airflow_dag;
#[cfg(feature = "failpoints")]
mod altered_tables;
mod architecture;
#[cfg(feature = "failpoints")]
mod backfill;
mod breakers;
mod cases;
#[cfg(feature = "failpoints")]
mod changed_source;
mod check_report;
mod cli;
#[cfg(feature = "cloud")]
mod cloud;
mod container;
mod copy_roundtrip;
#[cfg(feature = "failpoints")]
mod correction;
#[cfg(feature = "database")]
mod database_source;
mod desk;
mod failed_load;
mod fixtures;
#[cfg(feature = "failpoints")]
mod foreign_writer;
mod fuzz_smoke;
mod group_rules;
mod headers;
mod identifiers;
mod import_graph;
mod invariance;
mod keys;
#[cfg(feature = "failpoints")]
mod kill_matrix;
mod leak_audit;
#[cfg(feature = "failpoints")]
mod left_behind;
mod line_columns;
mod lineage;
#[cfg(feature = "failpoints")]
mod lock_wait;
mod logs;
mod mail;
mod metrics;
#[cfg(feature = "failpoints")]
mod migrating;
mod mock_http;
#[cfg(feature = "failpoints")]
mod network;
#[cfg(feature = "failpoints")]
mod opening;
mod openlineage;
#[cfg(feature = "failpoints")]
mod outbox;
#[cfg(feature = "failpoints")]
mod own_server;
mod passwords;
#[cfg(feature = "failpoints")]
mod paused;
mod pipeline;
mod pooler;
mod power_bi_server;
mod presets;
mod privacy_actions;
mod privacy_profiles;
mod privacy_report;
mod process;
mod program;
mod promises;
mod properties;
#[cfg(feature = "failpoints")]
mod proxy;
#[cfg(feature = "failpoints")]
mod public_views;
mod publications;
mod quarantine;
#[cfg(feature = "failpoints")]
mod readers;
mod real_data;
mod refresh_alone;
mod refresh_metabase;
mod refresh_power_bi;
mod refresh_sql;
mod refresh_superset;
mod refresh_tableau;
mod refresh_webhook;
mod released;
mod resume;
mod retry;
mod risk_explain;
mod risk_history;
mod risk_oracle;
mod risk_sql;
mod roles;
#[cfg(feature = "failpoints")]
mod rotation;
mod row_security;
mod rules;
mod run;
mod run_date;
#[cfg(feature = "cloud")]
mod s3_server;
mod sandbox;
mod scanner;
#[cfg(feature = "failpoints")]
mod schedule;
mod sealed;
mod secure_server;
mod server;
#[cfg(feature = "failpoints")]
mod server_crash;
mod signals;
mod smtp_server;
mod sources;
mod streams;
mod structure;
mod superset_server;
mod surroundings;
mod tableau_server;
mod tasks_apart;
mod tls;
#[cfg(feature = "failpoints")]
mod told;
mod transaction_pooler;
mod verify;
mod verify_program;
#[cfg(feature = "failpoints")]
mod versions;
#[cfg(feature = "failpoints")]
mod viewed;
mod waiting;
#[cfg(feature = "failpoints")]
mod warehouse_faults;
#[cfg(feature = "cloud")]
mod web_server;
mod wiretap;
