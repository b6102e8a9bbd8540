//! The table `[rules]`: severities and thresholds.

use std::collections::BTreeMap;

use chrono::{NaiveDate, TimeDelta};
use serde::{Deserialize, Serialize};

use super::interval::day;
use crate::error::{Error, Result};
use crate::identifier::Placeholders;
use crate::rule::{CodeSystem, Rule, Severities, Severity};
use crate::schema::{AMOUNT_MAX_CENTS, UNKNOWN_PROVIDER};
use crate::totals::Cents;

/// Common representations of missing values in databases, data frames, spreadsheets and manual
/// entry. Case-insensitive.
const PLACEHOLDERS: [&str; 43] = [
    "#CALC!",
    "#DIV/0!",
    "#N/A",
    "#N/A N/A",
    "#NA",
    "#NAME?",
    "#NULL!",
    "#NUM!",
    "#REF!",
    "#SPILL!",
    "#VALUE!",
    "(BLANK)",
    "(NULL)",
    "-",
    "--",
    "-1.#IND",
    "-1.#QNAN",
    "-NAN",
    ".",
    "..",
    "1.#IND",
    "1.#QNAN",
    "<NA>",
    "<NAN>",
    "<NONE>",
    "<NULL>",
    "?",
    "MISSING",
    "N.A.",
    "N/A",
    "NA",
    "NAN",
    "NAT",
    "NIL",
    "NONE",
    "NOT AVAILABLE",
    "NULL",
    "TBD",
    "UNDEFINED",
    "UNK",
    "UNKNOWN",
    "[NULL]",
    "\\N",
];

/// Additional placeholders for patient ids.
const PATIENT_PLACEHOLDERS: [&str; 28] = [
    "-",
    "0",
    "00",
    "000",
    "0000",
    "00000",
    "000000",
    "0000000",
    "00000000",
    "000000000",
    "0000000000",
    "99999",
    "999999",
    "9999999",
    "99999999",
    "999999999",
    "9999999999",
    "?",
    "N/A",
    "NA",
    "NIL",
    "NONE",
    "NOT AVAILABLE",
    "NULL",
    "TBD",
    "TEST",
    "UNK",
    "UNKNOWN",
];

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// Procedure code system.
    pub code_system: CodeSystem,
    /// Reference date (`2024-12-31`) for checks of dates of service; by default the run's start
    /// date in UTC.
    pub run_date: Option<String>,
    /// Days after the run date within which a date of service is accepted.
    pub future_days: u32,
    /// Maximum age of a date of service, in years before the run date.
    pub max_age_years: u32,
    /// Timely filing limit in days before the run date.
    pub filing_days: u32,
    /// Absolute amount in dollars above which a claim is flagged.
    pub amount_limit: String,
    /// Earliest valid date of service (`1900-01-01`); earlier ones are rejected.
    pub earliest_date: String,
    /// Placeholder values of identifiers and codes, case-insensitive: such a claim is rejected,
    /// such a provider or procedure counts as missing.
    pub placeholders: Vec<String>,
    /// Additional placeholders for patient ids, case-insensitive.
    pub patient_placeholders: Vec<String>,
    /// Rule name → `reject`, `flag`, `count` or `off`, overriding the rule's default.
    pub severity: BTreeMap<String, String>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            code_system: CodeSystem::Any,
            run_date: None,
            future_days: 0,
            max_age_years: 10,
            filing_days: 365,
            amount_limit: "1000000.00".into(),
            earliest_date: "1900-01-01".into(),
            placeholders: PLACEHOLDERS.map(Into::into).to_vec(),
            patient_placeholders: PATIENT_PLACEHOLDERS.map(Into::into).to_vec(),
            severity: BTreeMap::new(),
        }
    }
}

impl Rules {
    /// Placeholders of identifiers and codes, including the id of the unknown provider.
    #[must_use]
    pub(crate) fn identifier_placeholders(&self) -> Placeholders {
        let texts = self.placeholders.iter().map(String::as_str);
        Placeholders::new(texts.chain([UNKNOWN_PROVIDER]))
    }

