//! Severities of rules.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Rule;

/// Consequence of a broken rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The run fails and publishes nothing.
    Stop,
    /// The row is quarantined.
    Reject,
    /// The row is loaded, and flagged in `dq_flags`.
    Flag,
    /// The row is loaded and counted.
    Count,
    /// The rule is not checked.
    Off,
}

impl Severity {
    /// The name in the configuration and in messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Reject => "reject",
            Self::Flag => "flag",
            Self::Count => "count",
            Self::Off => "off",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The severity of every rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Severities([Severity; Rule::COUNT]);

impl Default for Severities {
    fn default() -> Self {
        Self(Rule::ALL.map(Rule::default_severity))
    }
}

impl Severities {
    /// The severity of a rule.
    #[must_use]
    pub(crate) const fn of(&self, rule: Rule) -> Severity {
        self.0[rule as usize]
    }

    /// Sets the severity of a rule; the configuration checks whether it may be set.
    pub(crate) const fn set(&mut self, rule: Rule, severity: Severity) {
        self.0[rule as usize] = severity;
    }

    /// The bits in `dq_flags` of all rules with a severity.
    #[must_use]
    pub fn mask(&self, severity: Severity) -> i32 {
        let rules = Rule::FLAGS.into_iter().filter(|&rule| self.of(rule) == severity);
        rules.fold(0, |bits, rule| bits | rule.mask())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_hold_each_bit_once() {
        let mut severities = Severities::default();
        severities.set(Rule::NpiInvalid, Severity::Off);
        assert_eq!(severities.of(Rule::NpiInvalid), Severity::Off);
        assert_eq!(severities.mask(Severity::Off), 1 << 6);
        assert_eq!(severities.mask(Severity::Reject), 1 << 12 | 1 << 13 | 1 << 14 | 1 << 19);
        let masks = [Severity::Reject, Severity::Flag, Severity::Count, Severity::Off]
            .map(|severity| severities.mask(severity));
        assert_eq!(masks.iter().sum::<i32>(), (1 << 23) - 1);
    }
}
