//! Claims or providers from a Postgres query, through connectorx.
//!
//! Uses the same connection settings and TLS connector as warehouse connections. The result is
//! fetched in full, because a second run of the query may return different rows. The server casts
//! every column to text, so amounts stay exact and no types are inferred.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use connectorx::prelude::{
    CXQuery, PartitionParser as _, PostgresSource, Source as _, SourcePartition as _,
};
use connectorx::sources::postgres::{BinaryProtocol, PostgresSourceError, PostgresTypeSystem};
use polars::prelude::{Column, DataFrame, IntoColumn, StringChunkedBuilder};
use postgres::tls::{MakeTlsConnect, TlsConnect};
use postgres::{Config, NoTls, Socket};

use super::extracted::Extracted;
use super::fetched::Fetched;
use super::format::Format;
use super::line_column;
use super::mapping::{Header, Mapped};
use super::name::same;
use super::partition::{self, Partition};
use super::recognition::Standing;
use super::source_file::SourceFile;
use crate::adbc_postgres::{Address, PostgresDatabase, Protection};
use crate::config::{PostgresEnvironment, Settings, Source};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Cancellation;
use crate::extract::projection;
use crate::schema::Dataset;
use crate::warehouse::sql;
use crate::worker::Worker;

/// Number of ranges for a range-partitioned read.
const PARTITIONS: u16 = 4;

/// A source database and the query sent to it.
struct Remote<'a> {
    dataset: Dataset,
    /// Address without credentials.
    server: String,
    database: PostgresDatabase,
    query: String,
    cancel: &'a Cancellation,
}

/// Result of a database source.
pub(super) struct Answer {
    pub(super) file: SourceFile,
    pub(super) rows: Fetched,
    /// The unmapped column recognised as the line number.
    pub(super) line_column: Option<String>,
    /// Warning about an insecure connection to the source.
    pub(super) warning: Option<String>,
}

/// Checks the query's columns against the contract, then fetches the rows.
pub(super) fn fetch(
    dataset: Dataset,
    settings: &Settings,
    address: &str,
    cancel: &Cancellation,
) -> Result<Answer> {
    let source = settings.source(dataset);
    let environment = &settings.warehouse.environment;
    let query = query(dataset, source)?;
    let (server, database) = database(dataset, address, environment)?;
    let remote = Remote { dataset, server, database, query, cancel };
    let warning = remote.protection()?;

    let named = format!("{dataset}: {}", remote.server);
    let header = remote.header()?;
    let mut file = SourceFile::new(PathBuf::from(&remote.server), None);
    let standing = Standing::Names;
    let found = Header { dataset, source, location: &named, names: &header, standing };
    let Mapped { columns, filter } = found.resolve()?;
    (file.format, file.header) = (Format::Database, header);
    (file.columns, file.filter) = (columns, filter);
    file.placeholders = Arc::new(settings.rules.identifier_placeholders());
    let line = match line_column::by_name(&file).as_slice() {
        [(name, how)] if line_column::is_open(dataset, source, &file) => {
            remote.is_exact(name)?.then(|| (name.clone(), *how))
        }
        _ => None,
    };
    if let Some((name, _)) = &line {
        file = line_column::reading(&file, name);
    }
    let partition = remote.check_types(&file, source)?;
    let mut frame = remote.rows(&file, partition.as_ref())?;
    let mut line_column = None;
    if let Some((name, how)) = line {
        let fetched = Some(Fetched(frame.clone()));
        if line_column::fits(&Extracted { fetched, ..Extracted::only(dataset, file.clone()) }, how)?
        {
            line_column = Some(name);
        } else {
            (file, frame) = left_out(&file, &frame, &name)?;
        }
    }
    (file.fingerprint, file.bytes) =
        digest(&file, &frame).ok_or_else(|| Error::internal("a fetched column is not text"))?;
    Ok(Answer { file, rows: Fetched(frame), line_column, warning })
}

/// The file and its rows without the fetched line number.
fn left_out(file: &SourceFile, frame: &DataFrame, name: &str) -> Result<(SourceFile, DataFrame)> {
    let without = line_column::without_line(file);
    let fields = projection::fields(file);
    let kept = fields.iter().zip(frame.columns()).filter(|(field, _)| **field != name);
    let columns = kept.enumerate().map(|(index, (_, column))| {
        column.clone().with_name(projection::name(index).as_str().into())
    });
    let frame = DataFrame::new(frame.height(), columns.collect())
        .map_err(|_| Error::internal("fetched columns differ in length"))?;
    Ok((without, frame))
}

