//! Results on stdout or in a file.

use std::fs::{self, OpenOptions};
use std::io::{self, BufWriter, ErrorKind as IoErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::Serialize;

use super::signals;
use crate::error::{Error, ErrorKind, Result};

/// A command's result and the process' exit code.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) text: String,
    pub(super) exit_code: u8,
}

impl Reply {
    /// A result with an exit code.
    pub(super) fn new(text: impl Into<String>, exit_code: u8) -> Self {
        Self { text: text.into(), exit_code }
    }

    /// The exit code where an error has come after the work: the work's own failure counts more.
    pub(super) fn exit_code_after(&self, error: &Error) -> u8 {
        if self.exit_code == 0 { error.kind().exit_code() } else { self.exit_code }
    }

    /// The result of a command that succeeded.
    pub(super) fn done(text: impl Into<String>) -> Self {
        Self::new(text, 0)
    }

    pub(super) fn line(text: impl std::fmt::Display) -> Self {
        Self::done(format!("{text}\n"))
    }
}

/// A value as one line of JSON.
///
/// # Errors
/// `Internal` when it cannot be written as JSON.
pub(super) fn json(value: &impl Serialize) -> Result<String> {
    let text = serde_json::to_string(value)
        .map_err(|_| Error::internal("the result cannot be written as JSON"))?;
    Ok(text + "\n")
}

/// Why a long result was not written to its end.
pub(super) enum Stopped {
    /// Nobody takes it any more.
    Unwritable(io::Error),
    /// There is no more of it.
    Failed(Error),
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Self::Unwritable(error)
    }
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Writes a long result piece by piece: to stdout, or to a new file that only its owner may read
/// and that is gone if it cannot be completed.
///
/// # Errors
/// `Config` when the file exists or cannot be written; as `write`.
pub(super) fn stream(
    file: Option<&Path>,
    write: impl FnOnce(&mut dyn Write) -> Result<(), Stopped>,
) -> Result<()> {
    let Some(path) = file else {
        // A reader may keep this waiting forever, and there is nothing to tidy up.
        signals::end_at_once();
        let mut out = BufWriter::new(io::stdout().lock());
        return match write(&mut out).and_then(|()| Ok(out.flush()?)) {
            Err(Stopped::Unwritable(error)) if error.kind() != IoErrorKind::BrokenPipe => {
                Err(cannot_write(&error))
            }
            Err(Stopped::Failed(error)) => Err(error),
            _ => Ok(()),
        };
    };
    let failed = |error: &io::Error| Error::io(ErrorKind::Config, path, error);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(
        |error| match error.kind() {
            IoErrorKind::AlreadyExists => {
                failed(&error).hint("nothing is overwritten: name another file, or remove this one")
            }
            _ => failed(&error),
        },
    )?;
    let mut out = BufWriter::new(file);
    let written =
        write(&mut out).and_then(|()| Ok(out.flush()?)).map_err(|stopped| match stopped {
            Stopped::Unwritable(error) => failed(&error),
            Stopped::Failed(error) => error,
        });
    if written.is_err() {
        // Best effort: half a file would look like a whole one.
        let _ = fs::remove_file(path);
    }
    written
}

/// Writes a result. A closed pipe is a reader that has seen enough.
///
/// # Errors
/// `Internal` when the text cannot be written for another reason.
pub(super) fn write(text: &str, out: &mut dyn Write) -> Result<()> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != IoErrorKind::BrokenPipe => Err(cannot_write(&error)),
        _ => Ok(()),
    }
}

fn cannot_write(error: &io::Error) -> Error {
    Error::internal(format!("stdout: {}", error.kind()))
        .hint("the command has done its work; only its result could not be written")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Broken(IoErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_is_quiet_and_a_full_disk_is_not() {
        assert_eq!(write("x", &mut Broken(IoErrorKind::BrokenPipe)), Ok(()));
        let full = write("x", &mut Broken(IoErrorKind::StorageFull));
        assert_eq!(full.expect_err("an error").message(), "stdout: no storage space");
    }
}
