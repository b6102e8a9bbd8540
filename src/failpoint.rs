//! Failpoints: named places at which a test can kill, stop or fail a run.
//!
//! They exist under the feature `failpoints` only; without it [`hit`] is nothing, and so are the
//! names.
//!
//! `CLAIMS_ETL_FAILPOINT` holds `name[:nth]=action`, several with commas. The action happens at the
//! `nth` hit (the first by default) and never again in this process, so that a second try passes:
//!
//! | action | what happens |
//! |---|---|
//! | `kill` | SIGKILL to this process |
//! | `pause` | writes the file that `CLAIMS_ETL_FAILPOINT_FILE` names and waits until it is gone |
//! | `error` | a failure that can pass by itself |
//! | `refusal` | a failure of the warehouse that cannot |
//! | `panic` | a panic |
//! | `log` | an identifier is logged, at the level trace |
//! | `file` | an identifier is left in a temporary file |
//! | `unnamed` | an identifier is written to an unnamed file that lives as long as the process |
//!
//! `name=number` in the same list makes a limit of the program another one: see [`limit`]; and
//! `name=text`, `name=hex` or `name=capitals` puts an identifier where it does not belong: see [`leak`].

use crate::error::Result;

/// Does what a test has asked for at this place.
///
/// # Errors
/// `Warehouse` when a test has asked for it.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub fn hit(_name: &'static str) -> Result<()> {
    Ok(())
}

/// Does what a test has asked for at this place.
///
/// # Errors
/// `Warehouse` when a test has asked for it.
///
/// # Panics
/// When a test has asked for it, or its setting cannot be read.
#[cfg(feature = "failpoints")]
pub fn hit(name: &'static str) -> Result<()> {
    armed::hit(name)
}

/// A limit, which a test can make another one where the usual would take too much time or space.
#[cfg(not(feature = "failpoints"))]
#[inline]
#[must_use]
pub fn limit(_name: &'static str, usual: u64) -> u64 {
    usual
}

/// A limit, which a test can make another one where the usual would take too much time or space.
#[cfg(feature = "failpoints")]
#[must_use]
pub fn limit(name: &'static str, usual: u64) -> u64 {
    armed::limit(name).unwrap_or(usual)
}

/// What a test's clock is to show, `START/END`; none where the system's is to be asked.
#[cfg(not(feature = "failpoints"))]
#[inline]
#[must_use]
pub fn clock() -> Option<String> {
    None
}

/// What a test's clock is to show, `START/END` in `CLAIMS_ETL_CLOCK`; none where the system's is to
/// be asked.
#[cfg(feature = "failpoints")]
#[must_use]
pub fn clock() -> Option<String> {
    armed::setting("CLAIMS_ETL_CLOCK")
}

/// An identifier to be let out at this place; none unless a test has asked for it.
#[cfg(not(feature = "failpoints"))]
#[inline]
#[must_use]
pub fn leak(_name: &'static str) -> Option<String> {
    None
}

/// An identifier to be let out at this place, spelled as a test has asked for it.
#[cfg(feature = "failpoints")]
#[must_use]
pub fn leak(name: &'static str) -> Option<String> {
    armed::leak(name)
}

/// The variable with the identifier that is let out: one that the test's input has.
#[cfg(feature = "failpoints")]
const IDENTIFIER: &str = "CLAIMS_ETL_FAILPOINT_IDENTIFIER";

/// What a program that this one starts must have in its environment to do the same at the same
/// places, and to let out `identifier` where it is to let out one.
#[cfg(not(feature = "failpoints"))]
#[inline]
#[must_use]
pub fn inherited(_identifier: &str) -> Vec<(&'static str, String)> {
    Vec::new()
}

/// What a program that this one starts must have in its environment to do the same at the same
/// places, and to let out `identifier` where it is to let out one.
#[cfg(feature = "failpoints")]
#[must_use]
pub fn inherited(identifier: &str) -> Vec<(&'static str, String)> {
    let name = "CLAIMS_ETL_FAILPOINT";
    let points = armed::setting(name).map(|points| (name, points));
    points.into_iter().chain([(IDENTIFIER, identifier.to_owned())]).collect()
}

#[cfg(feature = "failpoints")]
mod armed {
    use std::fs::File;
    use std::io::Write;
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{LazyLock, OnceLock};
    use std::time::Duration;
    use std::{fs, thread};

    use nix::sys::signal::{Signal, raise};

