//! Shared by all remote sources: timeouts, cancellation and errors.

use std::future::Future;
use std::time::Duration;

use tokio::select;

use super::super::address::Address;
use super::super::left_out::LeftOut;
use crate::error::{Error, Result};
use crate::event::Cancellation;
use crate::schema::Dataset;

/// Connect timeout.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Idle timeout: a transfer without data for this long fails.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_mins(1);

/// The objects of an address.
pub(in crate::extract) struct RemoteObjects {
    pub(in crate::extract) addresses: Vec<Address>,
    /// Whether they come from a glob or a prefix.
    pub(in crate::extract) parts: bool,
    pub(in crate::extract) left_out: LeftOut,
}

impl RemoteObjects {
    pub(super) fn one(address: Address) -> Self {
        Self { addresses: vec![address], parts: false, left_out: LeftOut::default() }
    }
}

/// Runs `work` until cancelled.
pub(super) async fn unless_cancelled<T>(
    cancel: &Cancellation,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    select! {
        biased;
        _ = cancel.cancelled() => Err(cancel.check().err().unwrap_or_else(|| Error::internal("a signal without a number"))),
        done = work => done,
    }
}

/// Error for a host that does not answer.
pub(super) fn unreachable(dataset: Dataset, address: &Address) -> Error {
    Error::source(format!("{dataset}: {address} cannot be reached"))
        .hint("check the address, the network and the proxy settings")
}

/// Error for a transfer that broke off.
pub(super) fn broken_off(dataset: Dataset, address: &Address, bytes: u64) -> Error {
    Error::source(format!("{dataset}: {address} broke off after {bytes} bytes"))
        .hint("nothing was loaded; run again")
}
