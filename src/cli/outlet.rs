//! Non-blocking, infallible output to stderr and, during a command, to stdout.
//!
//! The reader may be gone, the disk full, the terminal stopped or the pipe full. So a thread does
//! the writing; above a limit messages are dropped and counted.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Maximum queued bytes.
const MAX_QUEUED_BYTES: usize = 1 << 20;
/// Maximum wait for pending output at exit.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) fn stderr() -> &'static Outlet {
    static STDERR: LazyLock<Outlet> = LazyLock::new(|| Outlet::start("stderr", io::stderr));
    &STDERR
}

/// Standard output, for results printed during a command.
pub(super) fn stdout() -> &'static Outlet {
    static STDOUT: LazyLock<Outlet> = LazyLock::new(|| Outlet::start("stdout", io::stdout));
    &STDOUT
}

/// Writes bytes, ignoring errors.
type Writing = Box<dyn Fn(&[u8]) + Send + Sync>;

/// An output stream and its queue.
pub(super) struct Outlet {
    shared: Arc<Shared>,
    /// Direct output, if no thread could be started.
    by_itself: Option<Writing>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    is_writing: bool,
    /// Messages dropped since the last successful write.
    dropped: u64,
}

impl Outlet {
    fn start<W: Write>(
        name: &'static str,
        open: impl Fn() -> W + Send + Sync + Copy + 'static,
    ) -> Self {
        let shared = Arc::<Shared>::default();
        let work = Arc::clone(&shared);
        // Write errors are ignored.
        let write = move |bytes: &[u8]| {
            let mut out = open();
            let _ = out.write_all(bytes).and_then(|()| out.flush());
        };
        let thread =
            thread::Builder::new().name(name.into()).spawn(move || work.write(name, write));
        let by_itself: Option<Writing> = match thread {
            Ok(_) => None,
            Err(_) => Some(Box::new(write)),
        };
        Self { shared, by_itself }
    }

    /// Queues a whole message; writes it directly if there is no thread.
    pub(super) fn write(&self, message: &[u8]) {
        if let Some(write) = &self.by_itself {
            return write(message);
        }
        let mut state = self.shared.lock();
        if state.waiting.len() + message.len() > MAX_QUEUED_BYTES {
            state.dropped += 1;
            return;
        }
        state.waiting.extend_from_slice(message);
        self.shared.changed.notify_all();
    }

    /// Waits briefly until everything is written.
    pub(super) fn flush(&self) {
        let until = Instant::now() + FLUSH_TIMEOUT;
        let mut state = self.shared.lock();
        while self.by_itself.is_none() && (state.is_writing || !state.waiting.is_empty()) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let woken = self.shared.changed.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The writer thread; runs until the process ends.
    fn write(&self, name: &str, write: impl Fn(&[u8])) {
        let mut state = self.lock();
        loop {
            if state.waiting.is_empty() {
                state.is_writing = false;
                self.changed.notify_all();
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.is_writing = true;
            let (bytes, dropped) =
                (std::mem::take(&mut state.waiting), std::mem::take(&mut state.dropped));
            drop(state);
            write(&bytes);
            if dropped > 0 {
                tracing::warn!(
                    target: "claims_etl",
                    "{dropped} messages are missing here: nobody read {name}"
                );
            }
            state = self.lock();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, PipeWriter, Read};

    use super::*;

    /// An outlet into a pipe, and the reading end.
    fn piped() -> (Outlet, PipeReader) {
        let (reader, writer) = io::pipe().expect("a pipe");
        let writer: &'static PipeWriter = Box::leak(Box::new(writer));
        (Outlet::start("test", move || writer), reader)
    }

    #[test]
    fn what_is_written_comes_out_whole_and_in_order() {
        let (outlet, mut reader) = piped();
        outlet.write(b"one\n");
        outlet.write(b"two\n");
        outlet.flush();
        let mut read = [0; 8];
        reader.read_exact(&mut read).expect("both");
        assert_eq!(&read, b"one\ntwo\n");
    }

    #[test]
    fn a_reader_that_does_not_read_holds_nobody_up() {
        let (outlet, mut reader) = piped();
        let message = [b'x'; 1000];
        let began = Instant::now();
        for _ in 0..10_000 {
            outlet.write(&message);
        }
        assert!(began.elapsed() < Duration::from_secs(30), "no write waits");
        outlet.flush();
        assert!(began.elapsed() >= FLUSH_TIMEOUT, "the end waits a little");
        assert!(outlet.shared.lock().waiting.len() <= MAX_QUEUED_BYTES);
        // Reading resumes the output.
        let mut read = vec![0; 1_000_000];
        reader.read_exact(&mut read).expect("what waited");
        assert!(read.iter().all(|byte| *byte == b'x'));
    }

    #[test]
    fn a_closed_stream_holds_nobody_up() {
        let (outlet, reader) = piped();
        drop(reader);
        outlet.write(b"nobody is there\n");
        let began = Instant::now();
        outlet.flush();
        assert!(began.elapsed() < FLUSH_TIMEOUT, "there is nothing to wait for");
    }
}
