//! Maps the configured columns to a file's header.
//!
//! Most failed first runs end here, so the messages say what is missing, which headers are likely
//! candidates and which preset fits.

use super::mapping::{Header, Mapped, Take, may_be_null};
use super::mapping_suggestion::{self, Proposal};
use super::recognition::{Standing, describe, may_be_shown};
use crate::config::{Mapping, Source};
use crate::error::{Error, Result};
use crate::schema::Dataset;

/// Suggests header names for the contract columns missing from a header, including the line number
/// unless it is mapped.
#[must_use]
pub(crate) fn suggest(dataset: Dataset, source: &Source, header: &[String]) -> Vec<Proposal> {
    let names = Header::new(dataset, source, header);
    let (mut missing, mut taken) = (Vec::new(), Vec::new());
    for column in dataset.columns() {
        let mapping = source.columns.get(column);
        match names.take(column) {
            Ok(Some(take)) => taken.extend(take.names().map(ToOwned::to_owned)),
            _ if matches!(mapping, Some(Mapping::Absent)) => {}
            _ => missing.push(column),
        }
    }
    let free: Vec<String> = header.iter().filter(|name| !taken.contains(name)).cloned().collect();
    mapping_suggestion::propose_for(&missing, &free)
}

/// Checks the parts of the mapping that do not depend on a header.
fn check(dataset: Dataset, source: &Source) -> Result<()> {
    let known: Vec<&str> = dataset.columns().collect();
    if let Some(key) = source.columns.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(Error::config(format!(
            "[{dataset}.columns] maps \"{key}\", which is not a column of {dataset}"
        ))
        .hint(format!("the columns are: {}", known.join(", "))));
    }
    let key = match dataset {
        Dataset::Claims => "claim_id",
        Dataset::Providers => "provider_id",
    };
    let needed = |column: &str| match dataset {
        Dataset::Claims => dataset.required().contains(&column),
        Dataset::Providers => column == key,
    };
    for (column, mapping) in &source.columns {
        let absent = matches!(mapping, Mapping::Absent | Mapping::FirstOf { or_absent: true, .. });
        if absent && needed(column) {
            return Err(Error::config(format!(
                "[{dataset}.columns] maps {column} to nothing, but it is required"
            )));
        }
        if column == key && matches!(mapping, Mapping::Constant(_)) {
            return Err(Error::config(format!(
                "[{dataset}.columns] gives every row the same {column}"
            )));
        }
    }
    Ok(())
}

impl Header<'_> {
    /// Resolves every contract column and the filter columns.
    ///
    /// # Errors `Config`, with a suggested fix, when a column is missing or named twice, or the
    /// mapping is wrong.
    pub(super) fn resolve(&self) -> Result<Mapped> {
        let Self { dataset, source, location, .. } = *self;
        check(dataset, source)?;
        let mut mapped = Mapped::default();
        let mut missing = Vec::new();
        for column in dataset.columns() {
            match (self.take(column)?, source.columns.get(column)) {
                (Some(take), _) => drop(mapped.columns.insert(column, take)),
                (None, mapping) if may_be_null(dataset, column, mapping) => {}
                (None, Some(mapping)) => return Err(self.not_there(column, mapping)),
                (None, None) => missing.push(column),
            }
        }
        if !missing.is_empty() {
            let what = format!("no column for {}", missing.join(", "));
            let error = Error::config(format!("{location}: {}", self.describe(&what)));
            return Err(self.with_way_out(error, &missing, &mapped));
        }
        for (wanted, values) in &source.filter {
            let name = self.one(wanted, "the rows that are claims")?.ok_or_else(|| {
                let what = self.describe("there is no such column");
                Error::config(format!(
                    "{location}: [{dataset}.where] names \"{wanted}\", but {what}"
                ))
                .hint("correct the name in the configuration, or remove the line")
            })?;
            mapped.filter.insert(name.to_owned(), values.clone());
        }
        Ok(mapped)
    }

    fn describe(&self, what: &str) -> String {
        describe(self.standing, self.source, self.names, what)
    }

    /// Error for a mapping whose source names are not in the file.
    fn not_there(&self, column: &'static str, mapping: &Mapping) -> Error {
        let names = match mapping {
            Mapping::FirstOf { patterns, .. } => {
                let names: Vec<String> = patterns.iter().map(ToString::to_string).collect();
                format!("the first of {}", names.join(", "))
            }
            Mapping::Is(pattern) => format!("\"{pattern}\""),
            Mapping::Constant(_) | Mapping::Absent => String::new(),
        };
        let what = self.describe("there is no such column");
        let (dataset, location) = (self.dataset, self.location);
        let error = Error::config(format!(
            "{location}: [{dataset}.columns] maps {column} to {names}, but {what}"
        ));
        if let Some(hint) = self.no_header() {
            return error.hint(hint);
        }
        let preset = mapping_suggestion::preset_line(dataset, self.names).unwrap_or_default();
        let free = may_be_shown(self.standing, self.source, self.names);
        let line = mapping_suggestion::lines(&[column], &free);
        error.hint(format!(
            "correct the name in the configuration, or remove the line, or set:\n  \
             [{dataset}.columns]{line}{preset}"
        ))
    }

    /// Adds the suggested configuration for missing columns.
    fn with_way_out(&self, error: Error, missing: &[&'static str], mapped: &Mapped) -> Error {
        let dataset = self.dataset;
        let preset = mapping_suggestion::preset_line(dataset, self.names).unwrap_or_default();
        let open = |column: &&&str| {
            !mapped.columns.contains_key(**column) && !self.source.columns.contains_key(**column)
        };
        let wanted: Vec<&'static str> =
            missing.iter().chain(dataset.optional().iter().filter(open)).copied().collect();
        let lines = |free: &[String]| {
            format!("\n  [{dataset}.columns]{}{preset}", mapping_suggestion::lines(&wanted, free))
        };
        if let Some(hint) = self.no_header() {
            let rest = if matches!(self.standing, Standing::Data { likely: None, .. }) {
                format!("\n  if it does, set how they are named:{}", lines(&[]))
            } else {
                preset.clone()
            };
            return error.hint(format!("{hint}{rest}"));
        }
        let taken = |name: &String| {
            mapped.columns.values().flat_map(Take::names).any(|taken| taken == name)
        };
        let mut free = may_be_shown(self.standing, self.source, self.names);
        free.retain(|name| !taken(name));
        error.hint(format!("set in the configuration how they are named:{}", lines(&free)))
    }

    /// Hint for a file whose first record is not a header.
    fn no_header(&self) -> Option<String> {
        let Standing::Data { line, likely } = self.standing else { return None };
        Some(match likely {
            Some(likely) => format!(
                "the header must come first; pass over the lines before it:\n  [{}]\n  \
                 skip_lines = {}",
                self.dataset,
                likely - 1
            ),
            None => format!("line {line} must name the columns; check the delimiter too"),
        })
    }
}
