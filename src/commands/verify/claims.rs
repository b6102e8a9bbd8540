//! The claims: each row that the sources give, looked up by its key in `claims_fact`.

use std::fmt::Write as _;

use adbc_core::sync::Connection;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int16Type;
use uuid::Uuid;

use super::canonical::{Cells, Row};
use super::lookup::{Found, KEYS};
use super::snapshot::{Runs, Writer};
use crate::commands::verify::checksum::Checksum;
use crate::commands::verify::tables::{Difference, Example, Examples, RowCounts};
use crate::error::{Error, Result};
use crate::schema::{CLAIMS_FACT, PROVIDERS_DIM, PUBLISHED, Shape, TokenRange, keyless_columns};
use crate::warehouse::sql;

const CONTEXT: &str = "comparing claims";
/// Columns of the score, which belongs to the run that wrote the row.
const SCORE: [&str; 2] = ["risk_score", "risk_components"];
/// What a row differs in that was written by no run that could have.
const RUN_NO: &str = "run_no";

/// A column of the published rows.
fn qualified(name: &str) -> String {
    if name == "provider_id" {
        format!("coalesce(d.{name}, '') AS {name}")
    } else {
        format!("f.{name}")
    }
}

/// The comparison of the claims.
pub(crate) struct Claims {
    runs: Runs,
    /// Whether the scores of the run's own rows are compared.
    scores: bool,
    names: Vec<&'static str>,
    counts: RowCounts,
    /// Rows under the run's number at the keys that the sources give.
    own: u64,
    sources: Checksum,
    table: Checksum,
    examples: Examples,
}

impl Claims {
    /// The comparison with the rows that these runs have written, in the columns that the tables
    /// have, with the scores of the run's own rows or without.
    #[must_use]
    pub(crate) fn new(runs: Runs, shape: Shape, scores: bool) -> Self {
        let names: Vec<&str> = keyless_columns(shape).iter().map(|column| column.name).collect();
        Self {
            runs,
            scores,
            names,
            counts: RowCounts::default(),
            own: 0,
            sources: Checksum::default(),
            table: Checksum::default(),
            examples: Examples::default(),
        }
    }

    /// Compares rows that the sources give, in the fact's columns.
    ///
    /// # Errors
    /// `Warehouse` when a query fails.
    pub(crate) fn compare(
        &mut self,
        connection: &mut impl Connection,
        rows: &RecordBatch,
    ) -> Result<()> {
        for start in (0..rows.num_rows()).step_by(KEYS) {
            let rows = rows.slice(start, KEYS.min(rows.num_rows() - start));
            let found = self.look_up(connection, &rows)?;
            self.chunk(&rows, &found)?;
        }
        Ok(())
    }

    /// The published rows at the keys of `rows`. Their range is named too: where a run has written
    /// most of the table, reading the range is cheaper than going to each key, and the planner can
    /// tell.
    fn look_up(&self, connection: &mut impl Connection, rows: &RecordBatch) -> Result<Found> {
        let columns: Vec<String> = self.names.iter().map(|name| qualified(name)).collect();
        let tokens = || (0..rows.num_rows()).filter_map(|row| Some(key(rows, row)?.0));
        let (least, most) = tokens().min().zip(tokens().max()).ok_or_else(no_key)?;
        let query = format!(
            "SELECT k.place, f.run_no, {}
             FROM unnest($1::text::uuid[], $2::text::smallint[])
                 WITH ORDINALITY AS k(claim_token, line_number, place)
             JOIN {PUBLISHED}.{CLAIMS_FACT} f
                 ON f.claim_token = k.claim_token AND f.line_number = k.line_number
             LEFT JOIN {PUBLISHED}.{PROVIDERS_DIM} d ON d.provider_key = f.provider_key
             WHERE f.claim_token >= '{least}' AND f.claim_token <= '{most}'",
            columns.join(", ")
        );
        let (tokens, lines) = keys(rows)?;
        let keys = [Some(tokens.as_str()), Some(lines.as_str())];
        Found::new(connection, CONTEXT, &query, &keys, rows.num_rows())
    }

    fn chunk(&mut self, rows: &RecordBatch, found: &Found) -> Result<()> {
        let cells = |batch: &RecordBatch, name: &str| -> Result<usize> {
            batch
                .schema()
                .index_of(name)
                .map_err(|_| Error::internal("a column is missing from a row"))
        };
        let (mut computed, mut published) = (Vec::new(), Vec::new());
        for name in &self.names {
            computed.push(Cells::of(rows.column(cells(rows, name)?).as_ref())?);
            published.push(Cells::of(found.rows.column(cells(&found.rows, name)?).as_ref())?);
        }
        let is_score: Vec<bool> = self.names.iter().map(|name| SCORE.contains(name)).collect();
        let (mut one, mut other) = (Row::default(), Row::default());
        for row in 0..rows.num_rows() {
            self.counts.expected += 1;
            let Some(place) = found.row_of[row] else {
                one.take(&computed, row, &|_| true);
                self.sources.add(Checksum::of(one.bytes()));
                self.counts.missing += 1;
                self.examples.add(|| example(rows, row, Difference::Missing, Vec::new()));
                continue;
            };
            let writer = self.runs.writer(sql::int(&found.rows, RUN_NO, place));
            if writer == Writer::Later {
                self.counts.superseded += 1;
                continue;
            }
            self.own += u64::from(writer == Writer::Own);
            let scored = self.scores && writer == Writer::Own;
            one.take(&computed, row, &|column| scored || !is_score[column]);
            other.take(&published, place, &|column| scored || !is_score[column]);
            let mut columns: Vec<&str> =
                one.unlike(&other).into_iter().map(|column| self.names[column]).collect();
            let checksum = Checksum::of(one.bytes());
            self.sources.add(checksum);
            self.table.add(if columns.is_empty() { checksum } else { Checksum::of(other.bytes()) });
            if writer == Writer::Nobody {
                columns.push(RUN_NO);
            }
            if columns.is_empty() {
                self.counts.equal += 1;
            } else {
                self.counts.differing += 1;
                self.examples.add(|| example(rows, row, Difference::Differing, columns));
            }
        }
        Ok(())
    }

