//! Mail about failed runs and retried tasks; off by default.
//!
//! Warnings contain the mail server's reply code, never its text.

mod message;
mod smtp;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use message::Message;
use smtp::{Delivery, SmtpClient};

use crate::config::{Mail, Settings};
use crate::error::Result;

/// Queue capacity. Further mails are dropped while the mail server is stuck.
const QUEUE: usize = 32;
/// Interval between checks whether the run has ended.
const STEP: Duration = Duration::from_millis(20);
const CHECK_TIMEOUT: Duration = Duration::from_secs(20);

/// Sends mail from a background thread during a run.
pub struct Mailer {
    on_failure: bool,
    on_retry: bool,
    queue: SyncSender<Message>,
    /// In a mutex only to be `Sync`.
    ended: Mutex<Receiver<()>>,
    state: Arc<State>,
}

/// Shared between the run and the sending thread.
#[derive(Default)]
struct State {
    /// The deadline of the thread; `None` during the run.
    until: Mutex<Option<Instant>>,
    warnings: Mutex<Vec<String>>,
    /// Mails neither sent nor given up.
    waiting: AtomicUsize,
}

impl Mailer {
    /// A mailer, if configured. It connects when there is mail to send.
    #[must_use]
    pub fn new(settings: &Settings) -> Option<Self> {
        let mail = settings.mail.clone();
        if !mail.is_on() {
            return None;
        }
        let (on_failure, on_retry) = (mail.on_failure, mail.on_retry);
        let (queue, messages) = sync_channel(QUEUE);
        let (alive, ended) = sync_channel(0);
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        // Without the thread the queue is closed and every mail becomes a warning.
        let _ = thread::Builder::new().name("mail".into()).spawn(move || {
            send_all(&mail, &messages, &shared);
            drop(alive);
        });
        Some(Self { on_failure, on_retry, queue, ended: Mutex::new(ended), state })
    }

    /// Reports that attempt number `attempt` of a task failed and is retried after `delay`.
    pub fn retry(&self, run: &str, task: &str, attempt: u32, error: &str, delay: Duration) {
        if self.on_retry {
            self.enqueue(Message::retry(run, task, attempt, error, delay));
        }
    }

    /// Reports that a run failed.
    pub fn failure(&self, run: &str, kind: &str, message: &str, hint: Option<&str>) {
        if self.on_failure {
            self.enqueue(Message::failure(run, kind, message, hint));
        }
    }

    /// Waits until all mails are sent, at most `limit`; returns warnings about unsent mails.
    #[must_use]
    pub fn finish(self, limit: Duration) -> Vec<String> {
        let Self { queue, ended, state, .. } = self;
        drop(queue);
        *lock(&state.until) = Some(Instant::now() + limit);
        // Nothing is ever sent on it: it closes when the thread ends or panics.
        let late = lock(&ended).recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
        let mut warnings = std::mem::take(&mut *lock(&state.warnings));
        let waiting = state.waiting.load(Ordering::SeqCst);
        if waiting > 0 {
            let why = if late { "the mail server was too slow" } else { "sending was aborted" };
            warnings.push(format!("{} not sent: {why}", mails(waiting)));
        }
        warnings
    }

    fn enqueue(&self, message: Message) {
        self.state.waiting.fetch_add(1, Ordering::SeqCst);
        if self.queue.try_send(message).is_err() {
            self.state.waiting.fetch_sub(1, Ordering::SeqCst);
            self.state.warn("1 mail was not sent: too many were waiting".into());
        }
    }
}

/// Signs in to the mail server without sending; returns the connection's protection, or `None` if
/// mail is off.
#[must_use]
pub fn check(settings: &Settings) -> Option<Result<String>> {
    let mail = &settings.mail;
    let until = Instant::now() + CHECK_TIMEOUT;
    mail.is_on().then(|| SmtpClient::new(mail).and_then(|client| client.check(until)))
}

/// Sends mails until the queue is closed.
fn send_all(mail: &Mail, messages: &Receiver<Message>, state: &State) {
    let mut kept = None;
    for message in messages {
        // Secrets and certificates are read on first use and again after a failure.
        let client = kept.take().map_or_else(|| SmtpClient::new(mail), Ok);
        match client {
            Ok(client) => {
                if send(&client, &message, mail, state) {
                    kept = Some(client);
                }
            }
            Err(error) => state.warn(format!("a mail was not sent: {error}")),
        }
        state.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Sends one mail, retrying after transient errors; returns whether it was accepted.
fn send(client: &SmtpClient, message: &Message, mail: &Mail, state: &State) -> bool {
    let bytes = match client.format(message) {
        Ok(bytes) => bytes,
        Err(error) => {
            state.warn(format!("a mail was not sent: {error}"));
            return false;
        }
    };
    let mut waits = mail.retry_delays_secs.iter().copied().map(Duration::from_secs);
    loop {
        match client.send(&bytes, state.until()) {
            Ok(Delivery { refused: 0 }) => return true,
            Ok(Delivery { refused }) => {
                state
                    .warn(format!("the mail server refused {refused} of the addresses in mail.to"));
                return true;
            }
            Err(error) => {
                let again = waits.next().filter(|_| error.transient);
                if again.is_none_or(|wait| !state.pause(wait)) {
                    state.warn(format!("a mail was not sent: {}", error.message));
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

    /// Waits before the next attempt, for less time once the run has ended. Returns whether there
    /// is time for another attempt.
    fn pause(&self, wait: Duration) -> bool {
        let end = Instant::now() + wait;
        loop {
            let now = Instant::now();
            match self.until() {
                Some(until) if now >= until => return false,
                // The wait would outlast the deadline: try now.
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
        assert!(state.pause(Duration::from_millis(1)), "during the run");
        *lock(&state.until) = Some(Instant::now() + Duration::from_secs(30));
        let began = Instant::now();
        assert!(state.pause(Duration::from_mins(1)), "the last attempt comes at once");
        assert!(state.pause(Duration::from_millis(1)), "a short wait fits");
        *lock(&state.until) = Some(Instant::now());
        assert!(!state.pause(Duration::ZERO), "no time is left");
        assert!(began.elapsed() < Duration::from_secs(20));
    }
}
