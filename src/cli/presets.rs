//! The command `presets`.

use serde_json::json;

use super::output::{self, Reply};
use super::output_format::Format;
use super::table::Table;
use crate::config;
use crate::error::Result;

/// Runs `presets`; prints one line per preset.
///
/// # Errors
/// `Internal` when the list cannot be written as JSON.
pub(super) fn list(format: Format) -> Result<Reply> {
    let presets = config::presets().iter();
    Ok(Reply::done(match format {
        Format::Json => {
            let described = presets
                .map(|preset| json!({ "name": preset.name, "description": preset.description() }));
            output::json(&described.collect::<Vec<_>>())?
        }
        Format::Text => {
            let mut table = Table::new("ll");
            for preset in presets {
                table.row([preset.name.to_owned(), preset.description().to_owned()]);
            }
            table.render("")
        }
    }))
}

/// Runs `presets NAME`; prints its settings as TOML.
///
/// # Errors
/// `Config` when there is no such preset.
pub(super) fn print(name: &str) -> Result<Reply> {
    config::preset(name).map(|preset| Reply::done(preset.text))
}
