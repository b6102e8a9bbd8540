//! What was done to the columns of the published tables.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Map, Value};

use crate::privacy::settings::{Action, Level, Privacy};
use crate::schema::Shape;

/// A profile, and column by column what is done to its values.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TableLayout {
    /// The profile's name.
    pub(crate) profile: String,
    /// Column → action, as in the configuration.
    pub(crate) actions: Map<String, Value>,
    /// Which columns are there.
    pub(crate) shape: Shape,
}

impl TableLayout {
    /// What the settings want.
    ///
    /// # Panics
    /// Never: an action has a form in JSON.
    #[must_use]
    pub(crate) fn of(privacy: &Privacy) -> Self {
        let json = |action| serde_json::to_value(action).expect("names and numbers");
        let mut actions: Map<String, Value> =
            privacy.actions().map(|(name, action)| (name.into(), json(action))).collect();
        if privacy.action("location") == Action::Generalize(Level::Zip3) {
            // Another list makes other values; one that cannot be read fails the run elsewhere.
            let prefixes = privacy.restricted_zip3().unwrap_or_default();
            let prefixes: Vec<String> = prefixes.into_iter().collect();
            actions.insert(RESTRICTED.into(), prefixes.into());
        }
        Self { profile: privacy.profile.name().to_owned(), actions, shape: privacy.shape() }
    }

    /// What is done to a column; none for one that no action can be given for.
    #[must_use]
    pub(crate) fn action(&self, column: &str) -> Option<Action> {
        serde_json::from_value(self.actions.get(column)?.clone()).ok()
    }

    /// The columns to which something else is done there.
    pub(crate) fn unlike(&self, other: &Self) -> Vec<String> {
        let names: BTreeSet<&String> = self.actions.keys().chain(other.actions.keys()).collect();
        let differs = |name: &&&String| self.actions.get(**name) != other.actions.get(**name);
        names.iter().filter(differs).map(|name| (*name).clone()).collect()
    }
}

/// The profile, and what is done where a value is not kept.
impl fmt::Display for TableLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.actions.keys().filter_map(|name| Some((name, self.action(name)?)));
        let done: Vec<String> = columns
            .filter(|(name, action)| *action != Action::Keep && *name != RESTRICTED)
            .map(|(name, action)| format!("{name} {}", action.name()))
            .collect();
        write!(f, "{} ({})", self.profile, done.join(", "))
    }
}

/// The list of restricted ZIP prefixes, beside the actions where one needs it.
pub(crate) const RESTRICTED: &str = "zip3_restricted";
