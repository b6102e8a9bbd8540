//! The table `[privacy]`: the key, the profile, and what is done to each column before it is released.
//!
//! A file of its own because it is the contract with whoever answers for the data: what a column may
//! become is decided here, before any row is read.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::secret::Secret;
use crate::account::Cents;
use crate::error::{Error, Result};
use crate::schema::Shape;

/// A named set of actions. None of them makes data anonymous.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// Claim and patient ids are tokens, everything else is kept. Still protected health information.
    #[default]
    Pseudonymized,
    /// 45 CFR 164.514(e): the provider's name is dropped too. Needs a data use agreement.
    LimitedDataSet,
    /// Towards 45 CFR 164.514(b)(2): years, states, provider tokens. Tokens and what is known besides
    /// are left for a human to judge.
    SafeHarborAssist,
}

impl Profile {
    /// The name in the configuration and in the ledger.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pseudonymized => "pseudonymized",
            Self::LimitedDataSet => "limited_data_set",
            Self::SafeHarborAssist => "safe_harbor_assist",
        }
    }
}

/// How coarse a value becomes.
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
    /// A location: the first three digits of its ZIP code, `000` where too few people live there.
    Zip3,
}

/// Which characters of a text stay, and what stands for the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mask {
    /// Characters at the beginning that stay.
    #[serde(default)]
    pub first: u16,
    /// Characters at the end that stay.
    #[serde(default)]
    pub last: u16,
    /// What stands for each of the others.
    #[serde(default = "star")]
    pub with: char,
}

fn star() -> char {
    '*'
}

/// What is done to the values of a column before anything is counted, scored or stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// They stay as they are.
    Keep,
    /// The column is not in the tables.
    Drop,
    /// Each becomes its token, in the column's own domain.
    Token,
    /// Each becomes this text.
    Redact(String),
    /// Some characters stay.
    Mask(Mask),
    /// So many characters stay, from the beginning.
    Truncate(u16),
    /// Each becomes coarser.
    Generalize(Level),
    /// An amount becomes the lower edge of its bucket, without its sign taken into account: the
    /// edges rise, the first is 0.
    Bucket(Vec<Cents>),
    /// An amount is rounded to a multiple of this, half to even.
    Round(Cents),
    /// An amount above this, without its sign, becomes this.
    TopCode(Cents),
    /// A date moves by up to so many days either way, all dates of a patient by the same multiple
    /// of 7.
    DateShift(u16),
}

/// Each column of the contract that an action can be given for, and the actions that it can be given.
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
    /// The name, by which it is allowed for a column or not.
    #[must_use]
    pub fn name(&self) -> &'static str {
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

    /// Whether its parameters make sense.
    fn is_sound(&self) -> bool {
        match self {
            Self::Truncate(length) => *length > 0,
            Self::Bucket(edges) => {
                edges.first() == Some(&Cents(0)) && edges.is_sorted_by(|a, b| a < b)
            }
            Self::Round(step) | Self::TopCode(step) => step.0 > 0,
            Self::DateShift(days) => *days >= 7,
            Self::Redact(text) => !text.contains('\0'),
            Self::Mask(mask) => mask.with != '\0',
            Self::Keep | Self::Drop | Self::Token | Self::Generalize(_) => true,
        }
    }
}

/// The key, the profile and the actions. There is no default key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Privacy {
    /// The set of actions that holds where `columns` says nothing.
    pub profile: Profile,
    /// The restricted ZIP prefixes: `union` of the censuses of 2000 and 2020, `census2000`,
    /// `census2010`, `census2020`, or a file with one prefix a line.
    pub zip3_restricted: String,
    /// A file with 32 random bytes in hex, mode 0600; by default `claims-etl.key` in the data
    /// directory.
    pub key_file: Option<PathBuf>,
    /// An open file descriptor from which the key is read once, in hex.
    pub key_fd: Option<i32>,
    /// The key itself in hex; only ever from the environment (`CLAIMS_ETL_KEY`).
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub key: Option<Secret>,
    /// Column → action, where it is not the profile's.
    pub columns: BTreeMap<String, Action>,
}

impl Default for Privacy {
    fn default() -> Self {
        Self {
            profile: Profile::default(),
            zip3_restricted: "union".into(),
            key_file: None,
            key_fd: None,
            key: None,
            columns: BTreeMap::new(),
        }
    }
}

impl Privacy {
    /// What is done to a column of the contract.
    #[must_use]
    pub fn action(&self, column: &str) -> Action {
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

    /// Each column that an action can be given for, with its action.
    pub fn actions(&self) -> impl Iterator<Item = (&'static str, Action)> {
        ALLOWED.iter().map(|(column, _)| (*column, self.action(column)))
    }

    /// Which columns the tables have.
    #[must_use]
    pub fn shape(&self) -> Shape {
        let dropped = self.actions().filter(|(_, action)| *action == Action::Drop);
        Shape::without(dropped.map(|(column, _)| column))
    }
}

/// Checks the actions.
///
/// # Errors
/// `Config` for an unknown column, an action that it cannot be given, or senseless parameters.
pub(super) fn validate(privacy: &Privacy) -> Result<()> {
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
        if !action.is_sound() {
            return Err(Error::config(format!(
                "privacy.columns.{column}: {} with these parameters makes no sense",
                action.name()
            )));
        }
    }
    Ok(())
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
    fn what_makes_no_sense_is_refused() {
        for (text, expected) in [
            ("[columns]\npatient_id = 'keep'", "cannot be done"),
            ("[columns]\nprovider_id = 'drop'", "cannot be done"),
            ("[columns]\nlocation = { generalize = 'year' }", "cannot be done"),
            ("[columns]\nbirth_date = 'drop'", "no such column"),
            ("[columns]\namount = { bucket = ['1.00'] }", "no sense"),
            ("[columns]\ndate_of_service = { date_shift = 6 }", "no sense"),
        ] {
            let error = privacy(text).expect_err(text);
            assert!(error.message().contains(expected), "{error}");
        }
    }
}
