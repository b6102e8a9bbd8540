//! Refresh targets, and that each shows what is published, once.

mod materialized_views;
mod metabase;
#[cfg(feature = "failpoints")]
mod notifications;
#[cfg(feature = "failpoints")]
mod outbox;
mod power_bi;
mod superset;
mod tableau;
mod webhook;
