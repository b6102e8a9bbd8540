//! SIGINT and SIGTERM: the first one requests an orderly stop, the second one ends the program.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::{flag, low_level};

use super::outlet;
use crate::error::{Error, Result};
use crate::event::Cancellation;
use crate::failpoint;
use crate::worker::refused;

/// How long an orderly stop may take. What it waits for may never answer: a server behind a network that
/// swallows everything, a pooler without a free connection. Nothing is published by halves then either.
const PATIENCE_SECS: u64 = 60;

/// Up once the next signal ends the program at once.
static STOPPING: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From now on a signal ends the program at once, as it does where no handler was installed: nothing is
/// left to stop in order.
pub(super) fn end_at_once() {
    if let Some(stopping) = STOPPING.get() {
        stopping.store(true, Ordering::SeqCst);
    }
}

/// A request to stop that SIGINT and SIGTERM make.
///
/// # Errors
/// `Internal` when the operating system refuses a handler.
pub(super) fn cancellation() -> Result<Cancellation> {
    install().map_err(|error| match error.kind() {
        // The thread that hears them.
        ErrorKind::WouldBlock => refused(&error),
        kind => Error::internal(format!("signal handlers: {kind}")),
    })
}

fn install() -> std::io::Result<Cancellation> {
    let stopping = Arc::clone(STOPPING.get_or_init(Arc::default));
    for signal in [SIGINT, SIGTERM] {
        // The order matters: the first signal finds the flag down, the second one finds it up.
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stopping))?;
        flag::register(signal, Arc::clone(&stopping))?;
    }
    let cancel = Cancellation::default();
    let shared = cancel.clone();
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        // The first one; of a second one the handlers above make the end.
        let Some(signal) = signals.forever().next() else { return };
        shared.cancel(signal);
        tracing::warn!(target: "claims_etl", signal, "stopping; a second signal ends at once");
        let patience = failpoint::limit("stop.patience", PATIENCE_SECS);
        thread::sleep(Duration::from_secs(patience));
        tracing::error!(target: "claims_etl", "still waiting for an answer after {patience} s; ending at once");
        outlet::stderr().flush();
        low_level::exit(128 + signal);
    })?;
    Ok(cancel)
}
