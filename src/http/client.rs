//! Sends a request once.

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

/// A connection that is not made within this time is none.
const CONNECT: Duration = Duration::from_secs(10);
/// The largest body that is read, in bytes.
const LARGEST: usize = 16 * 1024 * 1024;

/// Sends requests; follows no redirects and keeps no connections.
pub(crate) struct Client {
    client: reqwest::Client,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SendError {
    /// The request cannot have arrived: no connection was made.
    NotSent,
    /// It may have arrived; the connection ended before the answer did.
    NoAnswer,
    /// It may have arrived; there was no answer in time.
    TimedOut,
    /// It may have arrived; a signal came first.
    Cancelled,
}

impl SendError {
    /// Whether the request may have had its effect.
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
    /// The client of the process: certificate authorities are read once.
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
    /// or a signal at the longest.
    ///
    /// # Errors
    /// [`SendError`] where there is no answer.
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

    /// [`Self::send`] for those who block.
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
        while let Some(piece) = response.chunk().await.map_err(|_| SendError::NoAnswer)? {
            body.extend_from_slice(&piece);
            if body.len() > LARGEST {
                return Err(SendError::NoAnswer);
            }
        }
        Ok(Answer::new(status, headers, body))
    }
}
