//! The table `[privacy]`: the key, the profile, and the actions on each column.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::zip3;
use crate::error::{Error, Result};
use crate::rule::is_code;
use crate::schema::{AMOUNT_MAX_CENTS, Shape};
use crate::secret::value::Secret;
use crate::totals::Cents;

/// A named set of actions. None makes data anonymous.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// Claim and patient ids become tokens, everything else is kept. Still protected health
    /// information.
    #[default]
    Pseudonymized,
    /// 45 CFR 164.514(e): also drops the provider's name. Requires a data use agreement.
    LimitedDataSet,
    /// Towards 45 CFR 164.514(b)(2): years, states, provider tokens. Tokens and actual knowledge
    /// need human review.
    SafeHarborAssist,
}

impl Profile {
    /// Name in the configuration and the ledger.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pseudonymized => "pseudonymized",
            Self::LimitedDataSet => "limited_data_set",
            Self::SafeHarborAssist => "safe_harbor_assist",
        }
    }
}

/// Granularity of a generalised value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// A date: the Monday of its week.
    Week,
    /// A date: the first day of its month.
    Month,
    /// A date: the first day of its quarter.
    Quarter,
    /// A date: the first day of its year.
    Year,
    /// A location: its state.
    State,
    /// A location: three-digit ZIP code, `000` for sparsely populated areas.
    Zip3,
}

/// Which characters of a text are kept, and their replacement. A text with no more characters than
/// would be kept is masked completely.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mask {
    /// Number of leading characters kept.
    #[serde(default)]
    pub(crate) first: u16,
    /// Number of trailing characters kept.
    #[serde(default)]
    pub(crate) last: u16,
    /// Replacement of each other character: printable ASCII, so that no text becomes longer.
    #[serde(default = "star")]
    pub(crate) with: char,
}

fn star() -> char {
    '*'
}

/// Transformation of a column's values before anything is counted, scored or stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Keeps the values.
    Keep,
    /// Removes the column from the tables.
    Drop,
    /// Replaces each value by its token in the column's domain.
    Token,
    /// Replaces each value by this text.
    Redact(String),
    /// Masks each value.
    Mask(Mask),
    /// Keeps this many leading characters.
    Truncate(u16),
    /// Generalises each value.
    Generalize(Level),
    /// Keeps an amount's sign and replaces its magnitude by the lower edge of its bucket. Edges
    /// ascend from 0; the last bucket is unbounded.
    Bucket(Vec<Cents>),
    /// Rounds an amount to a multiple of this, half to even.
    Round(Cents),
    /// Keeps an amount's sign and caps its magnitude.
    TopCode(Cents),
    /// Shifts dates by up to this many days either way, all dates of a patient by the same multiple
    /// of 7.
    DateShift(u16),
}

/// Contract columns with configurable actions, and the actions allowed for each.
const ALLOWED: [(&str, &[&str]); 9] = [
    ("claim_id", &["token"]),
    ("patient_id", &["token"]),
    ("provider_id", &["keep", "token"]),
    ("provider_name", TEXT),
    ("specialty", TEXT),
    ("location", &["keep", "drop", "token", "redact", "mask", "truncate", "state", "zip3"]),
    ("procedure_code", &["keep", "drop", "redact", "mask", "truncate"]),
    ("amount", &["keep", "bucket", "round", "top_code"]),
    ("date_of_service", &["keep", "week", "month", "quarter", "year", "date_shift"]),
];
const TEXT: &[&str] = &["keep", "drop", "token", "redact", "mask", "truncate"];

