//! Sources that lie elsewhere: objects of S3, Google and Azure, and files over HTTP.
//!
//! Polars could read from object stores too, but a delimited file is read by our own reader, which
//! needs bytes; so `object_store`, the crate that Polars itself uses underneath, is used directly.
//! An object is written to the spool while it is read: it is read twice, once to fingerprint it and
//! once to load it, and must be the same both times.

mod objects;
mod web;

use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::address::Address;
use super::left_out::LeftOut;
use super::spool::{Spool, Writing};
use crate::config::Interval;
use crate::error::{Error, Result};
use crate::event::Cancellation;
use crate::http;
use crate::schema::Dataset;

/// How often a request to stop is looked for.
const TICK: Duration = Duration::from_millis(100);
/// A connection that is not made within this time is none.
const CONNECT: Duration = Duration::from_secs(10);
/// Nothing came for so long: the other side is gone.
const SILENCE: Duration = Duration::from_mins(1);

/// What an address means.
pub(super) struct Found {
    pub(super) addresses: Vec<Address>,
    /// Whether they are those of a glob or a prefix.
    pub(super) parts: bool,
    pub(super) left_out: LeftOut,
}

impl Found {
    fn one(address: Address) -> Self {
        Self { addresses: vec![address], parts: false, left_out: LeftOut::default() }
    }
}

/// The objects that an address means: itself, or those that match its glob or lie below it.
///
/// # Errors
/// `Config` when the address or the environment is wrong, `Source` when there is nothing or the
/// store cannot be read, `Interrupted` when asked to stop.
pub(super) fn expand(
    dataset: Dataset,
    address: Address,
    interval: &Interval,
    cancel: &Cancellation,
) -> Result<Found> {
    if address.is_web() {
        return Ok(Found::one(address));
    }
    http::prepare();
    runtime()?.block_on(objects::expand(dataset, address, interval, cancel))
}

/// Reads an object into the spool.
///
/// # Errors
/// As [`expand`], and `Config` when the spool cannot be written.
pub(super) fn fetch(
    dataset: Dataset,
    address: &Address,
    folder: &Path,
    cancel: &Cancellation,
) -> Result<Spool> {
    http::prepare();
    let mut writing = Writing::new(folder)?;
    runtime()?.block_on(async {
        if address.is_web() {
            web::fetch(dataset, address, &mut writing, cancel).await
        } else {
            objects::fetch(dataset, address, &mut writing, cancel).await
        }
    })?;
    Ok(writing.finish())
}

fn runtime() -> Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|_| Error::internal("no runtime for reading over a network"))
}

/// Waits for `work`, and looks every so often whether to stop.
async fn unless_cancelled<T>(cancel: &Cancellation, work: impl Future<Output = T>) -> Result<T> {
    let mut work = pin!(work);
    loop {
        match timeout(TICK, work.as_mut()).await {
            Ok(done) => return Ok(done),
            Err(_) => cancel.check()?,
        }
    }
}

/// The failure of a place that does not answer.
fn unreachable(dataset: Dataset, address: &Address) -> Error {
    Error::source(format!("{dataset}: {address} cannot be reached"))
        .hint("check the address, the network and the proxy settings")
}

/// The failure of a transfer that has begun.
fn broken_off(dataset: Dataset, address: &Address, bytes: u64) -> Error {
    Error::source(format!("{dataset}: {address} broke off after {bytes} bytes"))
        .hint("nothing was loaded; run again")
}
