//! Control totals of a run: rows and amounts, read = loaded + rejected + duplicates + conflicts.

use std::collections::BTreeMap;
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub};

use serde::{Deserialize, Serialize, Serializer};

/// An amount in cents. Never a float; prints as dollars with two decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Cents(pub i128);

impl Cents {
    /// Parses a Postgres `numeric` with at most two decimals.
    #[must_use]
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (sign, digits) = match text.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let numeric = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || fraction.len() > 2 || !numeric(whole) || !numeric(fraction) {
            return None;
        }
        let whole: i128 = whole.parse().ok()?;
        let fraction: i128 = format!("{fraction:0<2}").parse().ok()?;
        Some(Self(sign * (whole * 100 + fraction)))
    }
}

impl fmt::Display for Cents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let cents = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:02}", cents / 100, cents % 100)
    }
}

impl Serialize for Cents {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cents {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not an amount"))
    }
}

impl Add for Cents {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl Sub for Cents {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl AddAssign for Cents {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl Sum for Cents {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self(0), Add::add)
    }
}

/// Decimal digits with thousands separators: `1234567` as `1,234,567`.
#[must_use]
pub(crate) fn grouped(digits: &str) -> String {
    let mut text = String::with_capacity(digits.len() * 4 / 3 + 1);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Claim rows. `read = loaded + rejected + duplicates + conflicts`,
/// `loaded = inserted + updated + unchanged`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ClaimCounts {
    /// Records in the sources, excluding filtered ones.
    pub read: u64,
    /// Rows of this input in the fact table after the run.
    pub loaded: u64,
    /// New rows.
    pub inserted: u64,
    /// Rows that replaced different content with the same key.
    pub updated: u64,
    /// Rows already present with the same content.
    pub unchanged: u64,
    /// Quarantined rows.
    pub rejected: u64,
    /// Dropped repeats of a claim line with the same content as the kept row.
    pub duplicates: u64,
    /// Dropped repeats of a claim line with different content than the kept row. Under the policy
    /// `reject` no row of such a line is kept, and all of them are `rejected`.
    pub conflicts: u64,
    /// Records excluded by the claims filter; not part of `read`.
    #[serde(default)]
    pub(crate) filtered: u64,
}

/// Amounts of the claim rows, by the same classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Amounts {
    /// Sum of all readable amounts.
    pub read: Cents,
    /// Sum of loaded rows.
    pub loaded: Cents,
    /// Sum of rejected rows with a readable amount.
    pub rejected: Cents,
    /// Sum of dropped repeats with the same content.
    pub duplicates: Cents,
    /// Sum of dropped repeats with different content.
    pub conflicts: Cents,
    /// Amount removed from accepted rows by rounding, buckets and top-coding; negative if it was
    /// added.
    #[serde(default)]
    pub generalized: Cents,
    /// Rejected rows with an unreadable amount, which are in no sum.
    pub unparsed_rows: u64,
}

impl Amounts {
    /// Amount read but not loaded: rejected, dropped, or removed by generalisation.
    #[must_use]
    pub(crate) fn not_loaded(&self) -> Cents {
        self.rejected + self.duplicates + self.conflicts + self.generalized
    }
}

/// Amounts that cancel out under one key: reversals sent with the claim id and line number of the
/// original. Keeping only one of these rows changes the total by more than the dropped ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Reversals {
    /// Claim lines with at least two rows that cancel out.
    pub lines: u64,
    /// Dropped rows of those lines: duplicates or conflicts.
    pub dropped: u64,
    /// Sum of the dropped rows.
    pub dropped_amount: Cents,
    /// Sum of the kept rows of those lines.
    pub kept_amount: Cents,
    /// Published rows overwritten by a row with the opposite amount.
    pub overwritten: u64,
    /// Sum of those rows before the run.
    pub overwritten_amount: Cents,
}

/// Provider rows. `read = loaded + rejected + duplicates + conflicts`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProviderCounts {
    /// Records in the directory.
    pub read: u64,
    /// Providers in the directory.
    pub loaded: u64,
    /// Records without an id, unusable, or conflicting under the policy `reject`.
    pub rejected: u64,
    /// Dropped repeats with the same content as the kept record.
    pub duplicates: u64,
    /// Dropped repeats with different content than the kept record. 0 under the policy `reject`,
    /// which rejects all of them.
    pub conflicts: u64,
    /// Placeholders for ids that occur only in claims; not part of `read`.
    pub inferred: u64,
    /// Rejected records by rule.
    #[serde(default)]
    pub reject_reasons: BTreeMap<String, u64>,
}

