//! Presets: settings for known source layouts, as data.

use std::sync::LazyLock;

use toml::Table;

use super::settings::Settings;
use crate::error::{Error, Result};

#[derive(Debug)]
pub(crate) struct Preset {
    pub(crate) name: &'static str,
    /// Settings as TOML.
    pub(crate) text: &'static str,
    /// Parsed settings.
    pub(crate) settings: Settings,
}

const TEXTS: [(&str, &str); 4] = [
    ("synthea", include_str!("presets/synthea.toml")),
    ("desynpuf", include_str!("presets/desynpuf.toml")),
    ("cms_lines", include_str!("presets/cms_lines.toml")),
    ("nppes", include_str!("presets/nppes.toml")),
];

/// All presets.
///
/// # Panics
/// Never: they are embedded in the program, and a test parses them.
#[must_use]
pub(crate) fn presets() -> &'static [Preset] {
    static PRESETS: LazyLock<Vec<Preset>> = LazyLock::new(|| {
        let read = |text| toml::from_str(text).expect("a preset is a configuration");
        TEXTS.map(|(name, text)| Preset { name, text, settings: read(text) }).into()
    });
    &PRESETS
}

/// The preset with this name.
///
/// # Errors
/// `Config` when there is none.
pub(crate) fn preset(name: &str) -> Result<&'static Preset> {
    presets().iter().find(|preset| preset.name == name.trim()).ok_or_else(|| {
        let known: Vec<&str> = presets().iter().map(|preset| preset.name).collect();
        Error::config("there is no preset with this name").hint(format!(
            "the presets are: {}; `claims-etl presets` describes them",
            known.join(", ")
        ))
    })
}

impl Preset {
    /// One-line description.
    #[must_use]
    pub(crate) fn description(&self) -> &'static str {
        self.text.lines().next().unwrap_or_default().trim_start_matches('#').trim()
    }

    /// The settings as a TOML table.
    ///
    /// # Errors
    /// Never: a test parses every preset.
    pub(super) fn table(&self) -> Result<Table, toml::de::Error> {
        self.text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_a_configuration_that_says_where_its_layout_is_written_down() {
        for preset in presets() {
            assert!(preset.description().len() > 20, "{}", preset.name);
            assert!(preset.text.contains("# Layout: "), "{}", preset.name);
            assert!(preset.text.contains("https://"), "{}", preset.name);
            assert!(preset.settings.preset.is_none(), "a preset has no preset");
            assert!(preset.settings.claims.sources.is_empty(), "{}", preset.name);
            let (claims, providers) = (&preset.settings.claims, &preset.settings.providers);
            assert!(providers.columns.contains_key("provider_id"), "{}", preset.name);
            if claims.columns.is_empty() {
                continue;
            }
            for column in ["claim_id", "patient_id", "provider_id", "amount", "date_of_service"] {
                assert!(claims.columns.contains_key(column), "{}: {column}", preset.name);
            }
        }
    }
}
