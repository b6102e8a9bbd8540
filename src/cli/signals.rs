//! SIGINT and SIGTERM: the first requests a graceful stop, the second ends the program.

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

/// Maximum duration of a graceful stop, which may wait for a server that never answers. A forced
/// end does not publish partial data either.
const STOP_TIMEOUT_SECS: u64 = 60;

/// Set once the next signal ends the program.
static STOPPING: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Restores the default behaviour: a signal ends the program immediately. For use when nothing
/// needs a graceful stop.
pub(super) fn end_at_once() {
    if let Some(stopping) = STOPPING.get() {
        stopping.store(true, Ordering::SeqCst);
    }
}

/// A cancellation triggered by SIGINT and SIGTERM.
///
/// # Errors
/// `Internal` when the operating system rejects a handler.
pub(super) fn cancellation() -> Result<Cancellation> {
    install().map_err(|error| match error.kind() {
        // The thread that waits for signals.
        ErrorKind::WouldBlock => refused(&error),
        kind => Error::internal(format!("signal handlers: {kind}")),
    })
}

fn install() -> std::io::Result<Cancellation> {
    let stopping = Arc::clone(STOPPING.get_or_init(Arc::default));
    for signal in [SIGINT, SIGTERM] {
        // The order matters: the first signal must find the flag unset, the second set.
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stopping))?;
        flag::register(signal, Arc::clone(&stopping))?;
    }
    let cancel = Cancellation::default();
    let shared = cancel.clone();
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        // The first signal; the handlers above treat the second.
        let Some(signal) = signals.forever().next() else { return };
        shared.cancel(signal);
        tracing::warn!(target: "claims_etl", signal, "stopping; a second signal ends at once");
        let patience = failpoint::limit("stop.patience", STOP_TIMEOUT_SECS);
        thread::sleep(Duration::from_secs(patience));
        tracing::error!(target: "claims_etl", "still waiting for an answer after {patience} s; ending at once");
        outlet::stderr().flush();
        low_level::exit(128 + signal);
    })?;
    Ok(cancel)
}
