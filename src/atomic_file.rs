//! A file that appears under its name whole or not at all.
//!
//! It is written under a name that nobody can know before, in the folder where it belongs, and then
//! renamed: a reader sees the old file or the new one, a killed process leaves no half, and whoever
//! may write to the folder cannot lead the writing elsewhere by a link.

use std::ffi::OsString;
use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

/// Everybody may read it, whatever the umask of the job.
pub(crate) const READABLE: u32 = 0o644;

/// A file that has not got its name yet; removed unless it gets it.
#[derive(Debug)]
pub(crate) struct WholeFile {
    file: NamedTempFile,
    path: PathBuf,
}

impl WholeFile {
    /// Begins the file that `path` will name; only its owner may read it. Until then it is a hidden
    /// file beside it that begins with `.NAME.` and ends with `ending`.
    ///
    /// # Errors
    /// When the path names no file, or the folder cannot be written to.
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

    /// The file itself.
    pub(crate) fn file(&mut self) -> &mut File {
        self.file.as_file_mut()
    }

    /// Gives the file its name, in the place of whatever has it, and these permissions. It stays
    /// open, and with it locked if it was, until it has its name.
    ///
    /// # Errors
    /// When it cannot be written to the disk or renamed.
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

/// Puts a file with this content in the place of whatever is there.
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
