//! The providers: those of the directory and the ids that only claims have, looked up in
//! `providers_dim`.

use adbc_core::sync::Connection;
use arrow::array::{AsArray, RecordBatch};
use serde_json::json;

use super::canonical::{Cells, Row};
use super::lookup::{Found, KEYS};
use super::snapshot::{Runs, Writer};
use crate::commands::verify::tables::{Difference, Example, Examples, RowCounts};
use crate::error::{Error, Result};
use crate::schema::{PROVIDERS_DIM, PUBLISHED, Shape, provider_columns};
use crate::warehouse::sql;

const CONTEXT: &str = "comparing providers";

/// The comparison of the providers.
pub(crate) struct Providers<'a> {
    runs: Runs,
    /// The token of an id: a column that is meant for providers can hold anything.
    token: &'a dyn Fn(&str) -> String,
    names: Vec<&'static str>,
    counts: RowCounts,
    /// Rows under the run's number of ids that the sources give.
    own: u64,
    examples: Examples,
}

impl<'a> Providers<'a> {
    /// The comparison with the rows that these runs have written, in the columns that are there.
    #[must_use]
    pub(crate) fn new(runs: &Runs, token: &'a dyn Fn(&str) -> String, shape: Shape) -> Self {
        let names = provider_columns(shape).iter().map(|column| column.name).collect();
        let (counts, examples) = (RowCounts::default(), Examples::default());
        Self { runs: runs.keeping(), token, names, counts, own: 0, examples }
    }

