//! Resolves the configured sources of an input to files or one database.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::address::{Address, scheme};
use super::folder::{self, FolderFiles};
use super::left_out::{self, LeftOut};
use super::template;
use crate::config::{Interval, Source};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Cancellation;
use crate::schema::Dataset;

/// Source name for standard input.
const STANDARD_INPUT: &str = "-";

/// Resolved sources of one input.
#[derive(Debug, PartialEq)]
pub(crate) enum Origin<'a> {
    /// In configuration order; folder and glob matches sorted by name; no duplicates.
    Files { locations: Vec<Location>, left_out: LeftOut },
    /// Database address; contains credentials.
    Database(&'a str),
}

/// Location of one file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Location {
    /// Existing regular file; `part`: from a folder or glob, so it may be empty.
    File {
        path: PathBuf,
        part: bool,
    },
    StandardInput,
    /// Object or web page.
    #[cfg(feature = "cloud")]
    Remote {
        address: Address,
        part: bool,
    },
}

impl Location {
    /// Whether it comes from a folder or a glob.
    pub(crate) fn is_part(&self) -> bool {
        match self {
            Self::File { part, .. } => *part,
            Self::StandardInput => false,
            #[cfg(feature = "cloud")]
            Self::Remote { part, .. } => *part,
        }
    }
}

/// Glob metacharacters.
const GLOB_CHARS: [char; 3] = ['*', '?', '['];

pub(crate) fn resolve<'a>(
    dataset: Dataset,
    source: &'a Source,
    interval: &Interval,
    cancel: &Cancellation,
) -> Result<Origin<'a>> {
    if source.sources.is_empty() {
        return Err(Error::config(format!("{dataset}: no source is configured")).hint(format!(
            "name files with --{dataset} PATH, or in the configuration:\n  [{dataset}]\n  sources = [\"{dataset}/*.csv\"]"
        )));
    }
    let is_database = |text: &&String| matches!(scheme(text), Some("postgres" | "postgresql"));
    if let Some(address) = source.sources.iter().find(is_database) {
        if source.sources.len() > 1 {
            return Err(Error::config(format!(
                "{dataset}: a postgres:// address must be the only source"
            ))
            .hint("combine tables with UNION ALL in the query"));
        }
        return Ok(Origin::Database(address));
    }
    let mut locations: Vec<Location> = Vec::new();
    let mut left_out = LeftOut::default();
    let (mut seen, mut seen_elsewhere) = (HashSet::new(), HashSet::new());
    let mut folders = HashMap::new();
    for text in &source.sources {
        if text == STANDARD_INPUT {
            locations.push(Location::StandardInput);
        } else if scheme(text).is_some() {
            let address = Address::new(template::expand(dataset, text, interval)?);
            for remote in elsewhere(dataset, address, interval, &mut left_out, cancel)? {
                if seen_elsewhere.insert(remote.clone()) {
                    locations.push(remote);
                }
            }
        } else {
            let (found, part) = expand(dataset, text, interval)?;
            left_out.merge(found.left_out);
            for path in found.files {
                if seen.insert(regular_file(dataset, &path, &mut folders)?) {
                    locations.push(Location::File { path, part });
                }
            }
        }
    }
    Ok(Origin::Files { locations, left_out })
}

/// Lists the objects of an address.
#[cfg_attr(
    not(feature = "cloud"),
    expect(clippy::needless_pass_by_value, reason = "its parts go on where there is a cloud")
)]
fn elsewhere(
    dataset: Dataset,
    address: Address,
    interval: &Interval,
    left_out: &mut LeftOut,
    cancel: &Cancellation,
) -> Result<Vec<Location>> {
    // The address may contain a password, so only its scheme is shown.
    let scheme = address.scheme();
    if !matches!(scheme, "s3" | "gs" | "az" | "http" | "https") {
        return Err(Error::config(format!("{dataset}: cannot read from {scheme}:// addresses"))
            .hint("give files, folders, globs, -, s3://, gs://, az://, https:// or http:// addresses, or one postgres:// address"));
    }
    #[cfg(feature = "cloud")]
    {
        let found = super::cloud::expand(dataset, address, interval, cancel)?;
        left_out.merge(found.left_out);
        let part = found.parts;
        let addresses = found.addresses.into_iter();
        Ok(addresses.map(|address| Location::Remote { address, part }).collect())
    }
    #[cfg(not(feature = "cloud"))]
    {
        let _ = (interval, left_out, cancel);
        Err(Error::config(format!(
            "{dataset}: this build cannot read from {scheme}:// addresses; the feature `cloud` is off"
        ))
        .hint("give files, or build with --features cloud"))
    }
}

