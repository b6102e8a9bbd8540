//! The configured rules, prepared for application to every row.
//!
//! Thresholds are resolved once: dates to day numbers, amounts to cents, placeholders to a lookup
//! by first byte and length.

use std::borrow::Cow;

use crate::config::{Decimal, Rules};
use crate::error::{Error, Result};
use crate::identifier::{self, Damage, Kind, Placeholders};
use crate::rule::{CodeSystem, Rule, Severities, Severity};

/// Row-level rules with severities and thresholds.
#[derive(Debug, Clone)]
pub struct RuleSet {
    severities: Severities,
    pub(crate) code_system: CodeSystem,
    /// Decimal separator of amounts.
    pub(crate) decimal: Decimal,
    /// Absolute amount limit in cents.
    pub(crate) amount_limit: u64,
    pub(crate) run_day: i32,
    /// Last day that is not in the future.
    pub(crate) last_day: i32,
    /// First day that is not too old.
    pub(crate) first_day: i32,
    /// First day of the filing window.
    pub(crate) first_filing_day: i32,
    placeholders: Placeholders,
    /// Placeholders of patient ids, including the general ones.
    patient_placeholders: Placeholders,
}

/// A validated identifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedIdentifier<'a> {
    /// Canonical form; may be empty.
    pub(crate) text: Cow<'a, str>,
    /// Damage found.
    pub(crate) damage: Damage,
    /// Whether it is a placeholder.
    pub(crate) is_placeholder: bool,
}

impl CheckedIdentifier<'_> {
    /// Whether it is undamaged and not a placeholder.
    #[must_use]
    pub(crate) fn is_sound(&self) -> bool {
        self.damage == Damage::NONE && !self.is_placeholder
    }
}

impl RuleSet {
    /// The rules of a run that started on a day (in days since 1970-01-01, UTC).
    ///
    /// # Errors
    /// `Config` for an invalid severity or threshold.
    pub fn new(rules: &Rules, started: i32) -> Result<Self> {
        let run_day = rules.run_day(started)?;
        let days = |days: u32| i32::try_from(days).unwrap_or(i32::MAX);
        let limit = rules.amount_limit()?;
        Ok(Self {
            severities: rules.severities()?,
            code_system: rules.code_system,
            decimal: Decimal::default(),
            amount_limit: u64::try_from(limit.0)
                .map_err(|_| Error::internal("an amount limit out of its range"))?,
            run_day,
            last_day: run_day.saturating_add(days(rules.future_days)),
            first_day: rules.too_old_before(run_day)?,
            first_filing_day: run_day.saturating_sub(days(rules.filing_days)),
            placeholders: rules.identifier_placeholders(),
            patient_placeholders: rules.patient_id_placeholders(),
        })
    }

    /// The rules with another decimal separator.
    #[must_use]
    pub(crate) fn with_decimal(self, decimal: Decimal) -> Self {
        Self { decimal, ..self }
    }

    #[must_use]
    pub fn severities(&self) -> &Severities {
        &self.severities
    }

