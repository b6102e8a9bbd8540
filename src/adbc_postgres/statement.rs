//! The statement: SQL with parameters, or the target of a bulk ingest.

use adbc_core::error::{Error, Result, Status};
use adbc_core::options::{IngestMode, OptionStatement, OptionValue};
use adbc_core::{CancelHandle, Optionable, PartitionedResult, Statement};
use arrow::array::{RecordBatch, RecordBatchIterator, RecordBatchReader};
use arrow::datatypes::{DataType, Field, Schema};
use postgres::types::ToSql;
use postgres::{Client, SimpleQueryMessage, Statement as Prepared};

use super::cancel::Cancel;
use super::ingest::{self, Target};
use super::parameter::Parameter;
use super::session::{SharedSession, lock};
use super::types::{result_schema, result_type};
use super::{error, result};

/// Boolean ingest option: COPY FREEZE. After commit, the rows are visible to every snapshot and
/// need no vacuum; the table must be created in the open transaction.
const FREEZE: &str = "adbc.postgresql.ingest.freeze";

/// A statement on a [`super::PostgresConnection`].
///
/// It holds either SQL or, once `TargetTable` is set, the target of an ingest; the later replaces
/// the earlier. Bound rows are used up by the next execution.
///
/// SQL without bound rows may be a script of several statements, and `execute_update` returns the
/// count of the last. With bound rows it is one statement: `execute_update` runs it for each row
/// (with autocommit on, each row by itself), `execute` for exactly one row. The n-th column is `$n`.
///
/// Cells of text, integers, floats and booleans are sent in text form and parsed by the server as
/// the type that it infers for the parameter, so text fits `jsonb`, `uuid`, `numeric`,
/// `timestamptz` or `date` exactly. Cells of Date32 fit `date`, of FixedSizeBinary `uuid` and
/// `bytea`, of Binary `bytea`; write a cast (`$1::date`) where nothing else determines the type.
pub struct PostgresStatement {
    session: SharedSession,
    cancel: Cancel,
    sql: Option<String>,
    prepared: Option<Prepared>,
    target: Target,
    bound: Option<Box<dyn RecordBatchReader + Send>>,
}

impl PostgresStatement {
    pub(super) fn new(session: SharedSession, cancel: Cancel) -> Self {
        Self { session, cancel, sql: None, prepared: None, target: Target::default(), bound: None }
    }

    fn sql(&self) -> Result<&str> {
        self.sql.as_deref().ok_or_else(|| invalid_state("the statement has no SQL"))
    }

    /// The prepared statement, from `prepare` or newly prepared.
    fn prepared(&self, client: &mut Client) -> Result<Prepared> {
        match &self.prepared {
            Some(prepared) => Ok(prepared.clone()),
            None => client
                .prepare(self.sql()?)
                .map_err(|e| error::from_postgres("preparing a statement", &e)),
        }
    }

    fn described(&self) -> Result<&Prepared> {
        self.prepared.as_ref().ok_or_else(|| invalid_state("prepare the statement first"))
    }
}

impl Statement for PostgresStatement {
    fn bind(&mut self, batch: RecordBatch) -> Result<()> {
        let schema = batch.schema();
        self.bind_stream(Box::new(RecordBatchIterator::new([Ok(batch)], schema)))
    }

    fn bind_stream(&mut self, reader: Box<dyn RecordBatchReader + Send>) -> Result<()> {
        self.bound = Some(reader);
        Ok(())
    }

    fn execute(&mut self) -> Result<Box<dyn RecordBatchReader + Send + 'static>> {
        let row = match self.bound.take() {
            Some(reader) => Some(only_row(reader)?),
            None => None,
        };
        let mut session = lock(&self.session)?;
        let client = session.client()?;
        let prepared = self.prepared(client)?;
        let parameters = row.as_ref().map_or_else(Vec::new, |batch| cells(batch, 0));
        let (schema, batches) = result::query(client, &prepared, parameters)?;
        Ok(Box::new(RecordBatchIterator::new(batches.into_iter().map(Ok), schema)))
    }

    fn execute_update(&mut self) -> Result<Option<i64>> {
        let bound = self.bound.take();
        let mut session = lock(&self.session)?;
        if self.target.table.is_some() {
            let reader = bound.ok_or_else(|| invalid_state("an ingest needs bound rows"))?;
            return ingest::ingest(&mut session, &self.target, reader).map(Some);
        }
        let client = session.client()?;
        match bound {
            Some(reader) => {
                let prepared = self.prepared(client)?;
                execute_rows(client, &prepared, reader).map(Some)
            }
            None if self.prepared.is_some() => {
                let prepared = self.prepared(client)?;
                execute_row(client, &prepared, &[]).map(Some)
            }
            None => execute_script(client, self.sql()?),
        }
    }

    fn execute_schema(&mut self) -> Result<Schema> {
        let mut session = lock(&self.session)?;
        result_schema(self.prepared(session.client()?)?.columns())
    }

    fn execute_partitions(&mut self) -> Result<PartitionedResult> {
        Err(error::not_implemented("execute_partitions"))
    }

    fn get_parameter_schema(&self) -> Result<Schema> {
        let fields: Vec<Field> = self
            .described()?
            .params()
            .iter()
            .map(|ty| Field::new("", result_type("", ty).unwrap_or(DataType::Null), true))
            .collect();
        Ok(Schema::new(fields))
    }

    fn prepare(&mut self) -> Result<()> {
        let mut session = lock(&self.session)?;
        self.prepared = None;
        self.prepared = Some(self.prepared(session.client()?)?);
        Ok(())
    }

    fn set_sql_query(&mut self, query: impl AsRef<str>) -> Result<()> {
        self.sql = Some(query.as_ref().to_owned());
        self.prepared = None;
        self.target = Target::default();
        Ok(())
    }

    fn set_substrait_plan(&mut self, _plan: impl AsRef<[u8]>) -> Result<()> {
        Err(error::not_implemented("set_substrait_plan"))
    }

    fn get_cancel_handle(&self) -> Box<dyn CancelHandle> {
        self.cancel.boxed()
    }
}

