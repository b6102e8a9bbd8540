//! Claims or providers from a Postgres query, through connectorx.
//!
//! A file of its own because it is the only one that knows connectorx, and is left out without the
//! feature `database`. The rows are fetched as a whole: a query has no second reading that is sure
//! to be the same. Every column is cast to text by the server, so amounts stay exact and nothing
//! is inferred.

use std::fmt;
use std::path::PathBuf;
use std::thread;

use connectorx::errors::ConnectorXOutError;
use connectorx::prelude::{
    ArrowDestination, CXQuery, PostgresArrowTransportError, SourceConn, get_arrow,
};
use connectorx::sources::postgres::PostgresSourceError;
use polars::prelude::{Column, DataFrame, IntoColumn, IntoLazy, LazyFrame, StringChunkedBuilder};

use super::mapping::{Header, Mapped};
use super::name::same;
use super::partition::{self, Partition};
use super::recognition::Standing;
use super::{Extracted, Format, SourceFile, line_column, shape};
use crate::adbc_postgres::Address;
use crate::config::Source;
use crate::error::{Error, Result};
use crate::event::Cancellation;
use crate::schema::Dataset;
use crate::worker::Worker;

/// Ranges in which a table is read, where it is to be read in ranges.
const PARTITIONS: u16 = 4;

/// The rows of a database source, as text.
#[derive(Clone)]
pub(super) struct Fetched(DataFrame);

impl Fetched {
    pub(super) fn lazy(&self) -> LazyFrame {
        self.0.clone().lazy()
    }

    pub(super) fn rows(&self) -> u64 {
        self.0.height() as u64
    }
}

impl fmt::Debug for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fetched({} rows)", self.0.height())
    }
}

/// A database that is asked.
struct Asked<'a> {
    dataset: Dataset,
    /// Its address without credentials.
    place: String,
    connection: SourceConn,
    query: String,
    cancel: &'a Cancellation,
}

/// Checks the query's columns against the contract, then fetches its rows. Also the column that line
/// numbers are read from without being mapped.
pub(super) fn fetch(
    dataset: Dataset,
    source: &Source,
    address: &str,
    cancel: &Cancellation,
) -> Result<(SourceFile, Fetched, Option<String>)> {
    let query = query(dataset, source)?;
    let parsed = readable(dataset, address)?;
    refuse_verification(dataset, &parsed)?;
    let connection = SourceConn::try_from(address).map_err(|_| unreadable(dataset))?;
    let url = &connection.conn;
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    let place = format!("postgres://{}{port}{}", url.host_str().unwrap_or_default(), url.path());
    let asked = Asked { dataset, place, connection, query, cancel };

    let named = format!("{dataset}: {}", asked.place);
    let header = asked.header()?;
    let mut file = SourceFile::new(PathBuf::from(&asked.place), None);
    let standing = Standing::Names;
    let found = Header { dataset, source, place: &named, names: &header, standing };
    let Mapped { columns, filter } = found.resolve()?;
    (file.format, file.header) = (Format::Database, header);
    (file.columns, file.filter) = (columns, filter);
    let line = match line_column::by_name(&file).as_slice() {
        [(name, how)] if line_column::is_open(dataset, source, &file) => {
            asked.is_exact(name)?.then(|| (name.clone(), *how))
        }
        _ => None,
    };
    if let Some((name, _)) = &line {
        file = line_column::reading(&file, name);
    }
    let partition = asked.check_types(&file, source)?;
    let mut frame = asked.rows(&file, partition.as_ref())?;
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
    Ok((file, Fetched(frame), line_column))
}

/// A file and its rows without the line number that they were fetched with.
fn left_out(file: &SourceFile, frame: &DataFrame, name: &str) -> Result<(SourceFile, DataFrame)> {
    let without = line_column::without_line(file);
    let fields = shape::fields(file);
    let kept = fields.iter().zip(frame.columns()).filter(|(field, _)| **field != name);
    let columns = kept
        .enumerate()
        .map(|(place, (_, column))| column.clone().with_name(shape::name(place).as_str().into()));
    let frame = DataFrame::new(frame.height(), columns.collect())
        .map_err(|_| Error::internal("fetched columns differ in length"))?;
    Ok((without, frame))
}

fn readable(dataset: Dataset, address: &str) -> Result<Address> {
    Address::parse(address).map_err(|_| unreadable(dataset))
}

fn unreadable(dataset: Dataset) -> Error {
    Error::config(format!("{dataset}: the postgres:// address cannot be understood")).hint(
        "postgres://user:password@host:5432/database; in a password write @ as %40, / as %2F, : as %3A, \
         # as %23, ? as %3F and % as %25",
    )
}

