//! The ADBC driver and `sql` against a real server: modes, transactions, failures, queries.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use adbc_core::error::{Error as AdbcError, Status};
use adbc_core::options::{IngestMode, OptionConnection, OptionStatement};
use adbc_core::{Connection as _, Optionable as _, Statement as _};
use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Date32Array, FixedSizeBinaryArray, Float64Array, Int16Array,
    Int32Array, Int64Array, RecordBatch, RecordBatchIterator, RecordBatchReader, StringArray,
    UInt64Array,
};
use arrow::datatypes::{DataType, Date32Type, Field, Schema, TimeUnit};
use claims_etl::error::ErrorKind;
use claims_etl::warehouse::sql;

use crate::support::sandbox::{Sandbox, batch, connect, load, some};

/// A text that no error may hold.
const CANARY: &str = "CANARY-4711";

fn reader(batches: Vec<RecordBatch>, schema: &Schema) -> Box<dyn RecordBatchReader + Send> {
    let batches = batches.into_iter().map(Ok).collect::<Vec<_>>();
    Box::new(RecordBatchIterator::new(batches, Arc::new(schema.clone())))
}

fn sqlstate(e: &AdbcError) -> String {
    e.sqlstate.iter().map(|c| char::from(c.to_ne_bytes()[0])).collect()
}

#[test]
fn ingest_modes_do_what_they_say() {
    let mut sandbox = Sandbox::new("modes");
    let one = || batch(vec![("n", Arc::new(Int32Array::from(vec![1])) as ArrayRef)]);
    let count = |sandbox: &mut Sandbox| sandbox.texts("SELECT count(*)::text FROM t");

    let e = load(&mut sandbox, "t", IngestMode::Append, one()).expect_err("no table yet");
    assert_eq!((sqlstate(&e).as_str(), e.status), ("42P01", Status::NotFound), "{e}");
    load(&mut sandbox, "t", IngestMode::Create, one()).expect("creates");
    let e = load(&mut sandbox, "t", IngestMode::Create, one()).expect_err("there already");
    assert_eq!((sqlstate(&e).as_str(), e.status), ("42P07", Status::AlreadyExists), "{e}");
    load(&mut sandbox, "t", IngestMode::Append, one()).expect("appends");
    load(&mut sandbox, "t", IngestMode::CreateAppend, one()).expect("appends");
    assert_eq!(count(&mut sandbox), some(&["3"]));
    load(&mut sandbox, "t", IngestMode::Replace, one()).expect("replaces");
    assert_eq!(count(&mut sandbox), some(&["1"]));
    sandbox.run("DROP TABLE t");
    load(&mut sandbox, "t", IngestMode::CreateAppend, one()).expect("creates");

    let schema = one().schema();
    let name = sandbox.schema.clone();
    let none = sql::ingest(
        &mut sandbox.connection,
        (&name, "t"),
        IngestMode::Append,
        &[],
        reader(vec![], &schema),
    );
    assert_eq!(none.expect("an empty COPY"), 0);

    let mut statement = sandbox.connection.new_statement().expect("a statement");
    statement.set_option(OptionStatement::TargetTable, "mine".into()).expect("an option");
    statement.set_option(OptionStatement::Temporary, true.into()).expect("an option");
    statement.bind(one()).expect("binds");
    assert_eq!(statement.execute_update().expect("loads"), Some(1));
    assert_eq!(sandbox.texts("SELECT n::text FROM pg_temp.mine"), some(&["1"]));
}

