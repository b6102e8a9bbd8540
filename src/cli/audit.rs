//! The command `audit leak`.
//!
//! A file of its own because it tries the program itself, not the user's data.

use clap::{Args, Subcommand};

use super::args::ResultOptions;
use super::output::Reply;
use super::talk::Talk;
use crate::error::{Error, Result};

/// Trials of the program.
#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Load unmistakable identifiers into a server of its own and look for them everywhere
    Leak(LeakOptions),
}

/// How.
#[derive(Debug, Clone, Args)]
pub(super) struct LeakOptions {
    #[command(flatten)]
    result: ResultOptions,
}

/// `audit`.
///
/// # Errors
/// `Quality` when an identifier is found.
pub(super) fn audit(command: AuditCommand, _talk: &Talk) -> Result<Reply> {
    let AuditCommand::Leak(_options) = command;
    Err(Error::internal("not built"))
}
