//! The dashboard: one static HTML page made from the warehouse, without scripts or network access.

mod charts;
mod format;
mod page;
mod queries;
mod released;
mod sections;
mod snapshot;
mod table;

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::job::Job;
use super::outcome::{Done, Failure};
use super::target::Target;
use super::target_info::{TargetInfo, off};
use crate::atomic_file::WholeFile;
use crate::config::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::failpoint;
use crate::rule::Severities;

/// The page as a target.
pub(crate) struct Dashboard {
    path: PathBuf,
    info: TargetInfo,
    severities: Severities,
}

impl Dashboard {
    /// The page at the configured path.
    #[must_use]
    pub(crate) fn new(settings: &Settings) -> Self {
        let dashboard = &settings.refresh.dashboard;
        Self {
            path: settings.dashboard_path(),
            info: TargetInfo {
                name: "dashboard".into(),
                provider: "dashboard",
                parallel: 1,
                required: dashboard.required,
                deadline: settings.refresh.deadline(dashboard.deadline_secs),
                skipped: off(dashboard.enabled, "refresh.dashboard"),
            },
            // Errors are reported where the settings are read.
            severities: settings.severities().unwrap_or_default(),
        }
    }
}

impl Target for Dashboard {
    fn info(&self) -> &TargetInfo {
        &self.info
    }

    fn check(&self, _job: &mut Job<'_>) -> Result<String, Failure> {
        Ok(format!("a page, {}", self.path.display()))
    }

    fn refresh(&self, job: &mut Job<'_>) -> Result<Done, Failure> {
        let snapshot = queries::snapshot(job, self.severities)?;
        write(&self.path, &page::render(&snapshot))?;
        Ok(Done::succeeded(self.path.display().to_string()))
    }
}

/// Replaces the page atomically: a reader sees the old page or the new one.
fn write(path: &Path, html: &str) -> Result<()> {
    let failed = |error: &io::Error| Error::io(ErrorKind::Refresh, path, error);
    let name = path.file_name().ok_or_else(|| {
        Error::config(format!("refresh.dashboard.path: {} is not a file name", path.display()))
    })?;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| failed(&error))?;
    }
    remove_leftovers(path, name);
    let failed = |error: io::Error| failed(&error);
    let mut page = WholeFile::begin(path, "").map_err(failed)?;
    // The lock is held until the file is renamed.
    page.file().lock().map_err(failed)?;
    page.write_all(html.as_bytes()).map_err(failed)?;
    failpoint::hit("refresh.written")?;
    // A web server or another user of the group reads it, whatever the umask.
    page.finish(0o640).map_err(failed)
}

/// Removes partial files of killed processes: they are not locked.
fn remove_leftovers(path: &Path, name: &OsStr) {
    let mut start = OsString::from(".");
    start.push(name);
    start.push(".");
    let beside = path.parent().into_iter().flat_map(fs::read_dir).flatten().flatten();
    let partials = beside
        .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(start.as_encoded_bytes()));
    for leftover in partials {
        // Best effort. A link is not ours and not followed.
        let ours = leftover.file_type().is_ok_and(|kind| kind.is_file());
        let unlocked =
            ours && File::open(leftover.path()).is_ok_and(|file| file.try_lock().is_ok());
        if unlocked {
            let _ = fs::remove_file(leftover.path());
        }
    }
}

#[cfg(test)]
mod tests;
