//! Extract: finds the sources, checks their headers against the contract, fingerprints them, and
//! scans them lazily.
//!
//! Never reads more of the data than headers and bytes to hash: parsing happens once, when the
//! blocks of a scan are executed. What has no second reading is kept: the rows of a database in
//! memory, standard input and what lies elsewhere in the spool.

mod address;
#[cfg(feature = "cloud")]
mod cloud;
#[cfg(feature = "database")]
mod database;
mod delimited;
mod fingerprint;
mod folder;
mod foreign;
mod format;
mod header;
mod left_out;
mod line_column;
mod line_name;
mod mapping;
pub(crate) mod mapping_suggestion;
mod name;
mod parquet_file;
mod parquet_records;
mod parquet_text;
#[cfg(feature = "database")]
mod partition;
pub(crate) mod preview;
pub(crate) mod projection;
mod recognition;
mod records;
mod scan;
pub(crate) mod source_resolver;
mod spool;
mod synonyms;
mod template;
mod text;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

pub use fingerprint::unchanged;
pub use format::{Compression, Format};
pub use left_out::LeftOut;
use line_column::Recognised;
pub use line_column::likely_line_columns;
use mapping::{Header, Mapped};
pub use mapping::{Take, suggest};
pub use name::not_loaded;
pub use parquet_file::panic_is_expected;
pub use parquet_records::parquet_records;
use recognition::Standing;
pub use records::{Original, records};
pub use scan::{Block, Blocks, Census, scan};
use serde::{Serialize, Serializer};
use spool::Spool;
pub use text::TextFormat;

use crate::config::{Settings, Source, Values};
use crate::error::{Error, Result};
use crate::event::Cancellation;
pub use crate::extract::mapping_suggestion::{Proposal, fitting_preset, propose};
pub use crate::extract::preview::{Look, look};
use crate::extract::source_resolver::{Origin, Place};
use crate::identifier::Placeholders;
use crate::schema::Dataset;

/// One input, found, checked and fingerprinted: the result that an extract task hands on.
#[derive(Debug, Clone, Serialize)]
pub struct Extracted {
    /// Which input.
    pub dataset: Dataset,
    /// The files in the order in which their rows count; there may be many, and each task has them.
    #[serde(serialize_with = "list")]
    pub files: Arc<Vec<SourceFile>>,
    /// BLAKE3 over the files' fingerprints in order; the same wherever the files lie.
    pub fingerprint: String,
    /// Header names that the contract does not know, over all files.
    pub ignored_columns: Vec<String>,
    /// What needs a look, but stops nothing.
    #[serde(skip)]
    pub warnings: Vec<String>,
    /// The header name that line numbers are read from without being mapped: it was recognised by its
    /// name and its content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line_column: Option<String>,
    /// What lies beside the files and is not read.
    #[serde(skip_serializing_if = "LeftOut::is_nothing")]
    pub left_out: LeftOut,
    /// The rows of a database source.
    #[cfg(feature = "database")]
    #[serde(skip)]
    fetched: Option<database::Fetched>,
}

fn list<S: Serializer>(files: &Arc<Vec<SourceFile>>, serializer: S) -> Result<S::Ok, S::Error> {
    files.as_slice().serialize(serializer)
}

