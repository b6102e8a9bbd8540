//! Claim and provider files in; a pseudonymised, risk-scored star schema in Postgres out.
//!
//! The modules are listed in layer order; imports point strictly downwards, which
//! `tests/architecture.rs` enforces. ARCHITECTURE.md tells the way of the data.
//!
//! The stages exchange lazy frames, so each of them can be used alone:
//!
//! ```
//! use claims_etl::config::Settings;
//! use claims_etl::event::{Cancellation, Silent};
//! use claims_etl::schema::Dataset;
//! use claims_etl::{extract, synth};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! let spec = synth::Spec { claims: 100, providers: 5, seed: 1, dirty: 0.0 };
//! let made = synth::generate(&spec, folder.path(), &Silent, &Cancellation::default())?;
//!
//! let mut settings = Settings::default();
//! settings.claims.sources = vec![made.claims_path.display().to_string()];
//! let found = extract::extract(Dataset::Claims, &settings, &Cancellation::default())?;
//! let claims = extract::scan(&found).all()?.collect()?;
//! assert_eq!(claims.height(), 100);
//! # Ok(())
//! # }
//! ```

// Layer 0: vocabulary.
pub mod account;
pub mod error;
pub mod event;
pub mod failpoint;
pub mod identifier;
pub mod rule;
pub mod schema;
pub mod worker;

// Layer 1: mechanism.
pub mod adbc_postgres;
pub mod config;
pub mod dag;
pub mod http;
pub mod interchange;
pub mod key;
pub mod local_postgres;
pub mod risk;
pub mod sql;
pub mod synth;
pub mod whole_file;

// Layer 2: the stages; they never import one another.
pub mod extract;
pub mod lineage;
pub mod load;
pub mod metrics;
pub mod refresh;
pub mod transform;
pub mod verify;

// Layer 2 too: who is told how it goes.
pub mod mail;
// Layer 2 too: a text for another program.
pub mod airflow;

// Layer 3: the program.
pub mod pipeline;
pub mod schedule;

// Layer 4: the face.
pub mod cli;
