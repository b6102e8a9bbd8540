//! Rejects as a list: text for one screen, JSON, CSV. Contains no record content.

use std::fmt::Write as _;
use std::io::Write;

use super::super::output::Stopped;
use super::super::table::{Table, shortened};
use crate::cli::format::{count, percent};
use crate::commands::quarantine::reasons::{ReasonCount, by_reason};
use crate::event::RunId;
use crate::quarantine::reader::{Reject, Rejects};
use crate::totals::Example;

/// Screen height in lines, minus the prompt.
const SCREEN: usize = 23;
/// Maximum number of reasons listed.
const REASONS: usize = 14;
/// Width of a source name in a list.
const NAME: usize = 32;

/// Rejects as text: counts by reason, then the first records.
pub(super) fn text(run: RunId, rejects: &Rejects, limit: Option<usize>) -> String {
    let reasons = by_reason(rejects);
    let of = match rejects.sources() {
        [source] => format!("\nof {} ({})", source.path, source.dataset),
        several => format!("\nof {} sources", several.len()),
    };
    let all = rejects.len();
    let mut text = format!("{} rejected records of run {run}{of}\n\n", count(all as u64));
    text += &summary(&reasons, all, rejects.sources().len() > 1);
    let used = text.lines().count() + 3;
    let limit = limit.unwrap_or_else(|| SCREEN.saturating_sub(used).max(3));
    if limit > 0 {
        text.push('\n');
        text += &records(rejects, limit);
    }
    if all > limit {
        let more = count((all - limit) as u64);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "… and {more} more: --limit N, or --format csv --output FILE");
    }
    text
}

/// One line per reason, with its meaning if there is room.
fn summary(reasons: &[ReasonCount], all: usize, several: bool) -> String {
    let mut table = Table::new("lrrl");
    table.head(["reason", "records", "share", "first records"]);
    for reason in reasons.iter().take(REASONS) {
        table.row([
            reason.why.reason.clone(),
            count(reason.records),
            percent(reason.records, all as u64),
            examples(&reason.examples, several),
        ]);
    }
    let table = table.render("");
    let mut lines = table.lines();
    let mut text = format!("{}\n", lines.next().unwrap_or_default());
    // Include meanings if they fit on half a screen.
    let explained = reasons.len() * 2 <= SCREEN / 2 + 1;
    for (line, reason) in lines.zip(reasons) {
        let _ = writeln!(text, "{line}");
        if explained && !reason.why.description.is_empty() {
            let _ = writeln!(text, "  {} {}", reason.why.rule, reason.why.description);
        }
    }
    if reasons.len() > REASONS {
        let _ = writeln!(text, "… and {} more reasons", reasons.len() - REASONS);
    }
    text
}

/// `12, 19, 40`, with file names if there are several files.
pub(in super::super) fn examples(examples: &[Example], several: bool) -> String {
    let name = |example: &Example| {
        if several {
            format!("{} {}", shortened(file_name(&example.source), NAME / 2), example.record)
        } else {
            example.record.to_string()
        }
    };
    examples.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// The last path component of a source.
fn file_name(source: &str) -> &str {
    source.rsplit('/').next().unwrap_or(source)
}

fn records(rejects: &Rejects, limit: usize) -> String {
    let several = rejects.sources().len() > 1;
    let mut table = Table::new(if several { "lrrll" } else { "rrll" });
    let head = ["source", "record", "line", "column", "reason"];
    let cells = |reject: Reject<'_>| {
        [
            shortened(reject.source, NAME),
            count(reject.record),
            reject.line.map_or_else(String::new, count),
            reject.why.column.clone(),
            reject.why.reason.clone(),
        ]
    };
    let rows = std::iter::once(head.map(ToOwned::to_owned));
    for row in rows.chain(rejects.iter().take(limit).map(cells)) {
        let [source, record, line, column, reason] = row;
        if several {
            table.row([source, record, line, column, reason]);
        } else {
            table.row([record, line, column, reason]);
        }
    }
    table.render("")
}

/// A JSON array.
pub(super) fn json(rejects: &Rejects, limit: usize, out: &mut dyn Write) -> Result<(), Stopped> {
    out.write_all(b"[")?;
    for (index, reject) in rejects.iter().take(limit).enumerate() {
        if index > 0 {
            out.write_all(b",")?;
        }
        serde_json::to_writer(&mut *out, &reject).map_err(std::io::Error::from)?;
    }
    Ok(out.write_all(b"]\n")?)
}

/// RFC 4180 CSV.
pub(super) fn csv(rejects: &Rejects, limit: usize, out: &mut dyn Write) -> Result<(), Stopped> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(out);
    let failed = std::io::Error::from;
    writer
        .write_record([
            "source",
            "dataset",
            "record",
            "line",
            "column",
            "rule",
            "reason",
            "description",
            "fingerprint",
            "source_fingerprint",
        ])
        .map_err(failed)?;
    for reject in rejects.iter().take(limit) {
        writer
            .write_record([
                reject.source,
                reject.dataset.name(),
                &reject.record.to_string(),
                &reject.line.map_or_else(String::new, |line| line.to_string()),
                &reject.why.column,
                &reject.why.rule,
                &reject.why.reason,
                &reject.why.description,
                &reject.fingerprint.map_or_else(String::new, |print| print.simple().to_string()),
                reject.source_fingerprint,
            ])
            .map_err(failed)?;
    }
    Ok(writer.flush()?)
}
