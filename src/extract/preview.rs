//! Preview of a file, whether or not it fits the contract.
//!
//! The rest of this module rejects files that do not fit; the preview describes them. Unrecognised
//! parts are left out; nothing here is an error.

use std::collections::BTreeMap;
use std::path::Path;

use memchr::memchr_iter;

use super::detection::detect;
use super::format::{Compression, Format};
use super::mapping_suggestion::{fitting_preset, propose};
use super::name::same;
use super::recognition::{Standing, may_be_shown};
use super::source_file::{Delimited, SourceFile};
use super::text_start::text_start;
use super::{header, parquet_file};
use crate::config::{Mapping, Pattern, Settings, Source};
use crate::error::Error;
use crate::schema::Dataset;

/// From this share of contract columns on, a file clearly is that input.
const CLEAR_MATCH: f64 = 0.75;
/// Up to this share, a file hardly is that input.
const POOR_MATCH: f64 = 0.5;

/// The recognised properties of a file.
#[derive(Debug, Default)]
pub(crate) struct Preview {
    pub(crate) bytes: Option<u64>,
    pub(crate) format: Option<Format>,
    pub(crate) compression: Option<Compression>,
    /// Delimited format.
    pub(crate) delimited: Option<Delimited>,
    /// Lines in the first text that end with CR LF, and with LF alone.
    pub(crate) line_ends: (u64, u64),
    /// Number of header fields.
    pub(crate) fields: usize,
    /// Header names that may be shown; empty when the names may be data.
    pub(crate) header: Vec<String>,
    /// Whether the first record may be data.
    pub(crate) headless: bool,
    /// Contract column → its source, by the configured mapping.
    pub(crate) columns: BTreeMap<&'static str, String>,
    /// The matching preset.
    pub(crate) preset: Option<&'static str>,
    /// Share of the contract covered, from 0 to 1: by name, else by similarity.
    pub(crate) likeness: f64,
}

/// Previews a file as an input of this kind.
#[must_use]
pub(crate) fn preview(dataset: Dataset, source: &Source, path: &Path) -> Preview {
    let mut preview = Preview::default();
    let Ok(metadata) = path.metadata() else { return preview };
    if !metadata.is_file() {
        return preview;
    }
    preview.bytes = Some(metadata.len());
    let mut file = SourceFile::new(path.to_owned(), None);
    let Ok(Some((format, compression))) = detect(dataset, &file, false) else {
        return preview;
    };
    (file.format, file.compression) = (format, compression);
    (preview.format, preview.compression) = (Some(format), Some(compression));
    let (mut names, mut standing) = (Vec::new(), Standing::Names);
    if format == Format::Parquet {
        let opened = parquet_file::open(dataset, &file);
        names = opened.map(|opened| opened.header()).unwrap_or_default();
    } else if let Ok(start) = text_start(dataset, source, &file) {
        let feeds = memchr_iter(b'\n', &start.text);
        let (mut pairs, mut alone) = (0, 0);
        for at in feeds {
            let pair = at > 0 && start.text[at - 1] == b'\r';
            pairs += u64::from(pair);
            alone += u64::from(!pair);
        }
        preview.line_ends = (pairs, alone);
        if let Ok(read) = header::read(dataset, source, &file, start) {
            (names, standing) = (read.names, read.standing);
            preview.delimited = Some(read.delimited);
        }
    }
    preview.columns = found(dataset, source, &names);
    preview.headless = matches!(standing, Standing::Data { .. });
    preview.preset = fitting_preset(dataset, &names);
    preview.header = may_be_shown(standing, source, &names);
    preview.fields = if preview.headless { 0 } else { names.len() };
    preview.likeness = likeness(dataset, &preview.columns, &preview.header, preview.preset);
    preview
}

/// Error for a file that is clearly the other input, else `None`.
pub(crate) fn swapped(dataset: Dataset, settings: &Settings, file: &SourceFile) -> Option<Error> {
    let other = match dataset {
        Dataset::Claims => Dataset::Providers,
        Dataset::Providers => Dataset::Claims,
    };
    let likeness = |dataset: Dataset| {
        let names = &file.header;
        let columns = found(dataset, settings.source(dataset), names);
        likeness(dataset, &columns, names, fitting_preset(dataset, names))
    };
    let is_other = likeness(other) >= CLEAR_MATCH && likeness(dataset) <= POOR_MATCH;
    is_other.then(|| {
        Error::config(format!(
            "{dataset}: {} holds {other}, not {dataset}, by its column names",
            file.path.display()
        ))
        .hint(format!("are the files swapped? Give this one as --{other}"))
    })
}

/// Contract columns present in a header.
fn found(dataset: Dataset, source: &Source, header: &[String]) -> BTreeMap<&'static str, String> {
    let there = |pattern: &&Pattern| {
        pattern.names().all(|wanted| header.iter().any(|name| same(name, wanted)))
    };
    let take = |column: &'static str| match source.columns.get(column) {
        None => header.iter().find(|name| same(name, column)).cloned(),
        Some(Mapping::Is(pattern)) => Some(pattern).filter(there).map(ToString::to_string),
        Some(Mapping::FirstOf { patterns, .. }) => {
            patterns.iter().find(there).map(ToString::to_string)
        }
        Some(Mapping::Constant(text)) => Some(format!("{text:?}")),
        Some(Mapping::Absent) => None,
    };
    dataset.columns().filter_map(|column| Some((column, take(column)?))).collect()
}

/// Share of the contract covered by these names, from 0 to 1.
fn likeness(
    dataset: Dataset,
    columns: &BTreeMap<&'static str, String>,
    names: &[String],
    preset: Option<&str>,
) -> f64 {
    let proposals = propose(dataset, names);
    let best = |column: &str| {
        if columns.contains_key(column) {
            return 1.0;
        }
        let of_column = proposals.iter().find(|(proposed, _)| *proposed == column);
        // A similar name counts less than an exact one.
        of_column.and_then(|(_, names)| Some(names.first()?.1 * 0.8)).unwrap_or(0.0)
    };
    let required = dataset.required();
    let sum: f64 = required.iter().map(|column| best(column)).sum();
    #[expect(clippy::cast_precision_loss, reason = "a handful of columns")]
    let share = sum / required.len() as f64;
    if preset.is_some() { share.max(0.95) } else { share }
}
