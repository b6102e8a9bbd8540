//! The rejects of a run: a Parquet file with the place and the reason of each one, never its values.

pub(crate) mod reader;
pub(crate) mod retention;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
pub use reader::{Reason, Reject, Rejects, read};
pub(crate) use retention::{Kept, list, prune};
pub(crate) use writer::{Quarantine, remove_unfinished, unfinished};

use crate::event::RunId;
use crate::rule::Rule;
use crate::schema::Dataset;

/// A source file as the quarantine names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct NamedSource {
    /// Which input it belongs to.
    pub(crate) dataset: Dataset,
    /// Where it is; for a database its address without credentials.
    pub(crate) path: String,
    /// BLAKE3 of its bytes; empty in a file of an earlier version.
    pub(crate) fingerprint: String,
}

/// A row on its way to the quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rejected {
    /// Where the row came from, as [`crate::schema::ORIGIN`] packs it.
    pub(crate) origin: i64,
    /// The line, from 1, on which its record begins in the unpacked file; none where there are no
    /// lines, and of a row that only the second pass rejects.
    pub(crate) line: Option<u64>,
    /// The rule that it breaks.
    pub(crate) rule: Rule,
    /// The keyed fingerprint of the record's fields: the same bad record is recognised when it
    /// comes again. None where only the key conflicts with another row's.
    pub(crate) fingerprint: Option<[u8; 16]>,
}

impl Rejected {
    /// A row of which no more is known than where it came from.
    #[must_use]
    pub(crate) fn of(rule: Rule, origin: i64) -> Self {
        Self { origin, line: None, rule, fingerprint: None }
    }
}

/// Where a run's rejects are.
#[must_use]
pub fn path(folder: &Path, run: RunId) -> PathBuf {
    folder.join(format!("{run}.parquet"))
}

fn schema() -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    Arc::new(Schema::new(vec![
        text("source"),
        text("dataset"),
        Field::new("record", DataType::Int64, false),
        Field::new("line", DataType::Int64, true),
        text("column"),
        text("rule"),
        text("reason"),
        text("description"),
        Field::new("fingerprint", DataType::Utf8, true),
        text("source_fingerprint"),
    ]))
}

#[cfg(test)]
mod tests;