/// connectorx knows no mode that verifies the server's name, and must not be taken for one that does.
fn refuse_verification(dataset: Dataset, address: &Address) -> Result<()> {
    let Some(mode) = address.sslmode().filter(|mode| mode.starts_with("verify-")) else {
        return Ok(());
    };
    Err(Error::config(format!(
        "{dataset}: sslmode={mode} is not possible for a postgres:// source yet; nothing was read"
    ))
    .hint(
        "read through a tunnel that ends on this machine, or export the rows to a file; \
         sslmode=require&sslrootcert=FILE encrypts and verifies who has signed the certificate, not the server's name",
    ))
}

/// What is not safe about the way from a source to here, where a network lies between: its rows are
/// identifiers as they are.
pub(super) fn warning(dataset: Dataset, address: &str) -> Option<String> {
    let address = readable(dataset, address).ok()?;
    if address.stays_on_this_machine() {
        return None;
    }
    let way = match (address.sslmode(), address.sslrootcert()) {
        (Some("require"), Some(_)) => "encrypted, but the server's name is not verified",
        (Some("require"), None) => {
            "encrypted, but the server's certificate is not verified: anybody on the way could pose as the server"
        }
        (Some("disable"), _) => "not encrypted",
        _ => "not encrypted unless the server offers it, and never verified",
    };
    Some(format!(
        "{dataset}: identifiers cross the network from the database: {way}; read through a tunnel that ends on this machine, \
         or set at least sslmode=require&sslrootcert=FILE"
    ))
}

/// The configured query, or that for the configured table.
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

impl Asked<'_> {
    /// The answer to a query whose columns are texts.
    fn texts(&self, query: String, columns: &[String]) -> Result<DataFrame> {
        self.cancel.check()?;
        // Dates in one form, and rows in the order of the table, so that the same table gives the
        // same fingerprint.
        let settings = ["SET datestyle TO ISO, YMD", "SET synchronize_seqscans TO off"];
        let settings = settings.map(ToOwned::to_owned);
        let answer = get_arrow(&self.connection, None, &[CXQuery::Naked(query)], Some(&settings));
        let answer = answer.map_err(|error| reduced(self.dataset, &self.place, &error))?;
        frame(answer, columns).ok_or_else(|| {
            Error::source(format!("{}: {} did not answer with text", self.dataset, self.place))
        })
    }

    /// The names of the query's columns.
    fn header(&self) -> Result<Vec<String>> {
        let names = self.texts(partition::names_of(&self.query), &["name".to_owned()])?;
        Ok(cells(&names, 0).into_iter().flatten().collect())
    }

    /// Whether a column's text is exact.
    fn is_exact(&self, name: &str) -> Result<bool> {
        let column = [shape::name(0)];
        let types = self.texts(partition::types_of(&self.query, &[name]), &column)?;
        let found = cells(&types, 0).into_iter().flatten().next().unwrap_or_default();
        Ok(!matches!(found.as_str(), "" | "real" | "double precision"))
    }

    /// Refuses numbers that are not exact, and tells the column by whose ranges the rows are read.
    fn check_types(&self, file: &SourceFile, source: &Source) -> Result<Option<Partition>> {
        let (dataset, place) = (self.dataset, &self.place);
        let mut names = shape::fields(file);
        let used = names.len();
        if let Some(wanted) = &source.partition_on {
            let name = file.header.iter().find(|name| same(name, wanted));
            names.push(name.ok_or_else(|| {
                Error::config(format!(
                    "{dataset}: {place}: there is no column \"{wanted}\" to partition on"
                ))
            })?);
        }
        let columns: Vec<String> = (0..names.len()).map(shape::name).collect();
        let types = self.texts(partition::types_of(&self.query, &names), &columns)?;
        let kind = |place| cells(&types, place).into_iter().flatten().next().unwrap_or_default();
        for (field, name) in names.iter().enumerate().take(used) {
            if matches!(kind(field).as_str(), "real" | "double precision") {
                let mut takes = file.columns.iter();
                let column = takes.find(|(_, take)| take.names().any(|used| used == *name));
                let column = column.map_or("where", |(column, _)| *column);
                return Err(Error::config(format!(
                    "{dataset}: {place}: column \"{name}\" ({column}) is a floating-point number"
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
                "{dataset}: {place}: column \"{wanted}\" is no number to partition on"
            ))
            .hint("name a column of whole numbers, numeric at least")
        })?;
        Ok(Some(partition))
    }

    /// The fields that are read, of all rows.
    fn rows(&self, file: &SourceFile, partition: Option<&Partition>) -> Result<DataFrame> {
        let fields = shape::fields(file);
        let texts: Vec<String> =
            fields.iter().map(|name| format!("q.{}::text", partition::quoted(name))).collect();
        let names: Vec<String> = (0..fields.len()).map(shape::name).collect();
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
                self.dataset, self.place
            ))
            .hint("run again when nobody writes to it, or without partition_on")
        })
    }
}

