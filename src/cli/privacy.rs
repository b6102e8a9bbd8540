//! The command `privacy report`.
//!
//! A file of its own because it only reads, and because whoever answers for the data reads it.

use clap::{Args, Subcommand};

use super::args::ResultOptions;
use super::options::PlaceOptions;
use super::output::Reply;
use super::talk::Talk;
use crate::error::{Error, Result};

/// Work on privacy.
#[derive(Debug, Subcommand)]
pub(super) enum PrivacyCommand {
    /// Report what is released and how well patients hide in it
    Report(ReportOptions),
}

/// Which report.
#[derive(Debug, Clone, Args)]
pub(super) struct ReportOptions {
    #[command(flatten)]
    place: PlaceOptions,
    #[command(flatten)]
    result: ResultOptions,
}

/// `privacy`.
///
/// # Errors
/// `Warehouse` when it cannot be read.
pub(super) fn privacy(command: PrivacyCommand, _talk: &Talk) -> Result<Reply> {
    let PrivacyCommand::Report(_options) = command;
    Err(Error::internal("not built"))
}
