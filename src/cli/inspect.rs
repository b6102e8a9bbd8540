//! The command `inspect`: describes unknown files. The report on a file fits on one screen.

use std::fmt::Write as _;

use super::options::SettingsOptions;
use super::output::{Reply, json};
use super::output_format::Format;
use super::signals;
use super::table::{Table, shortened};
use crate::cli::console::Console;
use crate::cli::format::{bytes, count, money, percent};
use crate::commands::inspect::inspector;
use crate::commands::inspect::report::{ColumnReport, InspectionReport, Repeats, Shape};
use crate::error::Result;
use crate::extract::{Compression, Format as RowFormat, not_loaded};
use crate::schema::Dataset;

/// Screen height in lines, minus the prompt.
const SCREEN: usize = 23;
/// Line width in characters.
const WIDTH: usize = 80;
/// Width of a header name in a list.
const NAME: usize = 20;

/// Runs `inspect`; prints one screen per file. The exit code is that of the first file a run would
/// reject.
///
/// # Errors
/// `Config` when the settings are invalid.
pub(super) fn inspect(
    files: &[String],
    settings: SettingsOptions,
    format: Format,
    console: &Console,
) -> Result<Reply> {
    let settings = settings.load()?;
    let examined =
        inspector::inspect(&settings, files, console.observer(), &signals::cancellation()?);
    console.finish();
    let examined = examined?;
    let exit_code = examined.iter().map(|file| file.exit_code).find(|code| *code > 0).unwrap_or(0);
    let text = match format {
        Format::Json => json(&examined)?,
        Format::Text => examined.iter().map(screen).collect::<Vec<_>>().join("\n"),
    };
    Ok(Reply::new(text, exit_code))
}

/// The report on one file.
fn screen(file: &InspectionReport) -> String {
    let what = match file.dataset {
        _ if file.shape.headless => "no header found".to_owned(),
        None => "neither claims nor providers by its header".to_owned(),
        Some(_) if file.shape.format.is_none() => "cannot be read".to_owned(),
        Some(dataset) => dataset.to_string(),
    };
    let how = file.assumed.as_ref().map_or_else(String::new, |how| format!(", read with {how}"));
    let mut text = format!("{}: {what}{how}\n", file.source);
    let shape = shape(&file.shape, file.read);
    if !shape.is_empty() {
        let _ = writeln!(text, "  {shape}");
    }
    if file.shape.header_columns > 0 {
        let _ = write!(text, "\n{}", columns(file));
    }
    let facts = facts(file);
    if !facts.is_empty() {
        let _ = writeln!(text, "{facts}");
    }
    let verdict = verdict(file);
    let room = SCREEN.saturating_sub(text.lines().count() + verdict.lines().count() + 2);
    text.push_str(&rules(file, room));
    text + &verdict
}

/// The file's format.
fn shape(shape: &Shape, read: Option<u64>) -> String {
    let mut parts = Vec::new();
    if shape.files > 1 {
        parts.push(format!("{} files", count(shape.files as u64)));
    }
    parts.extend(shape.format.map(|format| match format {
        RowFormat::Csv => "delimited text".to_owned(),
        RowFormat::Parquet => "Parquet".to_owned(),
        RowFormat::Database => "database".to_owned(),
    }));
    match shape.compression {
        Some(Compression::Gzip) => parts.push("gzip".into()),
        Some(Compression::Zstd) => parts.push("zstd".into()),
        _ => {}
    }
    parts.extend(shape.bytes.map(bytes));
    parts.extend(shape.encoding.clone().map(|encoding| {
        if shape.byte_order_mark { format!("{encoding} with BOM") } else { encoding }
    }));
    parts.extend(shape.line_ends.map(|ends| match ends {
        "mixed" => "mixed line ends".to_owned(),
        ends => ends.to_owned(),
    }));
    parts.extend(shape.separator.map(|separator| match separator {
        '\t' => "tab".to_owned(),
        separator => format!("\"{separator}\""),
    }));
    if shape.header_columns > 0 {
        parts.push(format!("{} columns", count(shape.header_columns as u64)));
    }
    parts.extend(read.map(|rows| {
        let records = if rows == 1 { "record" } else { "records" };
        format!("{} {records}", count(rows))
    }));
    for (lines, what) in [(shape.blank_lines, "blank lines"), (shape.comments, "comments")] {
        if lines > 0 {
            parts.push(format!("{} {what}", count(lines)));
        }
    }
    parts.join(" · ")
}

