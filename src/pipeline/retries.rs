//! What a run asks of the warehouse outside of its tasks, once more after errors that can pass.

use std::time::Duration;

use crate::config::Settings;
use crate::dag::RetryPolicy;
use crate::error::Result;
use crate::event::{Cancellation, Observer, RunEvent, rest};

/// What is done again when the warehouse does not answer.
pub(crate) const OPENING: &str = "opening the warehouse";
pub(super) const RUN_LOG: &str = "writing to the run log";

/// The tries of one call, as `run.retries` and `run.retry_delay_secs` allow them to a task.
#[derive(Clone, Copy)]
pub(crate) struct Retries<'a> {
    policy: RetryPolicy,
    observer: &'a dyn Observer,
    cancel: &'a Cancellation,
}

impl<'a> Retries<'a> {
    /// The tries that the settings allow.
    pub(crate) fn new(
        settings: &Settings,
        observer: &'a dyn Observer,
        cancel: &'a Cancellation,
    ) -> Self {
        let policy = RetryPolicy {
            retries: settings.run.retries,
            delay: Duration::from_secs(settings.run.retry_delay_secs),
        };
        Self { policy, observer, cancel }
    }

    /// The same for the tasks of a graph.
    pub(crate) fn policy(&self) -> RetryPolicy {
        self.policy
    }

    /// Does `work`, and again after errors that can pass, each time after the delay; `what` is it, for
    /// the line that says so.
    ///
    /// # Errors
    /// The last one of `work`; `Interrupted` when somebody asked to stop during a wait.
    pub(crate) fn run<T>(&self, what: &str, mut work: impl FnMut() -> Result<T>) -> Result<T> {
        let RetryPolicy { retries, delay } = self.policy;
        let mut attempt = 0;
        loop {
            let error = match work() {
                Err(error) if error.kind().is_transient() && attempt < retries => error,
                done => return done,
            };
            attempt += 1;
            self.observer.observe(&RunEvent::Warning(format!(
                "{what}: {}; retry {attempt} of {retries} in {} s",
                error.message(),
                delay.as_secs()
            )));
            rest(delay, || self.cancel.check())?;
        }
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
    fn only_what_can_pass_is_tried_again_and_not_for_ever() {
        let lost = ErrorKind::Warehouse { transient: true };
        assert_eq!(tries(3, lost), (4, true));
        assert_eq!(tries(2, lost), (3, false));
        assert_eq!(tries(0, lost), (1, false));
        assert_eq!(tries(3, ErrorKind::Source), (1, false));
        assert_eq!(tries(3, ErrorKind::Warehouse { transient: false }), (1, false));
    }

    #[test]
    fn a_wait_hears_a_request_to_stop() {
        let cancel = Cancellation::default();
        cancel.cancel(15);
        let lost = || Err::<(), _>(Error::new(ErrorKind::Warehouse { transient: true }, "no"));
        let stopped =
            Retries::new(&Settings::default(), &NullObserver, &cancel).run("a test", lost);
        assert_eq!(stopped.expect_err("stopped").kind(), ErrorKind::Interrupted(15));
    }
}