    /// Placeholders of patient ids.
    #[must_use]
    pub(crate) fn patient_id_placeholders(&self) -> Placeholders {
        let texts = self.placeholders.iter().chain(&self.patient_placeholders);
        Placeholders::new(texts.map(String::as_str).chain([UNKNOWN_PROVIDER]))
    }

    /// The severity of every row-level rule.
    ///
    /// # Errors
    /// `Config` for an unknown rule, a fixed severity, or a severity the rule does not support.
    pub(crate) fn severities(&self) -> Result<Severities> {
        let mut severities = Severities::default();
        for (name, wanted) in &self.severity {
            let rule = Rule::from_name(name).filter(|rule| !rule.allowed().is_empty());
            let rule = rule.ok_or_else(|| no_such_rule(name))?;
            let allowed = rule.allowed().iter().copied();
            let severity = allowed.clone().find(|severity| severity.name() == wanted);
            let severity = severity.ok_or_else(|| {
                let names: Vec<&str> = allowed.map(Severity::name).collect();
                Error::config(format!("rules.severity.{name} must be one of {}", names.join(", ")))
                    .hint("`claims-etl rules` lists the rules")
            })?;
            severities.set(rule, severity);
        }
        Ok(severities)
    }

    /// The run date in days since 1970-01-01: as configured, else `started`, the day of the run.
    ///
    /// # Errors
    /// `Config` when the configured date is invalid.
    pub(crate) fn run_day(&self, started: i32) -> Result<i32> {
        let Some(text) = &self.run_date else { return Ok(started) };
        day(text).and_then(days).ok_or_else(|| {
            Error::config("rules.run_date must be a date")
                .hint("write it as 2024-12-31; without it the day of the run counts")
        })
    }

    /// The earliest date of service in days since 1970-01-01.
    ///
    /// # Errors
    /// `Config` when it is not a date.
    pub(crate) fn earliest_day(&self) -> Result<i32> {
        day(&self.earliest_date).and_then(days).ok_or_else(|| {
            Error::config("rules.earliest_date must be a date").hint("write it as 1900-01-01")
        })
    }

    /// The amount limit.
    ///
    /// # Errors
    /// `Config` when it is not an amount.
    pub(crate) fn amount_limit(&self) -> Result<Cents> {
        let limit = Cents::parse(&self.amount_limit);
        limit.filter(|limit| (0..=i128::from(AMOUNT_MAX_CENTS)).contains(&limit.0)).ok_or_else(
            || {
                Error::config("rules.amount_limit must be an amount from 0.00 to 9999999999.99")
                    .hint("write it in quotes and without commas: amount_limit = \"1000000.00\"")
            },
        )
    }

    /// The earliest day that is not too old relative to the run day.
    ///
    /// # Errors
    /// `Config` when the result is outside the calendar.
    pub(crate) fn too_old_before(&self, run_day: i32) -> Result<i32> {
        let run = NaiveDate::default() + TimeDelta::days(run_day.into());
        let months = self.max_age_years.checked_mul(12).map(chrono::Months::new);
        months.and_then(|months| run.checked_sub_months(months)).and_then(days).ok_or_else(|| {
            Error::config("rules.max_age_years must be at most the years of the calendar")
        })
    }
}

fn no_such_rule(name: &str) -> Error {
    let names = Rule::ALL.into_iter().filter(|rule| !rule.allowed().is_empty()).map(Rule::name);
    let what = if Rule::from_name(name).is_some() {
        format!("rules.severity.{name}: the severity of this rule is not to be chosen")
    } else {
        format!("rules.severity.{name}: there is no such rule")
    };
    Error::config(what).hint(format!("these can be set: {}", names.collect::<Vec<_>>().join(", ")))
}

/// Days since 1970-01-01 of a date with a year from 1 to 9999.
fn days(date: NaiveDate) -> Option<i32> {
    use chrono::Datelike;
    (1..=9999).contains(&date.year()).then(|| date.num_days_from_ce() - 719_163)
}

