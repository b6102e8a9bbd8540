//! Folders as sources: which of the files below one are meant.
//!
//! A file of its own because the same rules hold for folders of a disk and prefixes of an object
//! store: hidden names and those that begin with an underscore are no data, and of folders that are
//! named by days (`date=2024-01-31`) those outside the data interval are left out.

use std::fs;
use std::path::{Path, PathBuf};

use crate::config::Interval;
use crate::error::{Error, ErrorKind, Result};
use crate::schema::Dataset;

/// The files below `folder`, sorted by the bytes of their paths.
///
/// # Errors
/// `Source` when a folder cannot be read, or there is no file.
pub(super) fn files(dataset: Dataset, folder: &Path, interval: &Interval) -> Result<Vec<PathBuf>> {
    let mut walk = Walk { dataset, interval, files: Vec::new(), left_out: false };
    walk.descend(folder, &mut Vec::new())?;
    if walk.files.is_empty() {
        return Err(nothing(dataset, &folder.display().to_string(), walk.left_out, interval));
    }
    walk.files.sort_by(|a, b| a.as_os_str().cmp(b.as_os_str()));
    Ok(walk.files)
}

/// The refusal of a folder that has nothing to read; `left_out`: days were passed over.
pub(super) fn nothing(dataset: Dataset, place: &str, left_out: bool, interval: &Interval) -> Error {
    if left_out {
        return Error::source(format!("{dataset}: no file below {place} is of {interval}"))
            .hint("its folders are named by days; has the export of these days arrived?");
    }
    Error::source(format!("{dataset}: there is no file below {place}"))
        .hint("names that begin with a dot or an underscore do not count")
}

/// Whether a name is no data's.
pub(super) fn is_hidden(name: &str) -> bool {
    name.starts_with(['.', '_'])
}

/// Whether a folder's name is that of a day outside the interval: `date=2024-01-31`.
pub(super) fn is_outside(name: &str, interval: &Interval) -> bool {
    name.split_once('=').and_then(|(_, day)| interval.covers(day)) == Some(false)
}

struct Walk<'a> {
    dataset: Dataset,
    interval: &'a Interval,
    files: Vec<PathBuf>,
    left_out: bool,
}

impl Walk<'_> {
    /// Goes through a folder; `above` are the folders that lead to it, so that a link back ends.
    fn descend(&mut self, folder: &Path, above: &mut Vec<PathBuf>) -> Result<()> {
        let unreadable = |path: &Path, error: &std::io::Error| {
            Error::io(ErrorKind::Source, path, error).context(self.dataset)
        };
        let real = folder.canonicalize().map_err(|error| unreadable(folder, &error))?;
        if above.contains(&real) {
            return Ok(());
        }
        let mut entries = Vec::new();
        for entry in fs::read_dir(folder).map_err(|error| unreadable(folder, &error))? {
            entries.push(entry.map_err(|error| unreadable(folder, &error))?);
        }
        above.push(real);
        for entry in entries {
            let (name, path) = (entry.file_name(), entry.path());
            let name = name.to_string_lossy();
            if is_hidden(&name) {
                continue;
            }
            let kind = path.metadata().map_err(|error| {
                Error::io(ErrorKind::Source, &path, &error).context(self.dataset)
            })?;
            if kind.is_file() {
                self.files.push(path);
            } else if kind.is_dir() {
                if is_outside(&name, self.interval) {
                    self.left_out = true;
                } else {
                    self.descend(&path, above)?;
                }
            }
        }
        above.pop();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, "x").expect("written");
        }
        folder
    }

    fn found(folder: &tempfile::TempDir, interval: &Interval) -> Vec<String> {
        let files = files(Dataset::Claims, folder.path(), interval).expect("files");
        let relative = files.iter().map(|file| file.strip_prefix(folder.path()).expect("below"));
        relative.map(|file| file.display().to_string()).collect()
    }

    #[test]
    fn all_files_below_in_the_order_of_their_paths() {
        let folder = tree(&[
            "b.csv",
            "a/z.csv",
            "a-b.csv",
            "a/c/d.csv",
            ".hidden.csv",
            "_SUCCESS",
            "a/_tmp/x.csv",
            ".git/x.csv",
        ]);
        let back = folder.path().join("a/back");
        std::os::unix::fs::symlink(folder.path(), back).expect("a link");
        let all = found(&folder, &Interval::default());
        assert_eq!(all, ["a-b.csv", "a/c/d.csv", "a/z.csv", "b.csv"]);
    }

    #[test]
    fn days_outside_the_interval_are_left_out() {
        let folder = tree(&[
            "date=2024-01-30/a.csv",
            "date=2024-01-31/a.csv",
            "date=2024-02-01/a.csv",
            "region=east/day=2024-01-31/a.csv",
            "region=east/day=2024-02-01/a.csv",
            "date=latest/a.csv",
            "2024-02-01/a.csv",
        ]);
        let day = |text: &str| text.parse().ok();
        let interval = Interval { start: day("2024-01-31"), end: day("2024-02-01") };
        assert_eq!(
            found(&folder, &interval),
            [
                "2024-02-01/a.csv",
                "date=2024-01-31/a.csv",
                "date=latest/a.csv",
                "region=east/day=2024-01-31/a.csv"
            ]
        );
        assert_eq!(found(&folder, &Interval::default()).len(), 7);
    }

    #[test]
    fn an_empty_folder_says_why() {
        let folder = tree(&["date=2024-01-30/a.csv", "_x.csv"]);
        let interval = Interval { start: "2024-01-31".parse().ok(), end: None };
        let refused = |folder: &Path| {
            let error = files(Dataset::Claims, folder, &interval).expect_err("nothing");
            assert_eq!(error.kind(), ErrorKind::Source);
            error.message().to_owned()
        };
        let message = refused(folder.path());
        assert!(message.ends_with("is of [2024-01-31, …)"), "{message}");
        let empty = tempfile::tempdir().expect("a folder");
        assert!(refused(empty.path()).contains("there is no file below"), "{message}");
    }
}
