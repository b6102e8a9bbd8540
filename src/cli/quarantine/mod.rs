//! The command `quarantine`: lists rejects, extracts their original records and manages retention.

mod age;
mod args;
mod list;
mod records;

pub(super) use args::QuarantineOptions;
use args::{Input, ListFormat, QuarantineCommand, ShownOptions};
use chrono::Utc;
pub(super) use list::examples;

use super::options::WarehouseOptions;
use super::output::{Reply, json, stream};
use super::output_format::Format;
use super::table::Table;
use crate::cli::console::Console;
use crate::cli::format::{bytes, count};
use crate::commands::quarantine::reasons;
use crate::commands::quarantine::records::Originals;
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::event::{Cancellation, RunEvent, RunId};
use crate::quarantine::reader::Rejects;
use crate::quarantine::retention::StoredRejects;
use crate::schema::Dataset;

/// Runs `quarantine RUN`, `quarantine list` and `quarantine prune`.
///
/// # Errors
/// `Config` when the settings are invalid or there is no such quarantine, `Source` when a record
/// cannot be read again.
pub(super) fn quarantine(options: QuarantineOptions, console: &Console) -> Result<Reply> {
    match options.command {
        Some(QuarantineCommand::List { warehouse, result }) => kept(
            &reasons::kept_quarantines(&warehouse.load()?)?,
            result.format,
            "no rejects are kept",
        ),
        Some(QuarantineCommand::Prune { older_than, dry_run, warehouse, result }) => {
            let before = older_than.before(Utc::now());
            let gone = reasons::prune(&warehouse.load()?, before, dry_run)?;
            let what = if dry_run { "would be removed" } else { "removed" };
            if result.format == Format::Json {
                return json(&gone).map(Reply::done);
            }
            let freed = bytes(gone.iter().map(|kept| kept.bytes).sum());
            let day = before.format("%Y-%m-%d %H:%M UTC");
            let runs = count(gone.len() as u64);
            let mut reply = kept(&gone, Format::Text, "")?;
            reply.text = format!(
                "{what}: the rejects of {runs} runs that began before {day}, {freed}\n{}",
                reply.text
            );
            Ok(reply)
        }
        None => {
            let run = options.run.unwrap_or_default();
            shown(&run, &options.shown, options.warehouse, console)
        }
    }
}

/// One line per run.
fn kept(kept: &[StoredRejects], format: Format, none: &str) -> Result<Reply> {
    if format == Format::Json {
        return json(&kept).map(Reply::done);
    }
    if kept.is_empty() {
        let none = if none.is_empty() { String::new() } else { format!("{none}\n") };
        return Ok(Reply::done(none));
    }
    let now = Utc::now();
    let mut table = Table::new("llrrr");
    table.head(["run", "started", "records", "size", "age"]);
    for kept in kept {
        table.row([
            kept.run_id.to_string(),
            kept.started_at.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
            kept.rejects.map_or_else(|| "unreadable".into(), count),
            bytes(kept.bytes),
            since(now.signed_duration_since(kept.started_at)),
        ]);
    }
    Ok(Reply::done(table.render("")))
}

fn since(age: chrono::TimeDelta) -> String {
    match age.num_hours() {
        ..1 => format!("{} min", age.num_minutes().max(0)),
        hours @ 1..48 => format!("{hours} h"),
        _ => format!("{} d", age.num_days()),
    }
}

/// Rejects of one run.
fn shown(
    run: &str,
    options: &ShownOptions,
    warehouse: WarehouseOptions,
    console: &Console,
) -> Result<Reply> {
    let settings = warehouse.load()?;
    let run = match run {
        "last" => reasons::latest_quarantine(&settings)?,
        id => RunId::parse(id)?,
    };
    let rejects = chosen(reasons::quarantine(&settings, run)?, options)?;
    let limit = options.limit.unwrap_or(usize::MAX);
    let file = options.output.as_deref();
    if options.source {
        return originals(&settings, rejects, options, console);
    }
    match options.format {
        ListFormat::Text => stream(file, |out| {
            Ok(out.write_all(list::text(run, &rejects, options.limit).as_bytes())?)
        }),
        ListFormat::Json => stream(file, |out| list::json(&rejects, limit, out)),
        ListFormat::Csv => stream(file, |out| list::csv(&rejects, limit, out)),
    }?;
    Ok(Reply::done(""))
}

/// Rejects of the selected input and source.
fn chosen(rejects: Rejects, options: &ShownOptions) -> Result<Rejects> {
    let dataset = options.dataset.map(|input| match input {
        Input::Claims => Dataset::Claims,
        Input::Providers => Dataset::Providers,
    });
    let only = options.only.as_deref();
    let names: Vec<String> = rejects.sources().iter().map(|source| source.path.clone()).collect();
    let chosen = rejects.only(|source| {
        dataset.is_none_or(|dataset| source.dataset == dataset)
            && only.is_none_or(|only| source.path == only)
    });
    if chosen.is_empty() {
        return Err(Error::config("no reject of this run is of that source")
            .hint(format!("its rejects are of: {}", names.join(", "))));
    }
    Ok(chosen)
}

/// `--source`: the original records.
fn originals(
    settings: &Settings,
    mut rejects: Rejects,
    options: &ShownOptions,
    console: &Console,
) -> Result<Reply> {
    let warn = |text: String| console.observer().observe(&RunEvent::Warning(text));
    if options.format == ListFormat::Csv && options.dataset.is_none() {
        // A file to be loaded again must be of one input.
        let all = rejects.len();
        let claims = |rejects: Rejects| rejects.only(|source| source.dataset == Dataset::Claims);
        if rejects.sources().iter().any(|source| source.dataset == Dataset::Claims) {
            rejects = claims(rejects);
        }
        if all > rejects.len() {
            let left_out = count((all - rejects.len()) as u64);
            warn(format!("{left_out} rejected providers are left out: --dataset providers"));
        }
    }
    let mut named = Vec::new();
    for (dataset, sources) in
        [(Dataset::Claims, &options.claims), (Dataset::Providers, &options.providers)]
    {
        let wanted = rejects.sources().iter().any(|source| source.dataset == dataset);
        if wanted && !sources.is_empty() {
            named.push((dataset, sources.clone()));
        }
    }
    // Nothing is changed, so a signal may end the program immediately.
    let found = Originals::find(settings, &rejects, &named, &Cancellation::default())?;
    let destination = match options.output.as_deref() {
        Some(path) => path.display().to_string(),
        None => "the output".into(),
    };
    warn(format!("{destination} contains patient identifiers: protect it like the source files"));
    console.finish();
    let file = options.output.as_deref();
    let limit = options.limit.unwrap_or(usize::MAX);
    match options.format {
        ListFormat::Text => {
            let limit = options.limit.unwrap_or(records::SCREEN);
            stream(file, |out| records::text(&found, &rejects, limit, out))
        }
        ListFormat::Json => stream(file, |out| records::json(&found, &rejects, limit, out)),
        ListFormat::Csv => {
            stream(file, |out| records::csv(&found, &rejects, limit, options.with_reasons, out))
        }
    }?;
    Ok(Reply::done(""))
}
