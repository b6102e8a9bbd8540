//! Result of the extract stage for one input.

use std::sync::Arc;

use serde::{Serialize, Serializer};

#[cfg(feature = "database")]
use super::fetched::Fetched;
use super::left_out::LeftOut;
use super::name;
use super::source_file::SourceFile;
use crate::schema::Dataset;

/// One input: located, checked and fingerprinted.
#[derive(Debug, Clone, Serialize)]
pub struct Extracted {
    pub(crate) dataset: Dataset,
    /// Files in row order; shared, because there may be many.
    #[serde(serialize_with = "list")]
    pub(crate) files: Arc<Vec<SourceFile>>,
    /// BLAKE3 over the files' fingerprints in order; independent of their location.
    pub(crate) fingerprint: String,
    /// Header names not in the contract, over all files.
    pub(crate) ignored_columns: Vec<String>,
    /// Non-fatal warnings.
    #[serde(skip)]
    pub warnings: Vec<String>,
    /// The unmapped header name recognised as the line number by its name and content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line_column: Option<String>,
    /// Files in the same folder that are not read.
    #[serde(skip_serializing_if = "LeftOut::is_nothing")]
    pub(crate) left_out: LeftOut,
    /// Rows of a database source.
    #[cfg(feature = "database")]
    #[serde(skip)]
    pub(super) fetched: Option<Fetched>,
}

fn list<S: Serializer>(files: &Arc<Vec<SourceFile>>, serializer: S) -> Result<S::Ok, S::Error> {
    files.as_slice().serialize(serializer)
}

impl Extracted {
    /// An input that consists of one file, for inspection.
    pub(super) fn only(dataset: Dataset, file: SourceFile) -> Self {
        Self {
            dataset,
            files: Arc::new(vec![file]),
            fingerprint: String::new(),
            ignored_columns: Vec::new(),
            left_out: LeftOut::default(),
            warnings: Vec::new(),
            line_column: None,
            #[cfg(feature = "database")]
            fetched: None,
        }
    }

    /// Message with the number of ignored columns and the first few names; `None` when there are
    /// none.
    #[must_use]
    pub(crate) fn not_loaded(&self) -> Option<String> {
        name::not_loaded(&self.ignored_columns)
    }

    /// The same input restricted to the file at this zero-based index, if it exists.
    #[must_use]
    pub(crate) fn of_file(&self, file: usize) -> Option<Self> {
        let file = self.files.get(file)?.clone();
        Some(Self { files: Arc::new(vec![file]), ..self.clone() })
    }
}
