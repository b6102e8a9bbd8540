//! Summary of a run for people.

use super::table::Table;
use crate::cli::format::{count, money, rate, seconds};
use crate::pipeline::{RunReport, Status};
use crate::rule::{Rule, Severities, Severity};
use crate::totals::{Cents, Reversals};

/// Maximum records named per reason.
const EXAMPLES: usize = 3;

/// Renders a report. `dry_run`: publishing was not intended; `severities`: configured rule
/// severities.
pub(super) fn render(report: &RunReport, dry_run: bool, severities: &Severities) -> String {
    let mut parts = vec![headline(report, dry_run)];
    if report.status != Status::AlreadyLoaded && report.claims.read > 0 {
        parts.push(accounting(report, dry_run));
        parts.extend(rejects(report));
        let refused = &report.providers.reject_reasons;
        parts.extend(listed("rejected records of the directory", refused.iter()));
        for (title, severity) in
            [("loaded with a flag", Severity::Flag), ("counted only", Severity::Count)]
        {
            let is_so = |name: &str| {
                Rule::from_name(name).map_or(Severity::Flag, |rule| severities.of(rule)) == severity
            };
            parts.extend(listed(title, report.flags.iter().filter(|(name, _)| is_so(name))));
        }
    }
    parts.extend(tasks(report));
    parts.extend(refreshed(report));
    parts.extend(places(report));
    parts.join("\n")
}

fn headline(report: &RunReport, dry_run: bool) -> String {
    let time = seconds(report.seconds);
    let claims = count(report.claims.loaded);
    // The same run was resumed after its load, so only the refresh is new.
    let resumed = report.resumed.as_ref() == Some(&report.run_id);
    let first = match report.status {
        Status::AlreadyLoaded if resumed => {
            format!("Nothing to do: this run is complete; it has loaded {claims} claims.")
        }
        Status::Success if resumed => {
            format!("Refreshed in {time}; the run had loaded its {claims} claims before.")
        }
        Status::Failed if resumed => {
            format!("Failed after {time}; the run had loaded its {claims} claims before.")
        }
        Status::AlreadyLoaded => {
            let by = report.loaded_by.as_deref().unwrap_or("an earlier run");
            format!(
                "Nothing to do: run {by} has loaded this input with these settings.\n\
                 `--force` loads it again."
            )
        }
        Status::Success if dry_run => {
            format!("Dry run: {claims} claims would be loaded ({time}); nothing was published.")
        }
        Status::Success => {
            let rate = rate(report.claims.read, report.seconds);
            let rate = rate.map_or_else(String::new, |rate| format!(", {rate}"));
            format!("Loaded {claims} claims in {time}{rate}.")
        }
        Status::Failed if report.error.as_ref().is_some_and(|error| error.kind == "refresh") => {
            format!("Loaded {claims} claims in {time}, but a required refresh failed.")
        }
        Status::Failed => format!("Failed after {time}; nothing was published."),
    };
    let key = report.key_id.as_ref().map_or_else(String::new, |key| format!(", key {key}"));
    let profile = report.privacy_profile.as_ref();
    let profile = profile.map_or_else(String::new, |profile| format!(", {profile}"));
    format!("{first}\nrun {}{key}{profile}\n", report.run_id)
}

/// Rows and amounts by class, and whether they balance.
fn accounting(report: &RunReport, dry_run: bool) -> String {
    let (claims, amount) = (&report.claims, &report.amount);
    let mut table = Table::new("lrr");
    table.head(["claims", "rows", "amount"]);
    let classes = [
        ("  read", claims.read, amount.read),
        ("= loaded", claims.loaded, amount.loaded),
        ("+ rejected", claims.rejected, amount.rejected),
        ("+ duplicates", claims.duplicates, amount.duplicates),
    ];
    for (class, rows, amount) in classes {
        table.row([class.to_owned(), count(rows), money(amount)]);
    }
    if claims.conflicts > 0 {
        table.row(["+ conflicts".to_owned(), count(claims.conflicts), money(amount.conflicts)]);
    }
    if amount.generalized != Cents(0) {
        // Applies to amounts only.
        table.row(["+ generalized".to_owned(), String::new(), money(amount.generalized)]);
    }
    let mut lines = balance(report, dry_run);
    if amount.unparsed_rows > 0 {
        let rows = count(amount.unparsed_rows);
        lines.push(format!(
            "  {rows} rejected rows have no readable amount and are not in the totals"
        ));
    }
    if claims.filtered > 0 {
        let rows = count(claims.filtered);
        lines.push(format!("records that are no claims (claims.where), and in no count: {rows}"));
    }
    if claims.inserted + claims.updated + claims.unchanged > 0 {
        let [new, changed, same] = [claims.inserted, claims.updated, claims.unchanged].map(count);
        lines.push(format!("loaded: {new} new, {changed} changed, {same} unchanged"));
    }
    if let Some(name) = &report.line_column {
        lines.push(format!("line_number was read from \"{name}\", recognised by name and content"));
    }
    if claims.conflicts > 0 {
        lines.push(
            "conflicts: the claim id and line number of a row that was kept, with other content"
                .into(),
        );
    }
    lines.extend(reversals(&report.reversals));
    let members = &report.providers;
    let [read, loaded, rejected, duplicates, inferred] =
        [members.read, members.loaded, members.rejected, members.duplicates, members.inferred]
            .map(count);
    let conflicts = match members.conflicts {
        0 => String::new(),
        rows => format!(" + {} conflicts", count(rows)),
    };
    lines.push(format!(
        "providers: {read} read = {loaded} loaded + {rejected} rejected + {duplicates} duplicates\
         {conflicts}; {inferred} inferred from claims"
    ));
    format!("{}{}\n", table.render(""), lines.join("\n"))
}

