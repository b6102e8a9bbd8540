//! The clock: what time it is, and how to wait for another one.
//!
//! The warehouse's server is asked, because a machine's own clock can be hours fast, and an interval would
//! be loaded before its end. Tests let days pass in seconds: a clock that jumps over waits is a clock, too.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

use crate::error::{Error, Result};
use crate::event::Cancellation;
use crate::failpoint;

/// How often a wait looks whether somebody asked to stop.
const STEP: Duration = Duration::from_millis(20);

/// A wait is never longer, so that whoever waits looks at the ledger again.
const LONGEST: Duration = Duration::from_mins(5);

/// What time it is.
pub trait Clock: Send + Sync {
    /// The present moment.
    fn now(&self) -> DateTime<Utc>;

    /// Takes over what the server's clock shows; a clock of a test does not.
    fn follow(&self, _server: DateTime<Utc>) {}

    /// Waits for a moment, or less; not through a request to stop.
    ///
    /// # Errors
    /// `Interrupted` when somebody asked to stop.
    fn wait(&self, moment: Option<DateTime<Utc>>, cancel: &Cancellation) -> Result<()>;
}

/// The clock of this invocation: the system's, which follows the server's, unless a test has set
/// another one.
///
/// # Errors
/// `Config` when a test has set one that cannot be read.
pub fn clock() -> Result<Box<dyn Clock>> {
    match failpoint::clock() {
        Some(text) if text.contains('/') => Ok(Box::new(Jumping::read(&text)?)),
        Some(text) => {
            let seconds =
                text.parse().map_err(|_| Error::config("a test's clock is off by seconds"))?;
            Ok(Box::new(System::off_by(seconds)))
        }
        None => Ok(Box::new(System::default())),
    }
}

/// The system's clock, corrected by the server's. A wait ends when it shows the moment, also when it was
/// set or the machine slept meanwhile.
#[derive(Debug, Default)]
pub struct System {
    /// By how many seconds the machine's clock is wrong, as a test wants it.
    off_by: i64,
    /// What to add to the machine's clock, in microseconds.
    correction: AtomicI64,
}

impl System {
    /// A machine whose clock is fast by so many seconds.
    #[must_use]
    pub fn off_by(seconds: i64) -> Self {
        Self { off_by: seconds, correction: AtomicI64::new(0) }
    }

    fn of_the_machine(&self) -> DateTime<Utc> {
        Utc::now() + TimeDelta::seconds(self.off_by)
    }
}

impl Clock for System {
    fn now(&self) -> DateTime<Utc> {
        self.of_the_machine() + TimeDelta::microseconds(self.correction.load(Ordering::SeqCst))
    }

    fn follow(&self, server: DateTime<Utc>) {
        let correction = (server - self.of_the_machine()).num_microseconds().unwrap_or(0);
        self.correction.store(correction, Ordering::SeqCst);
    }

    fn wait(&self, moment: Option<DateTime<Utc>>, cancel: &Cancellation) -> Result<()> {
        let began = Instant::now();
        loop {
            cancel.check()?;
            let left = moment
                .map_or(LONGEST, |moment| (moment - self.now()).to_std().unwrap_or(Duration::ZERO));
            let left = left.min(LONGEST.saturating_sub(began.elapsed()));
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(STEP));
        }
    }
}

/// A clock that begins at a moment of a test's choice and jumps over every wait, as far as another
/// moment: beyond it, waits last.
#[derive(Debug)]
pub struct Jumping {
    /// What it showed, and when that was.
    shown: Mutex<(DateTime<Utc>, Instant)>,
    end: DateTime<Utc>,
}

impl Jumping {
    /// A clock that shows `start` and jumps as far as `end`.
    #[must_use]
    pub fn new(start: DateTime<Utc>, end: DateTime<Utc>) -> Self {
        Self { shown: Mutex::new((start, Instant::now())), end }
    }

    /// Reads `START/END`, two times as in RFC 3339.
    ///
    /// # Errors
    /// `Config` when it is not that.
    pub fn read(text: &str) -> Result<Self> {
        let time = |text: &str| {
            DateTime::parse_from_rfc3339(text).ok().map(|time| time.with_timezone(&Utc))
        };
        text.split_once('/')
            .and_then(|(start, end)| Some(Self::new(time(start)?, time(end)?)))
            .ok_or_else(|| Error::config("a test's clock is START/END, two times"))
    }
}

impl Clock for Jumping {
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
        // Nothing more is to happen, but for a look at the ledger now and then.
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
    fn a_wait_hears_a_request_to_stop() {
        let cancel = Cancellation::default();
        let later = Utc::now() + TimeDelta::hours(1);
        let began = Instant::now();
        let waited = thread::scope(|scope| {
            let waiting = scope.spawn(|| System::default().wait(Some(later), &cancel));
            thread::sleep(Duration::from_millis(30));
            cancel.cancel(15);
            waiting.join().expect("no panic")
        });
        assert_eq!(waited.expect_err("stopped").kind(), ErrorKind::Interrupted(15));
        assert!(began.elapsed() < Duration::from_secs(30), "not for an hour");
        assert!(System::default().wait(None, &cancel).is_err());
    }

    #[test]
    fn a_moment_that_has_passed_is_not_waited_for() {
        let went_by = Utc::now() - TimeDelta::hours(1);
        assert_eq!(System::default().wait(Some(went_by), &Cancellation::default()), Ok(()));
    }

    #[test]
    fn a_clock_that_is_hours_fast_follows_the_servers() {
        let clock = System::off_by(5 * 3600);
        assert!(clock.now() > Utc::now() + TimeDelta::hours(4));
        clock.follow(Utc::now());
        assert!((clock.now() - Utc::now()).abs() < TimeDelta::minutes(1));
        // Half a second later by the server's clock, not five hours ago.
        let (began, half) = (Instant::now(), TimeDelta::milliseconds(500));
        clock.wait(Some(Utc::now() + half), &Cancellation::default()).expect("a wait");
        assert!(began.elapsed() >= Duration::from_millis(400));
    }

    #[test]
    fn a_jumping_clock_jumps_as_far_as_its_end() {
        let clock = Jumping::read("2024-01-01T12:00:00Z/2024-01-03T00:00:00Z").expect("a clock");
        let time =
            |text: &str| DateTime::parse_from_rfc3339(text).expect("a time").with_timezone(&Utc);
        let cancel = Cancellation::default();
        assert!(clock.now() < time("2024-01-01T13:00:00Z"));
        clock.wait(Some(time("2024-01-02T00:00:00Z")), &cancel).expect("no wait");
        assert!(clock.now() >= time("2024-01-02T00:00:00Z"));
        clock.wait(Some(time("2024-01-04T00:00:00Z")), &cancel).expect("a short wait");
        assert!(clock.now() < time("2024-01-03T00:00:00Z"));
        assert!(Jumping::read("2024-01-01").is_err());
    }
}
