//! HTTP requests, sent once and without following redirects, and the runtime for all network
//! access.
//!
//! Messages never contain addresses, headers or bodies, which may contain secrets.

mod answer;
mod backoff;
mod client;
mod request;
mod runtime;

pub(crate) use answer::Answer;
pub(crate) use backoff::Backoff;
pub(crate) use client::{Client, SendError};
pub(crate) use request::{Method, Request, escape};
pub(crate) use runtime::{install_crypto, runtime};