impl Action {
    /// Name of the action, used to check whether a column allows it.
    #[must_use]
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Drop => "drop",
            Self::Token => "token",
            Self::Redact(_) => "redact",
            Self::Mask(_) => "mask",
            Self::Truncate(_) => "truncate",
            Self::Generalize(Level::Week) => "week",
            Self::Generalize(Level::Month) => "month",
            Self::Generalize(Level::Quarter) => "quarter",
            Self::Generalize(Level::Year) => "year",
            Self::Generalize(Level::State) => "state",
            Self::Generalize(Level::Zip3) => "zip3",
            Self::Bucket(_) => "bucket",
            Self::Round(_) => "round",
            Self::TopCode(_) => "top_code",
            Self::DateShift(_) => "date_shift",
        }
    }

    /// The violated parameter constraint, if any.
    fn lacks(&self) -> Option<&'static str> {
        let fits = |cents: Cents| (1..=i128::from(AMOUNT_MAX_CENTS)).contains(&cents.0);
        let (sound, needed) = match self {
            Self::Keep | Self::Drop | Self::Token | Self::Generalize(_) => (true, ""),
            Self::Truncate(length) => (*length > 0, "1 character or more"),
            Self::Bucket(edges) => (
                edges.first() == Some(&Cents(0))
                    && edges.is_sorted_by(|a, b| a < b)
                    && edges[1..].iter().all(|&edge| fits(edge)),
                "rising edges from '0.00' up to '9999999999.99'",
            ),
            Self::Round(size) | Self::TopCode(size) => {
                (fits(*size), "an amount from '0.01' to '9999999999.99'")
            }
            Self::DateShift(days) => (
                (SHORTEST_SHIFT..=LONGEST_SHIFT).contains(days),
                "7 to 3650 days: dates move by whole weeks",
            ),
            Self::Redact(text) => (
                is_code(text) && text.trim() == text && !text.is_empty(),
                "a text of at most 200 bytes without control characters or blanks at its ends",
            ),
            Self::Mask(mask) => (mask.with.is_ascii_graphic(), "a printable ASCII character"),
        };
        (!sound).then_some(needed)
    }
}

/// Minimum and maximum date shift in days.
const SHORTEST_SHIFT: u16 = 7;
const LONGEST_SHIFT: u16 = 3650;

/// The key, the profile and the actions. There is no default key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Privacy {
    /// Default actions for columns not in `columns`.
    pub profile: Profile,
    /// Restricted ZIP prefixes: `union` of the 2000 and 2020 censuses, `census2000`, `census2010`,
    /// `census2020`, or a file with one prefix per line.
    pub zip3_restricted: String,
    /// File with 32 random bytes in hex, mode 0600; by default `claims-etl.key` in the data
    /// directory.
    pub key_file: Option<PathBuf>,
    /// Open file descriptor from which the key is read once, in hex.
    pub key_fd: Option<i32>,
    /// File of the next key during a rotation: each load then records the new tokens of the tokens
    /// it loads.
    pub next_key_file: Option<PathBuf>,
    /// The key in hex; only from the environment (`CLAIMS_ETL_KEY`).
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub key: Option<Secret>,
    /// Column → action, overriding the profile.
    pub columns: BTreeMap<String, Action>,
}

impl Default for Privacy {
    fn default() -> Self {
        Self {
            profile: Profile::default(),
            zip3_restricted: "union".into(),
            key_file: None,
            key_fd: None,
            next_key_file: None,
            key: None,
            columns: BTreeMap::new(),
        }
    }
}

impl Privacy {
    /// The action on a contract column.
    #[must_use]
    pub(crate) fn action(&self, column: &str) -> Action {
        if let Some(action) = self.columns.get(column) {
            return action.clone();
        }
        let strict = self.profile == Profile::SafeHarborAssist;
        match column {
            "claim_id" | "patient_id" => Action::Token,
            "provider_id" if strict => Action::Token,
            "provider_name" if self.profile != Profile::Pseudonymized => Action::Drop,
            "location" if strict => Action::Generalize(Level::State),
            "date_of_service" if strict => Action::Generalize(Level::Year),
            _ => Action::Keep,
        }
    }

    /// Columns with configurable actions, and their actions.
    pub(crate) fn actions(&self) -> impl Iterator<Item = (&'static str, Action)> {
        ALLOWED.iter().map(|(column, _)| (*column, self.action(column)))
    }

    /// Whether a key is configured, so that none is generated.
    #[must_use]
    pub(crate) fn names_key(&self) -> bool {
        self.key.is_some() || self.key_file.is_some() || self.key_fd.is_some()
    }

    /// The restricted ZIP prefixes.
    ///
    /// # Errors
    /// `Config` when the file of prefixes cannot be read, or a line is not three digits.
    pub(crate) fn restricted_zip3(&self) -> Result<BTreeSet<String>> {
        zip3::prefixes(&self.zip3_restricted)
    }

    /// Whether dates of service keep day granularity. Shifted dates do: they keep weekdays and
    /// equality.
    #[must_use]
    pub(crate) fn keeps_days(&self) -> bool {
        matches!(self.action("date_of_service"), Action::Keep | Action::DateShift(_))
    }

    /// Whether claims that are equal after the actions were equal before.
    #[must_use]
    pub(crate) fn keeps_contents(&self) -> bool {
        let kept = |column| self.action(column) == Action::Keep;
        self.keeps_days() && kept("procedure_code") && kept("amount")
    }