/// Amounts that cancel out, which make the total misleading.
fn reversals(found: &Reversals) -> Vec<String> {
    let mut lines = Vec::new();
    if found.lines > 0 {
        let [keys, dropped] = [found.lines, found.dropped].map(count);
        let [dropped_amount, kept_amount] = [found.dropped_amount, found.kept_amount].map(money);
        lines.push(format!(
            "! reversals: {keys} claim lines came with amounts that cancel one another under one claim id and \
             line number;\n  one row of each was kept ({kept_amount}), {dropped} were dropped ({dropped_amount})"
        ));
    }
    if found.overwritten > 0 {
        let (rows, amount) = (count(found.overwritten), money(found.overwritten_amount));
        lines.push(format!(
            "! reversals: {rows} published claim lines ({amount}) were overwritten by the opposite amount"
        ));
    }
    if !lines.is_empty() {
        lines.push(
            "  give each row a key of its own: claim_id = \"{claim_id}-{adjustment}\" \
             (docs/input.md)"
                .into(),
        );
    }
    lines
}

fn balance(report: &RunReport, dry_run: bool) -> Vec<String> {
    let mut account = report.account();
    let published = report.status == Status::Success && !dry_run;
    if !published {
        // An append is not compared with the table.
        account.claims.inserted = account.claims.loaded;
        account.claims.updated = 0;
        account.claims.unchanged = 0;
    }
    let imbalances = account.imbalances();
    if imbalances.is_empty() {
        return vec!["✓ every row and every cent is accounted for".into()];
    }
    if report.status == Status::Failed && report.claims.loaded == 0 {
        return vec!["the run ended before its rows were published".into()];
    }
    imbalances.iter().map(|what| format!("✗ {what}")).collect()
}

/// Rejects by reason, largest first, with meaning and first records.
fn rejects(report: &RunReport) -> Option<String> {
    let mut counts: Vec<_> = report.reject_reasons.iter().filter(|(_, rows)| **rows > 0).collect();
    counts.sort_by_key(|(_, rows)| std::cmp::Reverse(**rows));
    let examples = &report.reject_examples;
    let several = {
        let mut sources = examples.values().flatten().map(|example| &example.source);
        let first = sources.next();
        sources.any(|source| Some(source) != first)
    };
    let mut table = Table::new("lrl");
    for (name, rows) in &counts {
        let says = Rule::from_name(name).map_or("", Rule::description).trim_end_matches('.');
        let first = examples.get(*name).map_or(&[][..], Vec::as_slice);
        let first = super::quarantine::examples(&first[..first.len().min(EXAMPLES)], several);
        let says = if first.is_empty() { says.to_owned() } else { format!("{says}: {first}") };
        table.row([(*name).clone(), count(**rows), says]);
    }
    (!counts.is_empty()).then(|| format!("rejected rows by reason\n{}", table.render("  ")))
}

/// Counts by name, largest first.
fn listed<'a>(title: &str, counts: impl Iterator<Item = (&'a String, &'a u64)>) -> Option<String> {
    let mut counts: Vec<_> = counts.filter(|(_, rows)| **rows > 0).collect();
    counts.sort_by_key(|(_, rows)| std::cmp::Reverse(**rows));
    let mut table = Table::new("lr");
    for (name, rows) in &counts {
        table.row([(*name).clone(), count(**rows)]);
    }
    (!counts.is_empty()).then(|| format!("{title}\n{}", table.render("  ")))
}

fn tasks(report: &RunReport) -> Option<String> {
    let mut table = Table::new("llrl");
    for task in &report.tasks {
        let tries = if task.tries > 1 { format!("{} tries", task.tries) } else { String::new() };
        table.row([task.id.clone(), task.state.to_owned(), seconds(task.seconds), tries]);
    }
    (!report.tasks.is_empty()).then(|| format!("tasks\n{}", table.render("  ")))
}

fn refreshed(report: &RunReport) -> Option<String> {
    let mut table = Table::new("llrl");
    for target in &report.refresh {
        let time = seconds(target.seconds);
        let (name, detail) = (target.target.clone(), target.detail.clone());
        table.row([name, target.outcome.to_owned(), time, detail]);
    }
    (!report.refresh.is_empty()).then(|| format!("refresh\n{}", table.render("  ")))
}

/// Output locations.
fn places(report: &RunReport) -> Option<String> {
    let places = &report.places;
    let mut table = Table::new("ll");
    let mut place = |name: &str, what: String| {
        if !what.is_empty() {
            table.row([name.to_owned(), what]);
        }
    };
    place("tables", places.warehouse.clone());
    place("psql", places.psql.clone());
    if let Some(dashboard) = &places.dashboard {
        place("dashboard", dashboard.display().to_string());
    }
    if places.quarantine.is_some() {
        place("rejects", format!("claims-etl quarantine {}", report.run_id));
    }
    let text = table.render("  ");
    (!text.is_empty()).then(|| format!("where to look\n{text}"))
}

#[cfg(test)]
mod tests;
