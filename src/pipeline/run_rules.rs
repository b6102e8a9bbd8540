//! Validation rules of a run and their reference date.

use crate::config::Settings;
use crate::error::{Error, Result};
use crate::event::RunId;
use crate::rule::{Rule, Severities, Severity};
use crate::transform::RuleSet;

/// The rules of a run, also used to verify it. Without a configured run date, uses the date in the
/// run id.
///
/// # Errors
/// `Config` for an invalid severity or threshold.
pub(crate) fn checks(settings: &Settings, run: RunId) -> Result<RuleSet> {
    checks_on(settings, day_of(settings, run)?)
}

/// The rules for a given day.
pub(crate) fn checks_on(settings: &Settings, day: i32) -> Result<RuleSet> {
    Ok(RuleSet::new(&settings.rules, day)?.with_decimal(settings.claims.decimal))
}

/// Severities of cross-row rules.
pub(crate) fn severities(settings: &Settings, checks: &RuleSet) -> Severities {
    let mut severities = *checks.severities();
    if !settings.privacy.keeps_contents() {
        // Rows that are equal after de-identification may have differed before.
        severities.set(Rule::ContentRepeated, Severity::Off);
        severities.set(Rule::ReversalPair, Severity::Off);
    }
    severities
}

/// The reference date of a run, from its id. An id derived from a name has none; then the end of
/// the data interval, on which the run was due, or else today.
pub(super) fn day_of(settings: &Settings, run: RunId) -> Result<i32> {
    let due = || settings.run.interval_end.as_ref()?.day();
    let day = run.day().or_else(due).or_else(|| RunId::now().day());
    day.ok_or_else(|| Error::internal("a run without a day"))
}