/// Location of a rejected record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Example {
    /// The source file.
    pub source: String,
    /// Record number in the source, 1-based, excluding the header.
    pub record: u64,
}

/// Control totals of one run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ControlTotals {
    /// Claim rows.
    pub claims: ClaimCounts,
    /// Claim amounts.
    pub(crate) amount: Amounts,
    /// Amounts that cancel out under one key.
    #[serde(default)]
    pub(crate) reversals: Reversals,
    /// Provider rows.
    pub providers: ProviderCounts,
    /// Rejected claims by reason code.
    pub reject_reasons: BTreeMap<String, u64>,
    /// The first rejected records of each reason code.
    #[serde(default)]
    pub reject_examples: BTreeMap<String, Vec<Example>>,
    /// Loaded claims by rule, for flagging and counting rules.
    pub flags: BTreeMap<String, u64>,
}

impl ControlTotals {
    /// Describes what does not balance; empty when every row and cent is accounted for.
    #[must_use]
    pub(crate) fn imbalances(&self) -> Vec<String> {
        let (claims, amount, providers) = (&self.claims, &self.amount, &self.providers);
        let mut found = Vec::new();
        let mut check = |holds: bool, what: String| {
            if !holds {
                found.push(what);
            }
        };
        check(
            claims.read == claims.loaded + claims.rejected + claims.duplicates + claims.conflicts,
            format!(
                "claims: {} read, but {} loaded + {} rejected + {} duplicates + {} conflicts",
                claims.read, claims.loaded, claims.rejected, claims.duplicates, claims.conflicts
            ),
        );
        check(
            claims.loaded == claims.inserted + claims.updated + claims.unchanged,
            format!(
                "claims: {} loaded, but {} inserted + {} updated + {} unchanged",
                claims.loaded, claims.inserted, claims.updated, claims.unchanged
            ),
        );
        check(
            amount.read == amount.loaded + amount.not_loaded(),
            format!(
                "amount: {} read, but {} loaded + {} rejected + {} duplicates + {} conflicts + {} generalized",
                amount.read,
                amount.loaded,
                amount.rejected,
                amount.duplicates,
                amount.conflicts,
                amount.generalized
            ),
        );
        check(
            providers.read
                == providers.loaded
                    + providers.rejected
                    + providers.duplicates
                    + providers.conflicts,
            format!(
                "providers: {} read, but {} loaded + {} rejected + {} duplicates + {} conflicts",
                providers.read,
                providers.loaded,
                providers.rejected,
                providers.duplicates,
                providers.conflicts
            ),
        );
        check(
            claims.rejected == self.reject_reasons.values().sum::<u64>(),
            format!(
                "claims: {} rejected, but the reasons add up to another number",
                claims.rejected
            ),
        );
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cents_print_and_read_back() {
        for (cents, text) in [
            (0, "0.00"),
            (5, "0.05"),
            (-5, "-0.05"),
            (-30_000, "-300.00"),
            (123_456_789, "1234567.89"),
        ] {
            assert_eq!(Cents(cents).to_string(), text);
            assert_eq!(Cents::parse(text), Some(Cents(cents)));
        }
        assert_eq!(Cents::parse("7"), Some(Cents(700)));
        assert_eq!(Cents::parse("7.5"), Some(Cents(750)));
        for bad in ["", ".", "1.234", "1,000", "NaN", "1e5", "--1", "-"] {
            assert_eq!(Cents::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn one_lost_cent_is_an_imbalance() {
        let claims = ClaimCounts { read: 2, loaded: 2, inserted: 2, ..ClaimCounts::default() };
        let mut account = ControlTotals { claims, ..ControlTotals::default() };
        account.amount.read = Cents(100);
        account.amount.loaded = Cents(100);
        assert!(account.imbalances().is_empty());
        account.amount.loaded = Cents(99);
        assert_eq!(account.imbalances().len(), 1);
        account.amount.conflicts = Cents(1);
        assert!(account.imbalances().is_empty());
        account.claims.conflicts = 1;
        assert_eq!(account.imbalances().len(), 1, "a conflict is a separate row");
    }
}
