//! Threads that report start failures and panics as errors.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::thread::{self, Builder, Scope, ScopedJoinHandle};

use crate::error::{Error, Result};

/// A scoped thread that catches panics, so that the scope does not panic.
pub(crate) struct Worker<'scope, T> {
    thread: ScopedJoinHandle<'scope, Result<T>>,
    work: &'static str,
}

impl<'scope, T: Send + 'scope> Worker<'scope, T> {
    /// Starts a thread; `work` names it in errors.
    ///
    /// # Errors
    /// `Config` when the thread cannot be started.
    pub(crate) fn start(
        scope: &'scope Scope<'scope, '_>,
        work: &'static str,
        job: impl FnOnce() -> Result<T> + Send + 'scope,
    ) -> Result<Self> {
        let job =
            move || catch_unwind(AssertUnwindSafe(job)).unwrap_or_else(|_| Err(panicked(work)));
        let thread = Builder::new().name(work.into()).spawn_scoped(scope, job);
        Ok(Self { thread: thread.map_err(|error| refused(&error))?, work })
    }

    /// Waits for the thread to end.
    ///
    /// # Errors
    /// The error of the job; `Internal` after a panic.
    pub(crate) fn end(self) -> Result<T> {
        self.thread.join().unwrap_or_else(|_| Err(panicked(self.work)))
    }
}

/// Checks that enough threads can be started for reading. Otherwise libraries panic, or wait
/// forever for a thread that never started.
///
/// # Errors
/// `Config` when a thread cannot be started.
pub(crate) fn spare() -> Result<()> {
    let count = 4 * thread::available_parallelism().map_or(1, usize::from) + 4;
    let gate = Mutex::new(());
    thread::scope(|scope| {
        // All of them exist at the same time.
        let _closed = gate.lock();
        for _ in 0..count {
            let _one = Worker::start(scope, "spare", || {
                drop(gate.lock());
                Ok(())
            })?;
        }
        Ok(())
    })
}

/// Error when a thread cannot be started.
#[must_use]
pub(crate) fn refused(error: &io::Error) -> Error {
    Error::config(format!("the system refuses another thread: {}", error.kind())).hint(
        "the limit of processes (ulimit -u, a container's pids limit) or of memory is reached; \
         raise it",
    )
}

/// Error after a panic, without its message, which could contain a cell value.
#[must_use]
pub(crate) fn panicked(work: &str) -> Error {
    Error::internal(format!("{work} broke off in a panic"))
        .hint("this is a bug of claims-etl, please report it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn a_panic_is_an_error_without_its_text() {
        let end = thread::scope(|scope| {
            Worker::<()>::start(scope, "scoring", || panic!("patient 4711"))?.end()
        });
        let error = end.expect_err("it panicked");
        assert_eq!(
            (error.kind(), error.message()),
            (ErrorKind::Internal, "scoring broke off in a panic")
        );
        assert!(!error.to_string().contains("4711"));
    }

    #[test]
    fn a_panic_that_nobody_waits_for_does_not_end_the_scope() {
        let kept = thread::scope(|scope| {
            drop(Worker::<()>::start(scope, "scoring", || panic!("on purpose")));
            7
        });
        assert_eq!(kept, 7);
    }

    #[test]
    fn spare_threads_are_let_go() {
        assert_eq!(spare(), Ok(()));
    }

    #[test]
    fn a_refused_thread_is_a_matter_of_the_system() {
        let error = refused(&io::ErrorKind::WouldBlock.into());
        assert_eq!(error.kind().exit_code(), 2);
        assert!(error.way_out().is_some_and(|hint| hint.contains("ulimit -u")), "{error}");
    }
}