/// Validates the table.
///
/// # Errors
/// `Config`, naming the first invalid setting.
pub(super) fn validate(rules: &Rules) -> Result<()> {
    rules.severities()?;
    rules.amount_limit()?;
    let day = rules.run_day(0)?;
    for (name, days) in [("future_days", rules.future_days), ("filing_days", rules.filing_days)] {
        if days > 36_525 {
            return Err(Error::config(format!("rules.{name} must be at most 36525, a century")));
        }
    }
    if rules.max_age_years > 200 {
        return Err(Error::config("rules.max_age_years must be at most 200"));
    }
    rules.too_old_before(day)?;
    rules.earliest_day()?;
    for (name, texts) in [
        ("placeholders", &rules.placeholders),
        ("patient_placeholders", &rules.patient_placeholders),
    ] {
        if texts.iter().any(|text| text.trim().is_empty()) {
            return Err(Error::config(format!("rules.{name}: one of them is blank"))
                .hint("a blank identifier is always missing"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(toml: &str) -> Error {
        let rules: Rules = toml::from_str(toml).expect("TOML");
        validate(&rules).expect_err(toml)
    }

    #[test]
    fn severities_are_the_defaults_unless_set() {
        let rules: Rules =
            toml::from_str("[severity]\nnpi_invalid = \"off\"\namount_zero = \"reject\"")
                .expect("TOML");
        let severities = rules.severities().expect("allowed");
        assert_eq!(severities.of(Rule::NpiInvalid), Severity::Off);
        assert_eq!(severities.of(Rule::AmountZero), Severity::Reject);
        assert_eq!(severities.of(Rule::AmountNegative), Severity::Flag);
    }

    #[test]
    fn a_wrong_rule_or_severity_is_told_with_what_is_allowed() {
        let error = refusal("[severity]\nnpi_invald = \"off\"");
        assert_eq!(error.message(), "rules.severity.npi_invald: there is no such rule");
        let hint = error.way_out().expect("a hint");
        assert!(hint.contains("npi_invalid") && !hint.contains("amount_missing"), "{hint}");
        let error = refusal("[severity]\namount_missing = \"flag\"");
        assert!(error.message().ends_with("is not to be chosen"), "{}", error.message());
        let error = refusal("[severity]\ncontent_repeated = \"reject\"");
        let expected = "rules.severity.content_repeated must be one of flag, count, off";
        assert_eq!(error.message(), expected);
        let error = refusal("[severity]\nnpi_invalid = \"hunter2\"");
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        refusal("[severity]\nnpi_invalid = \"stop\"");
    }

    #[test]
    fn thresholds_are_checked() {
        for wrong in [
            "run_date = \"31.12.2024\"",
            "run_date = \"0000-01-01\"",
            "run_date = \"24-12-31\"",
            "run_date = \"+2024-12-31\"",
            "earliest_date = \"1900\"",
            "placeholders = [\"\"]",
            "amount_limit = \"1e6\"",
            "amount_limit = \"-1.00\"",
            "amount_limit = \"10000000000.00\"",
            "patient_placeholders = [\" \"]",
            "future_days = 36526",
            "max_age_years = 201",
        ] {
            let error = refusal(wrong);
            let (name, _) = wrong.split_once(' ').expect("a name");
            assert!(error.message().starts_with(&format!("rules.{name}")), "{}", error.message());
        }
        assert!(toml::from_str::<Rules>("amount_limit = 1000000.0").is_err(), "never a float");
        assert_eq!(validate(&Rules::default()), Ok(()));
    }

    #[test]
    fn the_run_date_is_the_days_own_or_the_configured_one() {
        let mut rules = Rules::default();
        assert_eq!(rules.run_day(7), Ok(7));
        rules.run_date = Some("2024-02-29".into());
        let day = rules.run_day(7).expect("a date");
        assert_eq!(day, 19_782);
        rules.max_age_years = 1;
        let oldest = rules.too_old_before(day).expect("a date");
        assert_eq!(oldest, 19_782 - 366, "2023-02-28");
    }

    #[test]
    fn placeholders_are_sorted_and_unlike() {
        for list in [PLACEHOLDERS.to_vec(), PATIENT_PLACEHOLDERS.to_vec()] {
            let mut sorted = list.clone();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted, list);
        }
    }
}
