//! File fingerprints, and the check that a file has not changed since.

use std::io::Read;

use super::extracted::Extracted;
use super::format::Raw;
use super::source_file::SourceFile;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Cancellation;
use crate::schema::Dataset;

/// Bytes per read; cancellation is checked between reads.
const READ_BYTES: usize = 4 << 20;

/// Sets size, modification time and digest of a file.
pub(super) fn take(dataset: Dataset, file: &mut SourceFile, cancel: &Cancellation) -> Result<()> {
    let at_path =
        |error: &std::io::Error| Error::io(ErrorKind::Source, &file.path, error).context(dataset);
    let mut opened = file.open().map_err(|error| at_path(&error))?;
    let metadata = opened.metadata().map_err(|error| at_path(&error))?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; READ_BYTES];
    let mut bytes: u64 = 0;
    loop {
        cancel.check()?;
        match opened.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                hasher.update(&buffer[..count]);
                bytes += count as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(at_path(&error)),
        }
    }
    if bytes != metadata.len() {
        return Err(changed(dataset, file));
    }
    file.modified = metadata.modified().ok();
    file.bytes = bytes;
    file.fingerprint = hasher.finalize().to_hex().to_string();
    Ok(())
}

/// Combined digest of the files' digests in order.
pub(super) fn of_all(files: &[SourceFile]) -> String {
    let mut hasher = blake3::Hasher::new();
    for file in files {
        hasher.update(file.fingerprint.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// Checks that every file still has its recorded size and modification time.
///
/// # Errors
/// `Source` when a file was changed, replaced or removed.
pub(crate) fn unchanged(extracted: &Extracted) -> Result<()> {
    let dataset = extracted.dataset;
    for file in extracted.files.iter().filter(|file| file.modified.is_some()) {
        let metadata = file
            .path
            .metadata()
            .map_err(|error| Error::io(ErrorKind::Source, &file.path, &error).context(dataset))?;
        if metadata.len() != file.bytes || metadata.modified().ok() != file.modified {
            return Err(changed(dataset, file));
        }
    }
    Ok(())
}

/// Error for a file that changed after it was fingerprinted.
pub(super) fn changed(dataset: Dataset, file: &SourceFile) -> Error {
    Error::source(format!("{dataset}: {} was changed while it was read", file.path.display())).hint(
        "let the export finish, then run again; write to another name and rename when complete",
    )
}

/// Checks that the bytes just read match the fingerprint.
pub(super) fn check_unchanged(dataset: Dataset, file: &SourceFile, raw: &mut Raw) -> Result<()> {
    let digest = raw.finish().map_err(|error| file.unreadable(dataset, &error))?;
    if digest == file.fingerprint { Ok(()) } else { Err(changed(dataset, file)) }
}
