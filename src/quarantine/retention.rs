//! Lists runs with rejects and deletes old ones.

use std::fs::{self, File};
use std::path::Path;

use chrono::{DateTime, Utc};
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde::{Serialize, Serializer};

use super::path;
use crate::error::{Error, ErrorKind, Result};
use crate::event::RunId;

/// The stored rejects of one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct StoredRejects {
    #[serde(serialize_with = "as_text")]
    pub(crate) run_id: RunId,
    /// Start of the run from its id; otherwise the file's modification time.
    pub(crate) started_at: DateTime<Utc>,
    /// Number of rejected records; `None` if the file cannot be read.
    pub(crate) rejects: Option<u64>,
    /// File size in bytes.
    pub(crate) bytes: u64,
}

fn as_text<S: Serializer>(run: &RunId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(run)
}

/// The runs with rejects, latest first.
///
/// # Errors
/// `Config` when the folder cannot be read.
pub(crate) fn list(folder: &Path) -> Result<Vec<StoredRejects>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io(ErrorKind::Config, folder, &error)),
    };
    let mut kept: Vec<StoredRejects> =
        entries.flatten().filter_map(|entry| of_file(folder, &entry)).collect();
    kept.sort_by_key(|kept| std::cmp::Reverse((kept.started_at, kept.run_id.to_string())));
    Ok(kept)
}

/// The rejects in a file, if its name is that of a quarantine.
fn of_file(folder: &Path, entry: &fs::DirEntry) -> Option<StoredRejects> {
    let name = entry.file_name();
    let run_id = RunId::parse(name.to_str()?.strip_suffix(".parquet")?).ok()?;
    // Does not follow links.
    let metadata = entry.metadata().ok()?;
    let written = || metadata.modified().ok().map(DateTime::<Utc>::from);
    let started_at = run_id.started().or_else(written)?;
    let own = metadata.is_file() && path(folder, run_id).file_name() == Some(&name);
    own.then(|| StoredRejects {
        run_id,
        started_at,
        rejects: count(&entry.path()),
        bytes: metadata.len(),
    })
}

fn count(path: &Path) -> Option<u64> {
    let reader = SerializedFileReader::new(File::open(path).ok()?).ok()?;
    u64::try_from(reader.metadata().file_metadata().num_rows()).ok()
}

/// Deletes the rejects of runs that started before a time, and returns them. `dry_run`: deletes
/// nothing.
///
/// # Errors
/// `Config` when the folder cannot be read or a file cannot be deleted.
pub(crate) fn prune(
    folder: &Path,
    before: DateTime<Utc>,
    dry_run: bool,
) -> Result<Vec<StoredRejects>> {
    let mut old = list(folder)?;
    old.retain(|kept| kept.started_at < before);
    if !dry_run {
        for kept in &old {
            let path = path(folder, kept.run_id);
            fs::remove_file(&path).map_err(|error| Error::io(ErrorKind::Config, &path, &error))?;
        }
    }
    Ok(old)
}
