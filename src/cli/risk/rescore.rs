//! The command `risk rescore`.
//!
//! A file of its own because it changes published rows, unlike the other commands of its kind.

use clap::Args;

use crate::cli::args::ResultOptions;
use crate::cli::options::PlaceOptions;
use crate::cli::output::Reply;
use crate::cli::talk::Talk;
use crate::error::{Error, Result};

/// How.
#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct RescoreOptions {
    #[command(flatten)]
    place: PlaceOptions,
    #[command(flatten)]
    result: ResultOptions,
}

/// `risk rescore`.
///
/// # Errors
/// `Warehouse` when it cannot be read or written.
pub(super) fn rescore(_options: RescoreOptions, _talk: &Talk) -> Result<Reply> {
    Err(Error::internal("not built"))
}
