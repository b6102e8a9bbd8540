//! Retries after transient errors, for tasks and for warehouse access outside tasks.

use std::time::Duration;

use crate::config::Settings;
use crate::error::Result;
use crate::event::{Cancellation, Observer, RunEvent, rest};

/// Name of the operation retried while the warehouse does not answer.
pub(crate) const OPENING: &str = "opening the warehouse";
pub(super) const RUN_LOG: &str = "writing to the run log";

/// Retry policy from `run.retries` and `run.retry_delay_secs`.
#[derive(Clone, Copy)]
pub(crate) struct Retries<'a> {
    /// Retries after the first try.
    pub(super) limit: u32,
    /// Delay before each retry.
    pub(super) delay: Duration,
    pub(super) observer: &'a dyn Observer,
    pub(super) cancel: &'a Cancellation,
}

impl<'a> Retries<'a> {
    pub(crate) fn new(
        settings: &Settings,
        observer: &'a dyn Observer,
        cancel: &'a Cancellation,
    ) -> Self {
        let delay = Duration::from_secs(settings.run.retry_delay_secs);
        Self { limit: settings.run.retries, delay, observer, cancel }
    }

    /// Runs `work` with retries after transient errors; `what` names it in warnings.
    ///
    /// # Errors
    /// The last error of `work`; `Interrupted` when a wait was cancelled.
    pub(crate) fn run<T>(&self, what: &str, mut work: impl FnMut() -> Result<T>) -> Result<T> {
        let mut attempt = 0;
        loop {
            let error = match work() {
                Err(error) if error.kind().is_transient() && attempt < self.limit => error,
                done => return done,
            };
            attempt += 1;
            self.observer.observe(&RunEvent::Warning(format!(
                "{what}: {}; retry {attempt} of {} in {} s",
                error.message(),
                self.limit,
                self.delay.as_secs()
            )));
            self.wait()?;
        }
    }

    /// Waits for the delay.
    ///
    /// # Errors
    /// `Interrupted`, immediately on cancellation.
    pub(super) fn wait(&self) -> Result<()> {
        rest(self.delay, || self.cancel.check())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, ErrorKind};
    use crate::event::NullObserver;

    fn tries(retries: u32, kind: ErrorKind) -> (u32, bool) {
        let mut settings = Settings::default();
        (settings.run.retries, settings.run.retry_delay_secs) = (retries, 0);
        let cancel = Cancellation::default();
        let mut begun = 0;
        let done = Retries::new(&settings, &NullObserver, &cancel).run("a test", || {
            begun += 1;
            if begun > 3 { Ok(()) } else { Err(Error::new(kind, "no")) }
        });
        (begun, done.is_ok())
    }

    #[test]
    fn only_transient_errors_are_retried_up_to_the_limit() {
        let lost = ErrorKind::Warehouse { transient: true };
        assert_eq!(tries(3, lost), (4, true));
        assert_eq!(tries(2, lost), (3, false));
        assert_eq!(tries(0, lost), (1, false));
        assert_eq!(tries(3, ErrorKind::Source), (1, false));
        assert_eq!(tries(3, ErrorKind::Warehouse { transient: false }), (1, false));
    }

    #[test]
    fn a_stop_ends_the_wait() {
        let cancel = Cancellation::default();
        cancel.cancel(15);
        let lost = || Err::<(), _>(Error::new(ErrorKind::Warehouse { transient: true }, "no"));
        let stopped =
            Retries::new(&Settings::default(), &NullObserver, &cancel).run("a test", lost);
        assert_eq!(stopped.expect_err("stopped").kind(), ErrorKind::Interrupted(15));
    }
}
