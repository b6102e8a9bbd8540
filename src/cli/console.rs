//! Progress, log and errors on stderr.
//!
//! The output mode (bars or lines, text or JSON) is chosen once, before any command runs.

use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use console::Term;
use indicatif::{MultiProgress, ProgressDrawTarget};
use tracing_subscriber::EnvFilter;

use super::outlet;
use super::output_format::{Format, MessageOptions};
use super::progress::{Bars, CurrentRun, Lines};
use crate::error::Error;
use crate::event::Observer;

/// Redraws per second.
const REDRAWS: u8 = 20;

/// The observer of this process and its message format.
pub(super) struct Console {
    observer: Box<dyn Observer>,
    run: Arc<CurrentRun>,
    format: Format,
    screen: Option<MultiProgress>,
}

impl Console {
    /// Starts output as configured: progress bars if stderr is a terminal, else log lines.
    pub(super) fn start(options: &MessageOptions) -> Self {
        let terminal = on_a_terminal();
        let bars = terminal && options.log_format == Format::Text && !options.quiet;
        let screen = bars.then(|| {
            let terminal = Term::read_write_pair(io::stdin(), Stderr(None));
            MultiProgress::with_draw_target(ProgressDrawTarget::term(terminal, REDRAWS))
        });
        log_to_stderr(options, terminal, screen.clone());
        let run = Arc::new(CurrentRun::default());
        let observer: Box<dyn Observer> = match &screen {
            Some(screen) => Box::new(Bars::new(screen.clone())),
            None => Box::new(Lines::new(Arc::clone(&run), options.log_format == Format::Json)),
        };
        Self { observer, run, format: options.log_format, screen }
    }

    pub(super) fn observer(&self) -> &dyn Observer {
        self.observer.as_ref()
    }

    /// Removes the bars and flushes pending messages, so that the result comes last and alone.
    pub(super) fn finish(&self) {
        if let Some(screen) = &self.screen {
            // Clearing fails only if the terminal is gone.
            let _ = screen.clear();
        }
        outlet::stderr().flush();
    }

    /// Prints the error that ends the program.
    pub(super) fn error(&self, error: &Error) {
        self.failure(error.kind().name(), error.message(), error.way_out());
    }

    /// Prints an error's parts.
    pub(super) fn failure(&self, kind: &str, message: &str, hint: Option<&str>) {
        match self.format {
            Format::Json => {
                let run_id = self.run.id();
                tracing::error!(target: "claims_etl", run_id, kind, hint, "{message}");
            }
            Format::Text => {
                let hint = hint.map_or_else(String::new, |hint| format!("\n  hint: {hint}"));
                outlet::stderr().write(format!("error: {message}{hint}\n").as_bytes());
            }
        }
    }
}

/// Whether stderr is a terminal with cursor control.
#[expect(clippy::disallowed_methods, reason = "a property of the terminal, not a setting")]
fn on_a_terminal() -> bool {
    let able = std::env::var_os("TERM").is_some_and(|terminal| terminal != "dumb");
    able && io::stderr().is_terminal()
}

/// Logs only this program's messages: a library's could quote data.
fn log_to_stderr(options: &MessageOptions, terminal: bool, screen: Option<MultiProgress>) {
    let level = match (options.quiet, options.verbose) {
        (true, _) => "warn",
        (false, 0) => "info",
        (false, 1) => "debug",
        (false, _) => "trace",
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(format!("claims_etl={level}")))
        .with_target(false)
        .with_ansi(terminal)
        // Internal log errors would go to stderr, and panic if that fails.
        .log_internal_errors(false)
        .with_writer(move || Stderr(screen.clone()));
    // In tests a second start in one process keeps the first logger.
    let _ = match (options.log_format, terminal) {
        (Format::Json, _) => log.json().flatten_event(true).try_init(),
        (Format::Text, true) => log.without_time().try_init(),
        (Format::Text, false) => log.try_init(),
    };
}

/// Infallible stderr; hides the bars while writing.
#[derive(Debug)]
struct Stderr(Option<MultiProgress>);

impl Write for Stderr {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        match &self.0 {
            Some(screen) => screen.suspend(|| outlet::stderr().write(text)),
            None => outlet::stderr().write(text),
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The terminal size comes from the real stream.
impl AsRawFd for Stderr {
    fn as_raw_fd(&self) -> RawFd {
        io::stderr().as_raw_fd()
    }
}
