//! Claim and provider files in; a pseudonymised, risk-scored star schema in Postgres out.
//!
//! The modules are listed in layer order; imports point strictly downwards, which
//! `tests/architecture.rs` enforces. ARCHITECTURE.md describes the path of the data.
//!
//! The stages exchange lazy frames, so each of them can be used alone:
//!
//! ```
//! use claims_etl::config::Settings;
//! use claims_etl::event::{Cancellation, NullObserver};
//! use claims_etl::schema::Dataset;
//! use claims_etl::{extract, synth};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! let spec = synth::Spec { claims: 100, providers: 5, seed: 1, dirty: 0.0 };
//! let made = synth::generate(&spec, folder.path(), &NullObserver, &Cancellation::default())?;
//!
//! let mut settings = Settings::default();
//! settings.claims.sources = vec![made.claims_path.display().to_string()];
//! let found = extract::extract(Dataset::Claims, &settings, &Cancellation::default())?;
//! let claims = extract::scan(&found).all()?.collect()?;
//! assert_eq!(claims.height(), 100);
//! # Ok(())
//! # }
//! ```

// Vocabulary: shared basic types.
pub mod atomic_file;
pub mod error;
pub mod event;
pub mod failpoint;
pub mod identifier;
pub mod rule;
pub mod schema;
pub mod secret;
pub mod totals;
pub mod worker;

// Domains: types and pure functions.
pub mod key;
pub mod privacy;
pub mod risk;

// Their settings, combined.
pub mod config;

// Mechanisms.
pub mod adbc_postgres;
mod http;
pub mod interchange;
pub mod synth;
pub mod warehouse;

// Stages of a run; they never import each other.
pub mod extract;
pub mod load;
pub mod quarantine;
pub mod refresh;
pub mod shuffle;
pub mod telemetry;
pub mod transform;

// The program.
pub mod commands;
pub mod pipeline;
pub mod schedule;

// The command line.
pub mod cli;