    use crate::error::{Error, ErrorKind, Result};

    /// How often a paused run looks whether it may go on.
    const STEP: Duration = Duration::from_millis(5);

    static POINTS: LazyLock<Vec<Point>> =
        LazyLock::new(|| setting("CLAIMS_ETL_FAILPOINT").map_or_else(Vec::new, |text| read(&text)));

    /// A place and what happens there.
    pub(super) struct Point {
        pub(super) name: String,
        pub(super) nth: u64,
        pub(super) action: String,
        hits: AtomicU64,
    }

    pub(super) fn hit(name: &'static str) -> Result<()> {
        let due = POINTS
            .iter()
            .filter(|point| point.name == name)
            .find(|point| point.hits.fetch_add(1, Ordering::SeqCst) + 1 == point.nth);
        due.map_or(Ok(()), |point| act(name, &point.action))
    }

    pub(super) fn limit(name: &str) -> Option<u64> {
        POINTS.iter().find(|point| point.name == name)?.action.parse().ok()
    }

    pub(super) fn leak(name: &str) -> Option<String> {
        let point = POINTS.iter().find(|point| point.name == name)?;
        let identifier = identifier();
        Some(match point.action.as_str() {
            "hex" => hex(&identifier),
            "capitals" => identifier.to_uppercase(),
            _ => identifier,
        })
    }

    fn hex(text: &str) -> String {
        text.bytes().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
    }

    fn identifier() -> String {
        setting(super::IDENTIFIER).expect("an identifier to be let out")
    }

    /// Lets an identifier out by itself.
    fn let_out(action: &str) {
        static KEPT: OnceLock<File> = OnceLock::new();
        let identifier = identifier();
        let write = |file: &mut dyn Write| file.write_all(identifier.as_bytes()).expect("written");
        match action {
            "log" => tracing::trace!(target: "claims_etl", "{identifier}"),
            "file" => {
                let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
                write(&mut file);
                file.keep().expect("left");
            }
            _ => {
                let mut file = tempfile::tempfile().expect("an unnamed file");
                write(&mut file);
                KEPT.get_or_init(|| file);
            }
        }
    }

    fn act(name: &str, action: &str) -> Result<()> {
        let failure = |transient| {
            Err(Error::new(ErrorKind::Warehouse { transient }, format!("failpoint {name}")))
        };
        match action {
            "kill" => {
                raise(Signal::SIGKILL).expect("a process may kill itself");
                Ok(())
            }
            "pause" => {
                let file = setting("CLAIMS_ETL_FAILPOINT_FILE").map(PathBuf::from);
                let file = file.expect("CLAIMS_ETL_FAILPOINT_FILE names a file");
                fs::write(&file, name).expect("the failpoint's file can be written");
                while file.exists() {
                    thread::sleep(STEP);
                }
                Ok(())
            }
            "error" => failure(true),
            "refusal" => failure(false),
            "panic" => panic!("failpoint {name}"),
            "log" | "file" | "unnamed" => {
                let_out(action);
                Ok(())
            }
            other => panic!("CLAIMS_ETL_FAILPOINT: unknown action {other}"),
        }
    }

    pub(super) fn read(text: &str) -> Vec<Point> {
        let point = |part: &str| {
            let (place, action) = part.split_once('=')?;
            let (name, nth) = place.split_once(':').unwrap_or((place, "1"));
            let (name, action) = (name.to_owned(), action.to_owned());
            Some(Point { name, nth: nth.parse().ok()?, action, hits: AtomicU64::new(0) })
        };
        let read = |part| point(part).expect("CLAIMS_ETL_FAILPOINT: name[:nth]=action");
        text.split(',').map(read).collect()
    }

    #[expect(clippy::disallowed_methods, reason = "no setting of the program: the tests' own")]
    pub(super) fn setting(name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_nobody_named_is_passed() {
        assert_eq!(hit("nowhere"), Ok(()));
        assert_eq!(limit("nowhere", 7), 7);
    }

    #[cfg(feature = "failpoints")]
    #[test]
    fn several_places_can_be_named() {
        let points = armed::read("copy.batch:3=kill,publish.ledger=error");
        let read: Vec<_> =
            points.iter().map(|p| (p.name.as_str(), p.nth, p.action.as_str())).collect();
        assert_eq!(read, [("copy.batch", 3, "kill"), ("publish.ledger", 1, "error")]);
    }
}
