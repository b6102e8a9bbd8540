//! Atomic file replacement.
//!
//! The file is written under an unpredictable name in the target folder and then renamed: readers
//! see the old or the new file, a killed process leaves no partial file, and other users with write
//! access to the folder cannot redirect the write with a link.

use std::ffi::OsString;
use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

/// World-readable, whatever the umask.
pub(crate) const READABLE: u32 = 0o644;

/// A temporary file, removed on drop unless renamed.
#[derive(Debug)]
pub(crate) struct WholeFile {
    file: NamedTempFile,
    path: PathBuf,
}

impl WholeFile {
    /// Creates a private temporary file for `path`: a hidden file in the same folder, with a name
    /// from `.NAME.` to `ending`.
    ///
    /// # Errors
    /// When the path has no file name, or the folder is not writable.
    pub(crate) fn begin(path: &Path, ending: &str) -> io::Result<Self> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let mut beginning = OsString::from(".");
        beginning.push(name);
        beginning.push(".");
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let file = Builder::new().prefix(&beginning).suffix(ending).tempfile_in(folder)?;
        Ok(Self { file, path: path.to_owned() })
    }

    pub(crate) fn file(&mut self) -> &mut File {
        self.file.as_file_mut()
    }

    /// Renames the file to its final name, replacing an existing file, and sets its permissions. It
    /// stays open (and locked, if it was) until renamed.
    ///
    /// # Errors
    /// When it cannot be flushed or renamed.
    pub(crate) fn finish(self, mode: u32) -> io::Result<()> {
        self.file.as_file().set_permissions(Permissions::from_mode(mode))?;
        self.file.as_file().sync_all()?;
        self.file.persist(&self.path)?;
        Ok(())
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Replaces the content of a file atomically.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = WholeFile::begin(path, ".tmp")?;
    file.write_all(content)?;
    file.finish(mode)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_is_replaced_and_never_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let (other, path) = (folder.path().join("other"), folder.path().join("file"));
        fs::write(&other, "kept").expect("written");
        symlink(&other, &path).expect("a link");
        replace(&path, b"new", READABLE).expect("replaced");
        assert_eq!(fs::read_to_string(&other).expect("text"), "kept");
        assert_eq!(fs::read_to_string(&path).expect("text"), "new");
        let found = path.symlink_metadata().expect("there");
        assert!(found.is_file());
        assert_eq!(found.permissions().mode() & 0o777, READABLE);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 2);
    }

    #[test]
    fn what_is_not_finished_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let mut file = WholeFile::begin(&path, ".partial").expect("begun");
        file.write_all(b"half").expect("written");
        let entry = fs::read_dir(folder.path()).expect("a folder").next().expect("one");
        let name = entry.expect("an entry").file_name().into_string().expect("text");
        assert!(name.starts_with(".file.") && name.ends_with(".partial"), "{name}");
        drop(file);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
        let error = WholeFile::begin(Path::new("/"), "").expect_err("no name");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