/// Contract columns with their sources and value profiles.
fn columns(file: &InspectionReport) -> String {
    let mut table = Table::new("llrlr");
    table.head(["column", "from", "filled", "texts", "length"]);
    for column in &file.columns {
        let from = match &column.from {
            // A suggestion, not configured.
            Some(name) if !column.proposals.is_empty() => {
                format!("{}?", shortened(name, NAME - 1))
            }
            Some(name) => shortened(name, NAME),
            None if column.required => "missing".to_owned(),
            None => "–".to_owned(),
        };
        let [filled, texts, length] = match &column.profile {
            Some(_) => profile(column),
            None if column.from.is_none() && !column.proposals.is_empty() => {
                let names: Vec<String> =
                    column.proposals.iter().map(|name| shortened(name, NAME)).collect();
                [String::new(), format!("perhaps {}", names.join(", ")), String::new()]
            }
            None => [const { String::new() }; 3],
        };
        table.row([column.column.to_owned(), from, filled, texts, length]);
    }
    table.render("")
}

fn profile(column: &ColumnReport) -> [String; 3] {
    let Some(profile) = &column.profile else { return [const { String::new() }; 3] };
    let kinds: Vec<String> = profile
        .kinds
        .iter()
        .take(if profile.kinds.len() > 2 { 1 } else { 2 })
        .map(|kind| {
            if kind.rows == profile.filled {
                kind.kind.clone()
            } else {
                format!("{} {}", kind.kind, percent(kind.rows, profile.filled))
            }
        })
        .collect();
    let more = if profile.kinds.len() > 2 { ", …" } else { "" };
    let length = match (profile.shortest, profile.longest) {
        (Some(shortest), Some(longest)) if shortest == longest => shortest.to_string(),
        (Some(shortest), Some(longest)) => format!("{shortest}–{longest}"),
        _ => String::new(),
    };
    [percent(profile.filled, profile.rows), kinds.join(", ") + more, length]
}

/// Totals of the rows.
fn facts(file: &InspectionReport) -> String {
    let mut lines = Vec::new();
    let mut facts = Vec::new();
    if let Some(amount) = file.amount.filter(|_| file.read > Some(0)) {
        facts.push(format!("amounts add up to {}", money(amount)));
    }
    facts.extend(file.dates.map(|(first, last)| format!("dates from {first} to {last}")));
    if !facts.is_empty() {
        lines.push(facts.join(" · "));
    }
    let systems: Vec<String> = file
        .code_systems
        .iter()
        .take(3)
        .map(|system| format!("{} {}", system.system, percent(system.rows, file.codes)))
        .collect();
    // Suggestions take this space until the columns are mapped.
    if !systems.is_empty() && file.assumed.is_none() {
        lines.push(format!("procedure codes look like {}", systems.join(", ")));
    }
    if let Some(providers) = &file.providers {
        let [loaded, duplicates, conflicts] =
            [providers.loaded, providers.duplicates, providers.conflicts].map(count);
        lines.push(format!("{loaded} providers; {duplicates} duplicates, {conflicts} conflicts"));
    }
    if let Some(Repeats { duplicates, conflicts, reversals, .. }) =
        file.repeats.as_ref().filter(|repeats| repeats.duplicates + repeats.conflicts > 0)
    {
        let cancelling = match reversals {
            0 => String::new(),
            lines => format!(" · lines whose amounts cancel: {}", count(*lines)),
        };
        lines.push(format!(
            "repeated claim lines: {} duplicates, {} conflicts{cancelling}",
            count(*duplicates),
            count(*conflicts)
        ));
    }
    if let Some(name) = file.line_column.as_ref().filter(|_| file.assumed.is_none()) {
        let name = shortened(name, NAME);
        lines.push(format!("line_number is read from {name}, detected by name and content"));
    }
    let damaged = file.columns.iter().filter_map(|column| {
        let named = column.damaged?.named();
        let named: Vec<String> =
            named.iter().map(|(rows, what)| format!("{} {what}", count(*rows))).collect();
        Some(format!("{} {}", column.column, named.join(", ")))
    });
    let damaged: Vec<String> = damaged.collect();
    if !damaged.is_empty() {
        lines.push(cut(&format!("damaged: {}", damaged.join("; ")), WIDTH));
    }
    if file.filtered > 0 {
        let all = file.read.unwrap_or(0) + file.filtered;
        lines.push(format!("{} of {} rows are not claims", count(file.filtered), count(all)));
    }
    if let Some(ignored) = not_loaded(&file.ignored).filter(|_| file.assumed.is_none()) {
        lines.push(cut(&ignored, WIDTH));
    }
    lines.join("\n")
}

