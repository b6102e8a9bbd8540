//! The command `backfill`.

use clap::Args;
use clap::builder::BoolishValueParser;

use super::options::ScheduledOptions;
use super::output::{Reply, json};
use super::output_format::{Format, ResultOptions};
use super::signals;
use super::table::Table;
use crate::cli::console::Console;
use crate::cli::format::{count, money_text, seconds};
use crate::error::Result;
use crate::schedule::{self, BackfillReport, BackfillRequest, Monitor, Scheduler, State};

/// What is filled.
#[derive(Debug, Clone, Args)]
pub(super) struct BackfillOptions {
    /// The first day, or time, that is filled; days are those of the schedule's time zone
    #[arg(long, value_name = "DATE", env = "CLAIMS_ETL_BACKFILL_FROM", help_heading = "Backfill")]
    from: String,
    /// The first day, or time, that is not
    #[arg(long, value_name = "DATE", env = "CLAIMS_ETL_BACKFILL_TO", help_heading = "Backfill")]
    to: String,
    /// Run intervals again that have succeeded
    #[arg(
        long,
        value_parser = BoolishValueParser::new(),
        env = "CLAIMS_ETL_BACKFILL_RERUN",
        help_heading = "Backfill"
    )]
    rerun: bool,
    /// Go on after an interval that fails
    #[arg(
        long,
        value_parser = BoolishValueParser::new(),
        env = "CLAIMS_ETL_BACKFILL_KEEP_GOING",
        help_heading = "Backfill"
    )]
    keep_going: bool,
    /// List the intervals and what would be run; run nothing
    #[arg(
        long,
        value_parser = BoolishValueParser::new(),
        env = "CLAIMS_ETL_BACKFILL_DRY_LIST",
        help_heading = "Backfill"
    )]
    dry_list: bool,
    #[command(flatten)]
    settings: ScheduledOptions,
    #[command(flatten)]
    result: ResultOptions,
}

/// Runs `backfill`; prints one line per interval at the end.
///
/// # Errors
/// As loading the settings and [`schedule::backfill`].
pub(super) fn backfill(options: BackfillOptions, console: &Console) -> Result<Reply> {
    let BackfillOptions { from, to, rerun, keep_going, dry_list, settings, result } = options;
    let settings = settings.load()?;
    let request = BackfillRequest { from, to, rerun, keep_going };
    let clock = schedule::clock()?;
    let report = if dry_list {
        schedule::list(&settings, clock.as_ref(), &request)?
    } else {
        let cancel = signals::cancellation()?;
        let monitor = Monitor::new(&settings.schedule.name);
        let scheduler =
            Scheduler::new(&settings, clock.as_ref(), console.observer(), &cancel, monitor)?;
        schedule::backfill(&scheduler, &request)?
    };
    console.finish();
    if let Some(error) = &report.error {
        console.failure(error.kind, &error.message, error.hint.as_deref());
    }
    let text = match result.format {
        Format::Json => json(&report)?,
        Format::Text => table(&report, dry_list),
    };
    Ok(Reply::new(text, report.exit_code))
}

fn table(report: &BackfillReport, dry_list: bool) -> String {
    if report.intervals.is_empty() {
        return "no interval has begun and ended in between\n".into();
    }
    let mut table = Table::new("lllrrrl");
    table.head(["interval", "state", "run", "claims", "amount", "time", ""]);
    for line in &report.intervals {
        let state = line.state.map_or("not begun", State::name);
        let claims = line.claims_loaded.and_then(|claims| u64::try_from(claims).ok());
        let what = match (&line.error, line.run_now) {
            (_, true) if dry_list => "would be run",
            (Some(error), _) => error,
            (None, false) if line.state.is_some_and(State::is_done) => "was done before",
            (None, _) => "",
        };
        table.row([
            line.interval_start.clone(),
            state.to_owned(),
            line.run_id.clone().unwrap_or_default(),
            claims.map_or_else(String::new, count),
            line.amount_loaded.as_deref().map_or_else(String::new, money_text),
            line.seconds.map_or_else(String::new, seconds),
            what.to_owned(),
        ]);
    }
    table.render("")
}
