//! The command `schedule`.

use std::sync::Arc;

use clap::builder::BoolishValueParser;
use clap::{Args, Subcommand};

use super::options::{ScheduledOptions, TimetableOptions};
use super::output::{Reply, json};
use super::output_format::{Format, ResultOptions};
use super::table::Table;
use super::{outlet, signals};
use crate::cli::console::Console;
use crate::cli::format::{count, money, seconds};
use crate::config::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::event::RunEvent;
use crate::schedule::{self, Ended, MODEL, Monitor, Options, Preview, Scheduler};
use crate::telemetry::metrics::Endpoint;

/// `schedule`, or one of its commands.
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct ScheduleOptions {
    #[command(subcommand)]
    command: Option<ScheduleCommand>,
    /// Run what is due now, then exit
    #[arg(
        long,
        value_parser = BoolishValueParser::new(),
        env = "CLAIMS_ETL_SCHEDULE_ONCE",
        help_heading = "Schedule"
    )]
    once: bool,
    /// Run failed intervals again, too
    #[arg(
        long,
        value_parser = BoolishValueParser::new(),
        env = "CLAIMS_ETL_SCHEDULE_RETRY_FAILED",
        help_heading = "Schedule"
    )]
    retry_failed: bool,
    #[command(flatten)]
    settings: ScheduledOptions,
    #[command(flatten)]
    result: ResultOptions,
}

/// Looks at the schedule; neither runs anything.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum ScheduleCommand {
    /// Print the next intervals and when they would run; run nothing
    Preview {
        /// Number of intervals
        #[arg(
            long,
            value_name = "N",
            default_value_t = 5,
            env = "CLAIMS_ETL_SCHEDULE_PREVIEW_COUNT",
            help_heading = "Schedule"
        )]
        count: usize,
        #[command(flatten)]
        timetable: TimetableOptions,
        #[command(flatten)]
        result: ResultOptions,
    },
    /// Exit with 0 if a scheduler is running, else with 1; run nothing
    Health {
        #[command(flatten)]
        timetable: TimetableOptions,
    },
}

/// Runs `schedule`, `schedule preview` and `schedule health`.
///
/// # Errors
/// As loading the settings and [`Scheduler::run`].
pub(super) fn schedule(options: ScheduleOptions, console: &Console) -> Result<Reply> {
    let ScheduleOptions { command, once, retry_failed, settings, result } = options;
    match command {
        Some(ScheduleCommand::Preview { count, timetable, result }) => {
            let settings = timetable.load()?;
            let clock = schedule::clock()?;
            upcoming(&schedule::preview(&settings, clock.as_ref(), count)?, result.format)
        }
        Some(ScheduleCommand::Health { timetable }) => {
            Ok(match schedule::health(&timetable.load()?) {
                Ok(line) => Reply::line(line),
                Err(error) => Reply::new(format!("{}\n", error.message()), 1),
            })
        }
        None => {
            let settings = settings.load()?;
            run(&settings, Options { once, retry_failed }, result.format, console)
        }
    }
}

/// Runs the scheduler; prints one line per finished interval.
fn run(settings: &Settings, options: Options, format: Format, console: &Console) -> Result<Reply> {
    let clock = schedule::clock()?;
    let cancel = signals::cancellation()?;
    let monitor = Monitor::new(&settings.schedule.name);
    let _endpoint = endpoint(settings, &monitor, console)?;
    let scheduler = Scheduler::new(settings, clock.as_ref(), console.observer(), &cancel, monitor)?;
    console.observer().observe(&RunEvent::Note(introduction(settings)));
    let mut print = |ended: &Ended| -> Result<()> {
        let text = match format {
            Format::Json => json(ended)?,
            Format::Text => line(ended),
        };
        if let Some(error) = &ended.run.error {
            console.failure(error.kind, &error.message, error.hint.as_deref());
        }
        // A slow reader must not delay the next interval.
        outlet::stdout().write(text.as_bytes());
        Ok(())
    };
    let done = scheduler.run(options, &mut print);
    outlet::stdout().flush();
    match done {
        Ok(code) => Ok(Reply::new("", code)),
        Err(error) => stopped(&error, console),
    }
}

/// Serves `/metrics` and `/healthz` until dropped, if `metrics.listen` is set.
fn endpoint(settings: &Settings, monitor: &Monitor, console: &Console) -> Result<Option<Endpoint>> {
    let Some(address) = settings.metrics.address()? else { return Ok(None) };
    let monitor = monitor.clone();
    let endpoint = Endpoint::start(address, Arc::new(move || monitor.health()))?;
    let text = format!("metrics and health on http://{}", endpoint.address());
    console.observer().observe(&RunEvent::Note(text));
    Ok(Some(endpoint))
}

/// End of a scheduler. Cancellation is not a failure: unfinished intervals stay due.
fn stopped(error: &Error, console: &Console) -> Result<Reply> {
    let ErrorKind::Interrupted(_) = error.kind() else { return Err(error.clone()) };
    let text = "the schedule has stopped; unfinished intervals stay due";
    console.observer().observe(&RunEvent::Note(text.into()));
    Ok(Reply::new("", error.kind().exit_code()))
}

fn introduction(settings: &Settings) -> String {
    let schedule = &settings.schedule;
    let catchup = if schedule.catchup { "all since" } else { "the latest since" };
    format!(
        "schedule {}: {} in {}, {catchup} {}; {MODEL}",
        schedule.name,
        schedule.expression(),
        schedule.timezone,
        schedule.start_date
    )
}

fn line(ended: &Ended) -> String {
    let run = &ended.run;
    format!(
        "[{}, {})  {}  run {}  {} claims  {}  {}\n",
        ended.interval_start,
        ended.interval_end,
        ended.state.name(),
        run.run_id,
        count(run.claims.loaded),
        money(run.amount.loaded),
        seconds(run.seconds),
    )
}

fn upcoming(preview: &Preview, format: Format) -> Result<Reply> {
    if format == Format::Json {
        return json(preview).map(Reply::done);
    }
    let Preview { schedule, cron, timezone, .. } = preview;
    let mut text = format!("{schedule}: {cron} in {timezone}\n{MODEL}\n");
    if !preview.ledger {
        text += "no ledger can be read: every interval is shown as not done\n";
    }
    let mut table = Table::new("llll");
    table.head(["interval start", "interval end", "runs at", ""]);
    for one in &preview.next {
        let state = one.state.map(|state| format!("{}, ", state.name())).unwrap_or_default();
        let waits = one.waits_for.as_ref().filter(|_| one.due);
        let when = match (one.due, waits) {
            (true, None) => format!("{state}due now"),
            (true, Some(by)) => format!("{state}due, but waits for {by}"),
            (false, _) => state.trim_end_matches(", ").to_owned(),
        };
        let (start, end) = (one.interval_start.clone(), one.interval_end.clone());
        table.row([start, end, one.run_at.clone(), when]);
    }
    if preview.next.is_empty() {
        text += "no interval will ever run\n";
        return Ok(Reply::done(text));
    }
    Ok(Reply::done(text + "\n" + &table.render("")))
}
