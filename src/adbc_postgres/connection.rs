//! The connection: creates statements, ends transactions, describes tables.

use std::collections::HashSet;
use std::sync::Arc;

use adbc_core::error::{Error, Result, Status};
use adbc_core::options::{InfoCode, ObjectDepth, OptionConnection, OptionValue};
use adbc_core::schemas::GET_TABLE_TYPES_SCHEMA;
use adbc_core::{CancelHandle, Connection, Optionable};
use arrow::array::{RecordBatch, RecordBatchIterator, RecordBatchReader, StringArray};
use arrow::datatypes::{Field, Schema};
use postgres::Client;

use super::cancel::Cancel;
use super::error;
use super::session::{Session, SharedSession, lock};
use super::statement::PostgresStatement;
use super::tls::Tls;
use super::types::{qualified, result_schema};

/// A connection to a PostgreSQL database, in autocommit mode until switched off.
///
/// With autocommit off, the first statement begins a transaction; [`Connection::commit`] or
/// [`Connection::rollback`] ends it. Dropping the connection rolls back. Its statements share the
/// session: one operation at a time.
pub struct PostgresConnection {
    session: SharedSession,
    cancel: Cancel,
}

impl PostgresConnection {
    /// Wraps `client`, which was connected with `tls`.
    pub(super) fn new(client: Client, tls: Tls) -> Self {
        let cancel = Cancel::new(client.cancel_token(), tls);
        Self { session: Session::shared(client), cancel }
    }
}

impl Connection for PostgresConnection {
    type StatementType = PostgresStatement;

    fn new_statement(&mut self) -> Result<Self::StatementType> {
        Ok(PostgresStatement::new(Arc::clone(&self.session), self.cancel.clone()))
    }

    fn get_cancel_handle(&self) -> Box<dyn CancelHandle> {
        self.cancel.boxed()
    }

    fn get_info(
        &self,
        _codes: Option<HashSet<InfoCode>>,
    ) -> Result<Box<dyn RecordBatchReader + Send + 'static>> {
        Err(error::not_implemented("get_info"))
    }

    fn get_objects(
        &self,
        _depth: ObjectDepth,
        _catalog: Option<&str>,
        _db_schema: Option<&str>,
        _table_name: Option<&str>,
        _table_type: Option<Vec<&str>>,
        _column_name: Option<&str>,
    ) -> Result<Box<dyn RecordBatchReader + Send + 'static>> {
        Err(error::not_implemented("get_objects"))
    }

    /// The columns as returned by a query on the table, with their nullability.
    fn get_table_schema(
        &self,
        catalog: Option<&str>,
        db_schema: Option<&str>,
        table_name: &str,
    ) -> Result<Schema> {
        if catalog.is_some_and(|name| !name.is_empty()) {
            return Err(error::not_implemented("get_table_schema of another catalog"));
        }
        let table = qualified(db_schema, table_name);
        let failed = |e: &postgres::Error| error::from_postgres(&format!("describing {table}"), e);
        let mut session = lock(&self.session)?;
        let client = session.client()?;
        let described =
            client.prepare(&format!("SELECT * FROM {table}")).map_err(|e| failed(&e))?;
        let not_null = client
            .query(
                "SELECT attnotnull FROM pg_catalog.pg_attribute \
                 WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped \
                 ORDER BY attnum",
                &[&table],
            )
            .map_err(|e| failed(&e))?;
        let schema = result_schema(described.columns())?;
        let fields: Vec<Field> = schema
            .fields()
            .iter()
            .zip(not_null)
            .map(|(field, row)| {
                let not_null: bool = row.try_get(0).map_err(|e| failed(&e))?;
                Ok(field.as_ref().clone().with_nullable(!not_null))
            })
            .collect::<Result<_>>()?;
        Ok(Schema::new(fields))
    }

    fn get_table_types(&self) -> Result<Box<dyn RecordBatchReader + Send + 'static>> {
        let names = StringArray::from(vec![
            "table",
            "partitioned table",
            "view",
            "materialized view",
            "foreign table",
        ]);
        let schema = Arc::clone(&GET_TABLE_TYPES_SCHEMA);
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(names)])?;
        Ok(Box::new(RecordBatchIterator::new([Ok(batch)], schema)))
    }

    fn get_statistic_names(&self) -> Result<Box<dyn RecordBatchReader + Send + 'static>> {
        Err(error::not_implemented("get_statistic_names"))
    }

    fn get_statistics(
        &self,
        _catalog: Option<&str>,
        _db_schema: Option<&str>,
        _table_name: Option<&str>,
        _approximate: bool,
    ) -> Result<Box<dyn RecordBatchReader + Send + 'static>> {
        Err(error::not_implemented("get_statistics"))
    }

    fn commit(&mut self) -> Result<()> {
        lock(&self.session)?.commit()
    }

    fn rollback(&mut self) -> Result<()> {
        lock(&self.session)?.rollback()
    }

    fn read_partition(
        &self,
        _partition: impl AsRef<[u8]>,
    ) -> Result<Box<dyn RecordBatchReader + Send + 'static>> {
        Err(error::not_implemented("read_partition"))
    }
}

impl Optionable for PostgresConnection {
    type Option = OptionConnection;

    fn set_option(&mut self, key: Self::Option, value: OptionValue) -> Result<()> {
        match key {
            OptionConnection::AutoCommit => {
                let on = bool::try_from(value).map_err(|_| {
                    Error::with_message_and_status(
                        format!("the option {} is \"true\" or \"false\"", key.as_ref()),
                        Status::InvalidArguments,
                    )
                })?;
                lock(&self.session)?.set_autocommit(on)
            }
            other => Err(error::unknown_option(other.as_ref())),
        }
    }

    fn get_option_string(&self, key: Self::Option) -> Result<String> {
        match key {
            OptionConnection::AutoCommit => Ok(lock(&self.session)?.autocommit().to_string()),
            other => Err(error::unknown_option(other.as_ref())),
        }
    }

    fn get_option_bytes(&self, key: Self::Option) -> Result<Vec<u8>> {
        Err(error::unknown_option(key.as_ref()))
    }

    fn get_option_int(&self, key: Self::Option) -> Result<i64> {
        Err(error::unknown_option(key.as_ref()))
    }

    fn get_option_double(&self, key: Self::Option) -> Result<f64> {
        Err(error::unknown_option(key.as_ref()))
    }
}