#[test]
fn columns_are_matched_by_name_and_types_are_checked() {
    let mut sandbox = Sandbox::new("columns");
    sandbox.run("CREATE TABLE t (a float8, b int, run int DEFAULT 7)");
    let b: ArrayRef = Arc::new(Int32Array::from(vec![2]));
    let a: ArrayRef = Arc::new(Float64Array::from(vec![0.5]));
    load(&mut sandbox, "t", IngestMode::Append, batch(vec![("b", b.clone()), ("a", a)]))
        .expect("another order");
    assert_eq!(sandbox.texts("SELECT concat_ws(' ', a, b, run) FROM t"), some(&["0.5 2 7"]));

    // As long as a float8: the server would take its bytes for a number near zero.
    let wrong: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let e = load(&mut sandbox, "t", IngestMode::Append, batch(vec![("a", wrong)]))
        .expect_err("a bigint is no float");
    assert_eq!(e.status, Status::AlreadyExists);
    assert!(e.message.contains("float8") && e.message.contains("Int64"), "{e}");

    let e = load(&mut sandbox, "t", IngestMode::Append, batch(vec![("c", b)]))
        .expect_err("no such column");
    assert_eq!(sqlstate(&e), "42703");

    let unsigned: ArrayRef = Arc::new(UInt64Array::from(vec![1]));
    let e = load(&mut sandbox, "u", IngestMode::Create, batch(vec![("n", unsigned)]))
        .expect_err("no unsigned type");
    assert_eq!(e.status, Status::NotImplemented);
    assert!(e.message.contains("UInt64"), "{e}");
}

#[test]
fn transactions_keep_all_or_nothing() {
    let mut sandbox = Sandbox::new("transactions");
    let one = || batch(vec![("n", Arc::new(Int32Array::from(vec![1])) as ArrayRef)]);
    sandbox.run("CREATE TABLE t (n int)");
    let count = |sandbox: &mut Sandbox| sandbox.texts("SELECT count(*)::text FROM t");

    sql::begin(&mut sandbox.connection).expect("begins");
    load(&mut sandbox, "t", IngestMode::Append, one()).expect("loads");
    load(&mut sandbox, "made", IngestMode::Create, one()).expect("loads");
    sql::rollback(&mut sandbox.connection).expect("rolls back");
    assert_eq!(count(&mut sandbox), some(&["0"]));
    assert_eq!(sandbox.texts("SELECT to_regclass('made')::text"), vec![None]);

    sql::begin(&mut sandbox.connection).expect("begins");
    load(&mut sandbox, "t", IngestMode::Append, one()).expect("loads");
    sql::commit(&mut sandbox.connection).expect("commits");
    assert_eq!(count(&mut sandbox), some(&["1"]));

    // The server answers COMMIT with a quiet ROLLBACK here; the caller must hear of it.
    sql::begin(&mut sandbox.connection).expect("begins");
    load(&mut sandbox, "t", IngestMode::Append, one()).expect("loads");
    sql::execute(&mut sandbox.connection, "a wrong statement", "SELECT 1/0").expect_err("fails");
    let e = sql::commit(&mut sandbox.connection).expect_err("must not pretend");
    assert!(e.message().contains("25P02"), "{e}");
    assert_eq!(count(&mut sandbox), some(&["1"]));

    let e = sandbox.connection.commit().expect_err("no transaction");
    assert_eq!(e.status, Status::InvalidState);
    let auto = sandbox.connection.get_option_string(OptionConnection::AutoCommit);
    assert_eq!(auto.expect("known"), "true");
}

