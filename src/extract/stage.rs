//! Extracts an input: locates, checks and fingerprints its sources.

use std::io;
use std::path::Path;
use std::sync::Arc;

#[cfg(feature = "cloud")]
use super::cloud;
#[cfg(feature = "database")]
use super::database;
use super::detection::detect;
use super::extracted::Extracted;
use super::format::Format;
use super::left_out::LeftOut;
use super::line_column::{self, Recognised};
use super::mapping::{Header, Mapped};
use super::recognition::Standing;
use super::source_file::{STANDARD_INPUT, SourceFile};
use super::source_resolver::{self, Location, Origin};
use super::spool::Spool;
use super::text_start::text_start;
use super::{fingerprint, header, parquet_file, preview};
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::event::Cancellation;
use crate::schema::Dataset;

/// Locates, checks and fingerprints the sources of `dataset`.
///
/// # Errors
/// `Config` when there is no source, a column is missing or named twice, or the mapping is wrong;
/// `Source` when a file is missing or cannot be read; `Interrupted` on cancellation.
pub fn extract(dataset: Dataset, settings: &Settings, cancel: &Cancellation) -> Result<Extracted> {
    let source = settings.source(dataset);
    match source_resolver::resolve(dataset, source, &settings.interval(), cancel)? {
        Origin::Files { locations, mut left_out } => {
            let mut files = Vec::with_capacity(locations.len());
            let last = locations.len();
            for (number, location) in (1..).zip(locations) {
                cancel.check()?;
                let part = location.is_part();
                let file = located(dataset, location, &settings.spill_dir(), cancel)?;
                // An empty part has no rows; if all are empty, the last one is an error.
                let may_be_empty = part && !(number == last && files.is_empty());
                match inspect(dataset, settings, file, may_be_empty)? {
                    Some(file) => files.push(file),
                    None => left_out.empty += 1,
                }
            }
            // Check all headers before hashing gigabytes.
            for file in &mut files {
                fingerprint::take(dataset, file, cancel)?;
                if file.is_spooled() {
                    file.modified = None;
                }
            }
            // Content read to the end must match the fingerprint.
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
            "{dataset}: this build cannot read from a database; the feature `database` is off"
        ))
        .hint("give files, or build with --features database")),
    }
}

/// Opens a location, spooling it if it can be read only once.
fn located(
    dataset: Dataset,
    location: Location,
    folder: &Path,
    cancel: &Cancellation,
) -> Result<SourceFile> {
    match location {
        Location::File { path, .. } => Ok(SourceFile::new(path, None)),
        Location::StandardInput => {
            let spool = Spool::fill(STANDARD_INPUT, io::stdin(), folder, cancel);
            let spool = spool.map_err(|error| error.context(dataset))?;
            Ok(SourceFile::new(STANDARD_INPUT.into(), Some(spool)))
        }
        #[cfg(feature = "cloud")]
        Location::Remote { address, .. } => {
            let spool = cloud::fetch(dataset, &address, folder, cancel)?;
            Ok(SourceFile::new(address.to_string().into(), Some(spool)))
        }
    }
}

/// Reads a file's format and header and matches the header against the contract; `None` for an
/// empty file where those are allowed.
fn inspect(
    dataset: Dataset,
    settings: &Settings,
    mut file: SourceFile,
    may_be_empty: bool,
) -> Result<Option<SourceFile>> {
    let source = settings.source(dataset);
    let Some((format, compression)) = detect(dataset, &file, may_be_empty)? else {
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
    let location = format!("{dataset}: {}", file.path.display());
    let header = Header { dataset, source, location: &location, names: &file.header, standing };
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
