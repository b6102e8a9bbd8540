//! One HTTP request and what became of it.
//!
//! Addresses, headers and bodies are never part of a message: they may hold secrets.

mod answer;
mod backoff;
mod request;

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::{Once, OnceLock};
use std::time::{Duration, Instant};

pub use answer::Answer;
pub use backoff::Backoff;
pub use request::{Method, Request, escape};
use reqwest::redirect::Policy;
use tokio::runtime::Builder;
use tokio::time::timeout;

use crate::error::{Error, Result};
use crate::event::Cancellation;

/// A connection that is not made within this time is none.
const CONNECT: Duration = Duration::from_secs(10);
/// How often a request to stop is looked for.
const TICK: Duration = Duration::from_millis(50);
/// The largest body that is read.
const LARGEST: usize = 16 * 1024 * 1024;

/// Sends requests.
#[derive(Clone)]
pub struct Client {
    client: reqwest::Client,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendError {
    /// The request cannot have arrived: no connection was made.
    NotSent,
    /// It may have arrived; the connection ended before the answer did.
    NoAnswer,
    /// It may have arrived; the time was over before the answer came.
    TimedOut,
    /// It may have arrived; a signal (its number) asked to stop.
    Cancelled(i32),
}

impl SendError {
    /// Whether the request may have had its effect.
    #[must_use]
    pub fn may_have_arrived(self) -> bool {
        self != Self::NotSent
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotSent => "no connection could be made",
            Self::NoAnswer => "the connection ended before the answer",
            Self::TimedOut => "no answer in time",
            Self::Cancelled(_) => "stopped by a signal",
        })
    }
}

impl Client {
    /// The client that all share: certificate authorities are read once.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn shared() -> Result<&'static Self> {
        static SHARED: OnceLock<Result<Client>> = OnceLock::new();
        SHARED.get_or_init(Self::new).as_ref().map_err(Clone::clone)
    }

    /// A client that follows no redirects and keeps no connections.
    ///
    /// # Errors
    /// `Config` when this machine has no certificate authorities.
    pub fn new() -> Result<Self> {
        prepare();
        let client = reqwest::Client::builder()
            .user_agent(concat!("claims-etl/", env!("CARGO_PKG_VERSION")))
            .referer(false)
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT)
            .pool_max_idle_per_host(0)
            .build()
            .map_err(|_| {
                Error::config("this machine cannot make web requests")
                    .hint("are its certificate authorities (ca-certificates) installed?")
            })?;
        Ok(Self { client })
    }

    /// Sends a request once and reads the whole answer, whatever its status; waits until `until`
    /// at the longest, and not beyond a request to stop.
    ///
    /// # Errors
    /// [`SendError`] where there is no answer.
    pub fn send(
        &self,
        request: &Request,
        until: Instant,
        cancel: &Cancellation,
    ) -> Result<Answer, SendError> {
        let runtime =
            Builder::new_current_thread().enable_all().build().map_err(|_| SendError::NotSent)?;
        let built = request.build(&self.client).ok_or(SendError::NotSent)?;
        runtime.block_on(unless_stopped(until, cancel, self.exchange(built)))?
    }

    async fn exchange(&self, request: reqwest::Request) -> Result<Answer, SendError> {
        let lost = |error: &reqwest::Error| {
            if error.is_connect() || error.is_builder() {
                SendError::NotSent
            } else {
                SendError::NoAnswer
            }
        };
        let mut response = self.client.execute(request).await.map_err(|error| lost(&error))?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|_| SendError::NoAnswer)? {
            body.extend_from_slice(&piece);
            if body.len() > LARGEST {
                return Err(SendError::NoAnswer);
            }
        }
        Ok(Answer::new(status, headers, body))
    }
}

/// Waits for `work` until it is done, time is over, or somebody asks to stop.
async fn unless_stopped<T>(
    until: Instant,
    cancel: &Cancellation,
    work: impl Future<Output = T>,
) -> Result<T, SendError> {
    let mut work = pin!(work);
    loop {
        if let Some(signal) = cancel.signal() {
            return Err(SendError::Cancelled(signal));
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(SendError::TimedOut);
        }
        if let Ok(done) = timeout(left.min(TICK), work.as_mut()).await {
            return Ok(done);
        }
    }
}

/// Names the cryptography that TLS is to use: ring, as for the warehouse. Whoever was first stays.
pub fn prepare() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}
