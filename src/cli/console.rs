//! Progress, log and errors on stderr.
//!
//! The choice between bars and lines, text and JSON is made once, before any command runs.

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

/// How often bars are drawn, in a second.
const DRAWINGS: u8 = 20;

/// The listener of this invocation and the form of its messages.
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
            MultiProgress::with_draw_target(ProgressDrawTarget::term(terminal, DRAWINGS))
        });
        log_to_stderr(options, terminal, screen.clone());
        let run = Arc::new(CurrentRun::default());
        let observer: Box<dyn Observer> = match &screen {
            Some(screen) => Box::new(Bars::new(screen.clone())),
            None => Box::new(Lines::new(Arc::clone(&run), options.log_format == Format::Json)),
        };
        Self { observer, run, format: options.log_format, screen }
    }

    /// Who listens to the run.
    pub(super) fn observer(&self) -> &dyn Observer {
        self.observer.as_ref()
    }

    /// Takes the bars away and ends what is being written, so that the result has the screen to itself
    /// and comes after what led to it.
    pub(super) fn finish(&self) {
        if let Some(screen) = &self.screen {
            // The screen is gone only with the terminal itself.
            let _ = screen.clear();
        }
        outlet::stderr().flush();
    }

    /// Tells the error that ends the program.
    pub(super) fn error(&self, error: &Error) {
        self.failure(error.kind().name(), error.message(), error.way_out());
    }

    /// Tells what ended the program.
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

/// Whether stderr is a terminal that can move its cursor.
#[expect(clippy::disallowed_methods, reason = "a property of the terminal, not a setting")]
fn on_a_terminal() -> bool {
    let able = std::env::var_os("TERM").is_some_and(|terminal| terminal != "dumb");
    able && io::stderr().is_terminal()
}

/// Log lines of this program alone: a library's could quote what it was given.
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
        // It would print its own failures to stderr, and panic where that fails too.
        .log_internal_errors(false)
        .with_writer(move || Stderr(screen.clone()));
    // A second start in one process (a test) keeps the first one's log.
    let _ = match (options.log_format, terminal) {
        (Format::Json, _) => log.json().flatten_event(true).try_init(),
        (Format::Text, true) => log.without_time().try_init(),
        (Format::Text, false) => log.try_init(),
    };
}

/// Stderr, which takes everything; with the bars out of the way while something is written.
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

/// The terminal's size is that of the stream itself.
impl AsRawFd for Stderr {
    fn as_raw_fd(&self) -> RawFd {
        io::stderr().as_raw_fd()
    }
}
