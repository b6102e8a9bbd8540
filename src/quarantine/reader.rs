//! Reads the rejects of a run.

use std::collections::HashMap;
use std::fs::File;
use std::hash::Hash;
use std::path::Path;

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::{Serialize, Serializer};
use uuid::Uuid;

use super::{NamedSource, path};
use crate::error::{Error, ErrorKind, Result};
use crate::event::RunId;
use crate::rule::Rule;
use crate::schema::Dataset;

/// Reason of a rejection, as recorded by the run.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Reason {
    /// Rule id.
    pub(crate) rule: String,
    /// The reason code.
    pub reason: String,
    /// Contract column that broke the rule.
    pub column: String,
    /// Description of the rule.
    pub(crate) description: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Reject<'a> {
    pub source: &'a str,
    pub(crate) dataset: Dataset,
    /// Record number in the source, 1-based, excluding the header.
    pub record: u64,
    /// First line of the record, 1-based; `None` for formats without lines.
    pub(crate) line: Option<u64>,
    #[serde(flatten)]
    pub why: &'a Reason,
    /// Keyed fingerprint of the record's fields; `None` if only its key conflicts with another
    /// row's.
    #[serde(serialize_with = "as_hex")]
    pub fingerprint: Option<Uuid>,
    /// BLAKE3 digest of the source file.
    pub source_fingerprint: &'a str,
}

#[expect(clippy::ref_option, reason = "serde's signature")]
fn as_hex<S: Serializer>(print: &Option<Uuid>, serializer: S) -> Result<S::Ok, S::Error> {
    match print {
        Some(print) => serializer.collect_str(&print.simple()),
        None => serializer.serialize_none(),
    }
}

/// A reject; shared values are stored as indexes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    source: u32,
    record: u64,
    line: Option<u64>,
    reason: u32,
    fingerprint: Option<Uuid>,
}

/// Rejects of a run, sorted by input (claims first), source and record.
#[derive(Debug, Default)]
pub struct Rejects {
    sources: Vec<NamedSource>,
    reasons: Vec<Reason>,
    rows: Vec<Row>,
}