    /// The columns of the tables.
    #[must_use]
    pub fn shape(&self) -> Shape {
        let dropped = self.actions().filter(|(_, action)| *action == Action::Drop);
        Shape::without(dropped.map(|(column, _)| column))
    }
}

/// Validates the actions.
///
/// # Errors
/// `Config` for an unknown column, an action not allowed for it, or invalid parameters.
pub(crate) fn validate(privacy: &Privacy) -> Result<()> {
    for (column, action) in &privacy.columns {
        let Some((_, allowed)) = ALLOWED.iter().find(|(known, _)| known == column) else {
            let known = ALLOWED.map(|(column, _)| column).join(", ");
            return Err(Error::config(format!(
                "privacy.columns.{column}: there is no such column"
            ))
            .hint(format!("the columns are: {known}")));
        };
        if !allowed.contains(&action.name()) {
            return Err(Error::config(format!(
                "privacy.columns.{column}: {} cannot be done to it",
                action.name()
            ))
            .hint(format!("what can be done: {}", allowed.join(", "))));
        }
        if let Some(needed) = action.lacks() {
            return Err(Error::config(format!(
                "privacy.columns.{column}: {} with these parameters makes no sense",
                action.name()
            ))
            .hint(format!("what it needs: {needed}")));
        }
    }
    privacy.restricted_zip3().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn privacy(text: &str) -> Result<Privacy> {
        let privacy: Privacy =
            toml::from_str(text).map_err(|error| Error::config(error.message().to_owned()))?;
        validate(&privacy).map(|()| privacy)
    }

    #[test]
    fn columns_override_the_profile() {
        let text = "profile = 'safe_harbor_assist'
            [columns]
            date_of_service = { generalize = 'month' }
            amount = { bucket = ['0.00', '100.00'] }
            specialty = 'drop'
            provider_name = { mask = { first = 1 } }";
        let privacy = privacy(text).expect("valid");
        assert_eq!(privacy.action("date_of_service"), Action::Generalize(Level::Month));
        assert_eq!(privacy.action("location"), Action::Generalize(Level::State));
        assert_eq!(privacy.action("amount"), Action::Bucket(vec![Cents(0), Cents(10_000)]));
        assert!(!privacy.shape().has("specialty") && privacy.shape().has("provider_name"));
        let back = toml::to_string(&privacy).expect("TOML");
        assert_eq!(toml::from_str::<Privacy>(&back).expect("reads back"), privacy);
    }

    #[test]
    fn contents_can_be_compared_as_long_as_they_are_exact() {
        for (text, days, contents) in [
            ("", true, true),
            ("[columns]\ndate_of_service = { date_shift = 30 }", true, true),
            ("[columns]\ndate_of_service = { generalize = 'week' }", false, false),
            ("[columns]\namount = { round = '1.00' }", true, false),
            ("[columns]\nprocedure_code = { truncate = 3 }", true, false),
            ("[columns]\nspecialty = 'drop'", true, true),
            ("profile = 'safe_harbor_assist'", false, false),
        ] {
            let privacy = privacy(text).expect(text);
            assert_eq!(
                (privacy.keeps_days(), privacy.keeps_contents()),
                (days, contents),
                "{text}"
            );
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (text, expected) in [
            ("[columns]\npatient_id = 'keep'", "cannot be done"),
            ("[columns]\nprovider_id = 'drop'", "cannot be done"),
            ("[columns]\nlocation = { generalize = 'year' }", "cannot be done"),
            ("[columns]\nbirth_date = 'drop'", "no such column"),
            ("[columns]\namount = { bucket = ['1.00'] }", "no sense"),
            ("[columns]\namount = { bucket = [] }", "no sense"),
            ("[columns]\namount = { bucket = ['0.00', '2.00', '2.00'] }", "no sense"),
            ("[columns]\namount = { round = '0.00' }", "no sense"),
            ("[columns]\namount = { top_code = '10000000000.00' }", "no sense"),
            ("[columns]\ndate_of_service = { date_shift = 6 }", "no sense"),
            ("[columns]\nspecialty = { truncate = 0 }", "no sense"),
            ("[columns]\nspecialty = { redact = ' ' }", "no sense"),
            ("[columns]\nspecialty = { mask = { with = '\u{2022}' } }", "no sense"),
            ("zip3_restricted = 'census1790'", "census1790"),
        ] {
            let error = privacy(text).expect_err(text);
            assert!(error.message().contains(expected), "{error}");
        }
    }
}
