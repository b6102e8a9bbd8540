//! One input as the extract stage hands it on.

use std::sync::Arc;

use serde::{Serialize, Serializer};

#[cfg(feature = "database")]
use super::fetched::Fetched;
use super::left_out::LeftOut;
use super::name;
use super::source_file::SourceFile;
use crate::schema::Dataset;

/// One input, found, checked and fingerprinted: the result that an extract task hands on.
#[derive(Debug, Clone, Serialize)]
pub struct Extracted {
    /// Which input.
    pub(crate) dataset: Dataset,
    /// The files in the order in which their rows count; there may be many, and each task has them.
    #[serde(serialize_with = "list")]
    pub(crate) files: Arc<Vec<SourceFile>>,
    /// BLAKE3 over the files' fingerprints in order; the same wherever the files lie.
    pub(crate) fingerprint: String,
    /// Header names that the contract does not know, over all files.
    pub(crate) ignored_columns: Vec<String>,
    /// What needs a look, but stops nothing.
    #[serde(skip)]
    pub warnings: Vec<String>,
    /// The header name that line numbers are read from without being mapped: it was recognised by its
    /// name and its content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line_column: Option<String>,
    /// What lies beside the files and is not read.
    #[serde(skip_serializing_if = "LeftOut::is_nothing")]
    pub(crate) left_out: LeftOut,
    /// The rows of a database source.
    #[cfg(feature = "database")]
    #[serde(skip)]
    pub(super) fetched: Option<Fetched>,
}

fn list<S: Serializer>(files: &Arc<Vec<SourceFile>>, serializer: S) -> Result<S::Ok, S::Error> {
    files.as_slice().serialize(serializer)
}

impl Extracted {
    /// One file alone, to look at what is in it.
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

    /// How many columns are not loaded, and the first of them; none where there are none.
    #[must_use]
    pub(crate) fn not_loaded(&self) -> Option<String> {
        name::not_loaded(&self.ignored_columns)
    }

    /// The input as if it had this file only, from 0; none where there is no such file.
    #[must_use]
    pub(crate) fn of_file(&self, file: usize) -> Option<Self> {
        let file = self.files.get(file)?.clone();
        Some(Self { files: Arc::new(vec![file]), ..self.clone() })
    }
}
