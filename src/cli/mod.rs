//! The command line: what is typed becomes calls, what comes back becomes text and an exit code.
//!
//! Each command is a thin function that returns a `Reply`.

mod address;
mod airflow;
mod args;
mod backfill;
mod check;
pub(crate) mod config;
pub(crate) mod console;
pub(crate) mod format;
mod generate;
mod help;
mod key;
mod only;
mod options;
mod outlet;
mod output;
mod presets;
mod privacy;
mod progress;
mod quarantine;
mod refresh;
mod risk;
mod rules;
mod run;
pub(crate) mod runs;
mod schedule;
mod signals;
mod summary;
mod table;
mod verify;
mod warehouse;
mod xcom;

use std::io;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::process::ExitCode;

use args::Command;
use output::Reply;

use crate::cli::console::Talk;
use crate::error::Result;
use crate::extract::panic_is_expected;
use crate::worker::panicked;

/// Runs the program: reads the command line, does what it says, writes the result.
#[must_use]
pub fn main() -> ExitCode {
    panic::set_hook(Box::new(report_panic));
    let cli = match args::parse() {
        Ok(cli) => cli,
        Err(refusal) => {
            // Help for a reader who has closed the pipe is help enough.
            let _ = refusal.print();
            return ExitCode::from(u8::try_from(refusal.exit_code()).unwrap_or(2));
        }
    };
    let talk = Talk::start(&cli.messages);
    let reply = catch_unwind(AssertUnwindSafe(|| dispatch(cli.command, &talk)))
        .unwrap_or_else(|_| Err(panicked("the command")));
    talk.finish();
    // Nothing is left but to write, and a reader may keep that waiting.
    signals::end_at_once();
    let code = match reply {
        // Not even locked: somebody may be writing to it who waits for a reader.
        Ok(reply) if reply.text.is_empty() => reply.exit_code,
        Ok(reply) => match output::write(&reply.text, &mut io::stdout().lock()) {
            Ok(()) => reply.exit_code,
            Err(error) => {
                talk.error(&error);
                reply.exit_code_after(&error)
            }
        },
        Err(error) => {
            talk.error(&error);
            error.kind().exit_code()
        }
    };
    outlet::stderr().flush();
    ExitCode::from(code)
}

fn dispatch(command: Command, talk: &Talk) -> Result<Reply> {
    match command {
        Command::Run { settings, run, result } => run::run(settings, &run, result.format, talk),
        Command::Check { files, settings, result } => {
            check::check(&files, settings, result.format, talk)
        }
        Command::Explain { settings } => run::explain(settings),
        Command::Runs { run: None, place, result } => runs::runs(place, result.format, talk),
        Command::Runs { run: Some(run), place, .. } => runs::run_details(&run, place, talk),
        Command::Quarantine(options) => quarantine::quarantine(options, talk),
        Command::Verify { run, settings, result } => {
            verify::verify(&run, settings, result.format, talk)
        }
        Command::Rules { settings, format } => rules::rules(settings, format),
        Command::Key(command) => key::key(command, talk),
        Command::Token { domain, place } => key::token(domain, place, &mut io::stdin().lock()),
        Command::Generate(options) => generate::generate(&options, talk),
        Command::Warehouse(command) => warehouse::warehouse(command, talk),
        Command::Refresh(options) => refresh::refresh(options, talk),
        Command::Risk(command) => risk::risk(command, talk),
        Command::Privacy(command) => privacy::privacy(command, talk),
        Command::Schedule(options) => schedule::schedule(*options, talk),
        Command::Backfill(options) => backfill::backfill(*options, talk),
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

/// Says where a panic happened, not its text, which could hold a value.
fn report_panic(info: &PanicHookInfo<'_>) {
    if panic_is_expected() {
        return;
    }
    let place = info.location().map_or_else(String::new, |place| format!(" at {place}"));
    let text = format!("panic{place}: this is a bug of claims-etl, please report it\n");
    outlet::stderr().write(text.as_bytes());
}
