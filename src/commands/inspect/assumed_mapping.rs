//! The mapping of a file's columns by the settings, or the most likely one where those do not fit.

use std::collections::BTreeMap;

use super::report::ColumnReport;
use crate::config::{Mapping, Pattern, Settings, Source, presets};
use crate::extract::{self, Preview};
use crate::schema::Dataset;

pub(super) fn with_sources(
    settings: &Settings,
    dataset: Dataset,
    sources: Vec<String>,
) -> Settings {
    let mut settings = settings.clone();
    source_of(&mut settings, dataset).sources = sources;
    settings
}

fn source_of(settings: &mut Settings, dataset: Dataset) -> &mut Source {
    match dataset {
        Dataset::Claims => &mut settings.claims,
        Dataset::Providers => &mut settings.providers,
    }
}

/// The most likely settings for a file that does not fit the given ones, and their description.
pub(super) fn assumed(
    dataset: Dataset,
    settings: &Settings,
    preview: &Preview,
) -> Option<(Settings, String)> {
    let mut settings = settings.clone();
    let source = source_of(&mut settings, dataset);
    if let Some(name) = preview.preset {
        let preset = presets().iter().find(|preset| preset.name == name)?;
        let of_preset = source_of(&mut preset.settings.clone(), dataset).clone();
        *source = Source { sources: source.sources.clone(), ..of_preset };
        return Some((settings, format!("--preset {name}")));
    }
    for (column, names) in extract::suggest(dataset, source, &preview.header) {
        // Line numbers are recognised by their content, too.
        if dataset.required().contains(&column) {
            let mapping = Mapping::Is(Pattern::Name(names.first()?.0.clone()));
            source.columns.insert(column.to_owned(), mapping);
        }
    }
    Some((settings, "the likeliest columns".into()))
}

pub(super) fn columns(
    dataset: Dataset,
    settings: &Settings,
    preview: &Preview,
) -> Vec<ColumnReport> {
    let source = settings.source(dataset);
    let suggested = extract::suggest(dataset, source, &preview.header);
    let proposals: BTreeMap<_, _> = suggested.into_iter().collect();
    let mapped = &source.columns;
    let report = |column: &'static str| {
        let from = preview.columns.get(column).cloned();
        let missing = from.is_none() && !matches!(mapped.get(column), Some(Mapping::Absent));
        let names = proposals.get(column).filter(|_| missing);
        ColumnReport {
            column,
            required: dataset.required().contains(&column),
            from,
            proposals: names
                .map(|names| names.iter().map(|(name, _)| name.clone()).collect())
                .unwrap_or_default(),
            damaged: None,
            profile: None,
        }
    };
    dataset.columns().map(report).collect()
}
