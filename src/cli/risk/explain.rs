//! The command `risk explain`.
//!
//! A file of its own because it prints arithmetic for people.

use clap::Args;

use crate::cli::args::ResultOptions;
use crate::cli::options::PlaceOptions;
use crate::cli::output::Reply;
use crate::cli::talk::Talk;
use crate::error::{Error, Result};

/// Which claim.
#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct ExplainOptions {
    /// The claim's token
    #[arg(value_name = "CLAIM_TOKEN")]
    token: uuid::Uuid,
    #[command(flatten)]
    place: PlaceOptions,
    #[command(flatten)]
    result: ResultOptions,
}

/// `risk explain`.
///
/// # Errors
/// `Config` when there is no such claim.
pub(super) fn explain(options: ExplainOptions, _talk: &Talk) -> Result<Reply> {
    let ExplainOptions { token, .. } = options;
    Err(Error::internal(format!("not built: {token}")))
}
