//! Sources on other machines: objects of S3, Google and Azure, and files over HTTP.
//!
//! Polars reads object stores too, but our own reader of delimited files needs bytes, so the crate
//! underneath, `object_store`, is used directly. An object is read once, into the spool: it is used
//! twice, to fingerprint and to load it, and must be the same both times.

mod objects;
mod transfer;
mod web;

use std::path::Path;

pub(super) use transfer::Found;
use transfer::unless_cancelled;

use super::address::Address;
use super::spool::{Spool, Writing};
use crate::config::Interval;
use crate::error::Result;
use crate::event::Cancellation;
use crate::http::{install_crypto, runtime};
use crate::schema::Dataset;

/// The objects of an address: itself, or those that match its glob or are below it.
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
    install_crypto();
    let listing = objects::expand(dataset, address, interval);
    runtime()?.block_on(unless_cancelled(cancel, listing))
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
    install_crypto();
    let mut writing = Writing::new(folder)?;
    runtime()?.block_on(unless_cancelled(cancel, async {
        if address.is_web() {
            web::fetch(dataset, address, &mut writing).await
        } else {
            objects::fetch(dataset, address, &mut writing).await
        }
    }))?;
    Ok(writing.finish())
}
