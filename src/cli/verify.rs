//! The command `verify`: prints what was compared and what differs.

use super::options::SettingsOptions;
use super::output::{Reply, json};
use super::output_format::Format;
use super::table::Table;
use crate::cli::console::Console;
use crate::cli::format::{count, seconds};
use crate::commands::verify::recompute;
use crate::commands::verify::report::{Verdict, Verification};
use crate::commands::verify::tables::{Difference, Example, RowCounts};
use crate::error::Result;
use crate::event::Cancellation;
use crate::pipeline::{RunSelector, VerifyOptions};

/// `verify`: recomputes a run and compares it with the tables.
///
/// # Errors
/// As [`recompute::verify`].
pub(super) fn verify(
    run: &str,
    settings: SettingsOptions,
    format: Format,
    console: &Console,
) -> Result<Reply> {
    let which = RunSelector::parse(run)?;
    let options = VerifyOptions {
        claims_named: settings.names_sources("claims"),
        providers_named: settings.names_sources("providers"),
    };
    // Nothing is written, so a signal may end the program immediately.
    let cancel = Cancellation::default();
    let report = recompute::verify(&settings.load()?, options, which, console.observer(), &cancel)?;
    let text = match format {
        Format::Json => json(&report)?,
        Format::Text => render(&report),
    };
    Ok(Reply::new(text, report.exit_code))
}

fn render(report: &Verification) -> String {
    let mut parts = vec![headline(report), compared(report)];
    parts.extend(rows(report));
    parts.extend(examples(&report.examples));
    parts.extend(report.notes.iter().map(|note| format!("note: {note}\n")));
    parts.join("\n")
}

fn headline(report: &Verification) -> String {
    let verdict = if report.equal { "Verified" } else { "Not as the run had it" };
    let requested = report.requested.as_ref().map_or_else(String::new, |requested| {
        format!("run {requested} found its input loaded by this run:\n")
    });
    format!("{verdict} ({}).\n{requested}run {}\n", seconds(report.seconds), report.run_id)
}

fn compared(report: &Verification) -> String {
    let mut lines = Vec::new();
    for compared in &report.compared {
        let mark = match compared.verdict {
            Verdict::Equal => "✓",
            Verdict::Differs => "✗",
            Verdict::NotCompared => "- not compared:",
        };
        lines.push(format!("{mark} {}: {}\n", compared.what, compared.detail));
        lines.extend(compared.differences.iter().map(|what| format!("    {what}\n")));
    }
    lines.concat()
}

/// Rows by outcome, and the checksums.
fn rows(report: &Verification) -> Option<String> {
    let mut table = Table::new("lrrrrrr");
    table.head(["rows", "expected", "equal", "superseded", "differing", "missing", "extra"]);
    let mut row = |name: &str, rows: RowCounts| {
        table.row([
            name.to_owned(),
            count(rows.expected),
            count(rows.equal),
            count(rows.superseded),
            count(rows.differing),
            count(rows.missing),
            count(rows.extra),
        ]);
    };
    row("claims", report.claims?);
    row("providers", report.providers?);
    let sums = report.checksums?;
    Some(format!(
        "{}checksum of the claims from the sources: {}\nchecksum of the claims in the table:     {}\n",
        table.render(""),
        sums.sources,
        sums.table
    ))
}

fn examples(examples: &[Example]) -> Option<String> {
    let mut table = Table::new("lllrl");
    for example in examples {
        let what = match example.difference {
            Difference::Missing => "missing",
            Difference::Differing => "differs in",
            Difference::Extra => "extra",
        };
        let line = example.line.map_or_else(String::new, |line| format!("line {line}"));
        let (name, token) = (example.table.to_owned(), example.token.clone());
        table.row([what.to_owned(), name, token, line, example.columns.join(", ")]);
    }
    (!examples.is_empty()).then(|| format!("rows that differ\n{}", table.render("  ")))
}
