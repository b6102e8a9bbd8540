//! The options of the command `run`.

use clap::Args;
use clap::builder::{BoolishValueParser, PossibleValuesParser};

use super::xcom::XcomOptions;
use crate::pipeline::Task;

/// The options of `run` that are not settings.
#[derive(Debug, Clone, Args)]
pub(super) struct RunOptions {
    /// Load even if the same input is loaded already
    #[arg(
        long,
        env = "CLAIMS_ETL_FORCE",
        value_parser = BoolishValueParser::new(),
        help_heading = "Run"
    )]
    pub(super) force: bool,
    /// Read, validate and count everything, publish nothing
    #[arg(
        long,
        env = "CLAIMS_ETL_DRY_RUN",
        value_parser = BoolishValueParser::new(),
        help_heading = "Run"
    )]
    pub(super) dry_run: bool,
    /// Resume an earlier run, by its id or `last` (with an input: the last run of that input): refresh
    /// what it has published, or load again if it has published nothing
    #[arg(long, value_name = "RUN", env = "CLAIMS_ETL_RESUME", help_heading = "Run")]
    pub(super) resume: Option<String>,
    /// Run a single task, for an orchestrator that knows the order. The tasks before it must have
    /// finished under the same --run-id
    #[arg(
        long,
        value_name = "TASK",
        env = "CLAIMS_ETL_TASK",
        value_parser = PossibleValuesParser::new(Task::IDS),
        requires = "run_id",
        conflicts_with_all = ["resume", "dry_run"],
        help_heading = "Run"
    )]
    pub(super) task: Option<String>,
    /// The run's id: a UUID, or the orchestrator's name of the run, from which a UUID is derived. An
    /// unfinished run with that id is resumed
    #[arg(
        long,
        value_name = "ID",
        env = "CLAIMS_ETL_RUN_ID",
        conflicts_with = "resume",
        help_heading = "Run"
    )]
    pub(super) run_id: Option<String>,
    #[command(flatten)]
    pub(super) xcom: XcomOptions,
}
