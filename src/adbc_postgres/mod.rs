//! A native Rust ADBC driver for PostgreSQL: the synchronous `adbc_core` traits over the blocking
//! `postgres` client. Bulk ingest goes through COPY BINARY, query results come back as Arrow.
//!
//! Written because the C++ driver would have to be shipped next to the binary.
//!
//! Guarantees beyond the traits:
//! - errors contain no values: a server's message, detail, hint and context can quote rows, so they
//!   are replaced by the SQLSTATE, its meaning, and the names of table, column and constraint;
//! - an ingest first checks the types of the target's columns, because COPY BINARY would silently
//!   load a bigint into a double precision column;
//! - a failed ingest leaves nothing behind, and committing a failed transaction is an error;
//! - `sslmode` has libpq's semantics for every connection, including cancel requests;
//! - a connection is a server session: a pooler in transaction mode is detected and rejected;
//! - connecting and cancelling have timeouts;
//! - unimplemented functions are reported by name (`Status::NotImplemented`).
//!
//! Parameters: text values are sent in text form, so the server parses them as the parameter's type
//! (`jsonb`, `uuid`, `numeric`, `timestamptz`, `date`, …); see [`statement`].

mod address;
mod bounded;
mod cancel;
mod cells;
mod connection;
mod copy_encoder;
mod database;
mod driver;
mod error;
mod ingest;
mod numeric;
mod parameter;
mod pooler;
mod protection;
mod result;
mod session;
mod statement;
mod tls;
mod types;

pub(crate) use address::Address;
pub use connection::PostgresConnection;
pub use copy_encoder::CopyEncoder;
pub(crate) use database::PostgresDatabase;
pub use driver::PostgresDriver;
pub(crate) use protection::Protection;

#[cfg(test)]
mod tests {
    use super::PostgresConnection;
    use super::statement::PostgresStatement;

    #[test]
    fn connections_and_statements_move_between_threads() {
        fn assert_send<T: Send>() {}
        assert_send::<PostgresConnection>();
        assert_send::<PostgresStatement>();
    }
}
