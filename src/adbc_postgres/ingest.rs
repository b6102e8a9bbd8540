//! Bulk ingest: copies a reader's batches into a table with COPY BINARY.

use std::io::Write as _;

use adbc_core::error::{Error, Result, Status};
use adbc_core::options::IngestMode;
use arrow::array::RecordBatchReader;
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use postgres::{Client, CopyInWriter};

use super::copy_encoder::CopyEncoder;
use super::error;
use super::session::Session;
use super::types::{ddl_type, is_copyable, qualified, quote};

/// Fixed name of the session's schema for temporary tables.
const TEMPORARY_SCHEMA: &str = "pg_temp";

/// The target table and whether it already exists.
pub(super) struct Target {
    pub(super) table: Option<String>,
    pub(super) schema: Option<String>,
    pub(super) mode: IngestMode,
    pub(super) temporary: bool,
    /// COPY FREEZE, for a table created in the open transaction.
    pub(super) freeze: bool,
}

impl Default for Target {
    fn default() -> Self {
        Self {
            table: None,
            schema: None,
            mode: IngestMode::Create,
            temporary: false,
            freeze: false,
        }
    }
}

impl Target {
    /// The qualified table name as SQL.
    fn qualified(&self) -> Result<String> {
        let invalid =
            |message: &str| Error::with_message_and_status(message, Status::InvalidArguments);
        let table =
            self.table.as_deref().ok_or_else(|| invalid("an ingest needs a target table"))?;
        match (self.temporary, self.schema.as_deref()) {
            (false, schema) => Ok(qualified(schema, table)),
            (true, None) => Ok(qualified(Some(TEMPORARY_SCHEMA), table)),
            (true, Some(_)) => Err(invalid("a temporary table cannot be put into a schema")),
        }
    }
}

/// Loads all batches of `reader`; returns the number of rows.
///
/// A failed ingest leaves nothing behind: COPY is one statement, and a table created for it is
/// rolled back.
pub(super) fn ingest(
    session: &mut Session,
    target: &Target,
    reader: Box<dyn RecordBatchReader + Send>,
) -> Result<i64> {
    let table = target.qualified()?;
    if reader.schema().fields().is_empty() {
        return Err(Error::with_message_and_status(
            format!("loading {table}: the rows have no columns"),
            Status::InvalidArguments,
        ));
    }
    if target.mode == IngestMode::Append {
        return copy(session.client()?, &table, target.freeze, reader);
    }
    session.atomically(|client| {
        create(client, &table, target.mode, &reader.schema())?;
        copy(client, &table, target.freeze, reader)
    })
}

fn create(client: &mut Client, table: &str, mode: IngestMode, schema: &Schema) -> Result<()> {
    let columns = schema
        .fields()
        .iter()
        .map(|field| {
            let not_null = if field.is_nullable() { "" } else { " NOT NULL" };
            Ok(format!("{} {}{not_null}", quote(field.name()), ddl_type(field)?))
        })
        .collect::<Result<Vec<_>>>()?
        .join(", ");
    let sql = match mode {
        IngestMode::Replace => {
            format!("DROP TABLE IF EXISTS {table}; CREATE TABLE {table} ({columns})")
        }
        IngestMode::CreateAppend => format!("CREATE TABLE IF NOT EXISTS {table} ({columns})"),
        _ => format!("CREATE TABLE {table} ({columns})"),
    };
    client.batch_execute(&sql).map_err(|e| error::from_postgres(&format!("creating {table}"), &e))
}

fn copy(
    client: &mut Client,
    table: &str,
    freeze: bool,
    reader: Box<dyn RecordBatchReader + Send>,
) -> Result<i64> {
    let schema = reader.schema();
    let columns: Vec<String> = schema.fields().iter().map(|f| quote(f.name())).collect();
    let columns = columns.join(", ");
    let action = format!("loading {table}");
    let failed = |e: &postgres::Error| error::from_postgres(&action, e);

    check_types(client, table, &columns, &schema)?;
    let freeze = if freeze { ", FREEZE" } else { "" };
    let sql = format!("COPY {table} ({columns}) FROM STDIN (FORMAT BINARY{freeze})");
    let mut writer = client.copy_in(&sql).map_err(|e| failed(&e))?;
    match stream(&mut writer, reader, &action) {
        Ok(()) => {
            let rows = writer.finish().map_err(|e| failed(&e))?;
            i64::try_from(rows).map_err(|_| {
                Error::with_message_and_status(
                    format!("{action}: the server reports more rows than can be counted"),
                    Status::Internal,
                )
            })
        }
        Err(error) => {
            // Dropping the writer aborts the COPY; a round trip ensures that the server has
            // released the table's lock before the caller sees the error.
            drop(writer);
            let _ = client.batch_execute("");
            Err(error)
        }
    }
}

/// Compares the target's column types with the COPY data. Describing a statement does not execute
/// it.
fn check_types(client: &mut Client, table: &str, columns: &str, schema: &Schema) -> Result<()> {
    let described = client
        .prepare(&format!("SELECT {columns} FROM {table}"))
        .map_err(|e| error::from_postgres(&format!("loading {table}"), &e))?;
    for (field, column) in schema.fields().iter().zip(described.columns()) {
        if !is_copyable(field, column.type_())? {
            return Err(Error::with_message_and_status(
                format!(
                    "loading {table}: column {} is {} there, and the rows bring {}",
                    field.name(),
                    column.type_(),
                    field.data_type()
                ),
                // The status ADBC prescribes for a table with a different schema.
                Status::AlreadyExists,
            ));
        }
    }
    Ok(())
}

fn stream(
    writer: &mut CopyInWriter<'_>,
    reader: Box<dyn RecordBatchReader + Send>,
    action: &str,
) -> Result<()> {
    let mut encoder = CopyEncoder::new(&reader.schema())?;
    let mut send = |chunk: &[u8]| {
        writer
            .write_all(chunk)
            .and_then(|()| writer.flush())
            .map_err(|e| error::from_copy(action, &e))
    };
    for batch in reader {
        encoder.encode(&batch.map_err(|e| from_reader(action, e))?, &mut send)?;
    }
    encoder.finish(&mut send)
}

/// Keeps the text of the reader's own error.
fn from_reader(action: &str, error: ArrowError) -> Error {
    let text = match error {
        ArrowError::ExternalError(inner) => inner.to_string(),
        other => other.to_string(),
    };
    Error::with_message_and_status(
        format!("{action}: the source of the rows failed: {text}"),
        Status::Internal,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_tables_have_a_schema_of_their_own() {
        let mut target = Target { table: Some("t".into()), temporary: true, ..Target::default() };
        assert_eq!(target.qualified().expect("a name"), r#""pg_temp"."t""#);
        target.schema = Some("s".into());
        assert_eq!(target.qualified().expect_err("both").status, Status::InvalidArguments);
    }

    #[test]
    fn the_text_of_an_external_error_survives() {
        let e = from_reader("loading t", ArrowError::ExternalError("stopped by a signal".into()));
        assert_eq!(e.message, "loading t: the source of the rows failed: stopped by a signal");
    }
}
