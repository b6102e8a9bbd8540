//! Plain SQL over any ADBC connection, and the one place where an ADBC error becomes ours.
//!
//! It knows the `adbc_core` traits only, never a driver.
//!
//! Every call takes a `context`: a short phrase for the error ("reading the ledger"), never SQL
//! with values in it.

use std::sync::Arc;

use adbc_core::error::Status;
use adbc_core::options::{IngestMode, OptionConnection, OptionStatement};
use adbc_core::{Connection, Optionable as _, Statement as _};
use arrow::array::{
    Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, RecordBatchReader, StringArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{
    DataType, Field, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, Schema,
};

use crate::error::{Error, ErrorKind, Result};

/// An ADBC failure as a warehouse failure, with the hint where the SQLSTATE implies it.
#[must_use]
pub(crate) fn error(context: &str, failure: adbc_core::error::Error) -> Error {
    let state: String = failure.sqlstate.iter().map(|c| char::from(c.to_ne_bytes()[0])).collect();
    let of_the_server = !state.starts_with('\0');
    let kind = if !of_the_server && failure.status == Status::InvalidArguments {
        // The driver itself refuses the address.
        ErrorKind::Config
    } else {
        ErrorKind::Warehouse { transient: is_transient(&state, failure.status) }
    };
    let hint = hint(&failure).or_else(|| way_out(&state, &failure).map(ToOwned::to_owned));
    let error = Error::new(kind, failure.message).context(context);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// The driver's own hint.
#[must_use]
pub(crate) fn hint(failure: &adbc_core::error::Error) -> Option<String> {
    let (_, text) = failure.details.iter().flatten().find(|(name, _)| name == "hint")?;
    String::from_utf8(text.clone()).ok()
}

fn is_transient(state: &str, status: Status) -> bool {
    const PASSING: [&str; 11] = [
        "40001", "40003", "40P01", "57P01", "57P02", "57P03", "57P05", "25P03", "25P04", "53300",
        "55P03",
    ];
    let lost = matches!(status, Status::IO | Status::Timeout);
    state.starts_with("08") || PASSING.contains(&state) || lost
}

fn way_out(state: &str, failure: &adbc_core::error::Error) -> Option<&'static str> {
    match state {
        "22P05" => Some("load into a database of the encoding UTF8"),
        "25006" => Some("is this a replica? Connect to the primary, as a role that may write"),
        "26000" | "42P05" => {
            Some("is this a connection pooler in transaction mode? Connect to the server itself")
        }
        "3D000" => Some("create the database, or correct its name in the warehouse URL"),
        "42501" if failure.message.contains("row-level security") => Some(ROW_SECURITY),
        "42501" => {
            Some("ask the owner of the database or of that object for the right: docs/roles.sql")
        }
        "53100" => Some("free space on the warehouse's disk, then run again"),
        "53300" if failure.message.contains("too many connections for ") => {
            Some("lower --connections, or raise the CONNECTION LIMIT of that role or database")
        }
        "53300" => Some("lower --connections, or raise max_connections of the server"),
        _ if state.starts_with("28") || failure.status == Status::Unauthenticated => Some(
            "check the user, and the password: the URL's, else --password-file, PGPASSWORD or ~/.pgpass; \
             in a URL a % of the password is written %25",
        ),
        _ if failure.status == Status::IO => {
            Some("check that the warehouse runs and that host and port of its URL are right")
        }
        _ => None,
    }
}

/// What to do about row level security that hides rows from the program.
pub(crate) const ROW_SECURITY: &str = "the role must see every row: `ALTER TABLE … NO FORCE ROW LEVEL SECURITY` lets the \
     owner see all of them and keeps the policies of all others, or a superuser can give the role BYPASSRLS";

/// Names of the program's own as a list of SQL literals: `'a', 'b'`.
pub(crate) fn literals<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ")
}