    /// Compares the directory's providers, then the ids that only claims have, and counts what is
    /// there beside them.
    ///
    /// # Errors
    /// `Warehouse` when a query fails.
    pub(crate) fn compare<'i>(
        &mut self,
        connection: &mut impl Connection,
        directory: &'i RecordBatch,
        inferred: impl Iterator<Item = &'i str>,
    ) -> Result<()> {
        let ids = directory
            .column_by_name("provider_id")
            .and_then(|ids| ids.as_string_view_opt())
            .ok_or_else(|| Error::internal("providers without ids"))?;
        let mut all: Vec<&str> = ids.iter().map(Option::unwrap_or_default).collect();
        for start in (0..all.len()).step_by(KEYS) {
            let chunk = directory.slice(start, KEYS.min(all.len() - start));
            let ids = &all[start..start + chunk.num_rows()];
            let found = self.look_up(connection, ids)?;
            self.directory(ids, &chunk, &found)?;
        }
        let known = all.len();
        all.extend(inferred);
        for ids in all[known..].chunks(KEYS) {
            let found = self.look_up(connection, ids)?;
            self.inferred(ids, &found);
        }
        self.extra(connection, &all)
    }

    fn look_up(&self, connection: &mut impl Connection, ids: &[&str]) -> Result<Found> {
        let columns: Vec<String> = self.names.iter().map(|name| format!("d.{name}")).collect();
        let query = format!(
            "SELECT k.place, d.run_no, d.is_placeholder, {}
             FROM jsonb_array_elements_text($1::text::jsonb) WITH ORDINALITY AS k(provider_id, place)
             JOIN {PUBLISHED}.{PROVIDERS_DIM} d ON d.provider_id = k.provider_id AND d.is_current",
            columns.join(", ")
        );
        Found::new(connection, CONTEXT, &query, &[Some(&json!(ids).to_string())], ids.len())
    }

    fn directory(&mut self, ids: &[&str], directory: &RecordBatch, found: &Found) -> Result<()> {
        let cells = |batch: &'_ RecordBatch, name: &str| -> Result<usize> {
            batch
                .schema()
                .index_of(name)
                .map_err(|_| Error::internal("a column is missing from the providers"))
        };
        let (mut computed, mut published) = (Vec::new(), Vec::new());
        for name in &self.names {
            computed.push(Cells::of(directory.column(cells(directory, name)?).as_ref())?);
            published.push(Cells::of(found.rows.column(cells(&found.rows, name)?).as_ref())?);
        }
        let (mut one, mut other) = (Row::default(), Row::default());
        for (row, id) in ids.iter().enumerate() {
            let Some((place, writer)) = self.writer(id, found, row) else { continue };
            one.take(&computed, row, &|_| true);
            other.take(&published, place, &|_| true);
            let unlike = one.unlike(&other);
            let mut columns: Vec<&str> = unlike.into_iter().map(|at| self.names[at]).collect();
            if sql::boolean(&found.rows, "is_placeholder", place) != Some(false) {
                columns.push("is_placeholder");
            }
            self.judge(id, writer, columns);
        }
        Ok(())
    }

    /// An id that only claims have was added as a placeholder, unless it was there already.
    fn inferred(&mut self, ids: &[&str], found: &Found) {
        for (row, id) in ids.iter().enumerate() {
            let Some((place, writer)) = self.writer(id, found, row) else { continue };
            let mut columns = Vec::new();
            if writer == Writer::Own {
                let texts = self.names.iter().filter(|name| **name != "provider_id");
                columns.extend(texts.filter(|name| sql::text(&found.rows, name, place).is_some()));
                if sql::boolean(&found.rows, "is_placeholder", place) != Some(true) {
                    columns.push("is_placeholder");
                }
            }
            self.judge(id, writer, columns);
        }
    }

    /// Counts an id; its row and who wrote it, where that is to be compared.
    fn writer(&mut self, id: &str, found: &Found, row: usize) -> Option<(usize, Writer)> {
        self.counts.expected += 1;
        let Some(place) = found.row_of[row] else {
            self.counts.missing += 1;
            self.example(id, Difference::Missing, Vec::new());
            return None;
        };
        let writer = self.runs.writer(sql::int(&found.rows, "run_no", place));
        self.own += u64::from(writer == Writer::Own);
        if writer == Writer::Later {
            self.counts.superseded += 1;
            return None;
        }
        Some((place, writer))
    }

    fn judge(&mut self, id: &str, writer: Writer, mut columns: Vec<&'static str>) {
        if writer == Writer::Nobody {
            columns.push("run_no");
        }
        if columns.is_empty() {
            self.counts.equal += 1;
        } else {
            self.counts.differing += 1;
            self.example(id, Difference::Differing, columns);
        }
    }

    /// Counts and names the rows under the run's number that the sources do not give.
    fn extra(&mut self, connection: &mut impl Connection, ids: &[&str]) -> Result<()> {
        let from = format!(
            "FROM {PUBLISHED}.{PROVIDERS_DIM} WHERE is_current AND run_no = {}",
            self.runs.run_no()
        );
        let rows = sql::query(connection, CONTEXT, &format!("SELECT count(*) AS n {from}"))?;
        let all = sql::int(&rows, "n", 0).and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
        self.counts.extra = all.saturating_sub(self.own);
        if self.counts.extra == 0 {
            return Ok(());
        }
        let query = format!(
            "SELECT provider_id {from}
               AND provider_id NOT IN (SELECT jsonb_array_elements_text($1::text::jsonb))
             ORDER BY 1 LIMIT {}",
            self.examples.room()
        );
        let ids = json!(ids).to_string();
        let extra = sql::query_with(connection, CONTEXT, &query, sql::texts(&[Some(&ids)]))?;
        for row in 0..extra.num_rows() {
            let id = sql::text(&extra, "provider_id", row).unwrap_or_default();
            self.example(&id, Difference::Extra, Vec::new());
        }
        Ok(())
    }

    fn example(&mut self, id: &str, difference: Difference, columns: Vec<&'static str>) {
        let token = self.token;
        self.examples.add(|| Example {
            table: PROVIDERS_DIM,
            token: token(id),
            line: None,
            difference,
            columns,
        });
    }

    /// The counts of the providers.
    #[must_use]
    pub(crate) fn counts(&self) -> RowCounts {
        self.counts
    }

    /// The first providers that differ.
    #[must_use]
    pub(crate) fn into_examples(self) -> Vec<Example> {
        self.examples.0
    }
}