    /// Counts the published rows under the run's number that the sources do not give, once all of
    /// those have been compared; whether there are any to be named.
    ///
    /// # Errors
    /// `Warehouse` when the query fails.
    pub(crate) fn count_extra(&mut self, connection: &mut impl Connection) -> Result<bool> {
        let rows = sql::query(
            connection,
            CONTEXT,
            &format!(
                "SELECT count(*) AS n FROM {PUBLISHED}.{CLAIMS_FACT} WHERE run_no = {}",
                self.runs.run_no()
            ),
        )?;
        let all = sql::int(&rows, "n", 0).and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
        self.counts.extra = all.saturating_sub(self.own);
        Ok(self.counts.extra > 0 && self.examples.room() > 0)
    }

    /// Names such rows within a range of tokens, of which `rows` are all that the sources give;
    /// whether more are wanted.
    ///
    /// # Errors
    /// `Warehouse` when the query fails.
    pub(crate) fn name_extra(
        &mut self,
        connection: &mut impl Connection,
        rows: Option<&RecordBatch>,
        range: TokenRange,
    ) -> Result<bool> {
        let (tokens, lines) = match rows {
            Some(rows) => keys(rows)?,
            None => ("{}".to_owned(), "{}".to_owned()),
        };
        let query = format!(
            "SELECT f.claim_token, f.line_number FROM {PUBLISHED}.{CLAIMS_FACT} f
             WHERE f.run_no = {} AND {}
               AND (f.claim_token, f.line_number) NOT IN (
                   SELECT * FROM unnest($1::text::uuid[], $2::text::smallint[]))
             ORDER BY 1, 2 LIMIT {}",
            self.runs.run_no(),
            range.condition("f.claim_token"),
            self.examples.room()
        );
        let keys = sql::texts(&[Some(&tokens), Some(&lines)]);
        let extra = sql::query_with(connection, CONTEXT, &query, keys)?;
        for row in 0..extra.num_rows() {
            self.examples.add(|| example(&extra, row, Difference::Extra, Vec::new()));
        }
        Ok(self.examples.room() > 0)
    }

    /// What became of the rows.
    #[must_use]
    pub(crate) fn counts(&self) -> RowCounts {
        self.counts
    }

    /// The checksums of the rows that the sources give and of what is published at their keys,
    /// without those of later runs, and without the score where it is not compared.
    #[must_use]
    pub(crate) fn checksums(&self) -> (Checksum, Checksum) {
        (self.sources, self.table)
    }

    /// The first rows that differ.
    #[must_use]
    pub(crate) fn into_examples(self) -> Vec<Example> {
        self.examples.0
    }
}

/// The keys of rows as two arrays in Postgres' text form.
fn keys(rows: &RecordBatch) -> Result<(String, String)> {
    let (mut tokens, mut lines) = (String::from("{"), String::from("{"));
    for row in 0..rows.num_rows() {
        let comma = if row > 0 { "," } else { "" };
        let (token, line) = key(rows, row).ok_or_else(no_key)?;
        write!(tokens, "{comma}{token}")
            .and(write!(lines, "{comma}{line}"))
            .map_err(|_| no_key())?;
    }
    tokens.push('}');
    lines.push('}');
    Ok((tokens, lines))
}

fn no_key() -> Error {
    Error::internal("a row without a key")
}

fn key(rows: &RecordBatch, row: usize) -> Option<(Uuid, i16)> {
    let tokens = rows.column_by_name("claim_token")?.as_fixed_size_binary_opt()?;
    let lines = rows.column_by_name("line_number")?.as_primitive_opt::<Int16Type>()?;
    let is_there = tokens.is_valid(row) && lines.is_valid(row);
    let token = is_there.then(|| Uuid::from_slice(tokens.value(row)).ok())??;
    Some((token, lines.value(row)))
}

fn example(
    rows: &RecordBatch,
    row: usize,
    difference: Difference,
    columns: Vec<&'static str>,
) -> Example {
    let (token, line) = key(rows, row).unzip();
    let token = token.map(|token| token.to_string()).unwrap_or_default();
    Example { table: CLAIMS_FACT, token, line, difference, columns }
}
