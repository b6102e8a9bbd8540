//! The command `privacy report`.

use clap::{Args, Subcommand};

use super::options::WarehouseOptions;
use super::output::{Reply, json};
use super::output_format::{Format, ResultOptions};
use super::table::Table;
use crate::cli::console::Console;
use crate::cli::format::{count, percent};
use crate::commands::privacy::quasi_identifiers::QuasiSet;
use crate::commands::privacy::report;
use crate::commands::privacy::report::{PrivacyQuestion, PrivacyReport};
use crate::error::Result;

/// Line width of the report.
const WIDTH: usize = 100;

/// Work on privacy.
#[derive(Debug, Subcommand)]
pub(super) enum PrivacyCommand {
    /// Report what is released, and its re-identification risk (k-anonymity)
    #[command(
        after_help = "Only figures are printed, no values. Every set is one reading of all claims: on a \
                      large warehouse that takes its time. Nothing is changed."
    )]
    Report(ReportOptions),
}

/// Which report.
#[derive(Debug, Clone, Args)]
pub(super) struct ReportOptions {
    /// Columns that together could find somebody, such as
    /// provider_id,procedure_code,date_of_service:month (day, week, month, quarter, year); may be
    /// repeated [default: six sets of provider, procedure and date]
    #[arg(long, value_name = "COLUMNS", env = "CLAIMS_ETL_QUASI", value_delimiter = ' ')]
    quasi: Vec<String>,
    /// Count the groups of fewer patients than this
    #[arg(long, value_name = "K", env = "CLAIMS_ETL_K", default_value_t = 11, value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    k: u32,
    /// Exit with 4 when the smallest group of any set has fewer patients than this
    #[arg(long, value_name = "K", env = "CLAIMS_ETL_REQUIRE_K", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    require_k: Option<u32>,
    #[command(flatten)]
    warehouse: WarehouseOptions,
    #[command(flatten)]
    result: ResultOptions,
}

/// Runs `privacy`.
///
/// # Errors `Config` for an unknown column or without published data, `Warehouse` when it cannot be
/// read.
pub(super) fn privacy(command: PrivacyCommand, console: &Console) -> Result<Reply> {
    let PrivacyCommand::Report(options) = command;
    let ReportOptions { quasi, k, require_k, warehouse, result } = options;
    let sets = quasi.iter().map(|set| QuasiSet::parse(set)).collect::<Result<_>>()?;
    let question = PrivacyQuestion { sets, k, require_k };
    let report = report::privacy_report(&warehouse.load()?, &question, console.observer())?;
    let text = match result.format {
        Format::Json => json(&report)?,
        Format::Text => render(&report),
    };
    Ok(Reply::new(text, report.exit_code))
}

fn render(report: &PrivacyReport) -> String {
    let mut parts = vec![headline(report), columns(report), sets(report), cells(report)];
    parts.push(for_a_human(report));
    parts.push("This report is no legal advice.\n".into());
    parts.join("\n")
}

fn headline(report: &PrivacyReport) -> String {
    format!(
        "profile {}, key {}\n{} rows of {} patients, last changed by run {}\n",
        report.profile,
        report.key_id,
        count(report.rows),
        count(report.patients),
        report.run_id
    )
}

/// Columns below the list of identifiers.
fn columns(report: &PrivacyReport) -> String {
    let mut table = Table::new("llllll");
    table.head(["column", "listed", "kind", "done", "Safe Harbor needs", "met"]);
    let mut last = "";
    for column in &report.columns {
        if column.table != last {
            last = &column.table;
            table.head([last, "", "", "", "", ""]);
        }
        let listed: Vec<String> =
            column.listed.iter().map(|letter| format!("({letter})")).collect();
        table.row([
            format!("  {}", column.column),
            listed.concat(),
            column.kind.name().to_owned(),
            column.action.unwrap_or("-").to_owned(),
            column.needs.to_owned(),
            column.met.name().to_owned(),
        ]);
    }
    let dropped = match report.dropped.as_slice() {
        [] => String::new(),
        dropped => wrapped(&format!("not released: {}", dropped.join(", ")), "  "),
    };
    format!("Columns, and the list of 45 CFR 164.514(b)(2)(i)\n{}{dropped}", table.render("  "))
}

/// The re-identification risk.
fn sets(report: &PrivacyReport) -> String {
    let mut table = Table::new("lrrrrr");
    let below = format!("<{} patients", report.k);
    table.head([
        "share of rows in groups of",
        "groups",
        "smallest",
        "<2 patients",
        &below,
        "1 row",
    ]);
    for set in &report.sets {
        let share = |rows| percent(rows, report.rows);
        table.row([
            joined(&set.columns),
            count(set.groups),
            count(set.smallest_k),
            share(set.rows_below_2),
            share(set.rows_below_k),
            share(set.unique_rows),
        ]);
    }
    let mut text = format!(
        "Re-identification risk (smallest: the k of k-anonymity, in patients)\n{}",
        table.render("  ")
    );
    for set in &report.left_out {
        text += &wrapped(&format!("left out: {}: {}", joined(&set.columns), set.why), "  ");
    }
    if let Some(required) = report.required_k {
        let met = if report.exit_code == 0 { "met" } else { "not met" };
        text += &wrapped(&format!("required of every set: k = {required}: {met}"), "  ");
    }
    text
}

/// A set for display: `provider_id + month`.
fn joined(columns: &[String]) -> String {
    let short = |column: &String| {
        column.strip_prefix("date_of_service:").unwrap_or(column.as_str()).to_owned()
    };
    columns.iter().map(short).collect::<Vec<_>>().join(" + ")
}

/// Provider-month cells.
fn cells(report: &PrivacyReport) -> String {
    let cells = report.small_cells;
    let mut text = format!(
        "Small cells\n  {} of {} provider-months have fewer than {} patients\n",
        count(cells.small),
        count(cells.provider_months),
        cells.threshold
    );
    text += &match cells.cells.zip(cells.shown).zip(cells.suppressed) {
        Some(((all, shown), suppressed)) => wrapped(
            &format!(
                "v_provider_month_public shows {} of {} and suppresses {} with few patients",
                count(shown),
                count(all),
                count(suppressed)
            ),
            "  ",
        ),
        None => {
            "  v_provider_month_public is empty: refresh.provider_month is not enabled\n".into()
        }
    };
    text
}

fn for_a_human(report: &PrivacyReport) -> String {
    let items = report.to_decide.iter().map(|item| {
        let about = format!("- {}: {}", item.about, item.text);
        wrapped(&about, "    ").replacen("    -", "  -", 1)
    });
    format!("What a human must decide\n{}", items.collect::<String>())
}

/// Wraps text to [`WIDTH`] characters with an indent.
fn wrapped(text: &str, indent: &str) -> String {
    let mut lines = vec![indent.to_owned()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().map_or(0, |line| line.chars().count());
        if line + 1 + word.chars().count() > WIDTH {
            lines.push(indent.to_owned());
        }
        if let Some(line) = lines.last_mut() {
            if line.len() > indent.len() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_broken_between_words() {
        let text = wrapped(&"word ".repeat(40), "  ");
        assert!(text.lines().all(|line| line.len() <= WIDTH && line.starts_with("  word")));
        assert_eq!(text.lines().count(), 3);
        assert_eq!(wrapped("a b", ""), "a b\n");
    }
}
