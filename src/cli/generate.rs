//! The command `generate`.

use std::path::PathBuf;

use clap::Args;

use super::output::Reply;
use super::signals;
use crate::cli::console::Console;
use crate::error::{Error, Result};
use crate::synth;

/// How much synthetic data, and how dirty.
#[derive(Debug, Clone, Args)]
pub(super) struct GenerateOptions {
    /// Claim rows
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub(super) claims: u64,
    /// Provider rows
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub(super) providers: u32,
    /// The same seed gives the same files
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) seed: u64,
    /// Share of rows that break a rule, 0 to 1
    #[arg(long, value_name = "RATIO", default_value_t = 0.01)]
    pub(super) dirty: f64,
    /// The folder to write to
    #[arg(long, value_name = "DIR", default_value = "data/synthetic")]
    pub(super) out: PathBuf,
}

/// Generates synthetic files and prints the command to load them.
///
/// # Errors
/// `Config` for a share outside 0 to 1, `Source` when the files cannot be written.
pub(super) fn generate(options: &GenerateOptions, console: &Console) -> Result<Reply> {
    if !(0.0..=1.0).contains(&options.dirty) {
        return Err(Error::config("--dirty must be from 0 to 1"));
    }
    let spec = synth::Spec {
        claims: options.claims,
        providers: options.providers,
        seed: options.seed,
        dirty: options.dirty,
    };
    let cancel = signals::cancellation()?;
    let made = synth::generate(&spec, &options.out, console.observer(), &cancel)?;
    let (claims, providers) = (made.claims_path.display(), made.providers_path.display());
    tracing::info!(
        target: "claims_etl",
        "to load them: claims-etl run --claims {claims} --providers {providers}"
    );
    Ok(Reply::done(format!("{claims}\n{providers}\n")))
}
