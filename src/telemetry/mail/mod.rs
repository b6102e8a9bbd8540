//! Mail that tells people of a run that failed or tries again; off by default.
//!
//! What the server says in words is in no warning: only its code is.

pub(crate) mod message;
pub(crate) mod smtp;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::config::{Mail, Settings};
use crate::error::Result;
use crate::telemetry::mail::message::Letter;
use crate::telemetry::mail::smtp::{Delivery, Post};

/// Letters that may wait. A run that tells more than that while its mail server is stuck has told
/// enough.
const QUEUE: usize = 32;
/// How often a wait looks whether the run has ended.
const STEP: Duration = Duration::from_millis(20);
/// How long a check may take.
const CHECK: Duration = Duration::from_secs(20);

/// Sends mail while a run goes on.
pub struct Mailer {
    on_failure: bool,
    on_retry: bool,
    queue: SyncSender<Letter>,
    /// Within a lock only so that a run can be watched from several threads.
    ended: Mutex<Receiver<()>>,
    state: Arc<State>,
}

/// What the run and the thread that sends both know.
#[derive(Default)]
struct State {
    /// When the thread has to have ended; nothing while the run goes on.
    until: Mutex<Option<Instant>>,
    warnings: Mutex<Vec<String>>,
    /// Letters that are written and neither sent nor given up.
    waiting: AtomicUsize,
}

impl Mailer {
    /// A mailer, where the settings want mail. Nothing is opened before there is a letter.
    #[must_use]
    pub fn new(settings: &Settings) -> Option<Self> {
        let mail = settings.mail.clone();
        if !mail.is_on() {
            return None;
        }
        let (on_failure, on_retry) = (mail.on_failure, mail.on_retry);
        let (queue, letters) = sync_channel(QUEUE);
        let (alive, ended) = sync_channel(0);
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        // Without the thread every letter becomes a warning: the queue is closed.
        let _ = thread::Builder::new().name("mail".into()).spawn(move || {
            work(&mail, &letters, &shared);
            drop(alive);
        });
        Some(Self { on_failure, on_retry, queue, ended: Mutex::new(ended), state })
    }

    /// Tells that a task failed at its `attempt`-th try and is tried again after `delay`.
    pub fn retry(&self, run: &str, task: &str, attempt: u32, error: &str, delay: Duration) {
        if self.on_retry {
            self.put(Letter::retry(run, task, attempt, error, delay));
        }
    }

    /// Tells that a run failed.
    pub fn failure(&self, run: &str, kind: &str, message: &str, hint: Option<&str>) {
        if self.on_failure {
            self.put(Letter::failure(run, kind, message, hint));
        }
    }

    /// Waits until all letters are sent, `limit` at most; what could not be sent comes back as
    /// warnings.
    #[must_use]
    pub fn finish(self, limit: Duration) -> Vec<String> {
        let Self { queue, ended, state, .. } = self;
        drop(queue);
        *lock(&state.until) = Some(Instant::now() + limit);
        // Nothing is ever sent: it closes when the thread ends, by a panic too.
        let late = lock(&ended).recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
        let mut warnings = std::mem::take(&mut *lock(&state.warnings));
        let waiting = state.waiting.load(Ordering::SeqCst);
        if waiting > 0 {
            let why = if late { "the mail server was too slow" } else { "sending broke off" };
            warnings.push(format!("{} not sent: {why}", mails(waiting)));
        }
        warnings
    }

    fn put(&self, letter: Letter) {
        self.state.waiting.fetch_add(1, Ordering::SeqCst);
        if self.queue.try_send(letter).is_err() {
            self.state.waiting.fetch_sub(1, Ordering::SeqCst);
            self.state.warn("1 mail was not sent: too many were waiting".into());
        }
    }
}

/// Signs in at the mail server and sends nothing; says how the way there is protected. Nothing where
/// the settings want no mail.
#[must_use]
pub fn check(settings: &Settings) -> Option<Result<String>> {
    let mail = &settings.mail;
    let until = Instant::now() + CHECK;
    mail.is_on().then(|| Post::new(mail).and_then(|post| post.check(until)))
}

/// Sends letters until there are no more.
fn work(mail: &Mail, letters: &Receiver<Letter>, state: &State) {
    let mut post = None;
    for letter in letters {
        // Secrets and certificates are read when they are needed first, and anew after a failure.
        let opened = match post.take() {
            Some(open) => Ok(open),
            None => Post::new(mail),
        };
        match opened {
            Ok(open) => {
                if send(&open, &letter, mail, state) {
                    post = Some(open);
                }
            }
            Err(error) => state.warn(format!("a mail was not sent: {error}")),
        }
        state.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Sends one letter, more than once where the server asks for it; whether it was taken.
fn send(post: &Post, letter: &Letter, mail: &Mail, state: &State) -> bool {
    let message = match post.message(letter) {
        Ok(message) => message,
        Err(error) => {
            state.warn(format!("a mail was not sent: {error}"));
            return false;
        }
    };
    let mut waits = mail.retry_delays_secs.iter().copied().map(Duration::from_secs);
    loop {
        match post.send(&message, state.until()) {
            Ok(Delivery { refused: 0 }) => return true,
            Ok(Delivery { refused }) => {
                state
                    .warn(format!("the mail server refused {refused} of the addresses in mail.to"));
                return true;
            }
            Err(trouble) => {
                let again = waits.next().filter(|_| trouble.can_pass);
                if again.is_none_or(|wait| !state.pause(wait)) {
                    state.warn(format!("a mail was not sent: {}", trouble.what));
                    return false;
                }
            }
        }
    }
}

impl State {
    fn warn(&self, warning: String) {
        lock(&self.warnings).push(warning);
    }

    fn until(&self) -> Option<Instant> {
        *lock(&self.until)
    }

    /// Waits, shorter where the run has ended in the meantime: then the next try comes at once.
    /// Whether there is time for one.
    fn pause(&self, wait: Duration) -> bool {
        let end = Instant::now() + wait;
        loop {
            let now = Instant::now();
            match self.until() {
                Some(until) if now >= until => return false,
                // There is no later for a run that has ended.
                Some(until) if end >= until => return true,
                _ if now >= end => return true,
                _ => thread::sleep(STEP.min(end - now)),
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn mails(count: usize) -> String {
    if count == 1 { "1 mail was".to_owned() } else { format!("{count} mails were") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_settings_there_is_no_mailer() {
        fn shared<T: Send + Sync>() {}
        shared::<Mailer>();
        assert!(Mailer::new(&Settings::default()).is_none());
        assert!(check(&Settings::default()).is_none());
    }

    #[test]
    fn a_wait_is_cut_short_when_the_run_ends() {
        let state = State::default();
        assert!(state.pause(Duration::from_millis(1)), "the run goes on");
        *lock(&state.until) = Some(Instant::now() + Duration::from_secs(30));
        let began = Instant::now();
        assert!(state.pause(Duration::from_mins(1)), "the last try comes at once");
        assert!(state.pause(Duration::from_millis(1)), "a short wait fits");
        *lock(&state.until) = Some(Instant::now());
        assert!(!state.pause(Duration::ZERO), "no time is left");
        assert!(began.elapsed() < Duration::from_secs(20));
    }
}
