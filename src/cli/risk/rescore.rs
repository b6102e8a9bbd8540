//! The command `risk rescore`.

use clap::Args;
use clap::builder::BoolishValueParser;

use crate::cli::console::Console;
use crate::cli::format::{count, seconds};
use crate::cli::options::WarehouseOptions;
use crate::cli::output::{Reply, json};
use crate::cli::output_format::{Format, ResultOptions};
use crate::cli::signals;
use crate::cli::table::Table;
use crate::commands::risk::rescore;
use crate::commands::risk::rescore::RescoreReport;
use crate::error::Result;

/// How.
#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct RescoreOptions {
    /// Count the scores that would change; change none
    #[arg(long, env = "CLAIMS_ETL_DRY_RUN", value_parser = BoolishValueParser::new())]
    dry_run: bool,
    #[command(flatten)]
    warehouse: WarehouseOptions,
    #[command(flatten)]
    result: ResultOptions,
}

/// Runs `risk rescore`.
///
/// # Errors
/// As [`rescore::rescore`].
pub(super) fn rescore(options: RescoreOptions, console: &Console) -> Result<Reply> {
    let RescoreOptions { dry_run, warehouse, result } = options;
    let cancel = signals::cancellation()?;
    let report = rescore::rescore(&warehouse.load()?, dry_run, console.observer(), &cancel)?;
    match result.format {
        Format::Json => json(&report).map(Reply::done),
        Format::Text => Ok(Reply::done(render(&report))),
    }
}

fn render(report: &RescoreReport) -> String {
    let RescoreReport { before, after, .. } = report;
    let done = if report.dry_run { "would change" } else { "changed" };
    let mut parts = vec![format!(
        "{} of {} scores {done}, by the statistics of run number {} ({}).\n\n",
        count(report.changed),
        count(report.rows),
        report.stats_version,
        seconds(report.seconds)
    )];
    let mut table = Table::new("lrrr");
    table.head(["rows", "low", "medium", "high"]);
    for (name, bands) in [("before", before), ("after", after)] {
        table.row([name.to_owned(), count(bands.low), count(bands.medium), count(bands.high)]);
    }
    parts.push(table.render(""));
    if report.recounted {
        parts.push("\nnote: a statistic was not stored, so all were recomputed\n".into());
    }
    if !report.due.is_empty() {
        parts.push(format!(
            "\nnow due: {}; `claims-etl refresh --due` refreshes what is due\n",
            report.due.join(", ")
        ));
    }
    parts.concat()
}
