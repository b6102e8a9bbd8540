//! The error type: kind, location, and hint.
//!
//! An error names the file, the column, the count and the hint; it never contains a cell value,
//! because errors reach logs, the ledger and chat channels.

use std::fmt;

/// Result type of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Kind of an error; determines the exit code and whether to retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Wrong command line or configuration, or missing key.
    Config,
    /// A source file is missing, unreadable or changed while it was read.
    Source,
    /// Too many rejects, or control totals that do not balance; nothing was published.
    Quality,
    /// Warehouse error; a `transient` one may disappear on retry.
    Warehouse {
        /// Connection lost, deadlock, serialization failure, server starting up or shutting down.
        transient: bool,
    },
    /// A required dashboard refresh failed; the data are loaded.
    Refresh,
    /// Another run holds the lock of this warehouse.
    Locked,
    /// Interrupted by this signal number.
    Interrupted(i32),
    /// A broken invariant of this program.
    Internal,
}

impl ErrorKind {
    /// The process exit code; never 0.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Internal => 1,
            Self::Config => 2,
            Self::Source => 3,
            Self::Quality => 4,
            Self::Warehouse { .. } => 5,
            Self::Refresh => 6,
            Self::Locked => 75,
            Self::Interrupted(signal) => u8::try_from(128 + signal).unwrap_or(130),
        }
    }

    /// Whether a retry may succeed without intervention.
    #[must_use]
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Warehouse { transient: true })
    }

    /// Name in JSON and in the ledger.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::Config => "config",
            Self::Source => "source",
            Self::Quality => "quality",
            Self::Warehouse { .. } => "warehouse",
            Self::Refresh => "refresh",
            Self::Locked => "locked",
            Self::Interrupted(_) => "interrupted",
        }
    }
}

/// An error: kind, message without cell values, hint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
}

impl Error {
    /// An error of `kind`; `message` must not contain cell values.
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    /// The command line or the configuration is wrong.
    pub(crate) fn config(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, message)
    }

    /// A source is missing or unreadable.
    pub(crate) fn source(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Source, message)
    }

    /// Too many rejects, or totals that do not balance.
    pub(crate) fn quality(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Quality, message)
    }

    /// A permanent warehouse error.
    pub fn warehouse(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Warehouse { transient: false }, message)
    }

    /// A broken invariant.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// An I/O error at `path`.
    #[must_use]
    pub(crate) fn io(kind: ErrorKind, path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::new(kind, format!("{}: {}", path.display(), io_reason(error)))
    }

    /// Adds a hint.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Prefixes the message with `context` (a task, a file, a table).
    #[must_use]
    pub(crate) fn context(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }

    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The message without the hint.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The hint, if any.
    #[must_use]
    pub fn way_out(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// The operating system's reason, without Rust's "(os error N)".
fn io_reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".into(),
        std::io::ErrorKind::PermissionDenied => "permission denied".into(),
        _ => {
            let text = error.to_string();
            text.split(" (os error").next().unwrap_or_default().to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_a_contract() {
        let kinds = [
            (ErrorKind::Internal, 1),
            (ErrorKind::Config, 2),
            (ErrorKind::Source, 3),
            (ErrorKind::Quality, 4),
            (ErrorKind::Warehouse { transient: false }, 5),
            (ErrorKind::Refresh, 6),
            (ErrorKind::Locked, 75),
            (ErrorKind::Interrupted(2), 130),
            (ErrorKind::Interrupted(15), 143),
        ];
        for (kind, code) in kinds {
            assert_eq!(kind.exit_code(), code, "{kind:?}");
        }
    }

    #[test]
    fn only_transient_warehouse_failures_are_retried() {
        assert!(ErrorKind::Warehouse { transient: true }.is_transient());
        assert!(!ErrorKind::Warehouse { transient: false }.is_transient());
        assert!(!ErrorKind::Source.is_transient());
    }
}
