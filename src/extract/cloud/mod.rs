//! Sources that lie elsewhere: objects of S3, Google and Azure, and files over HTTP.
//!
//! Polars could read from object stores too, but a delimited file is read by our own reader, which
//! needs bytes; so `object_store`, the crate that Polars itself uses underneath, is used directly.
//! An object is written to the spool while it is read: it is read twice, once to fingerprint it and
//! once to load it, and must be the same both times.

mod objects;
mod transfer;
mod web;

use std::path::Path;

use tokio::runtime::{Builder, Runtime};
pub(super) use transfer::Found;

use super::address::Address;
use super::spool::{Spool, Writing};
use crate::config::Interval;
use crate::error::{Error, Result};
use crate::event::Cancellation;
use crate::http;
use crate::schema::Dataset;

/// The objects that an address means: itself, or those that match its glob or lie below it.
///
/// # Errors
/// `Config` when the address or the environment is wrong, `Source` when there is nothing or the
/// store cannot be read, `Interrupted` on cancellation.
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