#[test]
fn errors_hold_no_values() {
    let mut sandbox = Sandbox::new("canary");
    sandbox.run("CREATE TABLE t (id text CONSTRAINT t_unique UNIQUE, n int CHECK (n > 0))");
    let rows = |ids: Vec<&str>| batch(vec![("id", Arc::new(StringArray::from(ids)) as ArrayRef)]);

    let e = load(&mut sandbox, "t", IngestMode::Append, rows(vec![CANARY, CANARY]))
        .expect_err("not unique");
    assert_eq!((sqlstate(&e).as_str(), e.status), ("23505", Status::Integrity));
    assert!(e.message.contains("t_unique") && e.message.contains(".t,"), "{e}");
    assert!(!format!("{e} {e:?}").contains(CANARY), "{e}");

    // In a statement's text, in a parameter, in a check's detail, in a function's message.
    let conn = &mut sandbox.connection;
    let parameter = || sql::texts(&[Some(CANARY)]);
    let raise = format!("DO $$ BEGIN RAISE EXCEPTION '{CANARY}'; END $$");
    let failures = [
        sql::execute(conn, "a cast", &format!("SELECT '{CANARY}'::int")).map(|_| ()),
        sql::query(conn, "a cast", &format!("SELECT '{CANARY}'::uuid")).map(|_| ()),
        sql::query_with(conn, "a cast", "SELECT $1::numeric", parameter()).map(|_| ()),
        sql::query_with(conn, "a cast", "SELECT $1::text::date", parameter()).map(|_| ()),
        sql::execute_with(conn, "json", "SELECT $1::jsonb", parameter()).map(|_| ()),
        sql::execute(conn, "a check", &format!("INSERT INTO t VALUES ('{CANARY}', -1)"))
            .map(|_| ()),
        sql::execute(conn, "an exception", &raise).map(|_| ()),
        sql::execute(conn, "syntax", &format!("SELEKT '{CANARY}'")).map(|_| ()),
    ];
    for failure in failures {
        let e = failure.expect_err("must fail");
        assert_eq!(e.kind(), ErrorKind::Warehouse { transient: false });
        assert!(e.message().contains("SQLSTATE"), "{e}");
        assert!(!format!("{e} {e:?}").contains(CANARY), "{e}");
    }
}

