//! Checks whether the sources are still those that a run has read.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::config::{Settings, Source};
use crate::error::{Error, ErrorKind, Result};
use crate::extract::{Extracted, STANDARD_INPUT};
use crate::load::ledger_read::{Input, Sources};
use crate::schema::Dataset;

/// Path recorded in the ledger for database sources.
const DATABASE: &str = "database";
/// Suffix of an address with a hidden query string.
const HIDDEN_QUERY: &str = "?…";

/// Which sources were given on the command line.
#[derive(Debug, Clone, Copy, Default)]
pub struct VerifyOptions {
    /// Claims; otherwise the ledger's sources are used.
    pub claims_named: bool,
    /// Providers.
    pub providers_named: bool,
}

/// Points the settings at the files recorded in the ledger, unless sources are given. Returns the
/// missing files.
///
/// # Errors
/// `Config` when the run read a database whose address is not in the settings: the ledger has it
/// without credentials.
pub(crate) fn settle(
    settings: &mut Settings,
    options: VerifyOptions,
    then: &Sources,
) -> Result<Vec<String>> {
    let mut missing = Vec::new();
    if !options.claims_named {
        missing.extend(input(Dataset::Claims, &mut settings.claims, &then.claims)?);
    }
    if !options.providers_named {
        missing.extend(input(Dataset::Providers, &mut settings.providers, &then.providers)?);
    }
    Ok(missing)
}

fn input(dataset: Dataset, source: &mut Source, then: &Input) -> Result<Vec<String>> {
    if then.files.iter().any(|file| file.format == DATABASE) {
        if source.sources.iter().any(|source| source.contains("://")) {
            return Ok(Vec::new());
        }
        return Err(Error::config(format!("{dataset}: the run has read a database"))
            .hint(format!("name its address with --{dataset}: the ledger has no credentials")));
    }
    let paths: Vec<String> =
        then.files.iter().map(|file| file.path.display().to_string()).collect();
    if paths.iter().any(|path| path == STANDARD_INPUT) {
        return Err(Error::config(format!("{dataset}: the run has read standard input"))
            .hint(format!("give the same bytes again: name a file with --{dataset}, or pipe them to --{dataset} -")));
    }
    if paths.iter().any(|path| path.ends_with(HIDDEN_QUERY)) {
        return Err(Error::config(format!(
            "{dataset}: the run has read a web address with a query"
        ))
        .hint(format!("name it with --{dataset}: the ledger does not keep queries")));
    }
    source.sources = paths;
    let is_local = |path: &Path| !path.to_string_lossy().contains("://");
    let missing = then.files.iter().filter(|file| is_local(&file.path) && !file.path.exists());
    Ok(missing.map(|file| format!("{dataset}: {} is missing", file.path.display())).collect())
}

/// Hint for missing files.
pub(crate) const MISSING: &str =
    "relative paths start at the current directory; --claims and --providers name other places";

/// Describes how the files differ from those the run has read.
pub(crate) fn unlike(then: &Input, now: &Extracted) -> Vec<String> {
    let dataset = now.dataset;
    let mut found = Vec::new();
    if then.files.len() == now.files.len() {
        for (was, is) in then.files.iter().zip(now.files.iter()) {
            if was.fingerprint != is.fingerprint {
                found.push((&is.path, "is not what the run has read"));
            }
        }
    } else {
        let (were, are): (HashSet<&String>, HashSet<&String>) = (
            then.files.iter().map(|file| &file.fingerprint).collect(),
            now.files.iter().map(|file| &file.fingerprint).collect(),
        );
        let (were_at, are_at): (HashSet<&PathBuf>, HashSet<&PathBuf>) = (
            then.files.iter().map(|file| &file.path).collect(),
            now.files.iter().map(|file| &file.path).collect(),
        );
        for was in then.files.iter().filter(|was| !are.contains(&was.fingerprint)) {
            let what = if are_at.contains(&was.path) {
                "is not what the run has read"
            } else {
                "is missing"
            };
            found.push((&was.path, what));
        }
        for is in now.files.iter().filter(|is| !were.contains(&is.fingerprint)) {
            if !were_at.contains(&is.path) {
                found.push((&is.path, "was not read by the run"));
            }
        }
        if found.is_empty() {
            return vec![format!(
                "{dataset}: {} files, but the run has read {}",
                now.files.len(),
                then.files.len()
            )];
        }
    }
    found.iter().map(|(path, what)| format!("{dataset}: {} {what}", path.display())).collect()
}

/// Whether an error may be caused by changed input.
pub(crate) fn is_of_the_input(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Source | ErrorKind::Config | ErrorKind::Quality)
}
