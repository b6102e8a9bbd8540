//! What all remote sources share: limits, signals and failures.

use std::future::Future;
use std::time::Duration;

use tokio::select;

use super::super::address::Address;
use super::super::left_out::LeftOut;
use crate::error::{Error, Result};
use crate::event::Cancellation;
use crate::schema::Dataset;

/// A connection that is not made within this time is none.
pub(super) const CONNECT: Duration = Duration::from_secs(10);
/// A transfer without any data for so long has failed.
pub(super) const SILENCE: Duration = Duration::from_mins(1);

/// The objects of an address.
pub(in crate::extract) struct Found {
    pub(in crate::extract) addresses: Vec<Address>,
    /// Whether they are those of a glob or a prefix.
    pub(in crate::extract) parts: bool,
    pub(in crate::extract) left_out: LeftOut,
}

impl Found {
    pub(super) fn one(address: Address) -> Self {
        Self { addresses: vec![address], parts: false, left_out: LeftOut::default() }
    }
}

/// Does `work` until a signal.
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

/// The failure of a place that does not answer.
pub(super) fn unreachable(dataset: Dataset, address: &Address) -> Error {
    Error::source(format!("{dataset}: {address} cannot be reached"))
        .hint("check the address, the network and the proxy settings")
}

/// The failure of a transfer that has begun.
pub(super) fn broken_off(dataset: Dataset, address: &Address, bytes: u64) -> Error {
    Error::source(format!("{dataset}: {address} broke off after {bytes} bytes"))
        .hint("nothing was loaded; run again")
}
