//! Remote sources: S3, Google Cloud Storage, Azure Blob Storage and HTTP(S).
//!
//! Polars can read object stores, but our delimited reader needs bytes, so `object_store` is used
//! directly. Each object is downloaded once, into the spool: it is read twice (fingerprint, load)
//! and both reads must see the same bytes.

mod objects;
mod transfer;
mod web;

use std::path::Path;

pub(super) use transfer::RemoteObjects;
use transfer::unless_cancelled;

use super::address::Address;
use super::spool::{Spool, Writing};
use crate::config::Interval;
use crate::error::Result;
use crate::event::Cancellation;
use crate::http::{install_crypto, runtime};
use crate::schema::Dataset;

/// Lists the objects of an address: the object itself, or those matching its glob or prefix.
///
/// # Errors
/// `Config` for a wrong address or environment, `Source` when nothing matches or the store cannot
/// be read, `Interrupted` on cancellation.
pub(super) fn expand(
    dataset: Dataset,
    address: Address,
    interval: &Interval,
    cancel: &Cancellation,
) -> Result<RemoteObjects> {
    if address.is_web() {
        return Ok(RemoteObjects::one(address));
    }
    install_crypto();
    let listing = objects::expand(dataset, address, interval);
    runtime()?.block_on(unless_cancelled(cancel, listing))
}

/// Downloads an object into the spool.
///
/// # Errors
/// As [`expand`], plus `Config` when the spool cannot be written.
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
