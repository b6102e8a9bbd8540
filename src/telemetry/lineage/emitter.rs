//! Queue between a run and a transport.
//!
//! Events that do not fit are dropped; dropped and undelivered events are counted for one final
//! warning.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use super::transport::Transport;
use crate::event::Cancellation;

/// Capacity of the queue; a run emits about twenty events.
const QUEUE: usize = 256;

/// Sends events from a background thread.
pub(crate) struct Emitter {
    queue: Option<SyncSender<Vec<u8>>>,
    /// Closed when the thread has ended.
    ended: Mutex<Receiver<()>>,
    stop: Cancellation,
    counts: Arc<Counts>,
    name: String,
}

#[derive(Default)]
struct Counts {
    emitted: AtomicU64,
    delivered: AtomicU64,
    dropped: AtomicU64,
    reason: Mutex<Option<String>>,
}

impl Emitter {
    /// Starts the thread.
    pub(crate) fn start(transport: impl Transport) -> Self {
        Self::with_queue(transport, QUEUE)
    }

    fn with_queue(mut transport: impl Transport, length: usize) -> Self {
        let (queue, waiting) = mpsc::sync_channel::<Vec<u8>>(length);
        let (alive, ended) = mpsc::channel::<()>();
        let (stop, counts) = (Cancellation::default(), Arc::new(Counts::default()));
        let name = transport.name();
        let (cancelled, count) = (stop.clone(), Arc::clone(&counts));
        let work = move || {
            let _alive = alive;
            for line in waiting {
                if cancelled.is_cancelled() {
                    break;
                }
                match transport.deliver(&line, &cancelled) {
                    Ok(()) => {
                        count.delivered.fetch_add(1, Ordering::SeqCst);
                    }
                    Err(reason) => {
                        let mut first = count.reason.lock().unwrap_or_else(PoisonError::into_inner);
                        first.get_or_insert(reason);
                    }
                }
            }
        };
        // Without a thread the queue has no receiver and every event counts as dropped.
        let _ = thread::Builder::new().name("lineage".into()).spawn(work);
        let ended = Mutex::new(ended);
        Self { queue: Some(queue), ended, stop, counts, name }
    }

    /// Queues an event without blocking.
    pub(crate) fn emit(&self, line: Vec<u8>) {
        self.counts.emitted.fetch_add(1, Ordering::SeqCst);
        let queued = self.queue.as_ref().is_some_and(|queue| queue.try_send(line).is_ok());
        if !queued {
            self.counts.dropped.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Waits for queued events, at most until `until`; returns a warning if some were lost.
    pub(crate) fn finish(mut self, until: Instant) -> Option<String> {
        self.queue = None;
        let left = until.saturating_duration_since(Instant::now());
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        let late = ended.recv_timeout(left) == Err(RecvTimeoutError::Timeout);
        if late {
            self.stop.cancel(15);
        }
        let count = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        let (emitted, dropped) = (count(&self.counts.emitted), count(&self.counts.dropped));
        let lost = emitted.saturating_sub(count(&self.counts.delivered));
        if lost == 0 {
            return None;
        }
        let mut warning =
            format!("{lost} of {emitted} lineage events did not get to {}", self.name);
        let reason = self.counts.reason.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Writing to a string cannot fail.
        let _ = match reason {
            Some(reason) => write!(warning, ": {reason}"),
            None if late => write!(warning, ": it takes too long"),
            None => Ok(()),
        };
        if dropped > 0 {
            let _ = write!(warning, "; {dropped} were dropped because the queue was full");
        }
        Some(warning)
    }
}

impl Drop for Emitter {
    /// An aborted run leaves no thread behind.
    fn drop(&mut self) {
        if self.queue.is_some() {
            self.stop.cancel(15);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Accepts one event at a time, controlled by the test.
    struct Gate {
        open: Receiver<bool>,
        seen: mpsc::Sender<Vec<u8>>,
    }

    impl Transport for Gate {
        fn name(&self) -> String {
            "the gate".into()
        }

        fn deliver(&mut self, line: &[u8], stop: &Cancellation) -> Result<(), String> {
            // The test may have stopped listening.
            let _ = self.seen.send(line.to_vec());
            loop {
                match self.open.recv_timeout(Duration::from_millis(5)) {
                    Ok(true) => return Ok(()),
                    Ok(false) => return Err("it is shut".into()),
                    Err(_) if stop.is_cancelled() => return Err("stopped".into()),
                    Err(_) => {}
                }
            }
        }
    }

    fn gate() -> (Gate, mpsc::Sender<bool>, Receiver<Vec<u8>>) {
        let ((opener, open), (seen, sight)) = (mpsc::channel(), mpsc::channel());
        (Gate { open, seen }, opener, sight)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    #[test]
    fn queued_events_arrive_in_order() {
        let (gate, opener, sight) = gate();
        let emitter = Emitter::start(gate);
        for number in 0..5_u8 {
            emitter.emit(vec![number]);
            opener.send(true).expect("somebody listens");
        }
        assert_eq!(emitter.finish(soon()), None);
        assert_eq!(sight.iter().collect::<Vec<_>>(), [[0], [1], [2], [3], [4]]);
    }

    #[test]
    fn a_full_queue_drops_and_counts() {
        let (gate, opener, sight) = gate();
        let emitter = Emitter::with_queue(gate, 2);
        emitter.emit(vec![0]);
        // One is at the gate, two are queued, the last two do not fit.
        sight.recv().expect("the first one");
        for number in 1..5 {
            emitter.emit(vec![number]);
        }
        for _ in 0..3 {
            opener.send(true).expect("somebody listens");
        }
        let warning = emitter.finish(soon()).expect("something is lost");
        assert_eq!(
            warning,
            "2 of 5 lineage events did not get to the gate; 2 were dropped because the queue was full"
        );
    }

    #[test]
    fn the_first_reason_is_reported_once() {
        let (gate, opener, _sight) = gate();
        let emitter = Emitter::start(gate);
        for open in [true, false, false] {
            emitter.emit(Vec::new());
            opener.send(open).expect("somebody listens");
        }
        let warning = emitter.finish(soon()).expect("something is lost");
        assert_eq!(warning, "2 of 3 lineage events did not get to the gate: it is shut");
    }

    #[test]
    fn the_end_of_a_run_does_not_wait_for_a_gate_that_never_opens() {
        let (gate, opener, _sight) = gate();
        let emitter = Emitter::start(gate);
        emitter.emit(Vec::new());
        let warning = emitter.finish(Instant::now()).expect("something is lost");
        assert!(warning.starts_with("1 of 1 lineage events did not get to the gate"), "{warning}");
        // The thread sees the cancellation, which closes the other end of the gate.
        let until = soon();
        while opener.send(true).is_ok() {
            assert!(Instant::now() < until, "the thread has ended");
            thread::sleep(Duration::from_millis(5));
        }
    }
}
