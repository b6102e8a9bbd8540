//! Everything that looks without loading: check, explain, the ledger, the refresh targets.

use std::sync::Arc;

use polars::prelude::{IntoLazy, LazyFrame};
use serde::Serialize;
use serde_json::Value;

use crate::commands::inspect::examine::examine_rows;
use crate::config::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Cancellation, Observer, RunId};
use crate::extract::{self, Extracted};
use crate::key::MasterKey;
use crate::load::ledger::{self, RunRow};
use crate::load::outbox;
use crate::pipeline::tasks::collect;
use crate::pipeline::transform_stage::checks;
use crate::refresh::{self, Checked};
use crate::risk::{Exactness, Medians, RiskModel, Statistics};
use crate::schema::Dataset;
use crate::shuffle;
use crate::telemetry::mail;
use crate::totals::{ClaimCounts, grouped};
use crate::transform::{self, Claims, DateFormats, Directory, Release, Scorer, provider_rows};
use crate::warehouse::location;
use crate::warehouse::location::Warehouse;
use crate::warehouse::treatment::Treatment;

/// One thing that `check` looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub what: String,
    /// Whether a run could go on.
    pub ok: bool,
    /// What was found.
    pub detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// What `check` found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// One finding a thing.
    pub findings: Vec<Finding>,
    /// 0, or the exit code that a run would end with.
    pub exit_code: u8,
}

impl CheckReport {
    /// A target that fails, but need not succeed, keeps no run from ending well.
    fn add_target(&mut self, checked: Checked) {
        let Checked { target, required, skipped, found } = checked;
        let kind = if required { "required" } else { "optional" };
        let (ok, detail) = match (skipped, found) {
            (Some(reason), _) => (true, format!("switched off: {reason}")),
            (None, Ok(detail)) if detail.is_empty() => (true, kind.to_owned()),
            (None, Ok(detail)) => (true, format!("{kind}; {detail}")),
            (None, Err(failure)) => (false, format!("{kind}; {failure}")),
        };
        if !ok && required && self.exit_code == 0 {
            self.exit_code = ErrorKind::Refresh.exit_code();
        }
        let hint = (!ok && !required).then(|| "a run goes on without it".to_owned());
        self.findings.push(Finding { what: target, ok, detail, hint });
    }

    fn add(&mut self, what: &str, found: Result<String>) {
        let finding = match found {
            Ok(detail) => Finding { what: what.to_owned(), ok: true, detail, hint: None },
            Err(error) => {
                if self.exit_code == 0 {
                    self.exit_code = error.kind().exit_code();
                }
                Finding {
                    what: what.to_owned(),
                    ok: false,
                    detail: error
                        .message()
                        .trim_start_matches(&format!("{what}: "))
                        .trim_end_matches("; nothing was published")
                        .to_owned(),
                    hint: error.way_out().map(ToOwned::to_owned),
                }
            }
        };
        self.findings.push(finding);
    }
}

/// Looks at sources, key, warehouse and targets as a run would; loads and starts nothing.
#[must_use]
pub fn check(settings: &Settings, observer: &dyn Observer, cancel: &Cancellation) -> CheckReport {
    let mut report = CheckReport { findings: Vec::new(), exit_code: 0 };
    let claims = extract::extract(Dataset::Claims, settings, cancel);
    let rows = claims.as_ref().ok().map(|claims| rows(settings, claims, observer, cancel));
    report.add("claims", claims.map(|claims| input(&claims)));
    let providers = extract::extract(Dataset::Providers, settings, cancel);
    report.add("providers", providers.map(|providers| input(&providers)));
    if let Some(rows) = rows {
        report.add("claim lines", rows);
    }
    report.add(
        "date formats",
        DateFormats::of(settings).map(|_| settings.claims.date_formats.join(", ")),
    );
    report.add("privacy", Ok(Treatment::of(&settings.privacy).to_string()));
    report.add("key", key(settings));
    report.add("warehouse", location::inspect(settings));
    let connect = || Warehouse::running(settings)?.connect();
    for checked in refresh::check_all(&refresh::targets(settings), &connect, cancel) {
        report.add_target(checked);
    }
    if let Some(found) = mail::check(settings) {
        // No run fails for a mail.
        let exit_code = report.exit_code;
        report.add("mail", found);
        report.exit_code = exit_code;
    }
    report
}

/// What would become of the claims' rows.
fn rows(
    settings: &Settings,
    claims: &Extracted,
    observer: &dyn Observer,
    cancel: &Cancellation,
) -> Result<String> {
    let (counts, _) = examine_rows(settings, claims, observer, cancel)?.counts();
    let ClaimCounts { read, rejected, duplicates, conflicts, filtered, .. } = counts;
    if read + filtered == 0 {
        return Ok("warning: no record after the header".to_owned());
    }
    let [read, rejected, duplicates, conflicts] =
        [read, rejected, duplicates, conflicts].map(|rows| grouped(&rows.to_string()));
    Ok(format!(
        "{read} read, {rejected} rejected, {duplicates} duplicates, {conflicts} conflicts (repeats with other \
         content)"
    ))
}

fn input(extracted: &Extracted) -> String {
    let bytes: u64 = extracted.files.iter().map(|file| file.bytes).sum();
    let files = extracted.files.len();
    let mapped: Vec<String> = extracted.files.first().map_or_else(Vec::new, |file| {
        file.columns.iter().map(|(column, take)| format!("{column} = {take}")).collect()
    });
    let mut parts = vec![mapped.join(", ")];
    parts.extend(extracted.not_loaded());
    parts.extend(extracted.left_out.note());
    parts.extend(extracted.warnings.iter().map(|warning| format!("warning: {warning}")));
    let plural = if files == 1 { "file" } else { "files" };
    format!("{files} {plural}, {bytes} bytes; {}", parts.join("; "))
}

