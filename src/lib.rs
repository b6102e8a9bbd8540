//! Claim and provider files in; a pseudonymised, risk-scored star schema in Postgres out.
//!
//! The modules are listed in layer order; imports point strictly downwards, which
//! `tests/architecture.rs` enforces. ARCHITECTURE.md tells the way of the data.

// Layer 0: vocabulary.
pub mod account;
pub mod error;
pub mod event;
pub mod rule;
pub mod schema;

// Layer 1: mechanism.
pub mod adbc_postgres;
pub mod config;
pub mod dag;
pub mod interchange;
pub mod key;
pub mod local_postgres;
pub mod sql;
pub mod synth;

// Layer 2: the stages; they never import one another.
pub mod extract;
pub mod load;
pub mod refresh;
pub mod transform;

// Layer 3: the program.
pub mod pipeline;

// Layer 4: the face.
pub mod cli;
