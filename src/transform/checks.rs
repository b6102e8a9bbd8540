//! The rules as configured, ready to be asked of every row.
//!
//! A file of its own because thresholds are settled once, before the first row: days are numbers,
//! money is cents, and what is a placeholder is known by its first letter and length.

use crate::config::{CodeSystem, Rules};
use crate::error::{Error, Result};
use crate::rule::{Rule, Severities, Severity};

/// The rules of a row, their severities and thresholds.
#[derive(Debug, Clone)]
pub struct Checks {
    severities: Severities,
    pub(super) code_system: CodeSystem,
    /// Cents beyond which an amount, without its sign, is remarkable.
    pub(super) amount_limit: u64,
    /// The day of the run.
    pub(super) run_day: i32,
    /// The last day that is not in the future.
    pub(super) last_day: i32,
    /// The first day that is not too old.
    pub(super) first_day: i32,
    /// The first day of the filing window.
    pub(super) first_filing_day: i32,
    pub(super) placeholders: Placeholders,
}

impl Checks {
    /// The rules of a run that started on a day (in days since 1970-01-01, UTC).
    ///
    /// # Errors
    /// `Config` where a severity or a threshold is none.
    pub fn new(rules: &Rules, started: i32) -> Result<Self> {
        let run_day = rules.run_day(started)?;
        let days = |days: u32| i32::try_from(days).unwrap_or(i32::MAX);
        let limit = rules.amount_limit()?;
        Ok(Self {
            severities: rules.severities()?,
            code_system: rules.code_system,
            amount_limit: u64::try_from(limit.0)
                .map_err(|_| Error::internal("an amount limit out of its range"))?,
            run_day,
            last_day: run_day.saturating_add(days(rules.future_days)),
            first_day: rules.too_old_before(run_day)?,
            first_filing_day: run_day.saturating_sub(days(rules.filing_days)),
            placeholders: Placeholders::new(&rules.patient_placeholders),
        })
    }

    /// The severity of every rule.
    #[must_use]
    pub fn severities(&self) -> &Severities {
        &self.severities
    }

    /// The value of a rule in `dq_flags`; 0 where nobody looks.
    pub(super) fn bit(&self, rule: Rule) -> i32 {
        if self.severities.of(rule) == Severity::Off { 0 } else { rule.mask() }
    }
}

/// Texts that stand for nobody.
#[derive(Debug, Clone)]
pub(super) struct Placeholders {
    texts: Vec<String>,
    /// By first byte: a bit for each length that one of them has; the last for all longer ones.
    lengths: Box<[u64; 256]>,
}

impl Placeholders {
    fn new(texts: &[String]) -> Self {
        let texts: Vec<String> = texts.iter().map(|text| text.trim().to_owned()).collect();
        let mut lengths = Box::new([0; 256]);
        for text in texts.iter().map(String::as_bytes) {
            for first in text
                .first()
                .into_iter()
                .flat_map(|b| [b.to_ascii_lowercase(), b.to_ascii_uppercase()])
            {
                lengths[usize::from(first)] |= length_bit(text);
            }
        }
        Self { texts, lengths }
    }

    /// Whether a text without white space around it is one of them, without regard to case.
    #[inline]
    pub(super) fn have(&self, text: &str) -> bool {
        // Nearly all ids differ in length or in the first letter.
        let first = text.as_bytes().first().map_or(0, |&first| self.lengths[usize::from(first)]);
        first & length_bit(text.as_bytes()) != 0
            && self.texts.iter().any(|placeholder| placeholder.eq_ignore_ascii_case(text))
    }
}

fn length_bit(text: &[u8]) -> u64 {
    1 << text.len().min(63)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_known_in_any_case() {
        let long = "x".repeat(70);
        let texts = ["Unknown", " n/a ", "0", "-", &long].map(ToOwned::to_owned);
        let placeholders = Placeholders::new(&texts);
        for text in ["UNKNOWN", "unknown", "N/A", "n/a", "0", "-", &long.to_uppercase()] {
            assert!(placeholders.have(text), "{text}");
        }
        for text in ["", "unknow", "unknown1", "nnknown", "na", "00", "1", &"x".repeat(71)] {
            assert!(!placeholders.have(text), "{text}");
        }
        assert!(!Placeholders::new(&[]).have("UNKNOWN"));
    }
}