/// Connection settings for `address`, and its form without credentials.
///
/// # Errors
/// `Config` for an address that cannot be understood, and for files of passwords and certificates
/// that are missing, unreadable or open to others.
fn database(
    dataset: Dataset,
    address: &str,
    environment: &PostgresEnvironment,
) -> Result<(String, PostgresDatabase)> {
    let refused = |error: &adbc_core::error::Error| {
        let refused =
            Error::config(format!("{dataset}: the postgres:// address: {}", error.message));
        refused.hint(sql::hint(error).unwrap_or_else(|| {
            "postgres://user:password@host:5432/database; in a password write @ as %40, / as %2F, : as %3A, \
             # as %23, ? as %3F and % as %25"
                .into()
        }))
    };
    let parsed = Address::parse(address).map_err(|error| refused(&error))?;
    let (host, port, name) = parsed.location().unwrap_or_default();
    let host = if host.contains(':') { format!("[{host}]") } else { host.replace('/', "%2F") };
    // PGPASSWORD belongs to the warehouse and must not be sent to another server.
    let home = environment.home.as_deref();
    let database = PostgresDatabase::of_client(address, &environment.parameters, home, None)
        .map_err(|error| refused(&error))?;
    Ok((format!("postgres://{host}:{port}/{name}"), database))
}

/// The configured query, or `SELECT *` for the configured table.
fn query(dataset: Dataset, source: &Source) -> Result<String> {
    let error = match (&source.query, &source.table) {
        (Some(query), None) => return Ok(query.trim().trim_end_matches(';').to_owned()),
        (None, Some(table)) => match partition::table_query(table) {
            Some(query) => return Ok(query),
            None => Error::config(format!("{dataset}: table is not the name of one")),
        },
        _ => Error::config(format!("{dataset}: a postgres:// source needs a query or a table")),
    };
    Err(error.hint(format!(
        "for example:\n  [{dataset}]\n  table = \"public.{dataset}\"   # or query = \"SELECT * FROM {dataset}\""
    )))
}