fn key(settings: &Settings) -> Result<String> {
    let default = !settings.privacy.names_key() && settings.warehouse.url.is_none();
    if default && !settings.key_path().exists() {
        return Ok(format!("none yet; a run makes {}", settings.key_path().display()));
    }
    MasterKey::resolve(settings).map(|key| format!("id {}", key.id()))
}

/// The query plans of both passes as Polars optimises them: what a block of claims goes through, and
/// what its rows go through when they come back from the shuffle. The score is shown as it is,
/// without its statistics.
///
/// # Errors
/// `Source` or `Config` when the sources cannot be opened.
pub fn explain(settings: &Settings, cancel: &Cancellation) -> Result<String> {
    let claims = extract::extract(Dataset::Claims, settings, cancel)?;
    let providers = extract::extract(Dataset::Providers, settings, cancel)?;
    let key = MasterKey::ephemeral()?;
    let formats = Arc::new(DateFormats::of(settings)?);
    let checks = Arc::new(checks(settings, RunId::now())?);
    let rows = collect(provider_rows(extract::scan(&providers).all()?, &checks))?;
    let release = Arc::new(Release::new(&settings.privacy, &key)?);
    let directory = Directory::new(&rows, settings.warehouse.on_provider_conflict, &release)?;
    let blocks = extract::scan(&claims);
    let block = match blocks.next_block()? {
        Some(block) => block.frame()?,
        None => blocks.all()?,
    };
    let first = Claims::new(&directory, &formats, &checks, &release).rows(block);
    let medians = Medians::fit(&Statistics::default(), &settings.risk);
    let (model, exact) = (RiskModel::new(medians, []), Exactness::of(&settings.privacy));
    let scorer = Scorer::new(model, exact, &directory, []);
    let second = transform::scored(
        shuffle::no_rows()?.lazy(),
        &directory,
        Some(&scorer),
        checks.severities(),
    );
    let explained = |plan: &LazyFrame| {
        plan.explain(true).map_err(|_| Error::internal("the query plan cannot be shown"))
    };
    Ok(format!(
        "First pass, block by block: validate, join, pseudonymise\n\n{}\n\n\
         Second pass, in the order of the tokens: score, and what the directory says\n\n{}\n",
        explained(&first)?,
        explained(&second)?
    ))
}

/// All runs, latest first.
///
/// # Errors
/// `Warehouse` when the ledger cannot be read.
pub fn runs(settings: &Settings, observer: &dyn Observer) -> Result<Vec<RunRow>> {
    ledger::runs(&mut Warehouse::open(settings, observer)?.connect()?)
}

/// One run with its tasks.
///
/// # Errors
/// `Config` when there is no such run, `Warehouse` when the ledger cannot be read.
pub fn run_details(settings: &Settings, run: RunId, observer: &dyn Observer) -> Result<Value> {
    ledger::run_details(&mut Warehouse::open(settings, observer)?.connect()?, run)
}

/// A refresh target: how it is configured, and what it shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TargetState {
    /// The target's name.
    pub target: String,
    /// Whether it is refreshed.
    pub enabled: bool,
    /// Whether a failure ends the run with exit code 6.
    pub required: bool,
    /// Whether it shows something else than what is published.
    pub due: bool,
    /// The id of the run that it shows.
    pub shown_run_id: Option<String>,
    /// How its last refresh ended.
    pub outcome: Option<String>,
    /// Where the result is, or why there is none; free of cell values.
    pub detail: Option<String>,
    /// What the provider calls that refresh.
    pub remote_id: Option<String>,
    /// Refreshes begun since one has succeeded, that one included.
    pub attempts: u32,
    /// When the last one began, RFC 3339 in UTC.
    pub started_at: Option<String>,
    /// When it ended; null while it is at work, and where it was cut off.
    pub finished_at: Option<String>,
}

/// Every target, also those that are switched off; starts nothing.
///
/// # Errors
/// `Warehouse` when it cannot be read.
pub fn refresh_list(settings: &Settings, observer: &dyn Observer) -> Result<Vec<TargetState>> {
    let mut connection = Warehouse::open(settings, observer)?.connect()?;
    let (mut entries, mut published) = (Vec::new(), None);
    if outbox::is_there(&mut connection)? {
        entries = outbox::entries(&mut connection)?;
        published = outbox::last_change(&mut connection)?;
    }
    let targets = refresh::targets(settings);
    let states = targets.iter().map(|target| {
        let entry = entries.iter().find(|entry| entry.target == target.name()).cloned();
        let shown = entry.as_ref().and_then(|entry| entry.shown_run_no);
        let enabled = target.about().skipped.is_none();
        let entry = entry.unwrap_or_default();
        TargetState {
            target: target.name().to_owned(),
            enabled,
            required: target.about().required,
            due: enabled && published.is_some() && published != shown,
            shown_run_id: entry.shown_run_id,
            outcome: entry.outcome,
            detail: entry.detail,
            remote_id: entry.remote_id,
            attempts: entry.attempts,
            started_at: entry.started_at,
            finished_at: entry.finished_at,
        }
    });
    Ok(states.collect())
}
