//! `check`: whether a run could start, given its sources, key, warehouse and targets.

use serde::Serialize;

use crate::commands::inspect::inspector::inspect_rows;
use crate::config::Settings;
use crate::error::{ErrorKind, Result};
use crate::event::{Cancellation, Observer};
use crate::extract::{self, Extracted};
use crate::key::MasterKey;
use crate::refresh::{self, Checked};
use crate::schema::Dataset;
use crate::telemetry::mail;
use crate::totals::{ClaimCounts, grouped};
use crate::transform::DateFormats;
use crate::warehouse::layout::TableLayout;
use crate::warehouse::location;
use crate::warehouse::location::Warehouse;

/// One result of `check`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The checked item.
    pub what: String,
    /// Whether a run could continue.
    pub ok: bool,
    /// The result.
    pub detail: String,
    /// Suggested action.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Result of `check`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// One finding per item.
    pub findings: Vec<Finding>,
    /// 0, or the exit code a run would end with.
    pub(crate) exit_code: u8,
}

impl CheckReport {
    /// An optional target that fails does not affect the exit code.
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

/// Checks sources, key, warehouse and targets as a run would; loads and starts nothing.
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
    report.add("privacy", Ok(TableLayout::of(&settings.privacy).to_string()));
    report.add("key", key(settings));
    report.add("warehouse", location::inspect(settings));
    let connect = || Warehouse::running(settings)?.connect();
    for checked in refresh::check_all(&refresh::targets(settings), &connect, cancel) {
        report.add_target(checked);
    }
    if let Some(found) = mail::check(settings) {
        // Mail errors do not fail a run.
        let exit_code = report.exit_code;
        report.add("mail", found);
        report.exit_code = exit_code;
    }
    report
}

/// Expected result of the claims rows.
fn rows(
    settings: &Settings,
    claims: &Extracted,
    observer: &dyn Observer,
    cancel: &Cancellation,
) -> Result<String> {
    let (counts, _) = inspect_rows(settings, claims, observer, cancel)?.counts();
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
    MasterKey::resolve(&settings.key_source()).map(|key| format!("id {}", key.id()))
}
