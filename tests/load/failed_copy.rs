//! Bulk loads that fail midway, by the reader, by the server, by the connection: nothing stays, and
//! the error is the right one.

use std::sync::Arc;

use adbc_core::options::IngestMode;
use arrow::array::{ArrayRef, Int32Array, RecordBatch, RecordBatchIterator};
use arrow::error::ArrowError;
use claims_etl::warehouse::sql;

use crate::support::sandbox::{Sandbox, batch, connect, some};

/// Rows of several chunks on the wire.
const MANY: i32 = 500_000;

fn rows(n: i32) -> RecordBatch {
    batch(vec![("n", Arc::new(Int32Array::from_iter_values(0..n)) as ArrayRef)])
}

#[test]
fn a_reader_that_fails_leaves_nothing_and_the_connection_goes_on() {
    let mut sandbox = Sandbox::new("failed_load");
    let schema = rows(1).schema();
    let name = sandbox.schema.clone();
    for mode in [IngestMode::Create, IngestMode::Append] {
        sandbox.run("DROP TABLE IF EXISTS t");
        if mode == IngestMode::Append {
            sandbox.run("CREATE TABLE t (n int)");
        }
        // More than a chunk is on its way when the reader fails.
        let broken = RecordBatchIterator::new(
            [
                Ok(rows(MANY)),
                Err(ArrowError::ExternalError("stopped by a signal".into())),
                Ok(rows(1)),
            ],
            Arc::clone(&schema),
        );
        let e = sql::ingest(&mut sandbox.connection, (&name, "t"), mode, &[], Box::new(broken))
            .expect_err("the reader failed");
        assert!(e.message().contains("stopped by a signal"), "{e}");
        assert!(!e.kind().is_transient());
        if mode == IngestMode::Append {
            // Before anything else uses the connection: its lock on the table must be free.
            let table = format!("{}.t", sql::quote_identifier(&name));
            let lock = format!("BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE NOWAIT; END");
            sql::execute(&mut connect(), "locking", &lock).expect("the lock must be free");
            assert_eq!(sandbox.texts("SELECT count(*)::text FROM t"), some(&["0"]));
        } else {
            assert_eq!(sandbox.texts("SELECT to_regclass('t')::text"), vec![None]);
        }
    }
}

#[test]
fn a_row_that_the_server_refuses_ends_the_load_with_its_reason() {
    let mut sandbox = Sandbox::new("refused_row");
    sandbox.run("CREATE TABLE t (n int CONSTRAINT small CHECK (n < 10))");
    let schema = rows(1).schema();
    let name = sandbox.schema.clone();
    let batches = [Ok(rows(MANY)), Ok(rows(MANY)), Ok(rows(MANY))];
    let reader = Box::new(RecordBatchIterator::new(batches, schema));
    let e = sql::ingest(&mut sandbox.connection, (&name, "t"), IngestMode::Append, &[], reader)
        .expect_err("the eleventh row");
    assert!(e.message().contains("23514") && e.message().contains("constraint small"), "{e}");
    assert!(!e.kind().is_transient());
    assert_eq!(sandbox.texts("SELECT count(*)::text FROM t"), some(&["0"]));
}

#[test]
fn a_server_that_goes_away_midway_is_transient() {
    let mut sandbox = Sandbox::new("server_gone");
    sandbox.run("CREATE TABLE t (n int)");
    let pid = sandbox.texts("SELECT pg_backend_pid()::text").remove(0).expect("a number");
    let schema = rows(1).schema();
    let name = sandbox.schema.clone();
    let batches = (0..20).map(move |n| {
        if n == 1 {
            let end = format!("SELECT pg_terminate_backend({pid}, 5000)");
            sql::execute(&mut connect(), "ending a connection", &end).expect("runs");
        }
        Ok::<_, ArrowError>(rows(MANY))
    });
    let reader = Box::new(RecordBatchIterator::new(batches, schema));
    let e = sql::ingest(&mut sandbox.connection, (&name, "t"), IngestMode::Append, &[], reader)
        .expect_err("the connection is gone");
    assert!(e.kind().is_transient(), "{e}");
    let count = format!("SELECT count(*) AS n FROM {}.t", sql::quote_identifier(&name));
    let count = sql::query(&mut connect(), "counting", &count).expect("runs");
    assert_eq!(sql::int(&count, "n", 0), Some(0));
}
