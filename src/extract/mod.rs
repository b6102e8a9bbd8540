//! Extract: finds the sources, checks their headers against the contract, fingerprints them, and
//! scans them lazily.
//!
//! Never reads more of the data than headers and bytes to hash: parsing happens once, when the
//! blocks of a scan are executed. A database is the exception; its rows have no second reading, so they are
//! fetched here.

#[cfg(feature = "database")]
mod database;
mod delimited;
mod fingerprint;
mod format;
mod header;
mod origin;
mod parquet_file;
mod scan;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

use serde::Serialize;

pub use fingerprint::unchanged;
pub use format::{Compression, Format};
pub use scan::{Block, Blocks, scan};

use crate::config::Source;
use crate::error::{Error, Result};
use crate::event::Cancellation;
use crate::schema::Dataset;

use origin::Origin;

/// One input, found, checked and fingerprinted: the result that an extract task hands on.
#[derive(Debug, Clone, Serialize)]
pub struct Extracted {
    /// Which input.
    pub dataset: Dataset,
    /// The files in the order in which their rows count.
    pub files: Vec<SourceFile>,
    /// BLAKE3 over the files' fingerprints in order; the same wherever the files lie.
    pub fingerprint: String,
    /// Header names that the contract does not know, over all files.
    pub ignored_columns: Vec<String>,
    /// The rows of a database source.
    #[cfg(feature = "database")]
    #[serde(skip)]
    fetched: Option<database::Fetched>,
}

/// One file (or database) of an input.
#[derive(Debug, Clone, Serialize)]
pub struct SourceFile {
    /// Where it is; for a database its address without credentials.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// When it was last written; unknown for a database.
    #[serde(skip)]
    pub modified: Option<SystemTime>,
    /// BLAKE3 of its bytes.
    pub fingerprint: String,
    /// How its rows are written.
    pub format: Format,
    /// How its bytes are packed.
    pub compression: Compression,
    /// The column names as the file spells them.
    pub header: Vec<String>,
    /// Contract column → name in `header`.
    pub columns: BTreeMap<&'static str, String>,
}

/// Finds, checks and fingerprints the sources of `dataset`.
///
/// # Errors
/// `Config` when there is no source, a column is missing or named twice, or the mapping is wrong;
/// `Source` when a file is missing or cannot be read; `Interrupted` when asked to stop.
pub fn extract(dataset: Dataset, source: &Source, cancel: &Cancellation) -> Result<Extracted> {
    match origin::resolve(dataset, source)? {
        Origin::Files(paths) => {
            let mut files = Vec::with_capacity(paths.len());
            for path in paths {
                files.push(inspect(dataset, source, path)?);
            }
            // All headers first: a wrong one is told before gigabytes are hashed.
            for file in &mut files {
                fingerprint::take(dataset, file, cancel)?;
            }
            Ok(Extracted {
                dataset,
                fingerprint: fingerprint::of_all(&files),
                ignored_columns: header::ignored(&files),
                files,
                #[cfg(feature = "database")]
                fetched: None,
            })
        }
        #[cfg(feature = "database")]
        Origin::Database(address) => {
            let (file, fetched) = database::fetch(dataset, source, address, cancel)?;
            let files = vec![file];
            Ok(Extracted {
                dataset,
                fingerprint: fingerprint::of_all(&files),
                ignored_columns: header::ignored(&files),
                files,
                fetched: Some(fetched),
            })
        }
        #[cfg(not(feature = "database"))]
        Origin::Database(_) => Err(Error::config(format!(
            "{dataset}: this build cannot read from a database; it lacks the feature `database`"
        ))
        .hint("give files, or build with --features database")),
    }
}

/// Reads a file's format and header, and matches the header against the contract.
fn inspect(dataset: Dataset, source: &Source, path: PathBuf) -> Result<SourceFile> {
    let (format, compression) = format::detect(dataset, &path)?;
    let header = match format {
        Format::Csv => header::read_delimited(dataset, source, &path, compression)?,
        Format::Parquet => {
            parquet_file::schema(dataset, &path)?.iter_names().map(ToString::to_string).collect()
        }
        Format::Database => return Err(Error::internal("a file is no database")),
    };
    let place = format!("{dataset}: {}", path.display());
    let columns = header::match_contract(dataset, source, &place, &header)?;
    if format == Format::Parquet {
        parquet_file::check_types(dataset, &path, &columns)?;
    }
    Ok(SourceFile {
        path,
        bytes: 0,
        modified: None,
        fingerprint: String::new(),
        format,
        compression,
        header,
        columns,
    })
}

#[cfg(test)]
mod tests;
