//! The accounting of a run: rows and money, read = loaded + rejected + duplicates + conflicts.

use std::collections::BTreeMap;
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub};

use serde::{Deserialize, Serialize, Serializer};

/// An amount of money in cents. Never a float; prints as dollars with two decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Cents(pub i128);

impl Cents {
    /// Reads what Postgres prints for a `numeric` with at most two decimals.
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

/// Decimal digits with a comma between thousands: `1234567` as `1,234,567`.
#[must_use]
pub(crate) fn grouped(digits: &str) -> String {
    let mut text = String::with_capacity(digits.len() * 4 / 3 + 1);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
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
    /// Records in the sources, without those that are no claims.
    pub read: u64,
    /// Rows of this input that the fact table holds after the run.
    pub loaded: u64,
    /// Rows that were new.
    pub inserted: u64,
    /// Rows that replaced other content under the same key.
    pub updated: u64,
    /// Rows that were there with the same content.
    pub unchanged: u64,
    /// Rows in the quarantine.
    pub rejected: u64,
    /// Repeats of a claim line with the content of the row that was kept; dropped.
    pub duplicates: u64,
    /// Repeats of a claim line with other content than the row that was kept; dropped. Under the
    /// policy `reject` no row of such a line is kept, and all of them are `rejected`.
    pub conflicts: u64,
    /// Records that `claims.where` leaves out; not part of `read`.
    #[serde(default)]
    pub(crate) filtered: u64,
}

/// Money of the claim rows, in the same classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Amounts {
    /// Sum over all records whose amount could be read.
    pub read: Cents,
    /// Sum over loaded rows.
    pub loaded: Cents,
    /// Sum over rejected rows whose amount could be read.
    pub rejected: Cents,
    /// Sum over dropped repeats with the same content.
    pub duplicates: Cents,
    /// Sum over dropped repeats with other content.
    pub conflicts: Cents,
    /// What rounding, buckets and top-coding took from the accepted amounts; below zero where they
    /// added.
    #[serde(default)]
    pub generalized: Cents,
    /// Rejected rows whose amount could not be read, and so is in no sum.
    pub unparsed_rows: u64,
}

impl Amounts {
    /// What was read and is not loaded: rejected, dropped, or taken off the accepted amounts.
    #[must_use]
    pub(crate) fn not_loaded(&self) -> Cents {
        self.rejected + self.duplicates + self.conflicts + self.generalized
    }
}

/// Amounts that cancel one another under one key: reversals that were sent under the claim id and line
/// number of what they reverse. Keeping one row of them changes the total by more than the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Reversals {
    /// Claim lines of the input with rows of which one cancels another.
    pub lines: u64,
    /// Rows of those lines that were dropped: duplicates or conflicts.
    pub dropped: u64,
    /// Sum over the dropped rows.
    pub dropped_amount: Cents,
    /// Sum over the rows of those lines that were kept.
    pub kept_amount: Cents,
    /// Published rows that this run overwrote by a row with the opposite amount.
    pub overwritten: u64,
    /// What those rows were worth before.
    pub overwritten_amount: Cents,
}

/// Provider rows. `read = loaded + rejected + duplicates + conflicts`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProviderCounts {
    /// Records in the directory.
    pub read: u64,
    /// Providers of the directory.
    pub loaded: u64,
    /// Records without an id, unusable, or in conflict under the policy `reject`.
    pub rejected: u64,
    /// Repeats with the content of the record that was kept; dropped.
    pub duplicates: u64,
    /// Repeats with other content than the record that was kept; dropped. None under the policy
    /// `reject`, which rejects all of them.
    pub conflicts: u64,
    /// Placeholders for ids that only claims have; not part of `read`.
    pub inferred: u64,
    /// Rejected records by rule.
    #[serde(default)]
    pub reject_reasons: BTreeMap<String, u64>,
}

/// Where a rejected record is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Example {
    /// The source file.
    pub source: String,
    /// The record's number in it, from 1, header not counted.
    pub record: u64,
}

/// The whole accounting of one run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ControlTotals {
    /// Claim rows.
    pub claims: ClaimCounts,
    /// Claim money.
    pub(crate) amount: Amounts,
    /// Amounts that cancel one another under one key.
    #[serde(default)]
    pub(crate) reversals: Reversals,
    /// Provider rows.
    pub providers: ProviderCounts,
    /// Rejected claims by reason code.
    pub reject_reasons: BTreeMap<String, u64>,
    /// The first rejected records of each reason code.
    #[serde(default)]
    pub reject_examples: BTreeMap<String, Vec<Example>>,
    /// Loaded claims by rule: those that flag a row and those that only count it.
    pub flags: BTreeMap<String, u64>,
}

impl ControlTotals {
    /// What does not balance, in words; empty when every row and cent is accounted for.
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
