//! The file read by node_exporter's textfile collector.

use std::fs;
use std::path::Path;

use chrono::{DateTime, Utc};

use super::figures::{Figures, LastRun};
use crate::atomic_file::{READABLE, replace};
use crate::error::{Error, ErrorKind, Result};

/// The sample retained after a failed run.
const LAST_SUCCESS: &str = "claims_etl_last_success_timestamp_seconds ";

/// Replaces the figures of the previous run.
///
/// # Errors
/// `Internal` with the file name when it cannot be written.
pub(crate) fn write_textfile(path: &Path, run: LastRun) -> Result<()> {
    let last_success = if run.is_success() { Some(run.ended) } else { last_success(path) };
    let figures = Figures { last_run: Some(run), last_success, totals: None };
    replace(path, figures.render().as_bytes(), READABLE)
        .map_err(|error| Error::io(ErrorKind::Internal, path, &error))
}

/// The time of the last success in the existing file.
fn last_success(path: &Path) -> Option<DateTime<Utc>> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(LAST_SUCCESS))?;
    let (whole, fraction) = line.trim().split_once('.').unwrap_or((line.trim(), ""));
    let millis: u32 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    DateTime::from_timestamp(whole.parse().ok()?, millis * 1_000_000)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::figures::tests::run;
    use super::*;

    #[test]
    fn a_file_appears_whole_and_readable() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("claims.prom");
        write_textfile(&path, run("success")).expect("written");
        let text = fs::read_to_string(&path).expect("a file");
        assert!(text.ends_with("# EOF\n") && text.contains("claims_etl_last_run_success 1\n"));
        let mode = fs::metadata(&path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
        let names = fs::read_dir(folder.path()).expect("a folder").count();
        assert_eq!(names, 1, "nothing else is left");
    }

    #[test]
    fn a_failure_does_not_forget_the_last_success() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("claims.prom");
        write_textfile(&path, run("failed")).expect("written");
        let sample = |text: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(LAST_SUCCESS));
            line.map(ToOwned::to_owned)
        };
        let text = || fs::read_to_string(&path).expect("a file");
        assert_eq!(sample(&text()), None, "there was none");
        write_textfile(&path, run("already_loaded")).expect("written");
        let succeeded = sample(&text()).expect("a sample");
        assert_eq!(succeeded, "1704067201.5");
        for _ in 0..2 {
            write_textfile(&path, run("failed")).expect("written");
            assert_eq!(sample(&text()).as_ref(), Some(&succeeded));
        }
        assert!(text().contains("claims_etl_last_run_success 0\n"));
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        let error = write_textfile(Path::new("/nowhere/at/claims.prom"), run("success"));
        let error = error.expect_err("no folder");
        assert!(error.message().starts_with("/nowhere/at/claims.prom: "), "{error}");
    }
}
