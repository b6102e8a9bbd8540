//! How many targets of one provider are refreshed at the same time.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::event::Cancellation;

/// How often a wait looks whether somebody asked to stop.
const STEP: Duration = Duration::from_millis(50);

/// The turns that are left, by provider.
pub(crate) struct Gates {
    left: Mutex<BTreeMap<&'static str, usize>>,
    freed: Condvar,
}

/// A turn; it ends when it is dropped.
pub(crate) struct Turn<'a> {
    gates: &'a Gates,
    provider: &'static str,
}

impl Gates {
    /// Gates with these limits; at least one turn each.
    pub(crate) fn new(limits: impl Iterator<Item = (&'static str, usize)>) -> Self {
        let left = limits.map(|(provider, limit)| (provider, limit.max(1))).collect();
        Self { left: Mutex::new(left), freed: Condvar::new() }
    }

    /// Waits for a turn; none when somebody asks to stop first.
    pub(crate) fn enter(&self, provider: &'static str, cancel: &Cancellation) -> Option<Turn<'_>> {
        self.enter_unless(provider, || cancel.is_cancelled())
    }

    /// Waits for a turn; none when `stop` is so first.
    pub(crate) fn enter_unless(
        &self,
        provider: &'static str,
        stop: impl Fn() -> bool,
    ) -> Option<Turn<'_>> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if stop() {
                return None;
            }
            match left.get_mut(provider) {
                Some(0) => {}
                Some(turns) => {
                    *turns -= 1;
                    return Some(Turn { gates: self, provider });
                }
                None => return Some(Turn { gates: self, provider }),
            }
            left = self.freed.wait_timeout(left, STEP).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut left = self.gates.left.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turns) = left.get_mut(self.provider) {
            *turns += 1;
        }
        self.gates.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn no_more_than_the_limit_at_once() {
        let gates = Gates::new([("p", 2)].into_iter());
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let _turn = gates.enter("p", &Cancellation::default()).expect("a turn");
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(5));
                    now.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        assert_eq!(most.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn a_signal_ends_the_wait() {
        let (gates, cancel) = (Gates::new([("p", 1)].into_iter()), Cancellation::default());
        let _turn = gates.enter("p", &cancel).expect("a turn");
        cancel.cancel(15);
        assert!(gates.enter("p", &cancel).is_none());
    }
}
