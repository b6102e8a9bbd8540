//! Failpoints: named places at which a test kills, pauses or fails a run, or changes a limit.
//!
//! They exist only with the feature `failpoints`, through the crate `fail`: `FAILPOINTS` has
//! `name=actions` for each, and `return(VALUE)` selects the action of [`hit`] or the result of
//! [`value`]. Without the feature, calls and names compile to nothing.

use crate::error::Result;

/// Performs the action set by a test:
///
/// | value | effect |
/// |---|---|
/// | `kill` | SIGKILL to this process |
/// | `pause=FILE` | writes the file and waits until it is removed |
/// | `error` | a transient failure of the warehouse |
/// | `refusal` | a permanent one |
/// | `panic` | a panic |
/// | `log=TEXT` | the text is logged, at the level trace |
/// | `file=TEXT` | the text is left in a temporary file |
/// | `unlinked=TEXT` | the text is written to an unlinked file that lives as long as the process |
///
/// # Errors
/// `Warehouse` for `error` and `refusal`.
#[inline]
#[cfg_attr(
    not(feature = "failpoints"),
    expect(clippy::unnecessary_wraps, reason = "it fails with the feature")
)]
pub(crate) fn hit(name: &'static str) -> Result<()> {
    #[cfg(feature = "failpoints")]
    if let Some(action) = value(name) {
        return armed::act(name, &action);
    }
    let _ = name;
    Ok(())
}

/// The value a test has set for a name.
#[inline]
#[must_use]
pub(crate) fn value(name: &'static str) -> Option<String> {
    #[cfg(feature = "failpoints")]
    return armed::value(name);
    #[cfg(not(feature = "failpoints"))]
    {
        let _ = name;
        None
    }
}

/// A limit that tests can lower to save time or space.
#[inline]
#[must_use]
pub(crate) fn limit(name: &'static str, usual: u64) -> u64 {
    value(name).and_then(|value| value.parse().ok()).unwrap_or(usual)
}

#[cfg(feature = "failpoints")]
mod armed {
    use std::fs::{self, File};
    use std::io::Write as _;
    use std::path::Path;
    use std::sync::{Once, OnceLock};
    use std::thread;
    use std::time::Duration;

    use nix::sys::signal::{Signal, raise};

    use crate::error::{Error, ErrorKind, Result};

    /// Interval between checks of a paused run.
    const STEP: Duration = Duration::from_millis(5);

    pub(super) fn value(name: &str) -> Option<String> {
        static SETUP: Once = Once::new();
        // Dropping the scenario would disable all failpoints.
        SETUP.call_once(|| std::mem::forget(fail::FailScenario::setup()));
        fail::eval(name, |value| value).flatten()
    }

    pub(super) fn act(name: &str, action: &str) -> Result<()> {
        static UNLINKED: OnceLock<File> = OnceLock::new();
        let (action, text) = action.split_once('=').unwrap_or((action, ""));
        let transient = action == "error";
        match action {
            "kill" => raise(Signal::SIGKILL).expect("a process may kill itself"),
            "pause" => {
                fs::write(text, name).expect("the file can be written");
                while Path::new(text).exists() {
                    thread::sleep(STEP);
                }
            }
            "error" | "refusal" => {
                let kind = ErrorKind::Warehouse { transient };
                return Err(Error::new(kind, format!("failpoint {name}")));
            }
            "log" => tracing::trace!(target: "claims_etl", "{text}"),
            "file" => {
                let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
                file.write_all(text.as_bytes()).expect("written");
                file.keep().expect("left");
            }
            "unlinked" => {
                let mut file = UNLINKED.get_or_init(|| tempfile::tempfile().expect("a file"));
                file.write_all(text.as_bytes()).expect("written");
            }
            _ => panic!("failpoint {name}: {action}"),
        }
        Ok(())
    }
}