/// The single row bound to a query.
fn only_row(reader: Box<dyn RecordBatchReader + Send>) -> Result<RecordBatch> {
    let mut rows = Vec::new();
    for batch in reader {
        let batch = batch?;
        if batch.num_rows() > 0 {
            rows.push(batch);
        }
    }
    match rows.pop() {
        Some(batch) if rows.is_empty() && batch.num_rows() == 1 => Ok(batch),
        _ => Err(Error::with_message_and_status(
            "a query takes exactly one row of parameters",
            Status::InvalidArguments,
        )),
    }
}

fn cells(batch: &RecordBatch, row: usize) -> Vec<Parameter<'_>> {
    batch.columns().iter().map(|column| Parameter::new(column.as_ref(), row)).collect()
}

fn execute_rows(
    client: &mut Client,
    prepared: &Prepared,
    reader: Box<dyn RecordBatchReader + Send>,
) -> Result<i64> {
    let mut affected = 0;
    for batch in reader {
        let batch = batch?;
        for row in 0..batch.num_rows() {
            affected += execute_row(client, prepared, &cells(&batch, row))?;
        }
    }
    Ok(affected)
}

fn execute_row(client: &mut Client, prepared: &Prepared, row: &[Parameter<'_>]) -> Result<i64> {
    let parameters: Vec<&(dyn ToSql + Sync)> =
        row.iter().map(|p| p as &(dyn ToSql + Sync)).collect();
    let affected = client
        .execute(prepared, &parameters)
        .map_err(|e| error::from_postgres("running a statement", &e))?;
    count(affected)
}

/// Executes SQL unchanged; returns the count of the last statement.
fn execute_script(client: &mut Client, sql: &str) -> Result<Option<i64>> {
    let messages =
        client.simple_query(sql).map_err(|e| error::from_postgres("running a statement", &e))?;
    messages
        .iter()
        .rev()
        .find_map(|message| match message {
            SimpleQueryMessage::CommandComplete(affected) => Some(count(*affected)),
            _ => None,
        })
        .transpose()
}

fn count(affected: u64) -> Result<i64> {
    i64::try_from(affected).map_err(|_| {
        Error::with_message_and_status(
            "the server reports more rows than can be counted",
            Status::Internal,
        )
    })
}

fn invalid_state(message: &str) -> Error {
    Error::with_message_and_status(message, Status::InvalidState)
}

impl Optionable for PostgresStatement {
    type Option = OptionStatement;

    fn set_option(&mut self, key: Self::Option, value: OptionValue) -> Result<()> {
        match (key, value) {
            (OptionStatement::TargetTable, OptionValue::String(table)) => {
                self.sql = None;
                self.prepared = None;
                self.target.table = Some(table);
            }
            (OptionStatement::TargetDbSchema, OptionValue::String(schema)) => {
                self.target.schema = Some(schema);
            }
            (OptionStatement::IngestMode, value) => {
                self.target.mode = IngestMode::try_from(&value)?;
            }
            (OptionStatement::Temporary, value) => self.target.temporary = bool::try_from(value)?,
            (OptionStatement::Other(key), value) if key == FREEZE => {
                self.target.freeze = bool::try_from(value)?;
            }
            (key @ (OptionStatement::TargetTable | OptionStatement::TargetDbSchema), _) => {
                return Err(error::option_not_text(key.as_ref()));
            }
            (other, _) => return Err(error::unknown_option(other.as_ref())),
        }
        Ok(())
    }

    fn get_option_string(&self, key: Self::Option) -> Result<String> {
        let not_set = || error::option_not_set(key.as_ref());
        match &key {
            OptionStatement::TargetTable => self.target.table.clone().ok_or_else(not_set),
            OptionStatement::TargetDbSchema => self.target.schema.clone().ok_or_else(not_set),
            OptionStatement::IngestMode => Ok(self.target.mode.into()),
            OptionStatement::Temporary => Ok(self.target.temporary.to_string()),
            OptionStatement::Other(key) if key == FREEZE => Ok(self.target.freeze.to_string()),
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