/// Runs SQL without parameters, possibly several statements; returns the rows that the last one
/// touched (0 where there is nothing to count).
///
/// # Errors
/// `Warehouse` when the server refuses.
pub fn execute(conn: &mut impl Connection, context: &str, sql: &str) -> Result<u64> {
    update(conn, sql, None).map_err(|e| error(context, e))
}

/// Runs one statement once for each row of `parameters` (column n is `$n`); returns the rows
/// touched.
///
/// # Errors
/// `Warehouse` when the server refuses.
pub fn execute_with(
    conn: &mut impl Connection,
    context: &str,
    sql: &str,
    parameters: RecordBatch,
) -> Result<u64> {
    update(conn, sql, Some(parameters)).map_err(|e| error(context, e))
}

/// The whole result of a query, in one batch.
///
/// # Errors
/// `Warehouse` when the server refuses or a result type has no Arrow form.
pub fn query(conn: &mut impl Connection, context: &str, sql: &str) -> Result<RecordBatch> {
    select(conn, sql, None).map_err(|e| error(context, e))
}

/// The whole result of a query with one row of parameters (column n is `$n`), in one batch.
///
/// # Errors
/// `Warehouse` when the server refuses or a result type has no Arrow form.
pub fn query_with(
    conn: &mut impl Connection,
    context: &str,
    sql: &str,
    parameters: RecordBatch,
) -> Result<RecordBatch> {
    select(conn, sql, Some(parameters)).map_err(|e| error(context, e))
}

/// Loads all rows of `reader` into a table, with options of the driver; returns their number.
///
/// # Errors
/// `Warehouse` when the server refuses, the table does not fit, the driver does not know an option,
/// or the reader fails; then nothing of it stays in the table.
pub fn ingest(
    conn: &mut impl Connection,
    (schema, table): (&str, &str),
    mode: IngestMode,
    options: &[(&str, &str)],
    reader: Box<dyn RecordBatchReader + Send>,
) -> Result<u64> {
    let load = || -> adbc_core::error::Result<u64> {
        let mut statement = conn.new_statement()?;
        statement.set_option(OptionStatement::TargetTable, table.into())?;
        statement.set_option(OptionStatement::TargetDbSchema, schema.into())?;
        statement.set_option(OptionStatement::IngestMode, mode.into())?;
        for &(option, value) in options {
            statement.set_option(OptionStatement::Other(option.into()), value.into())?;
        }
        statement.bind_stream(reader)?;
        Ok(count(statement.execute_update()?))
    };
    load().map_err(|e| error("bulk load", e))
}

/// Begins a transaction: nothing is kept before [`commit`].
///
/// # Errors
/// `Warehouse` when the connection is broken.
pub fn begin(conn: &mut impl Connection) -> Result<()> {
    conn.set_option(OptionConnection::AutoCommit, false.into())
        .map_err(|e| error("beginning a transaction", e))
}

/// Keeps what happened since [`begin`].
///
/// # Errors
/// `Warehouse` when a statement of the transaction had failed, a deferred constraint is violated,
/// or the connection is broken; then nothing is kept. Of a connection that breaks in this very
/// moment it cannot be known.
pub fn commit(conn: &mut impl Connection) -> Result<()> {
    let outcome = conn.commit();
    let ended = conn.set_option(OptionConnection::AutoCommit, true.into());
    outcome.and(ended).map_err(|e| error("committing", e))
}

/// Undoes what happened since [`begin`].
///
/// # Errors
/// `Warehouse` when the connection is broken, which undoes it as well.
pub fn rollback(conn: &mut impl Connection) -> Result<()> {
    let outcome = conn.rollback();
    let ended = conn.set_option(OptionConnection::AutoCommit, true.into());
    outcome.and(ended).map_err(|e| error("rolling back", e))
}

