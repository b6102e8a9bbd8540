//! The command `audit leak`: what was looked at and what was found, as text.

use clap::builder::BoolishValueParser;
use clap::{Args, Subcommand};

use super::args::{Format, ResultOptions};
use super::output::{Reply, json};
use super::signals;
use super::table::Table;
use crate::cli::console::Talk;
use crate::cli::format::{bytes, count, seconds};
use crate::error::Result;
use crate::pipeline::{self, LeakFinding, LeakOptions, LeakReport, PlaceReport};

/// Trials of the program.
#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Load unmistakable identifiers into a server of its own and look for them everywhere
    ///
    /// Makes a temporary folder and a PostgreSQL server in it, loads inputs whose claim, patient and
    /// provider ids are random canaries in every way that this program has, also in vain, and
    /// searches tables, dumps, logs, errors, the quarantine, the dashboard, temporary files and the
    /// server's own files for any of them, in every spelling. It touches none of your data, needs no
    /// settings, and removes everything in the end. Exit code 4 when an identifier is found.
    Leak(AuditOptions),
}

/// How.
#[derive(Debug, Clone, Args)]
pub(super) struct AuditOptions {
    /// With synthetic identifiers, made for this trial: the only way there is
    #[arg(
        long,
        required = true,
        env = "CLAIMS_ETL_AUDIT_CANARY",
        value_parser = BoolishValueParser::new()
    )]
    canary: bool,
    /// Leave the folder with inputs, outputs and the stopped server, and say where it is
    #[arg(long, env = "CLAIMS_ETL_AUDIT_KEEP", value_parser = BoolishValueParser::new())]
    keep: bool,
    /// Each trial at the loudest level only, with fewer rows
    #[arg(
        long,
        hide = true,
        env = "CLAIMS_ETL_AUDIT_QUICK",
        value_parser = BoolishValueParser::new()
    )]
    quick: bool,
    /// One trial alone
    #[arg(long, hide = true, value_name = "NAME", env = "CLAIMS_ETL_AUDIT_TRIAL")]
    trial: Option<String>,
    #[command(flatten)]
    result: ResultOptions,
}

/// `audit`: a line a place, and every finding. Exit code 4 when there is one.
///
/// # Errors
/// As [`pipeline::audit_leak`].
pub(super) fn audit(command: AuditCommand, talk: &Talk) -> Result<Reply> {
    let AuditCommand::Leak(AuditOptions { canary: _, keep, quick, trial, result }) = command;
    let options = LeakOptions { only: trial, quick, keep };
    let cancel = signals::cancellation()?;
    let report = pipeline::audit_leak(&options, talk.observer(), &cancel)?;
    let text = match result.format {
        Format::Json => json(&report)?,
        Format::Text => render(&report),
    };
    Ok(Reply::new(text, report.exit_code))
}

fn render(report: &LeakReport) -> String {
    let mut parts = vec![headline(report)];
    if !report.findings.is_empty() {
        parts.push(findings(&report.findings));
    }
    parts.push(places("looked at", &report.places));
    parts.push(places("may hold identifiers, and do: the search works", &report.controls));
    let list = |head: &str, lines: &[String]| {
        (!lines.is_empty()).then(|| format!("{head}\n  {}\n", lines.join("\n  ")))
    };
    parts.extend(list("ended otherwise than they were to end", &report.unexpected));
    parts.extend(list("not tried", &report.not_tried));
    parts.extend(report.kept.as_ref().map(|folder| format!("kept in {}\n", folder.display())));
    parts.join("\n")
}

fn headline(report: &LeakReport) -> String {
    let verdict = match (report.findings.len(), report.clean) {
        (0, true) => "No identifier got out".to_owned(),
        (0, false) => "No identifier was found, but not everything was tried".to_owned(),
        (1, _) => "Identifiers got out in 1 place".to_owned(),
        (places, _) => format!("Identifiers got out in {places} places"),
    };
    let (runs, spellings) = (count(report.runs), count(report.spellings));
    let time = seconds(report.seconds);
    format!("{verdict} ({runs} runs of the program, {spellings} spellings, {time}).\n")
}

fn places(head: &str, places: &[PlaceReport]) -> String {
    let mut table = Table::new("lrrrr");
    table.row([head.into(), "items".into(), "rows".into(), "size".into(), "found".into()]);
    for place in places {
        let rows = if place.rows == 0 { String::new() } else { count(place.rows) };
        let (items, size, found) = (count(place.items), bytes(place.bytes), count(place.found));
        table.row([place.place.to_owned(), items, rows, size, found]);
    }
    table.render("")
}

fn findings(findings: &[LeakFinding]) -> String {
    let mut table = Table::new("lllrrl");
    table.head(["place", "identifier", "spelling", "times", "first byte", "where"]);
    for found in findings {
        let (times, offset) = (count(found.times), count(found.offset));
        let (kind, spelling) = (found.kind.to_owned(), found.spelling.clone());
        table.row([found.place.to_owned(), kind, spelling, times, offset, found.at.clone()]);
    }
    table.render("")
}