    /// Validates the text of a contract column with identifiers or codes; `None` if it is canonical
    /// and sound, which nearly all are.
    #[inline]
    #[must_use]
    pub(crate) fn check<'a>(&self, column: &str, text: &'a str) -> Option<CheckedIdentifier<'a>> {
        let placeholders = self.placeholders_of(column);
        if identifier::is_plain(text) && !placeholders.have(text) {
            return None;
        }
        let examined = identifier::examine(text, Kind::of(column));
        let is_placeholder = placeholders.have(&examined.text);
        let checked =
            CheckedIdentifier { text: examined.text, damage: examined.damage, is_placeholder };
        let is_canonical = checked.text == text && !text.is_empty();
        (!is_canonical || !checked.is_sound()).then_some(checked)
    }

    fn placeholders_of(&self, column: &str) -> &Placeholders {
        if column == "patient_id" { &self.patient_placeholders } else { &self.placeholders }
    }

    /// The identifier rules broken by this damage, as bits of `dq_flags`.
    pub(crate) fn bits_of(&self, damage: Damage) -> i32 {
        let rules = [
            (Damage::SCIENTIFIC, Rule::IdentifierScientific),
            (Damage::DECIMAL, Rule::IdentifierDecimal),
            (Damage::INVISIBLE, Rule::IdentifierInvisible),
            (Damage::WRAPPED, Rule::IdentifierWrapped),
        ];
        let broken = rules.into_iter().filter(|(one, _)| damage.has(*one));
        broken.fold(0, |bits, (_, rule)| bits | self.bit(rule))
    }

    /// The text from which a run computes the token of an identifier; `None` if it has no token.
    #[must_use]
    pub(crate) fn named<'a>(&self, column: &str, text: &'a str) -> Option<Cow<'a, str>> {
        let Some(checked) = self.check(column, text) else { return Some(text.into()) };
        let mut broken = self.bits_of(checked.damage);
        if checked.is_placeholder {
            if column != "patient_id" {
                return None;
            }
            broken |= self.bit(Rule::PatientIdPlaceholder);
        }
        let refused = broken & self.severities.mask(Severity::Reject) != 0;
        Some(checked.text).filter(|text| !refused && !text.is_empty())
    }

    /// The rule's bit in `dq_flags`; 0 if the rule is off.
    pub(crate) fn bit(&self, rule: Rule) -> i32 {
        if self.severities.of(rule) == Severity::Off { 0 } else { rule.mask() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checks(rules: &Rules) -> RuleSet {
        RuleSet::new(rules, 0).expect("rules")
    }

    #[test]
    fn a_sound_identifier_is_taken_as_it_is() {
        let checks = checks(&Rules::default());
        for column in ["claim_id", "patient_id", "provider_id", "procedure_code"] {
            for text in ["00456", "100571169204E347", "PRV-01", "3E03317", "99213"] {
                assert_eq!(checks.check(column, text), None, "{column} {text}");
                assert_eq!(checks.named(column, text).as_deref(), Some(text));
            }
        }
    }

    #[test]
    fn what_names_nobody_has_no_token() {
        let all =
            ["nan", "NULL", "\\N", "<na>", " #N/A ", "(null)", ".", "9.87E+11", " ", "(Unknown)"];
        let checks = checks(&Rules::default());
        for column in ["claim_id", "patient_id", "provider_id"] {
            for text in all {
                assert_eq!(checks.named(column, text), None, "{column} {text}");
            }
            assert_eq!(checks.named(column, "=\"00456\"").as_deref(), Some("00456"));
        }
        // Zeros are a placeholder for patients only.
        assert_eq!(checks.named("patient_id", "000"), None);
        assert_eq!(checks.named("claim_id", "000").as_deref(), Some("000"));
    }

    #[test]
    fn lists_and_severities_are_the_settings() {
        let severities = [
            ("identifier_scientific", "flag"),
            ("patient_id_placeholder", "flag"),
            ("identifier_decimal", "reject"),
        ];
        let checks = checks(&Rules {
            placeholders: vec!["void".into()],
            patient_placeholders: Vec::new(),
            severity: severities.map(|(rule, severity)| (rule.into(), severity.into())).into(),
            ..Rules::default()
        });
        assert_eq!(checks.named("claim_id", "nan").as_deref(), Some("nan"));
        assert_eq!(checks.named("claim_id", "VOID"), None);
        assert_eq!(checks.named("patient_id", "void").as_deref(), Some("void"));
        assert_eq!(checks.named("claim_id", "9.87E+11").as_deref(), Some("9.87E+11"));
        assert_eq!(checks.named("claim_id", "5001.0"), None);
        // No setting makes the unknown provider a known one.
        assert_eq!(checks.named("provider_id", "(unknown)"), None);
    }
}
