//! The command `check`: checks whether a run with these settings could start.

use super::options::SettingsOptions;
use super::output::{Reply, json};
use super::output_format::Format;
use super::signals;
use crate::cli::console::Console;
use crate::commands::check;
use crate::commands::check::Finding;
use crate::error::Result;

/// Runs `check`; prints one line per finding.
///
/// # Errors `Config` when the settings are invalid.
pub(super) fn check(settings: SettingsOptions, format: Format, console: &Console) -> Result<Reply> {
    let settings = settings.load()?;
    // A signal must still close the sessions with the providers.
    let report = check::check(&settings, console.observer(), &signals::cancellation()?);
    console.finish();
    let text = match format {
        Format::Json => json(&report.findings)?,
        Format::Text => report.findings.iter().map(line).collect(),
    };
    Ok(Reply::new(text, report.exit_code))
}

fn line(finding: &Finding) -> String {
    let mark = if finding.ok { "✓" } else { "✗" };
    let hint = finding.hint.as_ref().map_or_else(String::new, |hint| format!("    hint: {hint}\n"));
    format!("{mark} {}: {}\n{hint}", finding.what, finding.detail)
}
