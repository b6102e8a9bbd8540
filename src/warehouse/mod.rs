//! The warehouse in Postgres: how it is reached, whose it is, what is in it.
//!
//! - reaching it: `location`, `connection`, `sql`, `cursor`, `private_server`
//! - one run at a time, and readers who never wait long: `lock`, `table_lock`
//! - what is in it: `migrations`, `table_layout`, `relayout`, `partitions`, `views`, `comments`
//! - what must hold before anything is loaded: `server`, `rights`, `keys`, `table_checks`

pub(crate) mod comments;
pub mod connection;
pub(crate) mod cursor;
pub(crate) mod keys;
pub(crate) mod layout;
pub(crate) mod load_strategy;
pub mod location;
pub(crate) mod lock;
pub(crate) mod migrations;
pub(crate) mod partitions;
pub mod private_server;
pub(crate) mod relayout;
pub(crate) mod rights;
pub(crate) mod server;
pub mod sql;
pub(crate) mod table_checks;
pub(crate) mod table_layout;
pub(crate) mod table_lock;
pub(crate) mod views;
