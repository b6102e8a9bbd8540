//! What reading over a network has in common, from a store or from the web: its times and its failures.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::time::timeout;

use super::super::address::Address;
use super::super::left_out::LeftOut;
use crate::error::{Error, Result};
use crate::event::Cancellation;
use crate::schema::Dataset;

/// How often a request to stop is looked for.
const TICK: Duration = Duration::from_millis(100);
/// A connection that is not made within this time is none.
pub(super) const CONNECT: Duration = Duration::from_secs(10);
/// Nothing came for so long: the other side is gone.
pub(super) const SILENCE: Duration = Duration::from_mins(1);

/// What an address means.
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

/// Waits for `work`, and looks every so often whether to stop.
pub(super) async fn unless_cancelled<T>(
    cancel: &Cancellation,
    work: impl Future<Output = T>,
) -> Result<T> {
    let mut work = pin!(work);
    loop {
        match timeout(TICK, work.as_mut()).await {
            Ok(done) => return Ok(done),
            Err(_) => cancel.check()?,
        }
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
