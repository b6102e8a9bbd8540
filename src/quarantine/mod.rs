//! Rejects of a run: a Parquet file with the location and reason of each record, never its values.

pub(crate) mod reader;
pub(crate) mod retention;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
pub use reader::{Reason, Reject, Rejects, read};
pub(crate) use retention::{StoredRejects, list, prune};
pub(crate) use writer::{Quarantine, remove_unfinished, unfinished};

use crate::event::RunId;
use crate::rule::Rule;
use crate::schema::Dataset;

/// A source file in the quarantine.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct NamedSource {
    pub(crate) dataset: Dataset,
    /// Path; for a database its address without credentials.
    pub(crate) path: String,
    /// BLAKE3 digest of its bytes; empty in a file of an earlier version.
    pub(crate) fingerprint: String,
}

/// A row to be quarantined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rejected {
    /// Origin of the row, packed as in [`crate::schema::ORIGIN`].
    pub(crate) origin: i64,
    /// First line of the record in the decompressed file, 1-based; `None` for formats without lines
    /// and for rows rejected only by the second pass.
    pub(crate) line: Option<u64>,
    /// The broken rule.
    pub(crate) rule: Rule,
    /// Keyed fingerprint of the record's fields, to recognise the same bad record later. `None` if
    /// only its key conflicts with another row's.
    pub(crate) fingerprint: Option<[u8; 16]>,
}

impl Rejected {
    /// A row of which only the origin is known.
    #[must_use]
    pub(crate) fn of(rule: Rule, origin: i64) -> Self {
        Self { origin, line: None, rule, fingerprint: None }
    }
}

/// Path of a run's rejects.
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
