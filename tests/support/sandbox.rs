//! A schema of its own for each test of the ADBC driver, on the server of the tests.

use adbc_core::error::Error;
use adbc_core::options::{IngestMode, OptionDatabase, OptionStatement};
use adbc_core::{Connection as _, Database as _, Driver as _, Optionable as _, Statement as _};
use arrow::array::{ArrayRef, RecordBatch};
use claims_etl::adbc_postgres::{PostgresConnection, PostgresDriver};
use claims_etl::warehouse::sql;

use crate::support::server;

/// A new connection to the server.
pub(crate) fn connect() -> PostgresConnection {
    let database = PostgresDriver
        .new_database_with_opts([(OptionDatabase::Uri, server::url().into())])
        .expect("the test server has a URI");
    database.new_connection().expect("the test server must take connections")
}

/// A connection whose search path is a schema that nobody else uses; dropped with its contents.
pub(crate) struct Sandbox {
    /// The connection.
    pub(crate) connection: PostgresConnection,
    /// The schema's name.
    pub(crate) schema: String,
}

impl Sandbox {
    /// Makes the schema; `name` is the test's.
    pub(crate) fn new(name: &str) -> Self {
        let schema = format!("test_{name}_{}", std::process::id());
        let mut connection = connect();
        let quoted = sql::quote_identifier(&schema);
        let script = format!("CREATE SCHEMA {quoted}; SET search_path TO {quoted}");
        sql::execute(&mut connection, "making a test schema", &script).expect("a new schema");
        Self { connection, schema }
    }

    /// Runs SQL that must succeed.
    pub(crate) fn run(&mut self, script: &str) -> u64 {
        sql::execute(&mut self.connection, "test script", script).expect("the script must run")
    }

    /// The texts of the first column of a query's result.
    pub(crate) fn texts(&mut self, query: &str) -> Vec<Option<String>> {
        let batch = sql::query(&mut self.connection, "test query", query).expect("must run");
        let column = batch.schema().field(0).name().clone();
        (0..batch.num_rows()).map(|row| sql::text(&batch, &column, row)).collect()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // From a connection of its own: the test's may be in a spoiled transaction or hold a lock.
        let schema = sql::quote_identifier(&self.schema);
        let _ = sql::rollback(&mut self.connection);
        let script = format!("SET lock_timeout = '5s'; DROP SCHEMA {schema} CASCADE");
        let _ = sql::execute(&mut connect(), "dropping a test schema", &script);
    }
}

/// A batch of nullable columns.
pub(crate) fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true)))
        .expect("columns of one length")
}

/// Loads a batch by the driver itself, so that the ADBC error can be looked at.
pub(crate) fn load(
    sandbox: &mut Sandbox,
    table: &str,
    mode: IngestMode,
    batch: RecordBatch,
) -> Result<Option<i64>, Error> {
    let mut statement = sandbox.connection.new_statement()?;
    statement.set_option(OptionStatement::TargetTable, table.into())?;
    statement.set_option(OptionStatement::IngestMode, mode.into())?;
    statement.bind(batch)?;
    statement.execute_update()
}

/// The texts as a query gives them.
pub(crate) fn some(texts: &[&str]) -> Vec<Option<String>> {
    texts.iter().map(|t| Some((*t).to_owned())).collect()
}
