//! The command `generate`.
//!
//! A file of its own because it makes data out of nothing: no settings, no warehouse, no key.

use crate::error::{Error, Result};
use crate::synth;

use super::args::GenerateOptions;
use super::output::Reply;
use super::signals;
use super::talk::Talk;

/// Writes synthetic files and says how to load them.
///
/// # Errors
/// `Config` for a share outside 0 to 1, `Source` when the files cannot be written.
pub(super) fn generate(options: &GenerateOptions, talk: &Talk) -> Result<Reply> {
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
    let made = synth::generate(&spec, &options.out, talk.observer(), &cancel)?;
    let (claims, providers) = (made.claims_path.display(), made.providers_path.display());
    tracing::info!(
        target: "claims_etl",
        "to load them: claims-etl run --claims {claims} --providers {providers}"
    );
    Ok(Reply::done(format!("{claims}\n{providers}\n")))
}
