//! The commands `risk`: explain one score, recompute all.

mod explain;
mod rescore;

use clap::Subcommand;

use super::help::RISK_EXPLAIN_EXAMPLES;
use super::output::Reply;
use crate::cli::console::Console;
use crate::error::Result;

/// Work on the scores.
#[derive(Debug, Subcommand)]
pub(super) enum RiskCommand {
    /// Print how a claim's score comes about: each component with its inputs and the arithmetic
    #[command(after_help = RISK_EXPLAIN_EXAMPLES)]
    Explain(explain::ExplainOptions),
    /// Recompute the stored scores with today's statistics
    Rescore(rescore::RescoreOptions),
}

/// Runs `risk`.
///
/// # Errors
/// As the subcommand.
pub(super) fn risk(command: RiskCommand, console: &Console) -> Result<Reply> {
    match command {
        RiskCommand::Explain(options) => explain::explain(options, console),
        RiskCommand::Rescore(options) => rescore::rescore(options, console),
    }
}
