//! Where each contract column comes from in a file, with the file's own column names.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Serialize, Serializer};

use super::name::same;
use super::recognition::Standing;
use crate::config::{Mapping, Part, Pattern, Source, Values};
use crate::error::{Error, Result};
use crate::schema::Dataset;

/// Source of a contract column in one file, in the file's spelling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Take {
    /// One field, or a template of several.
    Fields(Pattern),
    /// The same value in every row.
    Constant(String),
}

/// Resolved mapping of one file.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Mapped {
    pub(super) columns: BTreeMap<&'static str, Take>,
    /// Header name → accepted values; other rows are not claims.
    pub(super) filter: BTreeMap<String, Values>,
}

impl Take {
    /// Header names used by the mapping.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let pattern = match self {
            Self::Fields(pattern) => Some(pattern),
            Self::Constant(_) => None,
        };
        pattern.into_iter().flat_map(Pattern::names)
    }
}

impl fmt::Display for Take {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fields(pattern) => pattern.fmt(f),
            Self::Constant(text) => write!(f, "{text:?}"),
        }
    }
}

impl Serialize for Take {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Whether a column may be absent.
pub(super) fn may_be_null(dataset: Dataset, column: &str, mapping: Option<&Mapping>) -> bool {
    match mapping {
        None => !dataset.required().contains(&column),
        Some(Mapping::Absent) => true,
        Some(mapping) => matches!(mapping, Mapping::FirstOf { or_absent: true, .. }),
    }
}

/// Number of contract columns found in a header, using the mapping; used to compare separators.
pub(super) fn matches(dataset: Dataset, source: &Source, header: &[String]) -> usize {
    let header = Header::new(dataset, source, header);
    let there = |column: &&str| !matches!(header.take(column), Ok(None));
    let fixed = |column: &&str| {
        matches!(source.columns.get(*column), Some(Mapping::Constant(_) | Mapping::Absent))
    };
    dataset.columns().filter(|column| there(column) && !fixed(column)).count()
}

/// Number of header names a mapping uses; `None` when one is missing or ambiguous.
pub(super) fn fit(dataset: Dataset, source: &Source, header: &[String]) -> Option<usize> {
    let header = Header::new(dataset, source, header);
    let mut names = BTreeSet::new();
    for column in dataset.columns() {
        match header.take(column).ok()? {
            Some(take) => names.extend(take.names().map(ToOwned::to_owned)),
            None if may_be_null(dataset, column, source.columns.get(column)) => {}
            None => return None,
        }
    }
    for wanted in source.filter.keys() {
        names.insert(header.one(wanted, "").ok()??.to_owned());
    }
    Some(names.len())
}

/// Column names of a source, for lookup.
pub(super) struct Header<'a> {
    pub(super) dataset: Dataset,
    pub(super) source: &'a Source,
    /// Prefix of messages.
    pub(super) location: &'a str,
    pub(super) names: &'a [String],
    pub(super) standing: Standing,
}

impl<'a> Header<'a> {
    /// A header for lookups whose errors are discarded.
    pub(super) fn new(dataset: Dataset, source: &'a Source, names: &'a [String]) -> Self {
        Self { dataset, source, location: "", names, standing: Standing::Names }
    }

    /// The source of a contract column, if present.
    pub(super) fn take(&self, column: &str) -> Result<Option<Take>> {
        let found = match self.source.columns.get(column) {
            None => self.pattern(column, &Pattern::Name(column.to_owned()))?,
            Some(Mapping::Is(pattern)) => self.pattern(column, pattern)?,
            Some(Mapping::FirstOf { patterns, .. }) => {
                let mut found = None;
                for pattern in patterns {
                    if found.is_none() {
                        found = self.pattern(column, pattern)?;
                    }
                }
                found
            }
            Some(Mapping::Constant(text)) => return Ok(Some(Take::Constant(text.clone()))),
            Some(Mapping::Absent) => None,
        };
        Ok(found.map(Take::Fields))
    }

    /// The file's spelling of the name wanted for `column`.
    pub(super) fn one(&self, wanted: &str, column: &str) -> Result<Option<&str>> {
        let hits: Vec<&String> = self.names.iter().filter(|name| same(name, wanted)).collect();
        match hits.as_slice() {
            [] => Ok(None),
            [name] => Ok(Some(name)),
            several => Err(Error::config(format!(
                "{}: {} columns are named \"{wanted}\", so {column} is ambiguous",
                self.location,
                several.len()
            ))
            .hint(format!(
                "give them different names, or map {column} to another in [{}.columns]",
                self.dataset
            ))),
        }
    }

    /// The template in the file's spelling; `None` when a name is missing.
    fn pattern(&self, column: &str, wanted: &Pattern) -> Result<Option<Pattern>> {
        let parts = match wanted {
            Pattern::Name(name) => {
                return Ok(self.one(name, column)?.map(|name| Pattern::Name(name.to_owned())));
            }
            Pattern::Template(parts) => parts,
        };
        let mut spelled = Vec::with_capacity(parts.len());
        for part in parts {
            spelled.push(match part {
                Part::Text(text) => Part::Text(text.clone()),
                Part::Field(name) => match self.one(name, column)? {
                    Some(name) => Part::Field(name.to_owned()),
                    None => return Ok(None),
                },
            });
        }
        Ok(Some(Pattern::Template(spelled)))
    }
}
