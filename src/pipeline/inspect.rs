//! Everything that looks without loading: check, explain, the ledger; and the refresh on
//! its own.
//!
//! A file of its own because these are the questions people ask between runs.

use std::sync::Arc;

use polars::prelude::{IntoLazy, LazyFrame};
use serde::Serialize;
use serde_json::Value;

use super::preparing::checks;
use super::report::RefreshReport;
use super::tasks::collect;
use super::warehouse::{self, Warehouse};
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::event::{Cancellation, Observer, RunId};
use crate::extract;
use crate::key::MasterKey;
use crate::load::{
    self,
    ledger::{self, RunRow},
};
use crate::refresh;
use crate::schema::Dataset;
use crate::transform::{self, Claims, DateFormats, Directory, RiskModel, provider_rows};

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
                    detail: error.message().trim_start_matches(&format!("{what}: ")).to_owned(),
                    hint: error.way_out().map(ToOwned::to_owned),
                }
            }
        };
        self.findings.push(finding);
    }
}

/// Looks at sources, key, warehouse and targets as a run would; loads and starts nothing.
#[must_use]
pub fn check(settings: &Settings, cancel: &Cancellation) -> CheckReport {
    let mut report = CheckReport { findings: Vec::new(), exit_code: 0 };
    report.add("claims", input(Dataset::Claims, settings, cancel));
    report.add("providers", input(Dataset::Providers, settings, cancel));
    report.add(
        "date formats",
        DateFormats::new(&settings.claims.date_formats)
            .map(|_| settings.claims.date_formats.join(", ")),
    );
    report.add("key", key(settings));
    report.add("warehouse", warehouse::inspect(settings));
    for target in refresh::targets(settings) {
        let required = if target.required() { "required" } else { "optional" };
        let detail = target.skipped().unwrap_or_else(|| required.to_owned());
        report.add(target.name(), Ok(detail));
    }
    report
}

fn input(dataset: Dataset, settings: &Settings, cancel: &Cancellation) -> Result<String> {
    let extracted = extract::extract(dataset, settings, cancel)?;
    let bytes: u64 = extracted.files.iter().map(|file| file.bytes).sum();
    let files = extracted.files.len();
    let mapped: Vec<String> = extracted.files.first().map_or_else(Vec::new, |file| {
        file.columns.iter().map(|(column, take)| format!("{column} = {take}")).collect()
    });
    let ignored = if extracted.ignored_columns.is_empty() {
        String::new()
    } else {
        format!("; not loaded: {}", extracted.ignored_columns.join(", "))
    };
    let plural = if files == 1 { "file" } else { "files" };
    Ok(format!("{files} {plural}, {bytes} bytes; {}{ignored}", mapped.join(", ")))
}

fn key(settings: &Settings) -> Result<String> {
    let default = settings.privacy.key.is_none()
        && settings.privacy.key_file.is_none()
        && settings.warehouse.url.is_none();
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
    let formats = Arc::new(DateFormats::new(&settings.claims.date_formats)?);
    let rows = collect(provider_rows(extract::scan(&providers).all()?))?;
    let directory = Directory::new(&rows, settings.warehouse.on_provider_conflict)?;
    let blocks = extract::scan(&claims);
    let block = match blocks.next_block()? {
        Some(block) => block.frame()?,
        None => blocks.all()?,
    };
    let checks = Arc::new(checks(settings, RunId::now())?);
    let first = Claims::new(&directory, &formats, &checks, &key).rows(block);
    let model = Arc::new(RiskModel::unfitted(&settings.risk));
    let second =
        transform::scored(load::no_rows()?.lazy(), &directory, &model, checks.severities());
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

/// Refreshes the named targets, or all.
///
/// # Errors
/// `Config` for an unknown name, `Warehouse` when it cannot be opened. A target that fails is a
/// report, not an error.
pub fn refresh(
    settings: &Settings,
    names: &[String],
    observer: &dyn Observer,
) -> Result<Vec<RefreshReport>> {
    let mut targets = refresh::targets(settings);
    for name in names {
        if !targets.iter().any(|target| target.name() == name) {
            let known: Vec<&str> = targets.iter().map(|target| target.name()).collect();
            return Err(Error::config(format!("there is no refresh target {name:?}"))
                .hint(format!("the targets are: {}", known.join(", "))));
        }
    }
    if !names.is_empty() {
        targets.retain(|target| names.iter().any(|name| name == target.name()));
    }
    let warehouse = Warehouse::open(settings, observer)?;
    let results = refresh::refresh_all(&targets, &|| warehouse.connect());
    Ok(results.into_iter().map(RefreshReport::from).collect())
}