impl Extracted {
    /// One file alone, to look at what is in it.
    fn only(dataset: Dataset, file: SourceFile) -> Self {
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
    pub fn not_loaded(&self) -> Option<String> {
        name::not_loaded(&self.ignored_columns)
    }

    /// The input as if it had this file only, from 0; none where there is no such file.
    #[must_use]
    pub fn of_file(&self, file: usize) -> Option<Self> {
        let file = self.files.get(file)?.clone();
        Some(Self { files: Arc::new(vec![file]), ..self.clone() })
    }
}

/// One file (or database) of an input.
#[derive(Debug, Clone, Serialize)]
pub struct SourceFile {
    /// Where it is; for what lies elsewhere its address without credentials, for standard input
    /// [`STANDARD_INPUT`].
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// When it was last written; unknown for what is no file of this machine.
    #[serde(skip)]
    pub modified: Option<SystemTime>,
    /// BLAKE3 of its bytes.
    pub fingerprint: String,
    /// How its rows are written.
    pub format: Format,
    /// How its bytes are packed.
    pub compression: Compression,
    /// The column names as the file spells them.
    #[serde(serialize_with = "header::handed_on")]
    pub header: Vec<String>,
    /// Contract column → where it comes from.
    pub columns: BTreeMap<&'static str, Take>,
    /// Name in `header` → texts, of which a row must have one there to be a claim.
    #[serde(rename = "where", skip_serializing_if = "BTreeMap::is_empty")]
    pub filter: BTreeMap<String, Values>,
    /// Texts that stand for nothing: an identifier is not put together from them.
    #[serde(skip)]
    placeholders: Arc<Placeholders>,
    /// How a delimited file is cut; none for other formats.
    #[serde(skip)]
    pub delimited: Option<Delimited>,
    /// The bytes of what can be read only once.
    #[serde(skip)]
    spool: Option<Spool>,
}

/// How standard input is named where files are.
pub const STANDARD_INPUT: &str = "standard input";

/// How a delimited file's text is cut.
#[derive(Debug, Clone)]
pub struct Delimited {
    /// Encoding, byte-order mark, line ends.
    pub text: TextFormat,
    /// What separates fields.
    pub separator: u8,
    /// Lines that begin with it are comments.
    pub comment: Option<u8>,
    /// The header record as it stands, without its line's end.
    record: Vec<u8>,
    /// Where the header ends in the text.
    header_end: usize,
}

impl SourceFile {
    /// Something to read, of which nothing else is known yet.
    fn new(path: PathBuf, spool: Option<Spool>) -> Self {
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
    fn open(&self) -> io::Result<File> {
        match &self.spool {
            Some(spool) => spool.open(),
            None => File::open(&self.path),
        }
    }

    /// Whether a column of its header is read: into a contract column, or to choose the rows.
    fn reads(&self, name: &str) -> bool {
        self.columns.values().flat_map(Take::names).any(|used| used == name)
            || self.filter.contains_key(name)
    }

    /// Whether it is no file that somebody else could look at.
    #[must_use]
    pub fn is_spooled(&self) -> bool {
        self.spool.is_some()
    }
}

/// Finds, checks and fingerprints the sources of `dataset`.
///
/// # Errors
/// `Config` when there is no source, a column is missing or named twice, or the mapping is wrong;
/// `Source` when a file is missing or cannot be read; `Interrupted` when asked to stop.
pub fn extract(dataset: Dataset, settings: &Settings, cancel: &Cancellation) -> Result<Extracted> {
    let source = settings.source(dataset);
    match source_resolver::resolve(dataset, source, &settings.interval(), cancel)? {
        Origin::Places { places, mut left_out } => {
            let mut files = Vec::with_capacity(places.len());
            let last = places.len();
            for (number, place) in (1..).zip(places) {
                cancel.check()?;
                let part = place.is_part();
                let file = brought(dataset, place, &settings.spill_dir(), cancel)?;
                // A part of no bytes has no rows; where all are so, the last one says it.
                let may_be_empty = part && !(number == last && files.is_empty());
                match inspect(dataset, settings, file, may_be_empty)? {
                    Some(file) => files.push(file),
                    None => left_out.empty += 1,
                }
            }
            // All headers first: a wrong one is told before gigabytes are hashed.
            for file in &mut files {
                fingerprint::take(dataset, file, cancel)?;
                if file.is_spooled() {
                    file.modified = None;
                }
            }
            // What is read to its end must be what was fingerprinted.
            let Recognised { name: line_column, warning } =
                line_column::recognise(dataset, source, &mut files)?;
            Ok(Extracted {
                dataset,
                fingerprint: fingerprint::of_all(&files),
                ignored_columns: header::ignored(&files),
                warnings: warning.into_iter().collect(),
                left_out,
                files: Arc::new(files),
                line_column,
                #[cfg(feature = "database")]
                fetched: None,
            })
        }
        #[cfg(feature = "database")]
        Origin::Database(address) => {
            let answer = database::fetch(dataset, settings, address, cancel)?;
            let files = vec![answer.file];
            Ok(Extracted {
                dataset,
                fingerprint: fingerprint::of_all(&files),
                ignored_columns: header::ignored(&files),
                warnings: answer.warning.into_iter().collect(),
                left_out: LeftOut::default(),
                files: Arc::new(files),
                line_column: answer.line_column,
                fetched: Some(answer.rows),
            })
        }
        #[cfg(not(feature = "database"))]
        Origin::Database(_) => Err(Error::config(format!(
            "{dataset}: this build cannot read from a database; it lacks the feature `database`"
        ))
        .hint("give files, or build with --features database")),
    }
}

/// What a place holds, in the spool where it can be read only once.
fn brought(
    dataset: Dataset,
    place: Place,
    folder: &Path,
    cancel: &Cancellation,
) -> Result<SourceFile> {
    match place {
        Place::File { path, .. } => Ok(SourceFile::new(path, None)),
        Place::StandardInput => {
            let spool = Spool::fill(STANDARD_INPUT, io::stdin(), folder, cancel);
            let spool = spool.map_err(|error| error.context(dataset))?;
            Ok(SourceFile::new(STANDARD_INPUT.into(), Some(spool)))
        }
        #[cfg(feature = "cloud")]
        Place::Remote { address, .. } => {
            let spool = cloud::fetch(dataset, &address, folder, cancel)?;
            Ok(SourceFile::new(address.to_string().into(), Some(spool)))
        }
    }
}

/// Reads a file's format and header, and matches the header against the contract; none for a file
/// without a byte, where it may be empty.
fn inspect(
    dataset: Dataset,
    settings: &Settings,
    mut file: SourceFile,
    may_be_empty: bool,
) -> Result<Option<SourceFile>> {
    let source = settings.source(dataset);
    let Some((format, compression)) = format::detect(dataset, &file, may_be_empty)? else {
        return Ok(None);
    };
    (file.format, file.compression) = (format, compression);
    let (mut parquet, mut standing) = (None, Standing::Names);
    match file.format {
        Format::Csv => {
            let start = text_start(dataset, source, &file)?;
            if start.text.is_empty() && start.ended && may_be_empty {
                return Ok(None);
            }
            let read = header::read(dataset, source, &file, start)?;
            (file.header, file.delimited) = (read.names, Some(read.delimited));
            standing = read.standing;
        }
        Format::Parquet => {
            let opened = parquet_file::open(dataset, &file)?;
            file.header = opened.header();
            parquet = Some(opened);
        }
        Format::Database => return Err(Error::internal("a file is no database")),
    }
    let place = format!("{dataset}: {}", file.path.display());
    let header = Header { dataset, source, place: &place, names: &file.header, standing };
    let Mapped { columns, filter } = header
        .resolve()
        .map_err(|error| preview::swapped(dataset, settings, &file).unwrap_or(error))?;
    (file.columns, file.filter) = (columns, filter);
    file.placeholders = Arc::new(settings.rules.identifier_placeholders());
    if let Some(opened) = parquet {
        opened.check(dataset, &file)?;
    }
    Ok(Some(file))
}

/// The first text of a delimited file.
struct TextStart {
    format: TextFormat,
    text: Vec<u8>,
    /// Whether this is all of it.
    ended: bool,
}

/// A header does not end beyond so many bytes.
const HEADER_BYTES: usize = 1 << 20;

fn text_start(dataset: Dataset, source: &Source, file: &SourceFile) -> Result<TextStart> {
    let unreadable = |error: io::Error| format::unreadable(dataset, file, &error);
    let raw = format::Raw::new(file.open().map_err(unreadable)?);
    let unpacked = format::unpack(raw, file.compression).map_err(unreadable)?;
    let mut start = Vec::new();
    let limit = u64::try_from(HEADER_BYTES).unwrap_or(u64::MAX);
    unpacked.take(limit).read_to_end(&mut start).map_err(unreadable)?;
    let ended = start.len() < HEADER_BYTES;
    if file.compression != Compression::None {
        foreign::refuse(dataset, file, &start, true)?;
    }
    let format = TextFormat::detect(dataset, source, &start)?;
    let mut text = Vec::new();
    format.decode(Box::new(io::Cursor::new(start))).read_to_end(&mut text).map_err(unreadable)?;
    Ok(TextStart { format, text, ended })
}

#[cfg(test)]
mod tests;
