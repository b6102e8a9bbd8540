//! Converts `postgres::Error` to ADBC errors without values.

use std::error::Error as _;
use std::ffi::c_char;
use std::io;

use adbc_core::error::{Error, Status};
use postgres::error::{DbError, ErrorPosition};

use super::parameter::Unsupported;
use super::tls::{Failure, failure};

/// Converts an error during `action` (a short phrase without values).
pub(super) fn from_postgres(action: &str, error: &postgres::Error) -> Error {
    match error.as_db_error() {
        Some(db) => from_server(action, db),
        None => from_client(action, error),
    }
}

/// Converts a failed write to a COPY stream, which wraps a `postgres::Error`.
pub(super) fn from_copy(action: &str, error: &io::Error) -> Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<postgres::Error>()) {
        Some(inner) => from_postgres(action, inner),
        None => Error::with_message_and_status(
            format!("{action}: the connection broke ({})", error.kind()),
            Status::IO,
        ),
    }
}

/// The process has no free descriptors.
pub(super) fn no_files(error: &io::Error) -> Error {
    let error = Error::with_message_and_status(
        format!("connecting: no file descriptor is left for a connection ({})", error.kind()),
        Status::Internal,
    );
    with_hint(error, "raise the limit of open files (ulimit -n); 1024 is usual")
}

/// An ADBC function that this driver does not implement.
pub(super) fn not_implemented(function: &str) -> Error {
    Error::with_message_and_status(
        format!("{function} is not implemented by the PostgreSQL driver"),
        Status::NotImplemented,
    )
}

/// An option that is unknown, or cannot be read in that form.
pub(super) fn unknown_option(key: &str) -> Error {
    not_implemented(&format!("the option {key}"))
}

/// An option that requires text.
pub(super) fn option_not_text(key: &str) -> Error {
    Error::with_message_and_status(format!("the option {key} takes text"), Status::InvalidArguments)
}

/// An option without a value.
pub(super) fn option_not_set(key: &str) -> Error {
    Error::with_message_and_status(format!("the option {key} is not set"), Status::NotFound)
}

/// Error detail that contains the hint, in UTF-8.
const HINT: &str = "hint";

/// Adds a hint.
pub(super) fn with_hint(mut error: Error, hint: &str) -> Error {
    error.details = Some(vec![(HINT.into(), hint.as_bytes().to_vec())]);
    error
}

fn from_server(action: &str, db: &DbError) -> Error {
    let code = db.code().code();
    let mut facts = vec![format!("SQLSTATE {code}")];
    facts.extend(own_words(db).map(ToOwned::to_owned));
    match (db.schema(), db.table()) {
        (Some(schema), Some(table)) => facts.push(format!("table {schema}.{table}")),
        (None, Some(table)) => facts.push(format!("table {table}")),
        _ => {}
    }
    facts.extend(db.column().map(|name| format!("column {name}")));
    facts.extend(db.constraint().map(|name| format!("constraint {name}")));
    if let (true, Some(ErrorPosition::Original(at))) = (code.starts_with("42"), db.position()) {
        facts.push(format!("at character {at} of the statement"));
    }
    let message = format!("{action}: {} ({})", condition(code), facts.join(", "));
    let mut error = Error::with_message_and_status(message, status(code));
    for (slot, byte) in error.sqlstate.iter_mut().zip(code.bytes()) {
        *slot = c_char::from_ne_bytes([byte]);
    }
    error
}

/// The object of a permission error or exceeded limit, as the server names it: kind and name. A
/// database function could raise the same SQLSTATE with any text, but not under the name of the
/// server's own check.
fn own_words(db: &DbError) -> Option<&str> {
    let starts: &[&str] = match (db.code().code(), db.routine()) {
        ("42501", Some("aclcheck_error")) => &["permission denied for ", "must be owner of "],
        ("42501", Some("check_enable_rls")) => &["query would be affected by row-level security"],
        ("53300", Some("InitializeSessionUserId" | "CheckMyDatabase")) => {
            &["too many connections for "]
        }
        _ => &[],
    };
    let text = db.message();
    starts.iter().any(|start| text.starts_with(start)).then_some(text)
}

/// The client's own errors have fixed texts; only causes known to be free of values are included.
fn from_client(action: &str, error: &postgres::Error) -> Error {
    let text = error.to_string();
    let cause = error.source();
    if let Some(Failure { status, reason, hint }) = cause.and_then(failure) {
        let error = Error::with_message_and_status(format!("{action}: {reason}"), status);
        return match hint {
            Some(hint) => with_hint(error, hint),
            None => error,
        };
    }
    let io = cause.and_then(|c| c.downcast_ref::<io::Error>());
    let (status, reason) = if error.is_closed() {
        (Status::IO, "the connection is closed".to_owned())
    } else if let Some(io) = io {
        match io.kind() {
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => (Status::Internal, text),
            _ => {
                let reason = io.to_string();
                let reason = reason.split(" (os error").next().unwrap_or_default();
                (Status::IO, format!("{text}: {reason}"))
            }
        }
    } else if let Some(unsupported) = cause.and_then(|c| c.downcast_ref::<Unsupported>()) {
        (Status::NotImplemented, unsupported.to_string())
    } else {
        match (text.as_str(), cause) {
            ("invalid configuration", Some(cause)) if cause.to_string() == "password missing" => {
                (Status::Unauthenticated, "the server wants a password, and none is given".into())
            }
            // Missing host: the cause names options, not their values.
            ("invalid configuration", Some(cause)) => {
                (Status::InvalidArguments, format!("{text}: {cause}"))
            }
            ("authentication error", Some(cause)) if is_of_the_client(cause) => {
                (Status::Unauthenticated, format!("{text}: {cause}"))
            }
            ("authentication error", _) => (Status::Unauthenticated, text),
            ("timeout waiting for server", _) => (Status::Timeout, text),
            _ => (Status::Internal, text),
        }
    };
    Error::with_message_and_status(format!("{action}: {reason}"), status)
}