impl Remote<'_> {
    /// Connects once, so that an error names the server and the reason. Returns a warning if the
    /// connection, which carries raw identifiers, is insecure.
    fn protection(&self) -> Result<Option<String>> {
        let protection = self.database.probe().map_err(|error| {
            let context = format!("{}: connecting to {}", self.dataset, self.server);
            let found = sql::error(&context, error);
            let error = match found.kind() {
                ErrorKind::Config => Error::config(found.message()),
                _ => Error::source(found.message()),
            };
            match found.way_out() {
                Some(hint) => error.hint(hint),
                None => error,
            }
        })?;
        let way = match protection {
            Protection::Local | Protection::Verified => return Ok(None),
            Protection::Signed => "encrypted, but the server's name is not verified",
            Protection::Encrypted => {
                "encrypted, but the server's certificate is not verified: anybody on the way could pose as the server"
            }
            Protection::IfOffered => {
                "not encrypted unless the server offers it, and never verified"
            }
            Protection::None => "not encrypted",
        };
        Ok(Some(format!(
            "{}: identifiers cross the network from the database: {way}; set sslmode=verify-full",
            self.dataset
        )))
    }

    /// Runs a query whose columns are all text.
    fn texts(&self, query: String, columns: &[String]) -> Result<DataFrame> {
        let (config, tls) =
            self.database.client().map_err(|error| sql::error("connecting", error))?;
        match tls {
            None => self.texts_over(config, NoTls, query, columns),
            Some(connector) => self.texts_over(config, connector, query, columns),
        }
    }

    fn texts_over<C>(
        &self,
        config: Config,
        tls: C,
        query: String,
        columns: &[String],
    ) -> Result<DataFrame>
    where
        C: MakeTlsConnect<Socket> + Clone + Send + Sync + 'static,
        C::TlsConnect: Send,
        C::Stream: Send,
        <C::TlsConnect as TlsConnect<Socket>>::Future: Send,
    {
        let failed = |error: PostgresSourceError| reduced(self.dataset, &self.server, &error);
        self.cancel.check()?;
        let mut source =
            PostgresSource::<BinaryProtocol, C>::new(config, tls, 1).map_err(failed)?;
        source.set_queries(&[CXQuery::Naked(query)]);
        // One date format, and rows in table order, so that an unchanged table has an unchanged
        // fingerprint.
        let settings = ["SET datestyle TO ISO, YMD", "SET synchronize_seqscans TO off"];
        source.set_pre_execution_queries(Some(&settings.map(ToOwned::to_owned)));
        source.fetch_metadata().map_err(failed)?;
        if source.schema().len() != columns.len() || !source.schema().into_iter().all(is_text) {
            return Err(Error::source(format!(
                "{}: {} did not answer with text",
                self.dataset, self.server
            )));
        }
        let mut builders: Vec<StringChunkedBuilder> =
            columns.iter().map(|name| StringChunkedBuilder::new(name.as_str().into(), 0)).collect();
        let mut height = 0;
        for mut partition in source.partition().map_err(failed)? {
            let mut parser = partition.parser().map_err(failed)?;
            loop {
                self.cancel.check()?;
                let (rows, is_last) = parser.fetch_next().map_err(failed)?;
                height += rows;
                for _ in 0..rows {
                    for builder in &mut builders {
                        let cell: Option<&str> = parser.parse().map_err(failed)?;
                        builder.append_option(cell);
                    }
                }
                if is_last {
                    break;
                }
            }
        }
        let columns: Vec<Column> =
            builders.into_iter().map(|builder| builder.finish().into_column()).collect();
        DataFrame::new(height, columns)
            .map_err(|_| Error::internal("fetched columns differ in length"))
    }

    fn header(&self) -> Result<Vec<String>> {
        let names = self.texts(partition::names_of(&self.query), &["name".to_owned()])?;
        Ok(cells(&names, 0).into_iter().flatten().collect())
    }

    /// Whether casting the column to text is exact.
    fn is_exact(&self, name: &str) -> Result<bool> {
        let column = [projection::name(0)];
        let types = self.texts(partition::types_of(&self.query, &[name]), &column)?;
        let found = cells(&types, 0).into_iter().flatten().next().unwrap_or_default();
        Ok(!matches!(found.as_str(), "" | "real" | "double precision"))
    }

    /// Rejects inexact numeric types; returns the range partitioning, if configured.
    fn check_types(&self, file: &SourceFile, source: &Source) -> Result<Option<Partition>> {
        let (dataset, server) = (self.dataset, &self.server);
        let mut names = projection::fields(file);
        let used = names.len();
        if let Some(wanted) = &source.partition_on {
            let name = file.header.iter().find(|name| same(name, wanted));
            names.push(name.ok_or_else(|| {
                Error::config(format!(
                    "{dataset}: {server}: there is no column \"{wanted}\" to partition on"
                ))
            })?);
        }
        let columns: Vec<String> = (0..names.len()).map(projection::name).collect();
        let types = self.texts(partition::types_of(&self.query, &names), &columns)?;
        let kind = |index| cells(&types, index).into_iter().flatten().next().unwrap_or_default();
        for (field, name) in names.iter().enumerate().take(used) {
            if matches!(kind(field).as_str(), "real" | "double precision") {
                let mut takes = file.columns.iter();
                let column = takes.find(|(_, take)| take.names().any(|used| used == *name));
                let column = column.map_or("where", |(column, _)| *column);
                return Err(Error::config(format!(
                    "{dataset}: {server}: column \"{name}\" ({column}) is a floating-point number"
                ))
                .hint(
                    "money and identifiers must be exact: make it numeric or text in the query",
                ));
            }
        }
        let Some(wanted) = &source.partition_on else { return Ok(None) };
        let count = source.partitions.unwrap_or(PARTITIONS);
        let partition = Partition::new(names[used], &kind(used), count).ok_or_else(|| {
            Error::config(format!(
                "{dataset}: {server}: column \"{wanted}\" is no number to partition on"
            ))
            .hint("name a column of whole numbers, numeric at least")
        })?;
        Ok(Some(partition))
    }

    /// Fetches all rows, with the mapped columns only.
    fn rows(&self, file: &SourceFile, partition: Option<&Partition>) -> Result<DataFrame> {
        let fields = projection::fields(file);
        let texts: Vec<String> =
            fields.iter().map(|name| format!("q.{}::text", partition::quoted(name))).collect();
        let names: Vec<String> = (0..fields.len()).map(projection::name).collect();
        let selected = format!("SELECT {} FROM ({}\n) AS q", texts.join(", "), self.query);
        let Some(partition) = partition else { return self.texts(selected, &names) };

        let columns = ["bound", "n"].map(ToOwned::to_owned);
        let bounds = self.texts(partition.bounds_of(&self.query), &columns)?;
        let total = cells(&bounds, 1).into_iter().flatten().next();
        let total: Option<usize> = total.and_then(|total| total.parse().ok());
        let order = partition.order(&texts);
        let conditions = partition.conditions(&cells(&bounds, 0));
        let parts: Vec<Result<DataFrame>> = thread::scope(|scope| {
            let (this, names) = (self, &names);
            let fetch = conditions.iter().map(|condition| {
                let query = format!("{selected} WHERE {condition}{order}");
                Worker::start(scope, "reading a database", move || this.texts(query, names))
            });
            let threads: Vec<_> = fetch.collect();
            threads.into_iter().map(|part| part.and_then(Worker::end)).collect()
        });
        let mut rows: Option<DataFrame> = None;
        for part in parts {
            let part = part?;
            rows = Some(match rows {
                None => part,
                Some(rows) => rows
                    .vstack(&part)
                    .map_err(|_| Error::internal("the ranges of a table do not fit together"))?,
            });
        }
        rows.filter(|rows| Some(rows.height()) == total).ok_or_else(|| {
            Error::source(format!(
                "{}: {} was changed while it was read: the ranges do not hold the rows that were counted",
                self.dataset, self.server
            ))
            .hint("run again when nobody writes to it, or without partition_on")
        })
    }
}