/// Runs `work` in one transaction: kept when it succeeds, undone when it fails.
///
/// # Errors
/// That of `work`, or `Warehouse` when the transaction cannot begin or commit.
pub(crate) fn in_transaction<C: Connection, T>(
    conn: &mut C,
    context: &str,
    work: impl FnOnce(&mut C) -> Result<T>,
) -> Result<T> {
    begin(conn).map_err(|e| e.context(context))?;
    match work(conn) {
        Ok(value) => commit(conn).map(|()| value).map_err(|e| e.context(context)),
        Err(failure) => {
            // The first failure is the one to report; a lost connection has rolled back by itself.
            let _ = rollback(conn);
            Err(failure)
        }
    }
}

/// `name` as an SQL identifier.
#[must_use]
pub fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// One row of text parameters: `$1`, `$2`, …
///
/// # Panics
/// Never: the columns are made to fit their schema.
#[must_use]
pub fn texts(values: &[Option<&str>]) -> RecordBatch {
    let fields: Vec<Field> =
        (1..=values.len()).map(|n| Field::new(format!("${n}"), DataType::Utf8, true)).collect();
    let columns: Vec<ArrayRef> =
        values.iter().map(|v| Arc::new(StringArray::from(vec![*v])) as ArrayRef).collect();
    let schema = Arc::new(Schema::new(fields));
    let one_row = RecordBatchOptions::new().with_row_count(Some(1));
    RecordBatch::try_new_with_options(schema, columns, &one_row)
        .expect("one value a column, each nullable text")
}

/// The text in a column (numeric, json and text are text), or `None` for null and for a row beyond
/// the last.
///
/// # Panics
/// When the query that made the batch selects no such column, or one of another type: both are in
/// one function.
#[must_use]
pub fn text(batch: &RecordBatch, column: &str, row: usize) -> Option<String> {
    let array = cell(batch, column, row)?;
    Some(match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
        DataType::LargeUtf8 => array.as_string::<i64>().value(row).to_owned(),
        DataType::Utf8View => array.as_string_view().value(row).to_owned(),
        other => panic!("column {column} is {other}, not text: select it as ::text"),
    })
}

/// The integer in a column, or `None` for null and for a row beyond the last.
///
/// # Panics
/// Like [`text`]; `sum` gives numeric, which is text here: select it as `::bigint`.
#[must_use]
pub fn int(batch: &RecordBatch, column: &str, row: usize) -> Option<i64> {
    let array = cell(batch, column, row)?;
    Some(match array.data_type() {
        DataType::Int16 => i64::from(array.as_primitive::<Int16Type>().value(row)),
        DataType::Int32 => i64::from(array.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row),
        other => panic!("column {column} is {other}, not an integer: select it as ::bigint"),
    })
}

/// The floating-point number in a column, or `None` for null and for a row beyond the last.
///
/// # Panics
/// Like [`text`].
#[must_use]
pub fn float(batch: &RecordBatch, column: &str, row: usize) -> Option<f64> {
    let array = cell(batch, column, row)?;
    Some(match array.data_type() {
        DataType::Float32 => f64::from(array.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(row),
        other => panic!("column {column} is {other}: select it as ::double precision"),
    })
}

/// The truth value in a column, or `None` for null and for a row beyond the last.
///
/// # Panics
/// Like [`text`].
#[must_use]
pub fn boolean(batch: &RecordBatch, column: &str, row: usize) -> Option<bool> {
    let array = cell(batch, column, row)?;
    match array.data_type() {
        DataType::Boolean => Some(array.as_boolean().value(row)),
        other => panic!("column {column} is {other}, not a truth value"),
    }
}

/// The column, if it has a value in `row`.
fn cell<'a>(batch: &'a RecordBatch, column: &str, row: usize) -> Option<&'a ArrayRef> {
    let array = batch
        .column_by_name(column)
        .unwrap_or_else(|| panic!("the query selects no column {column}"));
    (row < batch.num_rows() && array.is_valid(row)).then_some(array)
}

fn update(
    conn: &mut impl Connection,
    sql: &str,
    parameters: Option<RecordBatch>,
) -> adbc_core::error::Result<u64> {
    let mut statement = conn.new_statement()?;
    statement.set_sql_query(sql)?;
    if let Some(parameters) = parameters {
        statement.bind(parameters)?;
    }
    Ok(count(statement.execute_update()?))
}