/// Broken rules, in at most `room` lines.
fn rules(file: &InspectionReport, room: usize) -> String {
    // Rules are meaningless until the columns are mapped.
    if file.read.is_none() || file.assumed.is_some() {
        return String::new();
    }
    if file.rules.is_empty() && file.dataset == Some(Dataset::Providers) {
        return String::new();
    }
    if file.rules.is_empty() {
        return "\nno row breaks a rule\n".into();
    }
    let read = file.read.unwrap_or(0);
    let mut table = Table::new("llrrl");
    table.head(["", "rule", "rows", "share", "first records"]);
    let several = file.shape.files > 1;
    let all = file.rules.len();
    let shown = if all <= room { all } else { room.saturating_sub(1) };
    if shown == 0 {
        return format!("\n{all} rules are broken; --format json lists them\n");
    }
    for rule in file.rules.iter().take(shown) {
        table.row([
            rule.severity.clone(),
            rule.name.to_owned(),
            count(rule.rows),
            percent(rule.rows, read),
            super::quarantine::examples(&rule.examples, several),
        ]);
    }
    let mut text = format!("\n{}", table.render(""));
    if all > shown {
        let more = all - shown;
        let _ = writeln!(text, "… and {more} more rules; --format json lists them");
    }
    text
}

/// Whether a run would load the file.
fn verdict(file: &InspectionReport) -> String {
    let mut text = String::new();
    if !file.left_out.is_empty() && file.assumed.is_none() {
        let _ = writeln!(text, "not checked here: {}", file.left_out.join("; "));
    }
    let Some(error) = &file.error else {
        let read = file.read.unwrap_or(0);
        let rejected = match file.dataset {
            Some(Dataset::Claims) => format!(
                "{} of {} rejected ({}; at most {} % may be)",
                count(file.rejected),
                count(read),
                percent(file.rejected, read),
                file.max_reject_ratio * 100.0
            ),
            _ => format!("{} of {} rejected", count(file.rejected), count(read)),
        };
        let _ = match file.dataset {
            Some(dataset) if read == 0 && file.filtered == 0 => {
                writeln!(text, "! nothing to load: no record follows the header of {dataset}")
            }
            _ => writeln!(text, "✓ ready to load: {rejected}"),
        };
        return text;
    };
    let message = error.message.split("; the header has: ").next().unwrap_or_default();
    let prefix = format!("{}: ", file.source);
    let bare =
        message.split_once(": ").filter(|(dataset, _)| matches!(*dataset, "claims" | "providers"));
    let bare = bare.map_or(message, |(_, rest)| rest);
    let bare = bare.strip_prefix(prefix.as_str()).unwrap_or(bare);
    let bare = bare.trim_end_matches("; nothing was published");
    let _ = writeln!(text, "✗ a run would fail with exit code {}:\n  {bare}", file.exit_code);
    if let Some(hint) = &error.hint {
        for line in hint.lines() {
            let _ = writeln!(text, "  {line}");
        }
    }
    text
}

/// Truncates a long line.
fn cut(line: &str, width: usize) -> String {
    if line.chars().count() <= width {
        return line.to_owned();
    }
    let start: String = line.chars().take(width - 1).collect();
    format!("{start}…")
}
