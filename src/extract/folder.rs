//! Folders as sources: selects the files to read.
//!
//! The same rules hold for local folders and object store prefixes: names that do not denote data
//! are left out ([`left_out`]), and so are day folders (`date=2024-01-31`) outside the data
//! interval.

use std::fs;
use std::path::{Path, PathBuf};

use super::left_out::{self, LeftOut, TABLE_LOGS};
use crate::config::Interval;
use crate::error::{Error, ErrorKind, Result};
use crate::schema::Dataset;

#[derive(Debug, Default, PartialEq)]
pub(super) struct FolderFiles {
    pub(super) files: Vec<PathBuf>,
    pub(super) left_out: LeftOut,
}

/// Lists the files below `folder`, sorted by path bytes; empty files are left out.
///
/// # Errors
/// `Source` when a folder cannot be read, or there is no file.
pub(super) fn files(dataset: Dataset, folder: &Path, interval: &Interval) -> Result<FolderFiles> {
    let mut walk = Walk { dataset, interval, found: FolderFiles::default(), other_days: false };
    check_plain(dataset, folder)?;
    walk.descend(folder, &mut Vec::new())?;
    let mut found = walk.found;
    if found.files.is_empty() {
        let location = folder.display().to_string();
        return Err(nothing(dataset, &location, walk.other_days, &found.left_out, interval));
    }
    found.files.sort_by(|a, b| a.as_os_str().cmp(b.as_os_str()));
    Ok(found)
}

/// Error for a folder without files to read; `other_days`: day folders outside the interval were
/// skipped.
pub(super) fn nothing(
    dataset: Dataset,
    location: &str,
    other_days: bool,
    left_out: &LeftOut,
    interval: &Interval,
) -> Error {
    if other_days {
        return Error::source(format!("{dataset}: no file below {location} is of {interval}"))
            .hint("its folders are named by days; has the export of these days arrived?");
    }
    let note = left_out.note().map_or_else(String::new, |note| format!(" ({note})"));
    Error::source(format!("{dataset}: there is no file below {location}{note}")).hint(
        "names that begin with . _ or ~ and those of unfinished uploads (.part, .tmp, …) do not count",
    )
}

/// Rejects table formats (Delta Lake, Hudi) in which not every file is valid.
pub(super) fn check_plain(dataset: Dataset, folder: &Path) -> Result<()> {
    let real = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    for above in real.ancestors() {
        let log = TABLE_LOGS.iter().find(|(log, _)| above.join(log).is_dir());
        if let Some((_, format)) = log {
            return Err(no_plain_folder(dataset, &above.display().to_string(), format));
        }
    }
    Ok(())
}

/// Error for such a table.
pub(super) fn no_plain_folder(dataset: Dataset, location: &str, format: &str) -> Error {
    Error::source(format!(
        "{dataset}: {location} is a table of {format}, whose files also hold rows that were replaced or deleted"
    ))
    .hint("export what is valid in it as CSV or Parquet, and read that")
}

/// Whether a folder name such as `date=2024-01-31` is a day outside the interval.
pub(super) fn is_outside(name: &str, interval: &Interval) -> bool {
    name.split_once('=').and_then(|(_, day)| interval.covers(day)) == Some(false)
}

struct Walk<'a> {
    dataset: Dataset,
    interval: &'a Interval,
    found: FolderFiles,
    other_days: bool,
}

impl Walk<'_> {
    /// Walks a folder; `above` holds its ancestors, to break symlink cycles.
    fn descend(&mut self, folder: &Path, above: &mut Vec<PathBuf>) -> Result<()> {
        let dataset = self.dataset;
        let unreadable = |path: &Path, error: &std::io::Error| {
            Error::io(ErrorKind::Source, path, error).context(dataset)
        };
        let real = folder.canonicalize().map_err(|error| unreadable(folder, &error))?;
        if above.contains(&real) {
            return Ok(());
        }
        above.push(real);
        for entry in fs::read_dir(folder).map_err(|error| unreadable(folder, &error))? {
            let entry = entry.map_err(|error| unreadable(folder, &error))?;
            let (name, path) = (entry.file_name(), entry.path());
            let name = name.to_string_lossy();
            if TABLE_LOGS.iter().any(|(log, _)| *log == name) {
                check_plain(dataset, folder)?;
            }
            if left_out::is_no_data(&name) {
                if entry.file_type().is_ok_and(|kind| !kind.is_dir()) {
                    self.found.left_out.count(&name);
                }
                continue;
            }
            let kind = path.metadata().map_err(|error| unreadable(&path, &error))?;
            if kind.is_file() && kind.len() == 0 {
                self.found.left_out.empty += 1;
            } else if kind.is_file() {
                self.found.files.push(path);
            } else if kind.is_dir() {
                if is_outside(&name, self.interval) {
                    self.other_days = true;
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
        let found = files(Dataset::Claims, folder.path(), interval).expect("files");
        let relative =
            found.files.iter().map(|file| file.strip_prefix(folder.path()).expect("below"));
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

    #[test]
    fn unfinished_uploads_and_empty_parts_are_no_rows() {
        let folder = tree(&[
            "part-0.csv",
            "part-1.csv.filepart",
            "part-2.csv.tmp",
            "~$claims.xlsx",
            "Thumbs.db",
            "_claims.csv",
            "_temporary/0/part-9.csv",
            "b.part/part-8.csv",
        ]);
        fs::write(folder.path().join("part-3.csv"), "").expect("written");
        let found = files(Dataset::Claims, folder.path(), &Interval::default()).expect("files");
        assert_eq!(found.files, [folder.path().join("part-0.csv")]);
        assert_eq!((found.left_out.files, found.left_out.empty), (4, 1), "{found:?}");
        fs::remove_file(folder.path().join("part-0.csv")).expect("removed");
        let error = files(Dataset::Claims, folder.path(), &Interval::default()).expect_err("none");
        assert!(error.message().contains("4 files not read"), "{error}");
        assert!(error.message().contains("1 file without rows"), "{error}");
    }

    #[test]
    fn a_table_of_another_system_is_no_folder_of_files() {
        for log in ["_delta_log/00000000000000000000.json", ".hoodie/hoodie.properties"] {
            let folder = tree(&["part-0.parquet", log]);
            let error = files(Dataset::Claims, folder.path(), &Interval::default());
            let error = error.expect_err("refused");
            assert!(error.message().contains("rows that were replaced or deleted"), "{error}");
        }
    }
}
