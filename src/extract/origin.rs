//! Where an input comes from: the configured sources as a list of files, or one database.
//!
//! A file of its own because paths, lists and globs are resolved here and nowhere else.

use std::path::{Path, PathBuf};

use crate::config::Source;
use crate::error::{Error, ErrorKind, Result};
use crate::schema::Dataset;

/// The resolved sources of one input.
#[derive(Debug, PartialEq)]
pub(super) enum Origin<'a> {
    /// Existing regular files: in the order of the configuration, the matches of a glob sorted by
    /// name, none twice.
    Files(Vec<PathBuf>),
    /// A database's address; holds credentials.
    Database(&'a str),
}

/// Resolves the configured sources.
pub(super) fn resolve(dataset: Dataset, source: &Source) -> Result<Origin<'_>> {
    if source.sources.is_empty() {
        return Err(Error::config(format!("{dataset}: no source is configured")).hint(format!(
            "name files with --{dataset} PATH, or in the configuration:\n  [{dataset}]\n  sources = [\"{dataset}/*.csv\"]"
        )));
    }
    if let Some(address) = source.sources.iter().find(|text| scheme(text).is_some()) {
        return database(dataset, source, address);
    }
    let mut files: Vec<PathBuf> = Vec::new();
    let mut seen: Vec<PathBuf> = Vec::new();
    for text in &source.sources {
        for path in expand(dataset, text)? {
            let real = regular_file(dataset, &path)?;
            if !seen.contains(&real) {
                seen.push(real);
                files.push(path);
            }
        }
    }
    Ok(Origin::Files(files))
}

/// The part before `://`, when `text` is an address and not a path.
fn scheme(text: &str) -> Option<&str> {
    text.split_once("://").map(|(scheme, _)| scheme)
}

fn database<'a>(dataset: Dataset, source: &Source, address: &'a str) -> Result<Origin<'a>> {
    // The address itself may hold a password, so only its scheme is named.
    let scheme = scheme(address).unwrap_or_default();
    if !matches!(scheme, "postgres" | "postgresql") {
        return Err(Error::config(format!("{dataset}: cannot read from {scheme}:// addresses"))
            .hint("give files, globs, or one postgres:// address"));
    }
    if source.sources.len() > 1 {
        return Err(Error::config(format!(
            "{dataset}: a postgres:// address must be the only source"
        ))
        .hint("combine tables with UNION ALL in the query"));
    }
    Ok(Origin::Database(address))
}

/// The files that one configured text names.
fn expand(dataset: Dataset, text: &str) -> Result<Vec<PathBuf>> {
    let is_pattern = text.contains(['*', '?', '[']);
    if !is_pattern || Path::new(text).exists() {
        return Ok(vec![PathBuf::from(text)]);
    }
    let matches = glob::glob(text).map_err(|error| {
        Error::config(format!("{dataset}: {text} is not a valid glob: {}", error.msg))
    })?;
    // `glob` gives the matches in alphabetical order.
    let paths = matches.collect::<Result<Vec<_>, _>>().map_err(|error| {
        Error::io(ErrorKind::Source, error.path(), error.error()).context(dataset)
    })?;
    let files: Vec<PathBuf> = paths.into_iter().filter(|path| !path.is_dir()).collect();
    if files.is_empty() {
        return Err(Error::source(format!("{dataset}: no file matches {text}"))
            .hint("quote the glob on the command line, and check the directory"));
    }
    Ok(files)
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
    if metadata.is_dir() {
        return Err(Error::source(format!("{dataset}: {} is a directory", path.display()))
            .hint(format!("name its files with a glob: {}", path.join("*.csv").display())));
    }
    if !metadata.is_file() {
        return Err(Error::source(format!("{dataset}: {} is not a regular file", path.display()))
            .hint("sources are read more than once; write a stream to a file first"));
    }
    path.canonicalize().map_err(|error| Error::io(ErrorKind::Source, path, &error).context(dataset))
}
