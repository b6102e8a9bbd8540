//! HTTP requests, each sent once and without following redirects, and the runtime that all
//! network access shares.
//!
//! Addresses, headers and bodies are never part of a message: they may hold secrets.

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