/// The texts of a column.
fn cells(frame: &DataFrame, column: usize) -> Vec<Option<String>> {
    let texts = frame.columns().get(column).and_then(|column| column.str().ok());
    texts.map_or_else(Vec::new, |texts| {
        texts.iter().map(|text| text.map(ToOwned::to_owned)).collect()
    })
}

/// Copies connectorx's Arrow text columns into Polars. Its Arrow is of another major version whose
/// types have no name here, so offsets and bytes are read as the format defines them for Utf8.
fn frame(rows: ArrowDestination, names: &[String]) -> Option<DataFrame> {
    let batches = rows.arrow().ok()?;
    let mut height = 0;
    for batch in &batches {
        height += batch.num_rows();
    }
    let mut columns: Vec<Column> = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        let mut builder = StringChunkedBuilder::new(name.as_str().into(), height);
        for batch in &batches {
            let data = batch.column(index).to_data();
            if data.data_type().to_string() != "Utf8" {
                return None;
            }
            let [offsets, bytes] = data.buffers() else { return None };
            let offsets =
                offsets.typed_data::<i32>().get(data.offset()..=data.offset() + data.len())?;
            for (row, ends) in offsets.windows(2).enumerate() {
                if data.is_null(row) {
                    builder.append_null();
                    continue;
                }
                let (start, end) = (usize::try_from(ends[0]).ok()?, usize::try_from(ends[1]).ok()?);
                let text = bytes.as_slice().get(start..end)?;
                builder.append_value(std::str::from_utf8(text).ok()?);
            }
        }
        columns.push(builder.finish().into_column());
    }
    DataFrame::new(height, columns).ok()
}

/// BLAKE3 over all values, each preceded by its length so that no two tables look alike.
fn digest(file: &SourceFile, frame: &DataFrame) -> Option<(String, u64)> {
    let mut hasher = blake3::Hasher::new();
    let mut bytes = 0;
    for (name, column) in shape::fields(file).iter().zip(frame.columns()) {
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

/// A failure without the driver's words: they can quote values and the password.
fn reduced(dataset: Dataset, place: &str, error: &ConnectorXOutError) -> Error {
    let postgres = match error {
        ConnectorXOutError::PostgresError(error)
        | ConnectorXOutError::PostgresSourceError(PostgresSourceError::PostgresError(error))
        | ConnectorXOutError::PostgresArrowTransportError(PostgresArrowTransportError::Source(
            PostgresSourceError::PostgresError(error),
        )) => error.code().map(|code| code.code().to_owned()),
        _ => None,
    };
    match postgres.as_deref() {
        Some("57014") => Error::source(format!(
            "{dataset}: {place} cancelled the query (SQLSTATE 57014)"
        ))
        .hint("does the role have a statement_timeout there? Raise it for this role, or read in ranges (partition_on)"),
        Some(state) => {
            Error::source(format!("{dataset}: {place} refused the query (SQLSTATE {state})"))
                .hint("try the query in psql; every column it returns must have a name of its own")
        }
        None => Error::source(format!("{dataset}: {place} could not be read"))
            .hint("check that the server can be reached with this address, user and password"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(address: &str) -> String {
        warning(Dataset::Claims, address).unwrap_or_default()
    }

    #[test]
    fn a_source_across_the_network_is_warned_about() {
        for address in [
            "postgres://u:p@localhost/x",
            "postgres://u:p@127.0.0.1:5433/x?sslmode=disable",
            "postgres:///x?host=/run/postgresql",
        ] {
            assert_eq!(way(address), "", "{address}");
        }
        assert!(way("postgres://u:p@db/x").contains("not encrypted unless"));
        assert!(way("postgres://u:p@db/x?sslmode=disable").contains("not encrypted;"));
        assert!(way("postgres://u:p@db/x?sslmode=require").contains("pose as the server"));
        let with_root = way("postgres://u:p@db/x?sslmode=require&sslrootcert=/ca.crt");
        assert!(with_root.contains("name is not verified"), "{with_root}");
    }

    #[test]
    fn verification_that_is_not_possible_is_refused() {
        for mode in ["verify-ca", "verify-full"] {
            let source = Source { table: Some("t".into()), ..Source::default() };
            let address = format!("postgres://u:hunter2@localhost/x?sslmode={mode}");
            let error = fetch(Dataset::Claims, &source, &address, &Cancellation::default())
                .expect_err("nothing is read");
            assert_eq!(error.kind().exit_code(), 2, "{error}");
            assert!(error.message().contains(mode) && error.way_out().is_some(), "{error}");
            assert!(!error.to_string().contains("hunter2"));
        }
    }
}
