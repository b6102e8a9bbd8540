//! Results on stdout.
//!
//! A file of its own because a reader may close the pipe early (`| head`), which is no failure,
//! while a full disk is one.

use std::io::{self, ErrorKind as IoErrorKind, Write};

use serde::Serialize;

use crate::error::{Error, Result};

/// A command's result and the process' exit code.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) text: String,
    pub(super) exit_code: u8,
}

impl Reply {
    /// A result with an exit code of its own.
    pub(super) fn new(text: impl Into<String>, exit_code: u8) -> Self {
        Self { text: text.into(), exit_code }
    }

    /// A result of a command that did what it was told.
    pub(super) fn done(text: impl Into<String>) -> Self {
        Self::new(text, 0)
    }

    /// One line of text.
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
