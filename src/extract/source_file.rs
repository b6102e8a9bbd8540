//! One file, object or query of an input, and how it is read.

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

/// One file (or database) of an input.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct SourceFile {
    /// Where it is; for what lies elsewhere its address without credentials, for standard input
    /// [`STANDARD_INPUT`].
    pub(crate) path: PathBuf,
    /// Its size.
    pub(crate) bytes: u64,
    /// When it was last written; unknown for what is no file of this machine.
    #[serde(skip)]
    pub(crate) modified: Option<SystemTime>,
    /// BLAKE3 of its bytes.
    pub(crate) fingerprint: String,
    /// How its rows are written.
    pub(crate) format: Format,
    /// How its bytes are packed.
    pub(crate) compression: Compression,
    /// The column names as the file spells them.
    #[serde(serialize_with = "handed_on")]
    pub(crate) header: Vec<String>,
    /// Contract column → where it comes from.
    pub(crate) columns: BTreeMap<&'static str, Take>,
    /// Name in `header` → texts, of which a row must have one there to be a claim.
    #[serde(rename = "where", skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) filter: BTreeMap<String, Values>,
    /// Texts that stand for nothing: an identifier is not put together from them.
    #[serde(skip)]
    pub(super) placeholders: Arc<Placeholders>,
    /// How a delimited file is cut; none for other formats.
    #[serde(skip)]
    pub(crate) delimited: Option<Delimited>,
    /// The bytes of what can be read only once.
    #[serde(skip)]
    pub(super) spool: Option<Spool>,
}

/// How standard input is named where files are.
pub(crate) const STANDARD_INPUT: &str = "standard input";

/// How a delimited file's text is cut.
#[derive(Debug, Clone)]
pub(crate) struct Delimited {
    /// Encoding, byte-order mark, line ends.
    pub(crate) text: TextFormat,
    /// What separates fields.
    pub(crate) separator: u8,
    /// Lines that begin with it are comments.
    pub(crate) comment: Option<u8>,
    /// The bytes of the header record, without its line's end.
    pub(super) record: Vec<u8>,
    /// Where the header ends in the text.
    pub(super) header_end: usize,
}

impl SourceFile {
    /// Something to read, of which nothing else is known yet.
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

    /// The file from its start.
    pub(crate) fn open(&self) -> io::Result<File> {
        match &self.spool {
            Some(spool) => spool.open(),
            None => File::open(&self.path),
        }
    }

    /// The failure to read the file once it is open.
    pub(super) fn unreadable(&self, dataset: Dataset, error: &io::Error) -> Error {
        match self.compression {
            Compression::None => Error::io(ErrorKind::Source, &self.path, error).context(dataset),
            _ => Error::source(format!("{dataset}: {} cannot be unpacked", self.path.display()))
                .hint("the file is damaged or its transfer was cut short; fetch it again"),
        }
    }

    /// Whether a column of its header is read: into a contract column, or to choose the rows.
    pub(super) fn reads(&self, name: &str) -> bool {
        self.columns.values().flat_map(Take::names).any(|used| used == name)
            || self.filter.contains_key(name)
    }

    /// Whether it is no file that somebody else could look at.
    #[must_use]
    pub(crate) fn is_spooled(&self) -> bool {
        self.spool.is_some()
    }
}

#[expect(clippy::ptr_arg, reason = "serde's form")]
fn handed_on<S: Serializer>(names: &Vec<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(names.iter().map(|name| name::handed_on(name)))
}
