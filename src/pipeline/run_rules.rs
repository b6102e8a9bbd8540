//! The validation rules of a run, and the day that they compare dates with.

use crate::config::Settings;
use crate::error::{Error, Result};
use crate::event::RunId;
use crate::rule::{Rule, Severities, Severity};
use crate::transform::RuleSet;

/// The rules of a run, and of its verification. Where no run date is configured, the day of its id
/// counts.
///
/// # Errors
/// `Config` for an invalid severity or threshold.
pub(crate) fn checks(settings: &Settings, run: RunId) -> Result<RuleSet> {
    checks_on(settings, day_of(settings, run)?)
}

/// The same for a known day.
pub(crate) fn checks_on(settings: &Settings, day: i32) -> Result<RuleSet> {
    Ok(RuleSet::new(&settings.rules, day)?.with_decimal(settings.claims.decimal))
}

/// The severities of rules that rows break together.
pub(crate) fn severities(settings: &Settings, checks: &RuleSet) -> Severities {
    let mut severities = *checks.severities();
    if !settings.privacy.keeps_contents() {
        // Rows that are alike after the release need not have been alike before.
        severities.set(Rule::ContentRepeated, Severity::Off);
        severities.set(Rule::ReversalPair, Severity::Off);
    }
    severities
}

/// The day of a run, from its id. An id that was made from a name has none: there the end of the data
/// interval counts, on which the run was due, and without an interval today.
pub(super) fn day_of(settings: &Settings, run: RunId) -> Result<i32> {
    let due = || settings.run.interval_end.as_ref()?.day();
    let day = run.day().or_else(due).or_else(|| RunId::now().day());
    day.ok_or_else(|| Error::internal("a run without a day"))
}