/// Values of a column as text.
fn cells(frame: &DataFrame, column: usize) -> Vec<Option<String>> {
    let texts = frame.columns().get(column).and_then(|column| column.str().ok());
    texts.map_or_else(Vec::new, |texts| {
        texts.iter().map(|text| text.map(ToOwned::to_owned)).collect()
    })
}

/// Whether connectorx returns this type as text.
fn is_text(kind: PostgresTypeSystem) -> bool {
    use PostgresTypeSystem::{BpChar, Name, Text, VarChar};
    matches!(kind, Text(_) | BpChar(_) | VarChar(_) | Name(_))
}

/// BLAKE3 over all values, each prefixed with its length to prevent collisions.
fn digest(file: &SourceFile, frame: &DataFrame) -> Option<(String, u64)> {
    let mut hasher = blake3::Hasher::new();
    let mut bytes = 0;
    for (name, column) in projection::fields(file).iter().zip(frame.columns()) {
        hasher.update(name.as_bytes());
        for value in column.str().ok()?.iter() {
            let length = value.map_or(u64::MAX, |text| text.len() as u64);
            hasher.update(&length.to_le_bytes());
            hasher.update(value.unwrap_or_default().as_bytes());
            bytes += value.map_or(0, |text| text.len() as u64);
        }
    }
    Some((hasher.finalize().to_hex().to_string(), bytes))
}

/// Error without the driver's text, which can quote values and the password.
fn reduced(dataset: Dataset, server: &str, error: &PostgresSourceError) -> Error {
    let postgres = match error {
        PostgresSourceError::PostgresError(error) => {
            error.code().map(|code| code.code().to_owned())
        }
        _ => None,
    };
    match postgres.as_deref() {
        Some("57014") => Error::source(format!(
            "{dataset}: {server} cancelled the query (SQLSTATE 57014)"
        ))
        .hint("does the role have a statement_timeout there? Raise it for this role, or read in ranges (partition_on)"),
        Some(state) => {
            Error::source(format!("{dataset}: {server} refused the query (SQLSTATE {state})"))
                .hint("try the query in psql; every column it returns must have a unique name")
        }
        None => Error::source(format!("{dataset}: {server} could not be read"))
            .hint("check that the server can be reached with this address, user and password"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_shows_no_credentials() {
        let environment = PostgresEnvironment::default();
        let server = |address| database(Dataset::Claims, address, &environment).expect("known").0;
        assert_eq!(server("postgres://u:hunter2@db/x"), "postgres://db:5432/x");
        assert_eq!(server("postgres://u@[::1]:6000/x"), "postgres://[::1]:6000/x");
        assert_eq!(server("postgres:///x?host=/run/pg&user=u"), "postgres://%2Frun%2Fpg:5432/x");
    }

    #[test]
    fn an_address_that_cannot_be_honoured_is_refused() {
        let environment = PostgresEnvironment {
            parameters: vec![("sslrootcert", "/nowhere/ca.crt".into())],
            ..PostgresEnvironment::default()
        };
        for (address, meant) in [
            ("postgres://u:hunter2@db/x?sslmode=maybe", "sslmode must be"),
            ("postgres://u:hunter2@db/x?sslmode=verify-full", "/nowhere/ca.crt"),
            ("postgres://u:hun:ter2@db:port/x", "cannot be"),
        ] {
            let error = database(Dataset::Claims, address, &environment).expect_err("refused");
            assert_eq!(error.kind().exit_code(), 2, "{error}");
            assert!(error.message().contains(meant), "{error}");
            assert!(error.way_out().is_some() && !error.to_string().contains("hunter2"), "{error}");
        }
    }
}