#[test]
fn parameters_take_the_type_that_the_statement_wants() {
    let mut sandbox = Sandbox::new("parameters");
    let conn = &mut sandbox.connection;
    let values = sql::texts(&[
        Some("12345678901234567890.123456789"),
        Some("2024-02-29T12:00:00.5+01:00"),
        Some(r#"{"a": [1, "ü"]}"#),
        Some("00112233-4455-6677-8899-aabbccddeeff"),
        Some("2024-02-29"),
        None,
    ]);
    let row = sql::query_with(
        conn,
        "parameters",
        "SELECT ($1::numeric)::text AS n, \
                to_char($2::timestamptz AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.MS') AS t, \
                ($3::jsonb->'a'->>1) AS j, ($4::uuid)::text AS u, ($5::date)::text AS d, \
                $6::int IS NULL AS nothing",
        values,
    )
    .expect("must run");
    assert_eq!(sql::text(&row, "n", 0).as_deref(), Some("12345678901234567890.123456789"));
    assert_eq!(sql::text(&row, "t", 0).as_deref(), Some("2024-02-29 11:00:00.500"));
    assert_eq!(sql::text(&row, "j", 0).as_deref(), Some("ü"));
    assert_eq!(sql::text(&row, "d", 0).as_deref(), Some("2024-02-29"));
    assert_eq!(sql::boolean(&row, "nothing", 0), Some(true));

    let typed = batch(vec![
        ("a", Arc::new(Int16Array::from(vec![1, 2])) as ArrayRef),
        ("b", Arc::new(Int64Array::from(vec![i64::MAX, 2]))),
        ("c", Arc::new(Float64Array::from(vec![0.1, f64::INFINITY]))),
        ("d", Arc::new(BooleanArray::from(vec![true, false]))),
        ("e", Arc::new(Date32Array::from(vec![Some(-1), None]))),
        ("f", Arc::new(FixedSizeBinaryArray::try_from_iter([[7; 16]; 2].iter()).expect("16"))),
    ]);
    sandbox.run("CREATE TABLE p (a int, b bigint, c float8, d bool, e date, f uuid)");
    let insert = "INSERT INTO p VALUES ($1, $2, $3, $4, $5, $6)";
    let conn = &mut sandbox.connection;
    assert_eq!(sql::execute_with(conn, "inserting", insert, typed.clone()).expect("runs"), 2);
    assert_eq!(
        sandbox.texts("SELECT p::text FROM p ORDER BY a"),
        some(&[
            "(1,9223372036854775807,0.1,t,1969-12-31,07070707-0707-0707-0707-070707070707)",
            "(2,2,Infinity,f,,07070707-0707-0707-0707-070707070707)",
        ])
    );
    let two = sql::query_with(&mut sandbox.connection, "two rows", "SELECT $1::int", typed);
    assert!(two.expect_err("one row only").message().contains("exactly one row"));
}

#[test]
fn results_of_every_type_are_read() {
    let mut sandbox = Sandbox::new("results");
    let row = sql::query(
        &mut sandbox.connection,
        "every type",
        "SELECT true AS b, 1::int2 AS i2, 2::int4 AS i4, -3::int8 AS i8, 0.5::float4 AS f4, \
                'NaN'::float8 AS f8, 'x'::varchar(9) AS v, 'y'::bpchar AS bp, 'z'::\"char\" AS c, \
                'n'::name AS n, '\\x00ff'::bytea AS by, '1969-12-31'::date AS d, \
                '2000-01-01 00:00:01'::timestamp AS ts, 'epoch'::timestamptz AS tz, \
                '00000000-0000-0000-0000-00000000000a'::uuid AS u, -0.0100::numeric AS nu, \
                'NaN'::numeric AS nan, 1e30::numeric AS big, '{\"k\": 1}'::jsonb AS jb, \
                '[1]'::json AS js, pg_sleep(0) AS nothing, NULL::numeric AS missing",
    )
    .expect("must run");
    assert_eq!(row.num_rows(), 1);
    assert_eq!(sql::boolean(&row, "b", 0), Some(true));
    assert_eq!((sql::int(&row, "i2", 0), sql::int(&row, "i4", 0)), (Some(1), Some(2)));
    assert_eq!((sql::int(&row, "i8", 0), sql::float(&row, "f4", 0)), (Some(-3), Some(0.5)));
    assert!(sql::float(&row, "f8", 0).is_some_and(f64::is_nan));
    let texts = [
        ("v", "x"),
        ("bp", "y"),
        ("c", "z"),
        ("n", "n"),
        ("nu", "-0.0100"),
        ("nan", "NaN"),
        ("big", "1000000000000000000000000000000"),
        ("jb", "{\"k\": 1}"),
        ("js", "[1]"),
    ];
    for (column, expected) in texts {
        assert_eq!(sql::text(&row, column, 0).as_deref(), Some(expected), "{column}");
    }
    assert_eq!(sql::text(&row, "missing", 0), None);
    let column = |name: &str| row.column_by_name(name).expect("selected");
    assert_eq!(column("by").as_binary::<i32>().value(0), b"\x00\xff");
    assert_eq!(column("d").as_primitive::<Date32Type>().value(0), -1);
    assert_eq!(column("u").as_fixed_size_binary().value(0)[15], 10);
    assert_eq!(
        column("tz").data_type(),
        &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
    );
    assert_eq!(column("nothing").data_type(), &DataType::Null);

    let many = "SELECT g::text AS g FROM generate_series(1, 150000) g";
    assert_eq!(sandbox.texts(many).last(), Some(&Some("150000".to_owned())));
    let none = sql::query(&mut sandbox.connection, "no rows", "SELECT 1 AS one WHERE false");
    let none = none.expect("must run");
    assert_eq!((none.num_rows(), sql::int(&none, "one", 0)), (0, None));

    let e = sql::query(&mut sandbox.connection, "an array", "SELECT ARRAY[now()] AS a")
        .expect_err("no arrays of times");
    assert!(e.message().contains("_timestamptz") && e.message().contains("column a"), "{e}");
    let infinite = sql::query(&mut sandbox.connection, "infinity", "SELECT 'infinity'::date AS d");
    assert!(infinite.expect_err("no Arrow form").message().contains("column d"));
}

#[test]
fn scripts_and_prepared_statements_run() {
    let mut sandbox = Sandbox::new("scripts");
    assert_eq!(
        sandbox
            .run("CREATE TABLE t (n int); INSERT INTO t VALUES (1), (2); UPDATE t SET n = n + 1"),
        2
    );
    let mut statement = sandbox.connection.new_statement().expect("a statement");
    statement.set_sql_query("SELECT n, n::text AS s FROM t WHERE n > $1").expect("SQL");
    let unprepared = statement.get_parameter_schema().expect_err("not prepared");
    assert_eq!(unprepared.status, Status::InvalidState);
    statement.prepare().expect("prepares");
    let parameters = statement.get_parameter_schema().expect("prepared");
    assert_eq!(parameters.field(0).data_type(), &DataType::Int32);
    let schema = statement.execute_schema().expect("described");
    assert_eq!(schema.field(0).data_type(), &DataType::Int32);
    assert_eq!(schema.field(1).data_type(), &DataType::Utf8);
    for (least, rows) in [(1, 2), (2, 1), (9, 0)] {
        let bound = batch(vec![("n", Arc::new(Int32Array::from(vec![least])) as ArrayRef)]);
        statement.bind(bound).expect("binds");
        let got: usize = statement
            .execute()
            .expect("runs")
            .map(|batch| batch.expect("a batch").num_rows())
            .sum();
        assert_eq!(got, rows, "n > {least}");
    }
    let missing = statement.execute_partitions().expect_err("not there");
    assert_eq!(missing.status, Status::NotImplemented);
}

#[test]
fn a_table_is_described() {
    let mut sandbox = Sandbox::new("described");
    sandbox.run("CREATE TABLE t (gone int, id uuid NOT NULL, amount numeric(12,2), d date)");
    sandbox.run("ALTER TABLE t DROP COLUMN gone");
    let name = sandbox.schema.clone();
    let got = sandbox.connection.get_table_schema(None, Some(&name), "t").expect("described");
    let expected = Schema::new(vec![
        Field::new("id", DataType::FixedSizeBinary(16), false),
        Field::new("amount", DataType::Utf8, true),
        Field::new("d", DataType::Date32, true),
    ]);
    assert_eq!(got, expected);
    let e = sandbox.connection.get_table_schema(None, None, "missing").expect_err("no table");
    assert_eq!(e.status, Status::NotFound);
    let types: usize = sandbox
        .connection
        .get_table_types()
        .expect("listed")
        .map(|batch| batch.expect("a batch").num_rows())
        .sum();
    assert_eq!(types, 5);
    let e = sandbox.connection.get_info(None).err().expect("not there");
    assert!(e.message.contains("get_info") && e.status == Status::NotImplemented);
}

#[test]
fn a_running_statement_can_be_cancelled() {
    let mut connection = connect();
    let handle = connection.get_cancel_handle();
    let canceller = thread::spawn(move || {
        thread::sleep(Duration::from_millis(300));
        handle.try_cancel().expect("the request must be taken");
    });
    let started = Instant::now();
    let e = sql::execute(&mut connection, "waiting", "SELECT pg_sleep(30)")
        .expect_err("must be cancelled");
    canceller.join().expect("the canceller");
    assert!(started.elapsed() < Duration::from_secs(15));
    assert!(e.message().contains("57014"), "{e}");
    assert!(!e.kind().is_transient());
    sql::execute(&mut connection, "going on", "SELECT 1").expect("the connection lives");
}

#[test]
fn a_connection_that_the_server_ends_is_transient() {
    let mut connection = connect();
    let pid = sql::query(&mut connection, "own pid", "SELECT pg_backend_pid() AS pid");
    let pid = sql::int(&pid.expect("runs"), "pid", 0).expect("a number");
    let end = format!("SELECT pg_terminate_backend({pid})");
    sql::execute(&mut connect(), "ending a connection", &end).expect("runs");
    let e = sql::execute(&mut connection, "going on", "SELECT 1").expect_err("it is gone");
    assert!(e.kind().is_transient(), "{e}");
}
