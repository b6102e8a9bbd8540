//! How long to wait before asking again.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(500);
const FACTOR: f64 = 1.4;
const LONGEST: Duration = Duration::from_secs(30);

/// The waits of one poll.
#[derive(Debug, Clone)]
pub struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Backoff {
    /// The next wait: at least three quarters of its nominal length, at most all of it.
    pub fn wait(&mut self) -> Duration {
        let wait = self.next;
        self.next = wait.mul_f64(FACTOR).min(LONGEST);
        // A hasher's random keys are random enough to keep out of step.
        let random = RandomState::new().hash_one(0) % 1024;
        wait.mul_f64(0.75 + 0.25 * f64::from(u16::try_from(random).unwrap_or(0)) / 1023.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_half_a_minute() {
        let mut backoff = Backoff::default();
        let waits: Vec<Duration> = (0..30).map(|_| backoff.wait()).collect();
        assert!((375..=500).contains(&waits[0].as_millis()), "{:?}", waits[0]);
        assert!(waits[5] > waits[0]);
        let last = waits[29].as_millis();
        assert!((22_500..=30_000).contains(&last), "{last}");
    }
}