/// Expands one configured source to files, and whether they are parts of a folder or glob. The name
/// of an existing file or folder is not treated as a pattern.
fn expand(dataset: Dataset, text: &str, interval: &Interval) -> Result<(FolderFiles, bool)> {
    let text = if Path::new(text).exists() {
        text.to_owned()
    } else {
        template::expand(dataset, text, interval)?
    };
    let path = Path::new(&text);
    if path.is_dir() {
        return Ok((folder::files(dataset, path, interval)?, true));
    }
    if path.exists() || !text.contains(GLOB_CHARS) {
        return Ok((FolderFiles { files: vec![path.to_owned()], ..FolderFiles::default() }, false));
    }
    Ok((matches(dataset, &text, interval)?, true))
}

/// Expands a glob.
fn matches(dataset: Dataset, text: &str, interval: &Interval) -> Result<FolderFiles> {
    let paths = glob::glob(text).map_err(|error| {
        Error::config(format!("{dataset}: {text} is not a valid glob: {}", error.msg))
    })?;
    let unreadable = |path: &Path, error: &std::io::Error| {
        Error::io(ErrorKind::Source, path, error).context(dataset)
    };
    let (mut found, mut any, mut other_days) = (FolderFiles::default(), false, false);
    let mut folder = PathBuf::new();
    // `glob` returns matches in alphabetical order.
    for path in paths {
        let path = path.map_err(|error| unreadable(error.path(), error.error()))?;
        let folders = || path.parent().into_iter().flat_map(Path::components);
        let mut names = folders().filter_map(|folder| folder.as_os_str().to_str());
        let is_outside = names.any(|name| folder::is_outside(name, interval));
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_no_data = left_out::by_glob(text, &path.to_string_lossy());
        // A dangling link must not be skipped silently.
        let kind = path.metadata().ok();
        if kind.as_ref().is_some_and(std::fs::Metadata::is_dir) {
            continue;
        }
        any = true;
        if is_outside {
            other_days = true;
        } else if is_no_data {
            found.left_out.count(&name);
        } else if kind.is_some_and(|kind| kind.is_file() && kind.len() == 0) {
            found.left_out.empty += 1;
        } else {
            let parent = path.parent().unwrap_or(Path::new(""));
            if parent != folder {
                folder::check_plain(dataset, parent)?;
                parent.clone_into(&mut folder);
            }
            found.files.push(path);
        }
    }
    if !any {
        return Err(Error::source(format!("{dataset}: no file matches {text}"))
            .hint("quote the glob on the command line, and check the folder"));
    }
    if found.files.is_empty() {
        return Err(folder::nothing(dataset, text, other_days, &found.left_out, interval));
    }
    Ok(found)
}

/// The file behind `path` with links resolved; `folders` caches resolved folders.
fn regular_file(
    dataset: Dataset,
    path: &Path,
    folders: &mut HashMap<PathBuf, PathBuf>,
) -> Result<PathBuf> {
    let unreadable =
        |error: &std::io::Error| Error::io(ErrorKind::Source, path, error).context(dataset);
    let kind = path.symlink_metadata().map(|kind| kind.file_type());
    // In large folders only names are inspected.
    if let (Ok(kind), Some(folder), Some(name)) = (&kind, path.parent(), path.file_name())
        && kind.is_file()
    {
        if let Some(real) = folders.get(folder) {
            return Ok(real.join(name));
        }
        let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let real = here.canonicalize().map_err(|error| unreadable(&error))?;
        let file = real.join(name);
        folders.insert(folder.to_owned(), real);
        return Ok(file);
    }
    let metadata = path.metadata().map_err(|error| {
        let missing = error.kind() == std::io::ErrorKind::NotFound;
        let error = unreadable(&error);
        if missing {
            error.hint(format!("check --{dataset} and [{dataset}] sources; relative paths start at the current directory"))
        } else {
            error
        }
    })?;
    if !metadata.is_file() {
        return Err(Error::source(format!("{dataset}: {} is not a regular file", path.display()))
            .hint("files are read more than once; what comes from a pipe is read as -"));
    }
    path.canonicalize().map_err(|error| unreadable(&error))
}
