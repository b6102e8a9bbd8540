//! Where an input comes from: the configured sources as a list of files, or one database.
//!
//! A file of its own because paths, lists and globs are resolved here and nowhere else.

use std::path::{Path, PathBuf};

use super::address::{Address, scheme};
use super::{folder, template};
use crate::config::{Interval, Source};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Cancellation;
use crate::schema::Dataset;

/// Standard input as a source.
const STANDARD_INPUT: &str = "-";

/// The resolved sources of one input.
#[derive(Debug, PartialEq)]
pub(super) enum Origin<'a> {
    /// In the order of the configuration; those of a folder or a glob sorted by name; none twice.
    Places(Vec<Place>),
    /// A database's address; holds credentials.
    Database(&'a str),
}

/// Where one file comes from.
#[derive(Debug, PartialEq)]
pub(super) enum Place {
    /// An existing regular file.
    File(PathBuf),
    /// What is piped into the program.
    StandardInput,
    /// An object or a web page.
    #[cfg(feature = "cloud")]
    Remote(Address),
}

/// Resolves the configured sources.
pub(super) fn resolve<'a>(
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
    let mut places: Vec<Place> = Vec::new();
    let mut seen: Vec<PathBuf> = Vec::new();
    for text in &source.sources {
        if text == STANDARD_INPUT {
            places.push(Place::StandardInput);
        } else if scheme(text).is_some() {
            let address = Address::new(template::expand(dataset, text, interval)?);
            for remote in elsewhere(dataset, address, interval, cancel)? {
                if !places.contains(&remote) {
                    places.push(remote);
                }
            }
        } else {
            for path in expand(dataset, text, interval)? {
                let real = regular_file(dataset, &path)?;
                if !seen.contains(&real) {
                    seen.push(real);
                    places.push(Place::File(path));
                }
            }
        }
    }
    Ok(Origin::Places(places))
}

/// The objects that an address means.
#[cfg_attr(
    not(feature = "cloud"),
    expect(clippy::needless_pass_by_value, reason = "its parts go on where there is a cloud")
)]
fn elsewhere(
    dataset: Dataset,
    address: Address,
    interval: &Interval,
    cancel: &Cancellation,
) -> Result<Vec<Place>> {
    // The address itself may hold a password, so only its scheme is named.
    let scheme = address.scheme();
    if !matches!(scheme, "s3" | "gs" | "az" | "http" | "https") {
        return Err(Error::config(format!("{dataset}: cannot read from {scheme}:// addresses"))
            .hint("give files, folders, globs, -, s3://, gs://, az://, https:// or http:// addresses, or one postgres:// address"));
    }
    #[cfg(feature = "cloud")]
    {
        let addresses = super::cloud::expand(dataset, address, interval, cancel)?;
        Ok(addresses.into_iter().map(Place::Remote).collect())
    }
    #[cfg(not(feature = "cloud"))]
    {
        let _ = (interval, cancel);
        Err(Error::config(format!(
            "{dataset}: this build cannot read from {scheme}:// addresses; it lacks the feature `cloud`"
        ))
        .hint("give files, or build with --features cloud"))
    }
}

/// The files that one configured text names. A text that is the name of a file or folder is that
/// and no pattern.
fn expand(dataset: Dataset, text: &str, interval: &Interval) -> Result<Vec<PathBuf>> {
    let text = if Path::new(text).exists() {
        text.to_owned()
    } else {
        template::expand(dataset, text, interval)?
    };
    let path = Path::new(&text);
    if path.is_dir() {
        return folder::files(dataset, path, interval);
    }
    if path.exists() || !text.contains(['*', '?', '[']) {
        return Ok(vec![path.to_owned()]);
    }
    let matches = glob::glob(&text).map_err(|error| {
        Error::config(format!("{dataset}: {text} is not a valid glob: {}", error.msg))
    })?;
    // `glob` gives the matches in alphabetical order.
    let mut paths = matches.collect::<Result<Vec<_>, _>>().map_err(|error| {
        Error::io(ErrorKind::Source, error.path(), error.error()).context(dataset)
    })?;
    paths.retain(|path| !path.is_dir());
    if paths.is_empty() {
        return Err(Error::source(format!("{dataset}: no file matches {text}"))
            .hint("quote the glob on the command line, and check the folder"));
    }
    let is_outside = |path: &Path| {
        let folders = path.parent().into_iter().flat_map(Path::components);
        folders.into_iter().any(|folder| {
            folder.as_os_str().to_str().is_some_and(|name| folder::is_outside(name, interval))
        })
    };
    paths.retain(|path| !is_outside(path));
    if paths.is_empty() {
        return Err(folder::nothing(dataset, &text, true, interval));
    }
    Ok(paths)
}

/// The file behind `path`, with all links followed.
fn regular_file(dataset: Dataset, path: &Path) -> Result<PathBuf> {
    let metadata = path.metadata().map_err(|error| {
        let missing = error.kind() == std::io::ErrorKind::NotFound;
        let error = Error::io(ErrorKind::Source, path, &error).context(dataset);
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
    path.canonicalize().map_err(|error| Error::io(ErrorKind::Source, path, &error).context(dataset))
}
