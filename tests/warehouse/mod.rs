//! The way to the warehouse and what it must grant: TLS, passwords, poolers, roles, migrations.

mod data_dictionary;
#[cfg(feature = "failpoints")]
mod migrations;
mod passwords;
mod pooler;
mod roles;
mod row_security;
mod server_settings;
pub(crate) mod tls;
