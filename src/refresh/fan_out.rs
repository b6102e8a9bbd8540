//! Runs the parts of one target concurrently and merges their failures.

use std::collections::BTreeSet;

use futures_util::{StreamExt, stream};

use super::outcome::{Failure, Outcome};

/// Maximum failures named in a message.
const MAX_NAMED: usize = 5;

/// Runs `work` for each item, at most `limit` at a time; returns the failures in item order.
pub(super) async fn failures<T: Copy>(
    items: &[T],
    limit: usize,
    work: impl AsyncFn(T) -> Result<(), Failure>,
) -> Vec<Failure> {
    let parts = items.iter().enumerate().map(|(index, item)| {
        let part = work(*item);
        async move { (index, part.await) }
    });
    let mut ended: Vec<_> = stream::iter(parts).buffer_unordered(limit).collect().await;
    ended.sort_unstable_by_key(|(index, _)| *index);
    ended.into_iter().filter_map(|(_, end)| end.err()).collect()
}

/// "1 chart", "2 charts".
pub(super) fn counted(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// Merges several failures into one; `what` is the counted noun phrase.
pub(super) fn summed(what: &str, failures: &[Failure]) -> Failure {
    let first = |wanted: Outcome| failures.iter().find(|failure| failure.outcome == wanted);
    let chief = first(Outcome::Cancelled)
        .or_else(|| first(Outcome::TimedOut))
        .or_else(|| first(Outcome::RateLimited))
        .or_else(|| failures.first());
    let mut seen = BTreeSet::new();
    let mut messages: Vec<&str> = failures
        .iter()
        .map(|failure| failure.message.as_str())
        .filter(|message| seen.insert(*message))
        .collect();
    let more = messages.len().saturating_sub(MAX_NAMED);
    messages.truncate(MAX_NAMED);
    let mut message = format!("{what}: {}", messages.join("; "));
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
    use std::future::Future;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use tokio::sync::Barrier;
    use tokio::time::sleep;

    use super::*;
    use crate::http::runtime;

    fn run<F: Future>(work: F) -> F::Output {
        runtime().expect("a runtime").block_on(work)
    }

    #[test]
    fn pieces_are_worked_on_at_once_and_come_in_order() {
        // The three wait for each other, so sequential execution would never end.
        let three = Barrier::new(3);
        let failed = run(failures(&[1, 2, 3], 3, async |item| {
            three.wait().await;
            sleep(Duration::from_millis(10 * (3 - item))).await;
            Err(Failure::failed(format!("piece {item}")))
        }));
        let messages: Vec<&str> = failed.iter().map(|failure| failure.message.as_str()).collect();
        assert_eq!(messages, ["piece 1", "piece 2", "piece 3"]);
        assert!(run(failures(&[0_u8; 0], 4, async |_| Ok(()))).is_empty());
    }

    #[test]
    fn no_more_than_the_limit_at_once() {
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        run(failures(&[(); 8], 2, async |()| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            sleep(Duration::from_millis(5)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        }));
        assert_eq!(most.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn the_worst_outcome_counts_and_no_message_comes_twice() {
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
