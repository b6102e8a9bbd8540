//! One file, object or query of an input, and how to read it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Serialize, Serializer};

use super::format::{Compression, Format};
use super::mapping::Take;
use super::name;
use super::spool::Spool;
use super::text::TextFormat;
use crate::config::Values;
use crate::error::{Error, ErrorKind};
use crate::identifier::Placeholders;
use crate::schema::Dataset;

#[derive(Debug, Clone, Serialize)]
pub(crate) struct SourceFile {
    /// Path; the address without credentials for remote files, [`STANDARD_INPUT`] for standard
    /// input.
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    /// Modification time; `None` if it is not a local file.
    #[serde(skip)]
    pub(crate) modified: Option<SystemTime>,
    /// BLAKE3 digest of the raw bytes.
    pub(crate) fingerprint: String,
    pub(crate) format: Format,
    pub(crate) compression: Compression,
    /// Column names in the file's spelling.
    #[serde(serialize_with = "handed_on")]
    pub(crate) header: Vec<String>,
    /// Contract column → its source.
    pub(crate) columns: BTreeMap<&'static str, Take>,
    /// Name in `header` → accepted values; other rows are not claims.
    #[serde(rename = "where", skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) filter: BTreeMap<String, Values>,
    /// Placeholder values: identifiers are not built from them.
    #[serde(skip)]
    pub(super) placeholders: Arc<Placeholders>,
    /// Delimited format; `None` for other formats.
    #[serde(skip)]
    pub(crate) delimited: Option<Delimited>,
    /// Bytes of a source that can be read only once.
    #[serde(skip)]
    pub(super) spool: Option<Spool>,
}

/// Name of standard input, used in place of a path.
pub(crate) const STANDARD_INPUT: &str = "standard input";

/// Format of a delimited file.
#[derive(Debug, Clone)]
pub(crate) struct Delimited {
    /// Encoding, byte-order mark, line endings.
    pub(crate) text: TextFormat,
    /// Field separator.
    pub(crate) separator: u8,
    /// First character of comment lines.
    pub(crate) comment: Option<u8>,
    /// Bytes of the header record without the line ending.
    pub(super) record: Vec<u8>,
    /// End offset of the header in the text.
    pub(super) header_end: usize,
}

impl SourceFile {
    /// A source whose other properties are not known yet.
    pub(super) fn new(path: PathBuf, spool: Option<Spool>) -> Self {
        Self {
            path,
            bytes: 0,
            modified: None,
            fingerprint: String::new(),
            format: Format::Csv,
            compression: Compression::None,
            header: Vec::new(),
            columns: BTreeMap::new(),
            filter: BTreeMap::new(),
            placeholders: Arc::new(Placeholders::new([])),
            delimited: None,
            spool,
        }
    }

    /// Opens the file at its start.
    pub(crate) fn open(&self) -> io::Result<File> {
        match &self.spool {
            Some(spool) => spool.open(),
            None => File::open(&self.path),
        }
    }

    /// Error for a read failure after opening.
    pub(super) fn unreadable(&self, dataset: Dataset, error: &io::Error) -> Error {
        match self.compression {
            Compression::None => Error::io(ErrorKind::Source, &self.path, error).context(dataset),
            _ => Error::source(format!("{dataset}: {} cannot be unpacked", self.path.display()))
                .hint("the file is damaged or its transfer was cut short; fetch it again"),
        }
    }

    /// Whether a header column is used, by a contract column or by the row filter.
    pub(super) fn reads(&self, name: &str) -> bool {
        self.columns.values().flat_map(Take::names).any(|used| used == name)
            || self.filter.contains_key(name)
    }

    /// Whether the source is in the spool, so that no other program can open it.
    #[must_use]
    pub(crate) fn is_spooled(&self) -> bool {
        self.spool.is_some()
    }
}

#[expect(clippy::ptr_arg, reason = "serde's form")]
fn handed_on<S: Serializer>(names: &Vec<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(names.iter().map(|name| name::handed_on(name)))
}
