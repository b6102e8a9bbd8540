//! The clock of a scheduler: current time and waiting.
//!
//! It follows the warehouse server's clock: with a fast machine clock an interval would be loaded
//! before its end. Tests use a clock that skips waits.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

use crate::error::{Error, Result};
use crate::event::Cancellation;
use crate::failpoint;

/// Interval between cancellation checks while waiting.
const STEP: Duration = Duration::from_millis(20);

/// Maximum wait, so that the ledger is re-read from time to time.
const LONGEST_WAIT: Duration = Duration::from_mins(5);

pub trait Clock: Send + Sync {
    fn now(&self) -> DateTime<Utc>;

    /// Adopts the time of the warehouse server.
    fn synchronize(&self, _server: DateTime<Utc>) {}

    /// Waits until `moment` at most; returns early on cancellation.
    ///
    /// # Errors
    /// `Interrupted` when cancelled.
    fn wait(&self, moment: Option<DateTime<Utc>>, cancel: &Cancellation) -> Result<()>;
}

/// The clock of this process: the system clock, unless a test sets another one.
///
/// # Errors `Config` when a test sets an invalid one.
pub fn clock() -> Result<Box<dyn Clock>> {
    match failpoint::value("clock") {
        Some(text) if text.contains('/') => Ok(Box::new(TestClock::read(&text)?)),
        Some(text) => {
            let seconds =
                text.parse().map_err(|_| Error::config("a test's clock is off by seconds"))?;
            Ok(Box::new(SystemClock::off_by(seconds)))
        }
        None => Ok(Box::new(SystemClock::default())),
    }
}

/// The system clock, corrected by the warehouse server's. A wait ends when it reaches the moment,
/// even if the clock was set or the machine was suspended.
#[derive(Debug, Default)]
pub struct SystemClock {
    /// Seconds a test adds to the machine clock.
    off_by: i64,
    /// Microseconds to add to the machine clock.
    correction: AtomicI64,
}

impl SystemClock {
    /// The clock of a machine that is fast by this many seconds.
    #[must_use]
    pub(crate) fn off_by(seconds: i64) -> Self {
        Self { off_by: seconds, correction: AtomicI64::new(0) }
    }

    fn machine_time(&self) -> DateTime<Utc> {
        Utc::now() + TimeDelta::seconds(self.off_by)
    }
}

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        self.machine_time() + TimeDelta::microseconds(self.correction.load(Ordering::SeqCst))
    }

    fn synchronize(&self, server: DateTime<Utc>) {
        let correction = (server - self.machine_time()).num_microseconds().unwrap_or(0);
        self.correction.store(correction, Ordering::SeqCst);
    }

    fn wait(&self, moment: Option<DateTime<Utc>>, cancel: &Cancellation) -> Result<()> {
        let began = Instant::now();
        loop {
            cancel.check()?;
            let left = moment.map_or(LONGEST_WAIT, |moment| {
                (moment - self.now()).to_std().unwrap_or(Duration::ZERO)
            });
            let left = left.min(LONGEST_WAIT.saturating_sub(began.elapsed()));
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(STEP));
        }
    }
}

/// A clock for tests: starts at a given time and skips every wait, up to its end.
#[derive(Debug)]
pub struct TestClock {
    /// A displayed time, and when it was displayed.
    shown: Mutex<(DateTime<Utc>, Instant)>,
    end: DateTime<Utc>,
}

impl TestClock {
    /// A clock that starts at `start` and can skip to `end`.
    #[must_use]
    pub fn new(start: DateTime<Utc>, end: DateTime<Utc>) -> Self {
        Self { shown: Mutex::new((start, Instant::now())), end }
    }

    /// Parses `START/END`, two RFC 3339 timestamps.
    ///
    /// # Errors
    /// `Config` for any other text.
    pub fn read(text: &str) -> Result<Self> {
        let time = |text: &str| {
            DateTime::parse_from_rfc3339(text).ok().map(|time| time.with_timezone(&Utc))
        };
        text.split_once('/')
            .and_then(|(start, end)| Some(Self::new(time(start)?, time(end)?)))
            .ok_or_else(|| Error::config("a test's clock is START/END, two times"))
    }
}

impl Clock for TestClock {
    fn now(&self) -> DateTime<Utc> {
        let (shown, since) = *self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = TimeDelta::from_std(since.elapsed()).unwrap_or_default();
        shown + passed
    }

    fn wait(&self, moment: Option<DateTime<Utc>>, cancel: &Cancellation) -> Result<()> {
        cancel.check()?;
        if let Some(moment) = moment.filter(|moment| *moment <= self.end) {
            let now = self.now().max(moment);
            *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = (now, Instant::now());
            return Ok(());
        }
        // After the end: wait briefly, then re-read the ledger.
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(200) {
            cancel.check()?;
            thread::sleep(STEP);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn a_wait_ends_at_a_request_to_stop() {
        let cancel = Cancellation::default();
        let later = Utc::now() + TimeDelta::hours(1);
        let began = Instant::now();
        let waited = thread::scope(|scope| {
            let waiting = scope.spawn(|| SystemClock::default().wait(Some(later), &cancel));
            thread::sleep(Duration::from_millis(30));
            cancel.cancel(15);
            waiting.join().expect("no panic")
        });
        assert_eq!(waited.expect_err("stopped").kind(), ErrorKind::Interrupted(15));
        assert!(began.elapsed() < Duration::from_secs(30), "not for an hour");
        assert!(SystemClock::default().wait(None, &cancel).is_err());
    }

    #[test]
    fn a_moment_that_has_passed_is_not_waited_for() {
        let went_by = Utc::now() - TimeDelta::hours(1);
        assert_eq!(SystemClock::default().wait(Some(went_by), &Cancellation::default()), Ok(()));
    }

    #[test]
    fn a_clock_that_is_hours_fast_follows_the_server() {
        let clock = SystemClock::off_by(5 * 3600);
        assert!(clock.now() > Utc::now() + TimeDelta::hours(4));
        clock.synchronize(Utc::now());
        assert!((clock.now() - Utc::now()).abs() < TimeDelta::minutes(1));
        // Half a second later by the server's clock, not five hours earlier.
        let (began, half) = (Instant::now(), TimeDelta::milliseconds(500));
        clock.wait(Some(Utc::now() + half), &Cancellation::default()).expect("a wait");
        assert!(began.elapsed() >= Duration::from_millis(400));
    }

    #[test]
    fn a_jumping_clock_jumps_as_far_as_its_end() {
        let clock = TestClock::read("2024-01-01T12:00:00Z/2024-01-03T00:00:00Z").expect("a clock");
        let time =
            |text: &str| DateTime::parse_from_rfc3339(text).expect("a time").with_timezone(&Utc);
        let cancel = Cancellation::default();
        assert!(clock.now() < time("2024-01-01T13:00:00Z"));
        clock.wait(Some(time("2024-01-02T00:00:00Z")), &cancel).expect("no wait");
        assert!(clock.now() >= time("2024-01-02T00:00:00Z"));
        clock.wait(Some(time("2024-01-04T00:00:00Z")), &cancel).expect("a short wait");
        assert!(clock.now() < time("2024-01-03T00:00:00Z"));
        assert!(TestClock::read("2024-01-01").is_err());
    }
}
