//! Delays between polls and retries.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// Delays that grow by a factor of 1.4 from 0.5 s to 30 s, as in Tableau's own client. Each is
/// reduced by up to half at random, so that targets do not poll in lockstep.
#[derive(Debug)]
pub(crate) struct Backoff(ExponentialBackoff);

/// Maximum base delay; the random part adds up to the same again.
const MAX_DELAY: Duration = Duration::from_secs(15);

impl Default for Backoff {
    fn default() -> Self {
        let builder = ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(250))
            .with_factor(1.4)
            .with_max_delay(MAX_DELAY)
            .with_jitter()
            .without_max_times();
        Self(builder.build())
    }
}

impl Backoff {
    /// The next delay.
    pub(crate) fn wait(&mut self) -> Duration {
        self.0.next().unwrap_or(MAX_DELAY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_half_a_minute() {
        let mut backoff = Backoff::default();
        let waits: Vec<Duration> = (0..30).map(|_| backoff.wait()).collect();
        assert!((250..=500).contains(&waits[0].as_millis()), "{:?}", waits[0]);
        assert!(waits[5] > waits[0]);
        let last = waits[29].as_millis();
        assert!((15_000..=30_000).contains(&last), "{last}");
    }
}
