//! Pieces of one target's work that are done at the same time, and the one outcome that they give.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::outcome::{Failure, Outcome};

/// Failures that a message names one by one.
const NAMED: usize = 5;

/// Does `work` for each of `items`, `limit` of them at the same time; in the items' order.
pub(crate) fn together<T: Sync, R: Send>(
    items: &[T],
    limit: usize,
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, R)>> = Mutex::new(Vec::with_capacity(items.len()));
    let worker = || {
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(place) else { break };
            let result = work(item);
            done.lock().unwrap_or_else(PoisonError::into_inner).push((place, result));
        }
    };
    thread::scope(|scope| {
        for number in 1..limit.min(items.len()) {
            // One that cannot be started leaves its work to the others.
            let _ =
                thread::Builder::new().name(format!("piece-{number}")).spawn_scoped(scope, worker);
        }
        worker();
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, result)| result).collect()
}

/// So many of something, in words.
pub(crate) fn counted(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// The one failure that stands for those of several pieces: `what` says how many failed.
pub(crate) fn summed(what: &str, failures: &[Failure]) -> Failure {
    let first = |wanted: Outcome| failures.iter().find(|failure| failure.outcome == wanted);
    let chief = first(Outcome::Cancelled)
        .or_else(|| first(Outcome::TimedOut))
        .or_else(|| first(Outcome::RateLimited))
        .or_else(|| failures.first());
    let mut seen = BTreeSet::new();
    let mut told: Vec<&str> = failures
        .iter()
        .map(|failure| failure.message.as_str())
        .filter(|message| seen.insert(*message))
        .collect();
    let more = told.len().saturating_sub(NAMED);
    told.truncate(NAMED);
    let mut message = format!("{what}: {}", told.join("; "));
    if more > 0 {
        message = format!("{message}; and {more} more");
    }
    Failure {
        outcome: chief.map_or(Outcome::Failed, |failure| failure.outcome),
        message,
        until: chief.and_then(|failure| failure.until),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::time::Duration;

    use super::*;

    #[test]
    fn pieces_are_worked_on_at_once_and_come_in_order() {
        // Three wait for one another: one after the other they would never end.
        let three = Barrier::new(3);
        let results = together(&[1, 2, 3], 3, |item| {
            three.wait();
            item * 10
        });
        assert_eq!(results, [10, 20, 30]);
        assert!(together(&[0_u8; 0], 4, |_| ()).is_empty());
    }

    #[test]
    fn no_more_than_the_limit_at_once() {
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        together(&[(); 8], 2, |()| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(5));
            now.fetch_sub(1, Ordering::SeqCst);
        });
        assert_eq!(most.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn the_worst_outcome_counts_and_no_message_is_told_twice() {
        let same = Failure::failed("no session");
        let failures =
            [same.clone(), Failure::new(Outcome::TimedOut, "chart 3: no answer"), same.clone()];
        let one = summed("3 of 4", &failures);
        assert_eq!(one.outcome, Outcome::TimedOut);
        assert_eq!(one.message, "3 of 4: no session; chart 3: no answer");
        let many: Vec<Failure> = (0..7).map(|n| Failure::failed(format!("chart {n}"))).collect();
        let one = summed("7 of 7", &many);
        assert_eq!(one.outcome, Outcome::Failed);
        assert!(one.message.ends_with("chart 4; and 2 more"), "{}", one.message);
    }
}
