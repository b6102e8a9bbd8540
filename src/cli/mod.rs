//! The command line: parses options, calls the library, prints the result.
//!
//! Each command is a thin function that returns a `Reply`: text for stdout and an exit code.

mod address;
mod airflow;
mod args;
mod backfill;
mod check;
mod config;
mod console;
mod format;
mod generate;
mod help;
mod inspect;
mod key;
mod options;
mod outlet;
mod output;
mod output_format;
mod presets;
mod privacy;
mod progress;
mod quarantine;
mod refresh;
mod risk;
mod rules;
mod run;
mod run_options;
mod runs;
mod schedule;
mod signals;
mod summary;
mod table;
mod task;
mod verify;
mod warehouse;
mod xcom;

use std::io;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::process::ExitCode;

use args::Command;
use output::Reply;

use crate::cli::console::Console;
use crate::error::Result;
use crate::extract::panic_is_expected;
use crate::worker::panicked;

/// Parses the command line, runs the command and writes its result.
#[must_use]
pub fn main() -> ExitCode {
    panic::set_hook(Box::new(report_panic));
    let cli = match args::parse() {
        Ok(cli) => cli,
        Err(refusal) => {
            // The reader may have closed the pipe.
            let _ = refusal.print();
            return ExitCode::from(u8::try_from(refusal.exit_code()).unwrap_or(2));
        }
    };
    let console = Console::start(&cli.messages);
    let reply = catch_unwind(AssertUnwindSafe(|| dispatch(cli.command, &console)))
        .unwrap_or_else(|_| Err(panicked("the command")));
    console.finish();
    // Only output remains, and a slow reader may block it.
    signals::end_at_once();
    let code = match reply {
        // Does not lock stdout: another thread may hold the lock while waiting for a reader.
        Ok(reply) if reply.text.is_empty() => reply.exit_code,
        Ok(reply) => match output::write(&reply.text, &mut io::stdout().lock()) {
            Ok(()) => reply.exit_code,
            Err(error) => {
                console.error(&error);
                reply.exit_code_after(&error)
            }
        },
        Err(error) => {
            console.error(&error);
            error.kind().exit_code()
        }
    };
    outlet::stderr().flush();
    ExitCode::from(code)
}

fn dispatch(command: Command, console: &Console) -> Result<Reply> {
    match command {
        Command::Run { settings, run, result } => run::run(settings, &run, result.format, console),
        Command::Check { settings, result } => check::check(settings, result.format, console),
        Command::Inspect { files, settings, result } => {
            inspect::inspect(&files, settings, result.format, console)
        }
        Command::Explain { settings } => run::explain(settings),
        Command::Runs { run: None, settings_options, result } => {
            runs::runs(settings_options, result.format, console)
        }
        Command::Runs { run: Some(run), settings_options, .. } => {
            runs::run_details(&run, settings_options, console)
        }
        Command::Quarantine(options) => quarantine::quarantine(options, console),
        Command::Verify { run, settings, result } => {
            verify::verify(&run, settings, result.format, console)
        }
        Command::Rules { settings, format } => rules::rules(settings, format),
        Command::Key(command) => key::key(command, console),
        Command::Token { domain, settings_options } => {
            key::token(domain, settings_options, &mut io::stdin().lock())
        }
        Command::Generate(options) => generate::generate(&options, console),
        Command::Warehouse(command) => warehouse::warehouse(command, console),
        Command::Refresh(options) => refresh::refresh(options, console),
        Command::Risk(command) => risk::risk(command, console),
        Command::Privacy(command) => privacy::privacy(command, console),
        Command::Schedule(options) => schedule::schedule(*options, console),
        Command::Backfill(options) => backfill::backfill(*options, console),
        Command::Config(args::ConfigCommand::Show { settings, result }) => {
            config::show(settings, result.format)
        }
        Command::Airflow(command) => airflow::airflow(command),
        Command::Presets { name: None, result } => presets::list(result.format),
        Command::Presets { name: Some(name), .. } => presets::print(&name),
        Command::Completions { shell } => Ok(completions(shell)),
    }
}

fn completions(shell: clap_complete::Shell) -> Reply {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut args::command(), "claims-etl", &mut script);
    Reply::done(String::from_utf8_lossy(&script))
}

/// Prints the location of a panic, but not its message, which could contain a cell value.
fn report_panic(info: &PanicHookInfo<'_>) {
    if panic_is_expected() {
        return;
    }
    let location = info.location().map_or_else(String::new, |location| format!(" at {location}"));
    let text = format!("panic{location}: this is a bug of claims-etl, please report it\n");
    outlet::stderr().write(text.as_bytes());
}