impl Rejects {
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The sources of the rejects.
    #[must_use]
    pub(crate) fn sources(&self) -> &[NamedSource] {
        &self.sources
    }

    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Reject<'_>> {
        self.rows.iter().map(|row| {
            let source = &self.sources[row.source as usize];
            Reject {
                source: &source.path,
                dataset: source.dataset,
                record: row.record,
                line: row.line,
                why: &self.reasons[row.reason as usize],
                fingerprint: row.fingerprint,
                source_fingerprint: &source.fingerprint,
            }
        })
    }

    /// The rejects of selected sources.
    #[must_use]
    pub(crate) fn only(mut self, wanted: impl Fn(&NamedSource) -> bool) -> Self {
        let wanted: Vec<bool> = self.sources.iter().map(wanted).collect();
        self.rows.retain(|row| wanted[row.source as usize]);
        let mut indexes = Vec::with_capacity(wanted.len());
        let mut next = 0;
        for &wanted in &wanted {
            indexes.push(next);
            next += u32::from(wanted);
        }
        for row in &mut self.rows {
            row.source = indexes[row.source as usize];
        }
        let mut wanted = wanted.into_iter();
        self.sources.retain(|_| wanted.next() == Some(true));
        self
    }

    /// Adds the rows of a batch; `None` if it is not a quarantine batch.
    fn add(&mut self, batch: &RecordBatch, shared: &mut SharedValues) -> Option<()> {
        let text = |name: &str| -> Option<&StringArray> {
            batch.column_by_name(name)?.as_string_opt::<i32>()
        };
        // Files of earlier versions have fewer columns.
        let or_none = |column: Option<&StringArray>, row: usize| {
            column.map_or_else(String::new, |column| column.value(row).to_owned())
        };
        let (sources, reasons, columns) = (text("source")?, text("reason")?, text("column")?);
        let (datasets, files) = (text("dataset"), text("source_fingerprint"));
        let (rules, descriptions) = (text("rule"), text("description"));
        let records = batch.column_by_name("record")?.as_primitive_opt::<Int64Type>()?;
        let lines =
            batch.column_by_name("line").and_then(|column| column.as_primitive_opt::<Int64Type>());
        let fingerprints = text("fingerprint")?;
        for row in 0..batch.num_rows() {
            let dataset = if datasets
                .is_some_and(|datasets| datasets.value(row) == Dataset::Providers.name())
            {
                Dataset::Providers
            } else {
                Dataset::Claims
            };
            let source = NamedSource {
                dataset,
                path: sources.value(row).to_owned(),
                fingerprint: or_none(files, row),
            };
            let reason = reasons.value(row).to_owned();
            let rule = Rule::from_name(&reason);
            let reason = Reason {
                rule: rules.map_or_else(
                    || rule.map_or("", Rule::id).to_owned(),
                    |rules| rules.value(row).to_owned(),
                ),
                column: columns.value(row).to_owned(),
                description: descriptions.map_or_else(
                    || rule.map_or("", Rule::description).to_owned(),
                    |descriptions| descriptions.value(row).to_owned(),
                ),
                reason,
            };
            let line = lines.filter(|lines| lines.is_valid(row)).map(|lines| lines.value(row));
            let print = fingerprints.is_valid(row).then(|| fingerprints.value(row));
            self.rows.push(Row {
                source: shared.sources.index(source, &mut self.sources),
                record: u64::try_from(records.value(row)).unwrap_or(0),
                line: line.and_then(|line| u64::try_from(line).ok()),
                reason: shared.reasons.index(reason, &mut self.reasons),
                fingerprint: print.and_then(|print| Uuid::parse_str(print).ok()),
            });
        }
        Some(())
    }

    fn sort(&mut self) {
        let mut order: Vec<usize> = (0..self.sources.len()).collect();
        order.sort_by_key(|&index| {
            let source = &self.sources[index];
            (source.dataset == Dataset::Providers, source.path.clone())
        });
        let mut indexes = vec![0; order.len()];
        for (index, &was) in order.iter().enumerate() {
            indexes[was] = u32::try_from(index).unwrap_or(u32::MAX);
        }
        self.sources = order.iter().map(|&was| self.sources[was].clone()).collect();
        for row in &mut self.rows {
            row.source = indexes[row.source as usize];
        }
        self.rows.sort_unstable();
    }
}

/// Indexes of shared values already seen.
#[derive(Default)]
struct SharedValues {
    sources: Indexes<NamedSource>,
    reasons: Indexes<Reason>,
}

struct Indexes<T>(HashMap<T, u32>);

impl<T> Default for Indexes<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T: Clone + Eq + Hash> Indexes<T> {
    fn index(&mut self, value: T, values: &mut Vec<T>) -> u32 {
        if let Some(index) = self.0.get(&value) {
            return *index;
        }
        let index = u32::try_from(values.len()).unwrap_or(u32::MAX);
        values.push(value.clone());
        self.0.insert(value, index);
        index
    }
}

/// Reads the rejects of a run.
///
/// # Errors
/// `Config` when the run has no quarantine or its file cannot be read.
pub fn read(folder: &Path, run: RunId) -> Result<Rejects> {
    let path = path(folder, run);
    let file = File::open(&path).map_err(|error| {
        Error::io(ErrorKind::Config, &path, &error).context("quarantine").hint(
            "a run without rejects has no file; `claims-etl quarantine list` shows which runs have one",
        )
    })?;
    let broken = || Error::config(format!("quarantine {}: not readable", path.display()));
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .and_then(ParquetRecordBatchReaderBuilder::build)
        .map_err(|_| broken())?;
    let (mut rejects, mut shared) = (Rejects::default(), SharedValues::default());
    for batch in reader {
        rejects.add(&batch.map_err(|_| broken())?, &mut shared).ok_or_else(broken)?;
    }
    rejects.sort();
    Ok(rejects)
}
