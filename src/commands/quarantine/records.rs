//! Rejected records in their original files, for authorised users.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use crate::config::Settings;
use crate::error::{Error, Result};
use crate::event::Cancellation;
use crate::extract::{self, Extracted, Format, STANDARD_INPUT, SourceFile};
use crate::pipeline::source_check::MISSING;
use crate::quarantine::{NamedSource, Reject, Rejects};
use crate::schema::Dataset;

/// The original files of rejects, with the recorded fingerprints.
pub(crate) struct Originals {
    files: Vec<File>,
}

struct File {
    /// The source as recorded in the quarantine.
    named: NamedSource,
    /// The input that contains it.
    input: Extracted,
    index: usize,
}

pub(crate) struct OriginalRecord<'a> {
    /// Its file, as recorded in the quarantine.
    pub(crate) source: &'a NamedSource,
    /// Reason of the rejection; `None` for the header.
    pub(crate) reject: Option<Reject<'a>>,
    /// First line; 0 for formats without lines.
    pub(crate) line: u64,
    /// Field separator.
    pub(crate) separator: char,
    /// Its bytes in UTF-8, without the line ending.
    pub(crate) bytes: &'a [u8],
}

impl Originals {
    /// Finds the files of the rejects: among `named` ones by fingerprint, else at their recorded
    /// path.
    ///
    /// # Errors
    /// `Source` when a file is missing or has changed since the run, `Config` when a source has no
    /// file or the settings do not fit it.
    pub(crate) fn find(
        settings: &Settings,
        rejects: &Rejects,
        named: &[(Dataset, Vec<String>)],
        cancel: &Cancellation,
    ) -> Result<Self> {
        let mut elsewhere = Vec::new();
        for (dataset, sources) in named {
            elsewhere.push(extract::extract(*dataset, &at(settings, *dataset, sources), cancel)?);
        }
        let mut files = Vec::new();
        let mut indexes = HashMap::new();
        for input in &elsewhere {
            for (index, file) in input.files.iter().enumerate() {
                indexes.entry((input.dataset, &file.fingerprint)).or_insert((input, index));
            }
        }
        for wanted in rejects.sources() {
            let found = indexes.get(&(wanted.dataset, &wanted.fingerprint));
            let found = found.map(|&(input, index)| File {
                named: wanted.clone(),
                input: input.clone(),
                index,
            });
            files.push(match found {
                Some(found) => found,
                None => at_its_place(settings, wanted, cancel)?,
            });
        }
        Ok(Self { files })
    }

    /// Passes the header and the rejected records of each file to `each`.
    ///
    /// # Errors
    /// `Source` when a file cannot be read or has changed; errors of `each`.
    pub(crate) fn read(
        &self,
        rejects: &Rejects,
        each: &mut dyn FnMut(OriginalRecord<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut all = rejects.iter().peekable();
        for file in &self.files {
            let named = &file.named;
            let mut of_file: BTreeMap<u64, Reject<'_>> = BTreeMap::new();
            while let Some(reject) = all.next_if(|reject| {
                reject.dataset == named.dataset
                    && reject.source == named.path
                    && reject.source_fingerprint == named.fingerprint
            }) {
                of_file.entry(reject.record).or_insert(reject);
            }
            let wanted: BTreeSet<u64> = of_file.keys().copied().chain([0]).collect();
            let source_file = &file.input.files[file.index];
            let mut found = 0;
            let records = match source_file.format {
                Format::Parquet => extract::parquet_records,
                _ => extract::records,
            };
            records(named.dataset, source_file, &wanted, &mut |original| {
                found += 1;
                each(OriginalRecord {
                    source: named,
                    reject: of_file.get(&original.record).copied(),
                    line: original.line,
                    separator: separator(source_file),
                    bytes: original.bytes,
                })
            })?;
            extract::unchanged(&file.input)?;
            if found != wanted.len() {
                return Err(Error::source(format!(
                    "{}: {} has {} of the {} records that are looked for",
                    named.dataset,
                    named.path,
                    found,
                    wanted.len()
                ))
                .hint(
                    "read it with the settings of the run: the delimiter decides what a record is",
                ));
            }
        }
        Ok(())
    }
}

/// The settings with other sources.
fn at(settings: &Settings, dataset: Dataset, sources: &[String]) -> Settings {
    let mut settings = settings.clone();
    let source = match dataset {
        Dataset::Claims => &mut settings.claims,
        Dataset::Providers => &mut settings.providers,
    };
    source.sources = sources.to_vec();
    settings
}

fn place_of(input: &Extracted, wanted: &NamedSource) -> Option<usize> {
    let same = input.dataset == wanted.dataset;
    let mut files = input.files.iter();
    files.position(|file| same && file.fingerprint == wanted.fingerprint)
}

/// The file at its recorded path.
fn at_its_place(settings: &Settings, wanted: &NamedSource, cancel: &Cancellation) -> Result<File> {
    let NamedSource { dataset, path, fingerprint } = wanted;
    if fingerprint.is_empty() {
        return Err(Error::config(format!(
            "{dataset}: the quarantine does not hold the fingerprint of {path}: it is of an earlier version"
        ))
        .hint("load the file again with --force, then look at that run"));
    }
    if let Some(why) = no_file(path) {
        return Err(Error::config(format!("{dataset}: {path}: {why}"))
            .hint(format!("if you have the same bytes as a file, name it with --{dataset} FILE")));
    }
    if !Path::new(path).exists() {
        return Err(Error::source(format!("{dataset}: {path} is missing")).hint(MISSING));
    }
    let sources = std::slice::from_ref(path);
    let input = extract::extract(*dataset, &at(settings, *dataset, sources), cancel)?;
    match place_of(&input, wanted) {
        Some(index) => Ok(File { named: wanted.clone(), input, index }),
        None => Err(Error::source(format!("{dataset}: {path} is not what the run has read"))
            .hint(format!("name the file as it was then with --{dataset} FILE; nothing is shown"))),
    }
}

fn separator(file: &SourceFile) -> char {
    file.delimited.as_ref().map_or(',', |delimited| delimited.separator.into())
}

/// Why a source has no file.
fn no_file(path: &str) -> Option<&'static str> {
    if path == STANDARD_INPUT {
        return Some("standard input was read once and is gone");
    }
    let (scheme, _) = path.split_once("://")?;
    Some(match scheme {
        "postgres" | "postgresql" => "rows of a database have no file to read again",
        _ => "was fetched for the run only",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_can_be_read_again() {
        assert_eq!(no_file("claims/a-b.csv"), None);
        for (path, why) in [
            (STANDARD_INPUT, "standard input"),
            ("postgres://db/claims", "database"),
            ("s3://bucket/claims.csv", "fetched"),
        ] {
            assert!(no_file(path).is_some_and(|reason| reason.contains(why)), "{path}");
        }
    }
}
