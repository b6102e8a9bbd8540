//! Writes results to stdout or a file.

use std::fs::{self, OpenOptions};
use std::io::{self, BufWriter, ErrorKind as IoErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::Serialize;

use super::signals;
use crate::error::{Error, ErrorKind, Result};

/// A command's output and exit code.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) text: String,
    pub(super) exit_code: u8,
}

impl Reply {
    pub(super) fn new(text: impl Into<String>, exit_code: u8) -> Self {
        Self { text: text.into(), exit_code }
    }

    /// The exit code if an error follows the work; a failure of the work itself takes precedence.
    pub(super) fn exit_code_after(&self, error: &Error) -> u8 {
        if self.exit_code == 0 { error.kind().exit_code() } else { self.exit_code }
    }

    /// Output of a successful command.
    pub(super) fn done(text: impl Into<String>) -> Self {
        Self::new(text, 0)
    }

    pub(super) fn line(text: impl std::fmt::Display) -> Self {
        Self::done(format!("{text}\n"))
    }
}

/// Serialises a value as one line of JSON.
///
/// # Errors
/// `Internal` when it cannot be written as JSON.
pub(super) fn json(value: &impl Serialize) -> Result<String> {
    let text = serde_json::to_string(value)
        .map_err(|_| Error::internal("the result cannot be written as JSON"))?;
    Ok(text + "\n")
}

/// Why a long result is incomplete.
pub(super) enum Stopped {
    /// The output is closed or failed.
    Unwritable(io::Error),
    /// The result could not be produced.
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

/// Streams a long result to stdout, or to a new private file that is removed if incomplete.
///
/// # Errors
/// `Config` when the file exists or cannot be written; as `write`.
pub(super) fn stream(
    file: Option<&Path>,
    write: impl FnOnce(&mut dyn Write) -> Result<(), Stopped>,
) -> Result<()> {
    let Some(path) = file else {
        // A reader may block this forever, and there is nothing to clean up.
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
        // Best effort: a partial file would look complete.
        let _ = fs::remove_file(path);
    }
    written
}

/// Writes a result. A closed pipe is not an error.
///
/// # Errors
/// `Internal` when writing fails for another reason.
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
