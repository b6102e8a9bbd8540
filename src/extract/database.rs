//! Claims or providers from a Postgres query, through connectorx.
//!
//! A file of its own because it is the only one that knows connectorx, and is left out without the
//! feature `database`. The rows are fetched as a whole: a query has no second reading that is sure
//! to be the same. Every column is cast to text by the server, so amounts stay exact and nothing
//! is inferred.

use std::fmt;
use std::path::PathBuf;

use connectorx::errors::ConnectorXOutError;
use connectorx::prelude::{
    ArrowDestination, ArrowTypeSystem, CXQuery, Destination, PostgresArrowTransportError,
    SourceConn, get_arrow,
};
use connectorx::sources::postgres::PostgresSourceError;
use polars::prelude::{Column, DataFrame, IntoColumn, IntoLazy, LazyFrame, StringChunkedBuilder};

use super::{Compression, Format, SourceFile, header};
use crate::config::Source;
use crate::error::{Error, Result};
use crate::event::Cancellation;
use crate::schema::Dataset;

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

/// Checks the query's columns against the contract, then fetches its rows.
pub(super) fn fetch(
    dataset: Dataset,
    source: &Source,
    address: &str,
    cancel: &Cancellation,
) -> Result<(SourceFile, Fetched)> {
    let Some(query) = source.query.as_deref().map(|query| query.trim().trim_end_matches(';'))
    else {
        return Err(Error::config(format!("{dataset}: a postgres:// source needs a query"))
            .hint(format!("for example:\n  [{dataset}]\n  query = \"SELECT * FROM {dataset}\"")));
    };
    let connection = SourceConn::try_from(address).map_err(|_| {
        Error::config(format!("{dataset}: the postgres:// address cannot be understood"))
            .hint("postgres://user:password@host:5432/database")
    })?;
    let url = &connection.conn;
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    let place = format!("postgres://{}{port}{}", url.host_str().unwrap_or_default(), url.path());

    let run = |query: String| {
        // Dates in one form, and rows in the order of the table, so that the same table gives the
        // same fingerprint.
        let settings = ["SET datestyle TO ISO, YMD", "SET synchronize_seqscans TO off"];
        let settings = settings.map(ToOwned::to_owned);
        get_arrow(&connection, None, &[CXQuery::Naked(query)], Some(&settings))
            .map_err(|error| reduced(dataset, &place, &error))
    };
    let probe = run(format!("SELECT * FROM ({query}\n) AS q LIMIT 0"))?;
    let names = probe.names().to_vec();
    let columns = header::match_contract(dataset, source, &format!("{dataset}: {place}"), &names)?;
    for (column, name) in &columns {
        let kind = names.iter().position(|found| found == name).map(|i| probe.schema()[i]);
        if let Some(ArrowTypeSystem::Float32(_) | ArrowTypeSystem::Float64(_)) = kind {
            return Err(Error::config(format!(
                "{dataset}: {place}: column \"{name}\" ({column}) is a floating-point number"
            ))
            .hint("money and identifiers must be exact: make it numeric or text in the query"));
        }
    }
    cancel.check()?;
    let selected: Vec<String> = columns
        .iter()
        .map(|(column, name)| format!("q.\"{}\"::text AS {column}", name.replace('"', "\"\"")))
        .collect();
    let rows = run(format!("SELECT {} FROM ({query}\n) AS q", selected.join(", ")))?;
    let contract: Vec<&'static str> = columns.keys().copied().collect();
    let frame = frame(rows, &contract)
        .ok_or_else(|| Error::source(format!("{dataset}: {place} did not answer with text")))?;
    let (fingerprint, bytes) =
        digest(&frame).ok_or_else(|| Error::internal("a fetched column is not text"))?;
    let file = SourceFile {
        path: PathBuf::from(place),
        bytes,
        modified: None,
        fingerprint,
        format: Format::Database,
        compression: Compression::None,
        header: names,
        columns,
    };
    Ok((file, Fetched(frame)))
}

/// Copies connectorx's Arrow text columns into Polars. Its Arrow is of another major version whose
/// types have no name here, so offsets and bytes are read as the format defines them for Utf8.
fn frame(rows: ArrowDestination, names: &[&str]) -> Option<DataFrame> {
    let batches = rows.arrow().ok()?;
    let mut height = 0;
    for batch in &batches {
        height += batch.num_rows();
    }
    let mut columns: Vec<Column> = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        let mut builder = StringChunkedBuilder::new((*name).into(), height);
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
fn digest(frame: &DataFrame) -> Option<(String, u64)> {
    let mut hasher = blake3::Hasher::new();
    let mut bytes = 0;
    for column in frame.columns() {
        hasher.update(column.name().as_bytes());
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
    match postgres {
        Some(state) => {
            Error::source(format!("{dataset}: {place} refused the query (SQLSTATE {state})"))
                .hint("try the query in psql; every column it returns must have a name of its own")
        }
        None => Error::source(format!("{dataset}: {place} could not be read"))
            .hint("check that the server can be reached with this address, user and password"),
    }
}
