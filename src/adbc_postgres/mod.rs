//! A native Rust ADBC driver for PostgreSQL: the synchronous `adbc_core` traits over the blocking
//! `postgres` client. Bulk ingest goes through COPY BINARY, query results come back as Arrow.
//!
//! The C++ driver would have to be shipped next to the binary.
//!
//! What it promises beyond the traits:
//! - no error holds a value: a server's message, detail, hint and context can quote rows, so they
//!   are replaced by the SQLSTATE, its meaning, and the names of table, column and constraint;
//! - an ingest checks the types of the target's columns first, because COPY BINARY would load a
//!   bigint into a double precision column without a word;
//! - a failed ingest leaves nothing behind, a commit of a failed transaction is an error;
//! - `sslmode` is libpq's, for every connection that is made: sessions and cancel requests alike;
//! - a connection is a session of the server: a pooler in transaction mode is recognised and refused;
//! - connecting and cancelling come to an end, whatever the other side does;
//! - what is not implemented is reported by name (`Status::NotImplemented`).
//!
//! Parameters: a text value is sent in text form, so the server parses it as whatever type the
//! statement wants (`jsonb`, `uuid`, `numeric`, `timestamptz`, `date`, …); see [`statement`].

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