fn select(
    conn: &mut impl Connection,
    sql: &str,
    parameters: Option<RecordBatch>,
) -> adbc_core::error::Result<RecordBatch> {
    let mut statement = conn.new_statement()?;
    statement.set_sql_query(sql)?;
    if let Some(parameters) = parameters {
        statement.bind(parameters)?;
    }
    let reader = statement.execute()?;
    let schema = reader.schema();
    let batches = reader.collect::<std::result::Result<Vec<_>, _>>()?;
    Ok(concat_batches(&schema, &batches)?)
}

/// A driver that does not know the count returns nothing, or -1.
fn count(affected: Option<i64>) -> u64 {
    affected.and_then(|n| u64::try_from(n).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use adbc_core::error::Error as AdbcError;
    use arrow::array::{BooleanArray, Float64Array, Int16Array};

    use super::*;

    fn failure(state: &str, status: Status) -> Error {
        let mut e = AdbcError::with_message_and_status("unique violation", status);
        for (slot, byte) in e.sqlstate.iter_mut().zip(state.bytes()) {
            *slot = std::ffi::c_char::from_ne_bytes([byte]);
        }
        error("publishing", e)
    }

    #[test]
    fn only_what_can_pass_by_itself_is_transient() {
        for state in [
            "08006", "40001", "40003", "40P01", "57P01", "57P02", "57P03", "57P05", "25P03",
            "25P04", "53300", "55P03",
        ] {
            assert!(failure(state, Status::Unknown).kind().is_transient(), "{state}");
        }
        for state in ["23505", "57014", "53100", "28P01", "42P01"] {
            assert!(!failure(state, Status::Unknown).kind().is_transient(), "{state}");
        }
        assert!(failure("", Status::IO).kind().is_transient());
        assert!(failure("", Status::Timeout).kind().is_transient());
        assert!(!failure("", Status::Internal).kind().is_transient());
    }

    #[test]
    fn a_failure_says_where_and_what_to_do() {
        let e = failure("53100", Status::Internal);
        assert_eq!(e.message(), "publishing: unique violation");
        assert!(e.way_out().is_some_and(|hint| hint.contains("disk")));
        assert!(failure("28000", Status::Unauthenticated).way_out().is_some());
        assert_eq!(failure("23505", Status::Integrity).way_out(), None);
    }

    #[test]
    fn identifiers_are_quoted() {
        assert_eq!(quote_identifier("claims_fact"), r#""claims_fact""#);
        assert_eq!(quote_identifier(r#"a"; DROP"#), r#""a""; DROP""#);
    }

    #[test]
    fn texts_are_one_row() {
        let batch = texts(&[Some("a"), None]);
        assert_eq!((batch.num_rows(), batch.num_columns()), (1, 2));
        assert_eq!(text(&batch, "$1", 0).as_deref(), Some("a"));
        assert_eq!(text(&batch, "$2", 0), None);
        assert_eq!(texts(&[]).num_rows(), 1);
    }

    #[test]
    fn cells_are_read_by_name() {
        let batch = RecordBatch::try_from_iter([
            ("i", Arc::new(Int16Array::from(vec![Some(-3), None])) as ArrayRef),
            ("f", Arc::new(Float64Array::from(vec![0.5, 1.5])) as ArrayRef),
            ("b", Arc::new(BooleanArray::from(vec![true, false])) as ArrayRef),
        ])
        .expect("a batch");
        assert_eq!(
            (int(&batch, "i", 0), int(&batch, "i", 1), int(&batch, "i", 2)),
            (Some(-3), None, None)
        );
        assert_eq!(float(&batch, "f", 1), Some(1.5));
        assert_eq!(boolean(&batch, "b", 1), Some(false));
    }

    #[test]
    #[should_panic(expected = "selects no column typo")]
    fn a_column_that_was_not_selected_is_a_bug_not_a_null() {
        let _ = int(&texts(&[Some("1")]), "typo", 0);
    }
}
