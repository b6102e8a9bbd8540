//! A timeout for blocking operations without one.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use adbc_core::error::{Error, Result, Status};

/// Runs `work` in a thread and waits at most `limit`. Work that takes longer is abandoned: it ends
/// when the peer closes the connection, or with the program.
///
/// # Errors
/// `IO` on timeout, `Internal` when the thread cannot be started or panicked.
pub(super) fn within<T: Send + 'static>(
    limit: Duration,
    action: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    let failure = |text: &str, status| {
        Err(Error::with_message_and_status(format!("{action}: {text}"), status))
    };
    let (done, result) = mpsc::channel();
    let thread = thread::Builder::new().name("postgres".into());
    // The waiting side may have timed out.
    if thread.spawn(move || drop(done.send(work()))).is_err() {
        return failure("the system gives no further thread", Status::IO);
    }
    match result.recv_timeout(limit) {
        Ok(value) => Ok(value),
        Err(RecvTimeoutError::Timeout) => {
            let text =
                format!("the server was reached, but did not answer within {} s", limit.as_secs());
            failure(&text, Status::IO)
        }
        Err(RecvTimeoutError::Disconnected) => failure("it panicked", Status::Internal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_takes_longer_than_its_limit() {
        let (answer, question) = mpsc::channel::<()>();
        let e = within(Duration::from_millis(10), "connecting", move || question.recv()).err();
        assert_eq!(e.map(|e: Error| e.status), Some(Status::IO), "it can pass by itself");
        drop(answer);
        let e = within(Duration::from_mins(1), "connecting", || panic!("at work")).err();
        assert_eq!(e.map(|e: Error| e.status), Some(Status::Internal));
        assert_eq!(within(Duration::from_mins(1), "connecting", || 7).ok(), Some(7));
    }
}