/// Whether this authentication failure is a fixed text of the client. Others may contain text from
/// the server.
fn is_of_the_client(cause: &dyn std::error::Error) -> bool {
    let text = cause.to_string();
    ["server did not use channel binding", "unsupported authentication method"]
        .contains(&text.as_str())
        || text == "unsupported SASL mechanism"
}

fn status(code: &str) -> Status {
    match code {
        "42501" => Status::Unauthorized,
        "42P01" | "42703" | "42704" | "42883" | "3D000" | "3F000" => Status::NotFound,
        "42P07" | "42P06" | "42P04" | "42710" | "42701" => Status::AlreadyExists,
        "57014" => Status::Cancelled,
        "57P01" | "57P02" | "57P03" => Status::IO,
        _ => match class(code) {
            "08" => Status::IO,
            "0A" => Status::NotImplemented,
            "22" => Status::InvalidData,
            "23" | "44" => Status::Integrity,
            "25" | "55" => Status::InvalidState,
            "28" => Status::Unauthenticated,
            "42" => Status::InvalidArguments,
            "53" | "58" | "XX" => Status::Internal,
            _ => Status::Unknown,
        },
    }
}

fn class(code: &str) -> &str {
    code.get(..2).unwrap_or_default()
}

/// Description of a SQLSTATE.
fn condition(code: &str) -> &'static str {
    match code {
        "22001" => "a text is too long for its column",
        "22003" => "a number is out of range",
        "22007" | "22008" => "a date or time is not valid",
        "22012" => "division by zero",
        "22021" => "a character is not valid in the encoding",
        "22P05" => "a character cannot be stored in the encoding of the database",
        "22P02" => "a text does not have the form its type demands",
        "22P03" => "a binary value does not have the form its type demands",
        "23502" => "not-null violation",
        "23503" => "foreign key violation",
        "23505" => "unique violation",
        "23514" => "check violation",
        "25006" => "the transaction is read-only",
        "25P03" => "the server has ended a session that was idle in a transaction",
        "25P04" => "the server has ended a transaction that took too long",
        "26000" => "a prepared statement is not there",
        "25P02" => "the transaction had failed before",
        "28P01" => "wrong password",
        "3D000" => "no such database",
        "3F000" => "no such schema",
        "40001" => "serialization failure",
        "40P01" => "deadlock",
        "42501" => "insufficient privilege",
        "42601" => "syntax error",
        "42703" => "no such column",
        "42704" => "no such object",
        "42883" => "no such function or operator",
        "42P01" => "no such table",
        "42P05" => "the prepared statement exists already",
        "42P06" => "the schema exists already",
        "42P07" => "the table exists already",
        "42710" => "the object exists already",
        "53100" => "the server's disk is full",
        "53200" => "the server is out of memory",
        "53300" => "too many connections",
        "55P03" => "a lock is not available",
        "57014" => "cancelled",
        "57P01" => "the server is shutting down",
        "57P02" => "the server crashed",
        "57P05" => "the server has ended a session that was idle",
        "57P03" => "the server does not take connections now",
        _ => match class(code) {
            "08" => "connection failure",
            "0A" => "not supported by the server",
            "22" => "invalid data",
            "23" => "integrity violation",
            "25" => "invalid transaction state",
            "28" => "authentication failed",
            "40" => "transaction rolled back",
            "42" => "the statement is wrong",
            "53" => "the server is out of resources",
            "54" => "a limit of the server is exceeded",
            "55" => "an object is not in the right state",
            "57" => "operator intervention",
            "58" => "system error on the server",
            "P0" => "an exception raised by a function",
            "XX" => "internal error of the server",
            _ => "the server refused",
        },
    }
}

/// An invalid or unusable address.
pub(super) fn invalid(message: impl Into<String>) -> Error {
    Error::with_message_and_status(message, Status::InvalidArguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_decide_the_status_where_no_code_does() {
        assert_eq!(status("08006"), Status::IO);
        assert_eq!(status("23505"), Status::Integrity);
        assert_eq!(status("42P01"), Status::NotFound);
        assert_eq!(status("42P07"), Status::AlreadyExists);
        assert_eq!(status("42601"), Status::InvalidArguments);
        assert_eq!(status("57014"), Status::Cancelled);
        assert_eq!(status("57P01"), Status::IO);
        assert_eq!(status("ZZ999"), Status::Unknown);
        assert_eq!(status(""), Status::Unknown);
    }

    #[test]
    fn what_is_missing_says_its_name() {
        let e = not_implemented("get_statistics");
        assert_eq!(e.status, Status::NotImplemented);
        assert!(e.message.contains("get_statistics"));
    }
}
