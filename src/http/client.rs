//! Sends HTTP requests.

use std::fmt;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use reqwest::redirect::Policy;
use tokio::select;
use tokio::time::sleep_until;

use super::answer::Answer;
use super::request::Request;
use super::runtime::{install_crypto, runtime};
use crate::error::{Error, Result};
use crate::event::Cancellation;

/// Connect timeout.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum body size in bytes.
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

/// Sends requests; follows no redirects and reuses no connections.
pub(crate) struct Client {
    client: reqwest::Client,
}

/// Why there is no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SendError {
    /// Not sent: the connection failed.
    NotSent,
    /// The connection broke before the response; the request may have arrived.
    NoAnswer,
    /// No response in time; the request may have arrived.
    TimedOut,
    /// Cancelled before the response; the request may have arrived.
    Cancelled,
}

impl SendError {
    /// Whether the request may have taken effect.
    pub(crate) fn may_have_arrived(self) -> bool {
        self != Self::NotSent
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotSent => "no connection could be made",
            Self::NoAnswer => "the connection ended before the answer",
            Self::TimedOut => "no answer in time",
            Self::Cancelled => "stopped by a signal",
        })
    }
}

impl From<reqwest::Error> for SendError {
    fn from(error: reqwest::Error) -> Self {
        if error.is_connect() || error.is_builder() { Self::NotSent } else { Self::NoAnswer }
    }
}

impl Client {
    /// The shared client of the process, so that certificate authorities are read only once.
    ///
    /// # Errors
    /// `Config` when this machine has no certificate authorities.
    pub(crate) fn shared() -> Result<&'static Self> {
        static SHARED: OnceLock<Result<Client>> = OnceLock::new();
        SHARED.get_or_init(Self::new).as_ref().map_err(Clone::clone)
    }

    fn new() -> Result<Self> {
        install_crypto();
        let client = reqwest::Client::builder()
            .user_agent(concat!("claims-etl/", env!("CARGO_PKG_VERSION")))
            .referer(false)
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(0)
            .build()
            .map_err(|_| {
                Error::config("this machine cannot make web requests")
                    .hint("are its certificate authorities (ca-certificates) installed?")
            })?;
        Ok(Self { client })
    }

    /// Sends a request once and reads the whole response, whatever its status; waits at most until
    /// `until` or cancellation.
    ///
    /// # Errors
    /// [`SendError`] without a response.
    pub(crate) async fn send(
        &self,
        request: &Request,
        until: Instant,
        cancel: &Cancellation,
    ) -> Result<Answer, SendError> {
        let request = request.build(&self.client).ok_or(SendError::NotSent)?;
        select! {
            biased;
            _ = cancel.cancelled() => Err(SendError::Cancelled),
            () = sleep_until(until.into()) => Err(SendError::TimedOut),
            answer = self.exchange(request) => answer,
        }
    }

    /// Blocking version of [`Self::send`].
    ///
    /// # Errors
    /// As [`Self::send`].
    pub(crate) fn send_blocking(
        &self,
        request: &Request,
        until: Instant,
        cancel: &Cancellation,
    ) -> Result<Answer, SendError> {
        let runtime = runtime().map_err(|_| SendError::NotSent)?;
        runtime.block_on(self.send(request, until, cancel))
    }

    async fn exchange(&self, request: reqwest::Request) -> Result<Answer, SendError> {
        let mut response = self.client.execute(request).await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|_| SendError::NoAnswer)? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_BODY_BYTES {
                return Err(SendError::NoAnswer);
            }
        }
        Ok(Answer::new(status, headers, body))
    }
}
